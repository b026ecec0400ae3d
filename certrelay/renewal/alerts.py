"""Alerts: certificates that near their end, or reached it, without a renewal."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from certrelay.keyvault import policy
from certrelay.keyvault.client import CertificateItem, item_of
from certrelay.keyvault.tags import authority_of, is_managed
from certrelay.log import about, logger
from certrelay.notifications import outbox
from certrelay.renewal.due import half_time
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

LOOK_AGAIN = timedelta(days=1)

log = logger("alerts")


def stage(item: CertificateItem, now: datetime) -> str:
    """`expired`; `expiring`: half of the time for its renewal has passed, or, where we do not renew, nine tenths of the
    lifetime have (Key Vault's own issuers renew at 80 % by default); or nothing."""
    if item.expires is None or not item.enabled:
        return ""
    if item.expires <= now:
        return "expired"
    begins = item.not_before or item.created or item.expires
    late_at = half_time(item) or item.expires - (item.expires - begins) / 10
    return "expiring" if now > late_at else ""


def unsent(item: CertificateItem, note: RenewalRecord, now: datetime) -> str:
    """The stage and the version (`stage:thumbprint`) that nobody was told of, or nothing."""
    reached = "" if has_time(item, note, now) else stage(item, now)
    alarm = f"{reached}:{item.thumbprint}"
    return alarm if reached and note.alerted != alarm else ""


def send(services: Services, alias: str, item: CertificateItem, note: RenewalRecord) -> RenewalRecord:
    """Tell once per version and stage; the note that remembers it, unless it could not be queued.

    Key Vault's own issuers renew by the policy, which may say later than nine tenths of the lifetime: nobody is told
    before half of the time is over that it leaves them. The policy is looked at once a day until then."""
    now = services.now()
    told = unsent(item, note, now)
    if not told or item.expires is None:
        return note
    reached = stage(item, now)
    written = {} if is_managed(item.tags) else (services.vault(alias).get(item.name) or {}).get("policy") or {}
    late_at = _late_at(item, written)
    if reached == "expiring" and late_at is not None and now < late_at:
        waiting = replace(note, ask_at=min(late_at, now + LOOK_AGAIN))
        services.storage.renewals.save(waiting, note)
        return waiting
    why = _why(services, alias, item, written)
    with about(vault=alias, certificate=item.name):
        log.error("%s (%s): %s", reached, item.expires.isoformat(), why)
    data = {"expires": item.expires.isoformat(), "authority": authority_of(item.tags), "why": why}
    if not outbox.enqueue(services, reached, f"{alias}/{item.name}", data, f"{alias}.{item.name}.{told}", now):
        return note
    noted = replace(note, alerted=told)
    services.storage.renewals.save(noted, note)
    return noted


def check(services: Services, alias: str, name: str) -> None:
    """Raise the alarm of one certificate, if it has one that nobody was told of. Raises NotReady."""
    bundle = services.vault(alias).get(name)
    if bundle is None:
        return
    item = item_of(bundle)
    send(services, alias, item, services.storage.renewals.record(alias, name).about(item.thumbprint))


def has_time(item: CertificateItem, note: RenewalRecord, now: datetime) -> bool:
    """Whether Key Vault's own issuer need not have renewed it yet, as far as is noted."""
    waits = not is_managed(item.tags) and note.ask_at is not None and now < note.ask_at
    return waits and stage(item, now) == "expiring"


def _late_at(item: CertificateItem, written: dict[str, Any]) -> datetime | None:
    """When half of the time is over that the policy leaves Key Vault's own issuer; None if that renews nothing."""
    begins, trigger = item.not_before or item.created, policy.threshold(written)
    if item.expires is None or begins is None or not trigger or not _renewed_by_key_vault(written):
        return None
    share: timedelta = (item.expires - begins) * (1 - trigger.get("lifetime_percentage", 100) / 100)
    days = timedelta(days=trigger.get("days_before_expiry", 0))
    return item.expires - max(days, share) / 2


def _renewed_by_key_vault(written: dict[str, Any]) -> bool:
    actions = [action["action"]["action_type"] for action in written.get("lifetime_actions") or []]
    return _issuer(written) != "Unknown" and "AutoRenew" in actions


def _issuer(written: dict[str, Any]) -> str:
    return str((written.get("issuer") or {}).get("name", "Unknown"))


def _why(services: Services, alias: str, item: CertificateItem, written: dict[str, Any]) -> str:
    if is_managed(item.tags):
        last = next(iter(services.storage.ended(alias, item.name)), None)
        open_one = services.storage.open(alias, item.name)
        failure = open_one.failure if open_one else last.failure if last else None
        return f"The last try: {failure.message}" if failure else "No renewal has been tried yet."
    if _renewed_by_key_vault(written):
        return f"Key Vault should have renewed it with issuer {_issuer(written)}, and did not."
    return "Nobody renews it: adopt it, or renew it by hand."
