"""Threads that need the same answer of a server that may hang: one asks, and those who waited share its failure."""

import threading
from collections.abc import Callable


class Turns:
    """One caller at a time. Whoever waited while another's turn failed fails with it, at once: behind a server that
    hangs, threads would otherwise wait for each other's timeouts, until functionTimeout ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0
        self._failure: Exception | None = None

    def take[T](self, ask: Callable[[], T]) -> T:
        """What `ask` returns or raises; it may answer from memory what an earlier turn has learned."""
        before = self._taken
        with self._lock:
            if self._failure is not None and self._taken != before:
                raise self._failure.with_traceback(None)
            self._failure = None
            try:
                return ask()
            except Exception as error:
                self._failure = error
                raise
            finally:
                self._taken += 1
