"""Take an operation's steps for a caller who waits (RFC 7240, `Prefer: wait`), beside the queue and the timer.

The row is written before. So nothing depends on the caller: whoever has the lease takes the steps. A new operation is
written with this worker's lease; its wake-up, which is due when that expires, is queued beside the first steps. If both
end with this process before that, the poll timer finds the row.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from certrelay.errors import NotReady
from certrelay.log import about, logger
from certrelay.operations import find, lease, reconcile
from certrelay.services import Services
from certrelay.storage.operation import Operation

LONGEST_WAIT = 60  # seconds; functionTimeout in host.json is longer
LOOK_AGAIN = 0.25  # seconds, while another worker holds the operation
MAX_SLEEPERS = 8  # a quarter of the worker's threads (PYTHON_THREADPOOL_THREAD_COUNT); the others serve the queue

log = logger("operations")
_sleepers = threading.BoundedSemaphore(MAX_SLEEPERS)


def until_ended(
    services: Services, operation: Operation, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Operation:
    """Take the operation's steps until it ends or `seconds` are over, and return it as it is then.

    A lease of `operation` is this worker's. A step that has begun is finished. Returns early when the next attempt is
    later than that, and when `MAX_SLEEPERS` callers sleep already. Raises nothing: the operation is open, and the queue
    and the timer advance it."""
    end = services.now() + timedelta(seconds=seconds)
    with about(**operation.fields):
        try:
            while not operation.state.ended and services.now() < end:
                operation = _stepped(services, operation)
                pause = _pause(services, operation)
                in_time = services.now() + timedelta(seconds=pause) < end
                if not (operation.state.ended or (in_time and _slept(sleep, pause))):
                    break
        except NotReady as error:
            log.warning("the caller no longer waits: %s", error)
        except Exception:  # a crash is counted on the row and logged there; the wake-up tries again
            log.warning("the caller no longer waits", exc_info=True)
    return operation


def _stepped(services: Services, operation: Operation) -> Operation:
    if operation.lease_until is not None:
        left = (operation.lease_until - services.now()).total_seconds()
        advanced, _ = services.both(
            lambda: reconcile.go_on(services, operation), lambda: lease.wake_up(services, operation, left)
        )
    else:
        advanced = reconcile.advance(services, operation.vault, operation.name, operation.id)
    return advanced or find.by_id(services, operation.id).freed()


def _pause(services: Services, operation: Operation) -> float:
    """Seconds until the operation may be advanced; if it is due, another worker holds it."""
    due_in = (operation.next_attempt_at - services.now()).total_seconds()
    return max(due_in, LOOK_AGAIN)


def _slept(sleep: Callable[[float], None], seconds: float) -> bool:
    if not _sleepers.acquire(blocking=False):
        return False
    try:
        sleep(seconds)
    finally:
        _sleepers.release()
    return True
