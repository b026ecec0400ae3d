"""Threads that need the same answer from a server that may hang: one asks, and those who waited share its failure."""

import threading
from collections.abc import Callable


class SingleFlight:
    """One call at a time. Whoever waited while another's call failed fails with it, at once: behind a server that
    hangs, threads would otherwise wait for each other's timeouts until functionTimeout ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._failure: Exception | None = None

    def do[T](self, call: Callable[[], T]) -> T:
        """What `call` returns or raises. It may answer from memory what an earlier call has learned."""
        calls_before = self._calls
        with self._lock:
            if self._failure is not None and self._calls != calls_before:
                raise self._failure.with_traceback(None)
            self._failure = None
            try:
                return call()
            except Exception as error:
                self._failure = error
                raise
            finally:
                self._calls += 1
