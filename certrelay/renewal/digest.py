"""The daily digest: how many certificates are managed, due, expiring, expired or failing."""

from collections import Counter
from datetime import timedelta
from typing import Any

from certrelay.errors import CertRelayError
from certrelay.log import about, logger
from certrelay.notifications import outbox
from certrelay.renewal import endpoints
from certrelay.renewal.alerts import has_time, stage
from certrelay.renewal.due import due_of
from certrelay.renewal.endpoints import State
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

log = logger("digest")

COUNTED = ("certificates", "managed", "due_within_a_week", "expiring", "expired", "renewals_failing")
AT_ENDPOINTS = ("not_deployed", "endpoints_unreachable")  # counted if any endpoint may be looked at


def send_digest(services: Services) -> dict[str, Any]:
    """Count the certificates of all vaults and queue the numbers as a notification; returns them by name."""
    now = services.now()
    counted = Counter(dict.fromkeys((*COUNTED, *(AT_ENDPOINTS if services.settings.endpoints else ())), 0))
    for alias in services.settings.vaults:
        try:
            _count(services, alias, counted)
        except CertRelayError as error:
            counted[f"unreadable_vault_{alias}"] = 1
            with about(vault=alias):
                log.error("the vault is missing from the digest: %s", error)
    counted["operations_open"] = sum(1 for _ in services.storage.worklist())
    outbox.enqueue(services, "digest", "all vaults", counted, f"digest.{now.date().isoformat()}", now)
    return dict(counted)


def _count(services: Services, alias: str, counted: Counter[str]) -> None:
    now = services.now()
    for page in services.vault(alias).certificates():
        counted["certificates"] += len(page)
        for seen in endpoints.records(services, alias, [item for item in page if item.enabled]).values():
            found = endpoints.state(services.settings, seen, now)
            counted["not_deployed"] += found is State.NOT_DEPLOYED
            counted["endpoints_unreachable"] += found is State.UNREACHABLE
        watched = [item for item in page if due_of(item) or stage(item, now)]
        records = services.storage.renewals.records(alias, [item.name for item in watched])
        for item in watched:
            record = (records.get(item.name.lower()) or RenewalRecord(alias, item.name)).about(item.thumbprint)
            due = due_of(item)
            counted["managed"] += due is not None
            counted["due_within_a_week"] += due is not None and due <= now + timedelta(days=7)
            counted["renewals_failing"] += due is not None and record.failures > 0
            if (reached := stage(item, now)) and not has_time(item, record, now):
                counted[reached] += 1
