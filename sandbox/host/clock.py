"""The movable clock for code that asks Python what time it is.

The app has no local mode: it reads `datetime.now()`. So the process itself is moved, with the `time-machine` library.
"""

import asyncio
import datetime
import time
from pathlib import Path

import time_machine

from sandbox.clock import Clock

POLL_SECONDS = 0.2


class ProcessClock:
    """Keeps this process's clock `offset` seconds ahead, as the file says. `start` once; `stop` gives the time back."""

    def __init__(self, path: Path) -> None:
        self._clock = Clock(path)
        self._offset = 0.0
        self._travel: time_machine.travel | None = None

    def follow(self) -> None:
        """Move, if the file says something new."""
        offset = self._clock.offset
        if offset == self._offset:
            return
        self.stop()
        moment = datetime.datetime.fromtimestamp(time.time() + offset, datetime.UTC)
        self._travel = time_machine.travel(moment, tick=True)
        self._travel.start()
        self._offset = offset

    def stop(self) -> None:
        if self._travel is not None:
            self._travel.stop()
            self._travel, self._offset = None, 0.0

    async def run(self) -> None:
        while True:
            self.follow()
            await asyncio.sleep(POLL_SECONDS)
