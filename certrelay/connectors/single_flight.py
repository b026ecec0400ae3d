"""For threads that need the same answer from a server that may hang: one asks; those that wait share a failure."""

import threading
from collections.abc import Callable


class SingleFlight:
    """One call at a time. Threads that waited for a call that fails fail with it, at once. Otherwise each would wait in
    turn for a server that hangs, until functionTimeout ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._failure: Exception | None = None

    def do[T](self, call: Callable[[], T]) -> T:
        """Return or raise what `call` does. `call` may return what an earlier call has cached."""
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
