"""The timers' work: advance what is due, and find in the certificate lists what has to be renewed."""

import heapq
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from lifecycle import operations, renewal
from lifecycle.errors import CertRelayError, Conflict, NotReady
from lifecycle.services import Services

log = logging.getLogger("certrelay.sweep")


@dataclass(slots=True)
class Swept:
    """What one sweep did: certificates looked at, renewals started (vault/name) and refused (vault/name: why)."""

    looked_at: int = 0
    started: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def advance_due(services: Services) -> int:
    """Advance every open operation that is due; how many there were. One that crashes does not stop the others."""
    worklist = sorted(services.storage.worklist(services.now()), key=lambda entry: entry.next_attempt_at)
    for entry in worklist:
        try:
            operations.advance(services, entry.vault, entry.name, entry.id)
        except Exception:
            log.exception("operation %s could not be advanced", entry.id)
    return len(worklist)


def sweep(services: Services) -> Swept:
    """Start the renewals that are due, soonest expiry first, a bounded batch a run, from the lists alone."""
    swept = Swept()
    busy = {(entry.vault, entry.name.lower()) for entry in services.storage.worklist()}
    due = heapq.nsmallest(services.settings.renewal_batch, _due(services, busy, swept))
    for _, vault, name in due:
        try:
            renewal.renew(services, vault, name, requested_by="sweep", reason="due", only_if_due=True)
            swept.started.append(f"{vault}/{name}")
        except Conflict:
            continue
        except CertRelayError as error:
            swept.refused.append(f"{vault}/{name}: {error}")
            log.error("%s in vault %s is due and cannot be renewed: %s", name, vault, error)
    return swept


def _due(services: Services, busy: set[tuple[str, str]], swept: Swept) -> Iterator[tuple[datetime, str, str]]:
    now = services.now()
    for alias in services.settings.vaults:
        try:
            for item in services.vault(alias).certificates():
                swept.looked_at += 1
                due = renewal.due_of(item)
                if due is not None and due <= now and item.expires and (alias, item.name.lower()) not in busy:
                    yield item.expires, alias, item.name
        except NotReady as error:
            swept.refused.append(f"{alias}: {error}")
            log.error("vault %s cannot be swept now: %s", alias, error)
