"""The movable clock for code that asks Python what time it is.

The app has no local mode: it reads `datetime.now()`. So the process itself is moved, with the `time-machine` library.
"""

import asyncio
import sys
import time
from pathlib import Path

from sandbox.clock import Clock

if "pytest" not in sys.modules:  # time-machine imports it for its fixture: a fifth of the imports of a host
    sys.modules["pytest"] = None  # type: ignore[assignment]  # how Python knows a module that cannot be imported
    import time_machine

    del sys.modules["pytest"]
else:
    import time_machine

POLL_SECONDS = 0.2


def machine_time() -> float:
    """UNIX seconds by the machine's clock, however this process is moved."""
    hatch = time_machine.escape_hatch
    return hatch.time.time() if hatch.is_travelling() else time.time()


class ProcessClock:
    """Keeps this process's clock `offset` seconds ahead, as the file says, from now on; `stop` gives the time back."""

    def __init__(self, path: Path) -> None:
        self._clock = Clock(path)
        self._offset = 0.0
        self._travel = time_machine.travel(time.time(), tick=True)
        self._traveller = self._travel.start()
        self.follow()

    def follow(self) -> None:
        """Move, if the file says something new. By a shift: other threads see the old time or the new one."""
        offset = self._clock.offset
        if offset != self._offset:
            self._traveller.shift(offset - self._offset)
            self._offset = offset

    def stop(self) -> None:
        self._travel.stop()

    async def run(self) -> None:
        """Follow although nothing is invoked: timers wait for the moved time."""
        while True:
            self.follow()
            await asyncio.sleep(POLL_SECONDS)
