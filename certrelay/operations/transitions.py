"""How an operation leaves a step other than by an effect: it ends, or it waits for its next try."""

from dataclasses import replace
from datetime import timedelta

from certrelay.log import logger
from certrelay.operations import decide, lease
from certrelay.services import Services
from certrelay.storage.operation import Failure, Operation, State

log = logger("operations")


def end_as(services: Services, operation: Operation, state: State, failure: Failure | None = None) -> Operation:
    """Write the final state, as the holder of the lease. Raises Stale, NotReady."""
    detail = failure.message if failure else ""
    return lease.save(services, operation.moved(state, services.now(), detail, failure=failure))


def postpone(
    services: Services,
    operation: Operation,
    failure: Failure,
    retry_after: float | None = None,
    longest: float = decide.LONGEST_DELAY,
) -> Operation:
    """Schedule the next try and release the lease, or fail an open operation that is past its deadline.

    An ended operation has no deadline: closing it is retried until it succeeds."""
    now = services.now()
    operation = replace(operation, failure=operation.failure if operation.state.ended else failure)
    too_late = None if operation.state.ended else decide.overdue(operation, now)
    if too_late:
        return end_as(services, operation, State.FAILED, too_late)
    delay = decide.back_off(operation.attempts, retry_after, services.jitter, longest)
    log.warning("%s in state %s; next try in %.0f s", failure.message, operation.state, delay)
    due = now + timedelta(seconds=delay)
    if now < operation.deadline:
        due = min(due, operation.deadline)  # the last try, whatever Retry-After says
    later = replace(operation, attempts=operation.attempts + 1, next_attempt_at=due, failed_at=now)
    return lease.save(services, later, release_lease=True)
