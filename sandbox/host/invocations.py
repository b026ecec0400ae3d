"""Every invocation goes through here: one line in the log, and the host's time limit."""

import asyncio
import logging
import re
import time
from typing import Any

from sandbox.host.clock import ProcessClock
from sandbox.host.worker import Function, Result, Worker

log = logging.getLogger("sandbox.host")


class Invocations:
    """`timeout` in seconds. The real host restarts the worker process when it passes; here the thread that is stuck
    goes on, its result is dropped, and the invocation counts as failed.

    `clock`: whoever moved it and then called is served at the new time."""

    def __init__(self, worker: Worker, timeout: float, clock: ProcessClock | None = None) -> None:
        self.worker, self._timeout, self._clock = worker, timeout, clock

    async def invoke(self, function: Function, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        if self._clock:
            self._clock.follow()
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                result = await self.worker.invoke(function, value, metadata)
        except TimeoutError:
            result = Result(False, error=f"the function took longer than {self._timeout:.0f} s")
        took = (time.monotonic() - begun) * 1000
        log.info("%s %s in %.0f ms", function.name, "succeeded" if result.ok else "FAILED", took)
        if not result.ok:
            log.error("%s raised %s", function.name, re.split("[:(]", result.error)[0][:100])
            log.debug("%s: %s", function.name, result.error)
        return result
