"""A night on the injected clock: timers run as their schedules say, unless they are stopped; who was told what."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certrelay.schedules import next_run
from certrelay.watch import timers
from tests.notifications.receiver import delivered
from tests.world import DAY, World

RUNS = {"poll": timers.poll, "sweep": timers.sweep, "digest": timers.digest}
HOUR = 3600
SERVICE = "certrelay.service."


def evening(now: float) -> float:
    """The next 20:30 UTC (UNIX seconds, as `now`)."""
    return now + (20.5 * HOUR - now) % DAY


@dataclass
class Night:
    """`got`: what the receiver got. `stopped`: timers that do not run."""

    world: World
    got: list[tuple[dict[str, str], bytes]]
    stopped: set[str] = field(default_factory=set)

    def pass_(self, minutes: float, every: int = 10) -> None:
        """Let this time pass, with all timers that run; of the polls, for speed, those at minutes that `every` divides.

        Seven minutes after an hour a sweep looks when the last poll was: there is one at each hour, or within seven
        minutes. What divides an hour gives the same polls whenever the night begins."""
        services, until = self.world.services, self.world.clock.now() + minutes * 60
        due: dict[str, datetime | None] = {}
        for name in RUNS.keys() - self.stopped:
            due[name] = self._next(name, services.now(), every)
        while (first := min((moment for moment in due.values() if moment), default=None)) is not None:
            if first.timestamp() > until:
                break
            self.world.clock.set(first.timestamp() + 0.5)
            for name in [name for name, moment in due.items() if moment == first]:
                RUNS[name](services)
                due[name] = self._next(name, first, every)
        self.world.clock.set(until)
        services.storage.notifications.check()  # makes the queue
        while delivered(self.world):
            pass

    def told(self) -> list[dict[str, Any]]:
        """The events of the service itself, in their order."""
        events = [json.loads(body) for _, body in self.got]
        return [event for event in events if event["type"].startswith(SERVICE)]

    def kinds(self) -> list[str]:
        return [event["type"].removeprefix(SERVICE) for event in self.told()]

    def _next(self, name: str, after: datetime, every: int) -> datetime | None:
        schedule = self.world.services.settings.schedules[f"CERTRELAY_{name.upper()}_SCHEDULE"]
        found = next_run(schedule, after)
        while name == "poll" and found and found.timestamp() // 60 % every:
            found = next_run(schedule, found)
        return found
