"""The daily digest: how many certificates are managed, due, expiring, expired or failing."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from certrelay.errors import CertRelayError
from certrelay.log import about, logger
from certrelay.notifications import outbox
from certrelay.renewal import endpoints
from certrelay.renewal.alerts import has_time, stage
from certrelay.renewal.due import due_of, is_renewed
from certrelay.renewal.endpoints import State
from certrelay.renewal.vault_list import OutOfTime, blocks_until
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

log = logger("digest")

BUDGET = timedelta(minutes=4)  # of the five in functionTimeout
COUNTED = ("certificates", "managed", "due_within_a_week", "expiring", "expired", "renewals_failing")
AT_ENDPOINTS = ("not_deployed", "endpoints_unreachable")  # counted if any endpoint may be looked at


def send_digest(services: Services) -> dict[str, Any]:
    """Count the certificates of all vaults and queue the numbers as a notification; returns them by name.

    A vault that cannot be read, or for which there is no time, counts nothing and is named instead."""
    begun = services.now()
    counted = Counter(dict.fromkeys((*COUNTED, *(AT_ENDPOINTS if services.settings.endpoints else ())), 0))
    aliases = list(services.settings.vaults)
    for alias in services.jitter.sample(aliases, len(aliases)):  # so that no vault is always the one that is missing
        try:
            counted.update(_count(services, alias, begun + BUDGET))
        except CertRelayError as error:
            counted[f"{'uncounted' if isinstance(error, OutOfTime) else 'unreadable'}_vault_{alias}"] = 1
            with about(vault=alias):
                log.error("the vault is missing from the digest: %s", error)
    counted["operations_open"] = sum(1 for _ in services.storage.worklist())
    outbox.enqueue(services, "digest", "all vaults", counted, f"digest.{begun.date().isoformat()}", begun)
    return dict(counted)


def _count(services: Services, alias: str, until: datetime) -> Counter[str]:
    now, counted = services.now(), Counter[str]()
    for block in blocks_until(services, alias, until):
        counted["certificates"] += len(block)
        for seen in endpoints.records(services, alias, [item for item in block if item.enabled]).values():
            found = endpoints.state(services.settings, seen, now)
            counted["not_deployed"] += found is State.NOT_DEPLOYED
            counted["endpoints_unreachable"] += found is State.UNREACHABLE
        watched = [item for item in block if is_renewed(item) or stage(item, now)]
        records = services.storage.renewals.records(alias, [item.name for item in watched])
        for item in watched:
            record = (records.get(item.name.lower()) or RenewalRecord(alias, item.name)).about(item.thumbprint)
            due = due_of(item)
            counted["managed"] += due is not None
            counted["due_within_a_week"] += due is not None and due <= now + timedelta(days=7)
            counted["renewals_failing"] += due is not None and record.failures > 0
            if (reached := stage(item, now)) and not has_time(item, record, now):
                counted[reached] += 1
    return counted
