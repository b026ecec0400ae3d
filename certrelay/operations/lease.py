"""The lease on an operation's row, which keeps two workers apart, and the writes of the one who holds it."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from certrelay.errors import NotReady
from certrelay.log import about, logger
from certrelay.operations.decide import overdue
from certrelay.services import Services
from certrelay.storage.operation import Operation, State
from certrelay.storage.tables import Stale

LEASE = timedelta(minutes=6)  # longer than functionTimeout in host.json
MAX_TRANSITIONS = 60
MAX_CRASHES = 5  # maxDequeueCount in host.json

log = logger("operations")


def take(
    services: Services, vault: str, name: str, identifier: str | None = None, even_early: bool = False
) -> Operation | None:
    """The open operation with a lease on it, or None: there is none, it is not due, or somebody else has it."""
    operation = services.storage.open(vault, name)
    if operation is None or (identifier is not None and operation.id != identifier):
        return None
    now = services.now()
    early = not even_early and operation.next_attempt_at > now + timedelta(seconds=1)
    if is_held(operation, now) or (early and not operation.cancel_requested):
        return None
    try:
        leased = replace(operation, lease_id=uuid.uuid4().hex, lease_until=now + LEASE)
        return services.storage.save(leased) if not operation.lease_id else _take_over(services, operation, leased)
    except Stale:
        return None


def is_held(operation: Operation, now: datetime) -> bool:
    """Whether a worker is at work on the operation, as far as its lease says."""
    return operation.lease_until is not None and operation.lease_until > now


def _take_over(services: Services, abandoned: Operation, leased: Operation) -> Operation:
    with about(**abandoned.fields):
        log.warning("the last worker never came back")
    counted = replace(leased, crashes=abandoned.crashes + 1)
    # Once may be anybody's fault, and what it did is then found; an operation that kills all its workers must end too.
    return services.storage.save(_ended_if_late(services, counted) if counted.crashes >= MAX_CRASHES else counted)


def save(services: Services, operation: Operation, release_lease: bool = False) -> Operation:
    """Write the row as the holder of its lease; `release_lease` ends it. Raises Stale when it is lost.

    A cancellation that was asked for meanwhile changes the row too: it is kept, and does not cost the lease."""
    kept = operation.transitions[:1] + operation.transitions[1:][-MAX_TRANSITIONS:]
    written = replace(operation.freed() if release_lease else operation, transitions=kept)
    try:
        return services.storage.save(written)
    except Stale:
        current = services.storage.open(operation.vault, operation.name)
        if current is None or current.lease_id != operation.lease_id or not current.cancel_requested:
            raise
        due = services.now() if release_lease else written.next_attempt_at
        merged = replace(written, cancel_requested=True, etag=current.etag, next_attempt_at=due)
        return services.storage.save(merged)


def release(services: Services, operation: Operation) -> None:
    """Give the lease back, if that can be done."""
    try:
        save(services, operation, release_lease=True)
    except (Stale, NotReady):
        log.info("the lease could not be released, and ends by itself")


def crashed(services: Services, operation: Operation) -> None:
    """Count the crash on the row and free it; called while the exception is handled. Past its deadline it has failed:
    the poison queue ends only those whose message is not lost."""
    log.exception("crashed in state %s", operation.state)
    current = services.storage.open(operation.vault, operation.name)
    if current is not None and current.lease_id == operation.lease_id:
        release(services, _ended_if_late(services, replace(current, crashes=current.crashes + 1)))


def _ended_if_late(services: Services, operation: Operation) -> Operation:
    now = services.now()
    too_late = None if operation.state.ended else overdue(operation, now)
    return operation.moved(State.FAILED, now, too_late.message, failure=too_late) if too_late else operation


def wake_up(services: Services, operation: Operation, delay: float = 0.0) -> None:
    """Send the queue function a wake-up for the operation. The poll timer covers for one that cannot be sent."""
    try:
        services.storage.wake_up(operation, delay)
    except NotReady:
        with about(**operation.fields):
            log.warning("the queue cannot be reached; the poll timer will advance it")
