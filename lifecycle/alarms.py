"""What people must hear of although nothing failed: certificates near their end unrenewed, and the daily digest."""

import logging
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lifecycle import notifications, renewal
from lifecycle.errors import CertRelayError
from lifecycle.model import AUTHORITY_TAG
from lifecycle.notes import Note
from lifecycle.services import Services
from lifecycle.vault import CertificateItem, item_of

log = logging.getLogger("certrelay.alarms")


def stage(item: CertificateItem, now: datetime) -> str:
    """`expired`; `expiring`: half of the time for its renewal has passed, or, where we do not renew, nine tenths of the
    lifetime have (Key Vault's own issuers renew at 80 % by default); or nothing."""
    if item.expires is None or not item.enabled:
        return ""
    if item.expires <= now:
        return "expired"
    begins = item.not_before or item.created or item.expires
    due = renewal.due_of(item)
    allowed = (item.expires - due) / 2 if due is not None else (item.expires - begins) / 10
    return "expiring" if item.expires - now < allowed else ""


def untold(item: CertificateItem, note: Note, now: datetime) -> str:
    """The stage and the version (`stage:thumbprint`) that nobody was told of, or nothing."""
    reached = stage(item, now)
    alarm = f"{reached}:{item.thumbprint}"
    return alarm if reached and note.told != alarm else ""


def raise_for(services: Services, alias: str, item: CertificateItem, note: Note) -> Note:
    """Tell once per version and stage; the note that remembers it, unless it could not be queued."""
    now = services.now()
    told = untold(item, note, now)
    if not told or item.expires is None:
        return note
    reached = stage(item, now)
    why = _why(services, alias, item)
    log.error("%s/%s is %s (%s): %s", alias, item.name, reached, item.expires.isoformat(), why)
    data = {"expires": item.expires.isoformat(), "authority": item.tags.get(AUTHORITY_TAG), "why": why}
    if not notifications.tell(services, reached, f"{alias}/{item.name}", data, f"{alias}.{item.name}.{told}", now):
        return note
    noted = replace(note, told=told)
    services.storage.remember(noted, note)
    return noted


def look_at(services: Services, alias: str, name: str) -> None:
    """Raise the alarm of one certificate, if it has one that nobody was told of. Raises NotReady."""
    bundle = services.vault(alias).get(name)
    if bundle is None:
        return
    item = item_of(bundle)
    raise_for(services, alias, item, services.storage.note(alias, name).about(item.thumbprint))


def digest(services: Services) -> dict[str, Any]:
    """Count everything, tell it, and return it."""
    now = services.now()
    counted: Counter[str] = Counter(certificates=0, managed=0, due_within_a_week=0, expiring=0, expired=0)
    for alias in services.settings.vaults:
        try:
            _count(services, alias, counted)
        except CertRelayError as error:
            counted[f"unreadable_vault_{alias}"] = 1
            log.error("vault %s is missing in the digest: %s", alias, error)
    counted["operations_open"] = sum(1 for _ in services.storage.worklist())
    counted["renewals_failing"] = services.storage.failing()
    notifications.tell(services, "digest", "all vaults", counted, f"digest.{now.date().isoformat()}", now)
    return dict(counted)


def _count(services: Services, alias: str, counted: Counter[str]) -> None:
    now = services.now()
    for page in services.vault(alias).certificates():
        counted["certificates"] += len(page)
        for item in page:
            due = renewal.due_of(item)
            counted["managed"] += due is not None
            counted["due_within_a_week"] += due is not None and due <= now + timedelta(days=7)
            if reached := stage(item, now):
                counted[reached] += 1


def _why(services: Services, alias: str, item: CertificateItem) -> str:
    if AUTHORITY_TAG in item.tags:
        last = next(iter(services.storage.ended(alias, item.name)), None)
        open_one = services.storage.open(alias, item.name)
        failure = open_one.failure if open_one else last.failure if last else None
        return f"The last try: {failure.message}" if failure else "No renewal has been tried yet."
    policy = (services.vault(alias).get(item.name) or {}).get("policy") or {}
    issuer = (policy.get("issuer") or {}).get("name", "Unknown")
    actions = [action["action"]["action_type"] for action in policy.get("lifetime_actions") or []]
    if issuer != "Unknown" and "AutoRenew" in actions:
        return f"Key Vault should have renewed it with issuer {issuer}, and did not."
    return "Nobody renews it: adopt it, or renew it by hand."
