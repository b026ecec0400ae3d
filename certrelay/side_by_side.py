"""Two requests at the same time, neither of which needs the other's answer."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as ended
from contextvars import copy_context
from typing import Protocol

_POOL = ThreadPoolExecutor(16, "side-by-side")  # half of the worker's threads: the others begin at different times


class Both(Protocol):
    """`both`, or another one that calls both."""

    def __call__[First, Second](
        self, first: Callable[[], First], second: Callable[[], Second]
    ) -> tuple[First, Second]: ...


def both[First, Second](first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Call both, and return what they return, when both have ended. With no thread free, one after the other.

    Raises what `first` raises, or else what `second` raises; then, too, both have ended, and may have had effects."""
    beside: Future[Second] = _POOL.submit(copy_context().run, second)
    try:
        found = first()
    except BaseException:
        if not beside.cancel():
            ended([beside])
        raise
    return found, second() if beside.cancel() else beside.result()
