"""Alerts: certificates that expire soon, or have expired, without a renewal."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from certrelay.keyvault import policy
from certrelay.keyvault.certificate import CertificateItem, item_of
from certrelay.keyvault.tags import authority_of, is_managed
from certrelay.log import about, logger
from certrelay.notifications import outbox
from certrelay.renewal.due import due_of, half_time
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.watch import incident_key, told_of

CHECK_POLICY_AGAIN = timedelta(days=1)
MAX_NAMES = 20  # in one alert for many certificates

log = logger("alerts")


def stage(item: CertificateItem, now: datetime) -> str:
    """The alert stage of a certificate: `expired`, `expiring` or "".

    A managed certificate is `expiring` when half of the time for its renewal has passed; any other one when nine tenths
    of its lifetime have (by default Key Vault's own issuers renew at 80 %). Disabled certificates have no stage."""
    if item.expires is None or not item.enabled:
        return ""
    if item.expires <= now:
        return "expired"
    overdue = overdue_at(item)
    return "expiring" if overdue is not None and now > overdue else ""


def overdue_at(item: CertificateItem) -> datetime | None:
    """When a certificate is `expiring`; None for one without an expiry date."""
    if item.expires is None:
        return None
    begins = item.not_before or item.created or item.expires
    return half_time(item) or item.expires - (item.expires - begins) / 10


def state(item: CertificateItem, now: datetime) -> str:
    """One word for a certificate: disabled, expired, expiring, due or valid."""
    if not item.enabled:
        return "disabled"
    due = due_of(item)
    return stage(item, now) or ("due" if due is not None and due <= now else "valid")


def unsent(item: CertificateItem, record: RenewalRecord, now: datetime) -> str:
    """The alert (`stage:thumbprint`) that is due and was not sent yet, or ""."""
    reached = "" if has_time(item, record, now) else stage(item, now)
    alert = f"{reached}:{item.thumbprint}"
    return alert if reached and record.alerted != alert else ""


def send(services: Services, alias: str, item: CertificateItem, record: RenewalRecord) -> RenewalRecord:
    """Send the certificate's alert if one is due: once for each version and stage.

    Returns the record, which remembers the alert if it was queued. The policy of a certificate that Key Vault's own
    issuer renews may set a later date than nine tenths of the lifetime: `expiring` is then sent when half of the time
    after that date has passed. Until then the policy is read once a day. Raises NotReady and other CertRelayErrors."""
    now = services.now()
    alert = unsent(item, record, now)
    if not alert or item.expires is None:
        return record
    reached = stage(item, now)
    written = {} if is_managed(item.tags) else (services.vault(alias).get(item.name) or {}).get("policy") or {}
    overdue = _overdue_by_policy(item, written)
    if reached == "expiring" and overdue is not None and now < overdue:
        waiting = replace(record, ask_at=min(overdue, now + CHECK_POLICY_AGAIN))
        services.storage.renewals.save(waiting, record)
        return waiting
    why = _why(services, alias, item, written)
    with about(vault=alias, certificate=item.name):
        log.error("%s (%s): %s", reached, item.expires.isoformat(), why)
    data = {"expires": item.expires.isoformat(), "authority": authority_of(item.tags), "why": why}
    if not outbox.enqueue(services, reached, f"{alias}/{item.name}", data, f"{alias}.{item.name}.{alert}", now):
        return record
    alerted = replace(record, alerted=alert)
    services.storage.renewals.save(alerted, record)
    return alerted


def known_cause(incidents: set[str], alias: str, item: CertificateItem) -> str:
    """Which `authority NAME` or `vault ALIAS` holds the renewal up, of those in the keys of open incidents; or ""."""
    authority = authority_of(item.tags)
    if authority and incident_key("authority-down", authority) in incidents:
        return f"authority {authority}"
    return f"vault {alias}" if authority and incident_key("vault-unreadable", alias) in incidents else ""


def send_together(
    services: Services, cause: str, reached: str, entries: list[tuple[str, CertificateItem, RenewalRecord]]
) -> None:
    """Send one alert for all these certificates (with their vaults' aliases), which one `cause` holds up.

    Their records remember it, as if each had been sent. Raises NotReady."""
    now = services.now()
    ends = sorted(item.expires for _, item, _ in entries if item.expires)
    names = [f"{alias}/{item.name}" for alias, item, _ in entries]
    data = {
        "count": len(entries), "certificates": names[:MAX_NAMES],
        "expires": ends[0].isoformat() if ends else None, "why": f"None of {cause} can be renewed now.",
    }  # fmt: skip
    log.error("%s (%s): %s", reached, data["expires"], f"{len(entries)} certificates of {cause}")
    thumbprints = "".join(sorted(item.thumbprint for _, item, _ in entries))
    identifier = f"{cause}.{reached}.{hashlib.sha256(thumbprints.encode()).hexdigest()[:32]}"
    if outbox.enqueue(services, reached, cause, data, identifier, now):
        for _, item, record in entries:
            services.storage.renewals.save(replace(record, alerted=f"{reached}:{item.thumbprint}"), record)


def check(services: Services, alias: str, name: str) -> None:
    """Send one certificate's alert if it is due and was not sent yet. Raises NotReady.

    Those that a known cause holds up are left to the sweep, which sends one alert for all."""
    bundle = services.vault(alias).get(name)
    if bundle is None:
        return
    item = item_of(bundle)
    if known_cause(told_of(services.storage.watch.rows("incident")), alias, item):
        return
    send(services, alias, item, services.storage.renewals.record(alias, name).about(item.thumbprint))


def has_time(item: CertificateItem, record: RenewalRecord, now: datetime) -> bool:
    """Whether, by the policy as last read, Key Vault's own issuer is not late with the renewal yet."""
    waits = not is_managed(item.tags) and record.ask_at is not None and now < record.ask_at
    return waits and stage(item, now) == "expiring"


def _overdue_by_policy(item: CertificateItem, written: dict[str, Any]) -> datetime | None:
    """When half of the time that the policy leaves Key Vault's own issuer is over; None if it does not renew."""
    begins, trigger = item.not_before or item.created, policy.threshold(written)
    if item.expires is None or begins is None or not trigger or not renewed_by_key_vault(written):
        return None
    share: timedelta = (item.expires - begins) * (1 - trigger.get("lifetime_percentage", 100) / 100)
    days = timedelta(days=trigger.get("days_before_expiry", 0))
    return item.expires - max(days, share) / 2


def renewed_by_key_vault(written: dict[str, Any]) -> bool:
    """Whether Key Vault renews a certificate with this policy by itself."""
    kinds = [kind for kind, _ in policy.lifetime_actions(written)]
    return policy.issuer_of(written) != "Unknown" and "AutoRenew" in kinds


def _why(services: Services, alias: str, item: CertificateItem, written: dict[str, Any]) -> str:
    if is_managed(item.tags):
        last = next(iter(services.storage.ended(alias, item.name)), None)
        current = services.storage.open(alias, item.name)
        failure = current.failure if current else last.failure if last else None
        return f"The last try failed: {failure.message}" if failure else "No renewal has been tried yet."
    if renewed_by_key_vault(written):
        return f"Key Vault should have renewed it with issuer {policy.issuer_of(written)}, but did not."
    return "Nothing renews it: adopt it, or renew it by hand."
