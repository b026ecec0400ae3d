"""The lease on an operation's row, so that one worker at a time advances it, and the writes of its holder."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from certrelay.errors import NotReady
from certrelay.log import about, logger
from certrelay.operations.decide import overdue
from certrelay.services import Services
from certrelay.storage.ledger import FARTHEST_ATTEMPT
from certrelay.storage.operation import Operation, State
from certrelay.storage.rows import CLOCK_SKEW, Stale

LEASE = timedelta(minutes=6)  # longer than functionTimeout in host.json
FIRST_STEPS = timedelta(minutes=1)
MAX_TRANSITIONS = 60
MAX_CRASHES = 5  # maxDequeueCount in host.json

log = logger("operations")


def take(
    services: Services, vault: str, name: str, identifier: str | None = None, even_early: bool = False
) -> Operation | None:
    """Lease the certificate's open operation; with `identifier`, only if it is that one.

    None if there is no such operation, another worker holds it, or (unless `even_early`) it is not due."""
    operation = services.storage.open(vault, name)
    if operation is None or (identifier is not None and operation.id != identifier):
        return None
    now = services.now()
    early = not (even_early or is_due(operation, now))
    if is_held(operation, now) or (early and not operation.cancel_requested):
        return None
    try:
        leased = with_lease(operation, now)
        return services.storage.save(leased) if not operation.lease_id else _take_over(services, operation, leased)
    except Stale:
        return None


def with_lease(operation: Operation, now: datetime) -> Operation:
    """The operation with a new lease for this worker, to be written."""
    return replace(operation, lease_id=uuid.uuid4().hex, lease_until=now + LEASE)


def is_held(operation: Operation, now: datetime) -> bool:
    """Whether a worker holds the operation's lease. An impossibly late end, which a wrong clock has set, is ignored."""
    until = operation.lease_until
    return until is not None and now < until <= now + LEASE + CLOCK_SKEW


def has_time(operation: Operation, now: datetime) -> bool:
    """Whether this worker, which holds the lease, has only begun: it can go on well within functionTimeout."""
    return operation.lease_until is not None and operation.lease_until - now > LEASE - FIRST_STEPS


def is_due(operation: Operation, now: datetime) -> bool:
    """Whether the next attempt is due. It also is if its time is impossibly late, which a wrong clock has set."""
    waits = operation.next_attempt_at > now + timedelta(seconds=1)
    requested_later = operation.requested_at > now + CLOCK_SKEW
    too_far = operation.state is not State.REQUESTED and operation.next_attempt_at > now + FARTHEST_ATTEMPT
    return not waits or requested_later or too_far


def _take_over(services: Services, expired: Operation, leased: Operation) -> Operation:
    with about(**expired.fields):
        log.warning("the lease expired: the last worker did not release it")
    counted = replace(leased, crashes=expired.crashes + 1)
    # One dead worker proves nothing, and its effects are found; but an operation that kills every worker must end, too.
    return services.storage.save(_ended_if_late(services, counted) if counted.crashes >= MAX_CRASHES else counted)


def save(services: Services, operation: Operation, release_lease: bool = False) -> Operation:
    """Write the row as the holder of its lease, and release the lease if `release_lease`. Raises Stale if it was lost.

    A cancellation that was requested meanwhile has changed the row, too: it is merged in, and the lease stays."""
    kept = operation.transitions[:1] + operation.transitions[1:][-MAX_TRANSITIONS:]
    written = replace(operation.freed() if release_lease else operation, transitions=kept)
    try:
        return services.storage.save(written)
    except Stale:
        current = _canceled_meanwhile(services, operation)
        due = services.now() if release_lease else written.next_attempt_at
        merged = replace(written, cancel_requested=True, etag=current.etag, next_attempt_at=due)
        return services.storage.save(merged)


def remove(services: Services, operation: Operation) -> None:
    """Delete the row of an ended operation, as the holder of its lease. Raises Stale if it was lost.

    A cancellation that was requested meanwhile came too late."""
    try:
        services.storage.remove(operation)
    except Stale:
        services.storage.remove(_canceled_meanwhile(services, operation))


def _canceled_meanwhile(services: Services, operation: Operation) -> Operation:
    """The row, which has changed only because a cancellation was requested. Raises Stale if there is more to it."""
    current = services.storage.open(operation.vault, operation.name)
    if current is None or current.lease_id != operation.lease_id or not current.cancel_requested:
        raise Stale
    return current


def release(services: Services, operation: Operation) -> None:
    """Release the lease; if that fails, it expires by itself."""
    try:
        save(services, operation, release_lease=True)
    except (Stale, NotReady):
        log.info("the lease could not be released; it expires by itself")


def crashed(services: Services, operation: Operation) -> None:
    """Count the crash on the row and release the lease. Call it while the exception is being handled.

    An operation past its deadline fails here: the poison queue would miss it if its message was lost."""
    log.exception("crashed in state %s", operation.state)
    current = services.storage.open(operation.vault, operation.name)
    if current is not None and current.lease_id == operation.lease_id:
        known = replace(operation, etag=current.etag) if operation.state.ended else current  # perhaps not yet written
        release(services, _ended_if_late(services, replace(known, crashes=current.crashes + 1)))


def _ended_if_late(services: Services, operation: Operation) -> Operation:
    now = services.now()
    too_late = None if operation.state.ended else overdue(operation, now)
    return operation.moved(State.FAILED, now, too_late.message, failure=too_late) if too_late else operation


def wake_up(services: Services, operation: Operation, delay: float = 0.0) -> None:
    """Queue a wake-up for the operation, `delay` seconds from now. If the queue is down, the poll timer advances it."""
    try:
        services.storage.wake_up(operation, delay)
    except NotReady:
        with about(**operation.fields):
            log.warning("the queue cannot be reached; the poll timer will advance the operation")
