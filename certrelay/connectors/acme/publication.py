"""The challenge records of an order: published, and looked for until all name servers have them."""

import time
from collections.abc import Iterable, Iterator, Sequence

from certrelay.connectors.acme.dns import DnsFailure, SilentServers, Solver
from certrelay.log import logger

# functionTimeout is five minutes. A look takes a second, and longer where servers are far away or do not answer; an
# order may have a hundred names. After so many seconds, which follow those for steps, nobody looks any more.
LOOK_SECONDS = 100.0

type Record = tuple[str, str]

log = logger("acme")


class TimeIsUp(DnsFailure):
    """The time is up; the next call, if there is one, continues."""


class Publication:
    """The methods raise DnsFailure, and TimeIsUp: steps end at `end`, which is a moment of time.monotonic().

    `visible` are the records that were seen in this call, or in one before that had no time for all."""

    def __init__(self, solver: Solver, end: float) -> None:
        self._solver, self._end = solver, end
        self.visible: set[Record] = set()

    def is_complete(self, records: Sequence[Record], *, without_silent: bool) -> bool:
        """Publish all records that cannot be seen, since they take effect at the same time. Returns whether all can be
        seen now; with `without_silent`, name servers that do not answer are left out."""
        unseen = []
        for record in records:
            if not self._is_visible(record, without_silent):
                self._solver.publish(*record)
                unseen.append(record)
                if time.monotonic() >= self._end:
                    raise TimeIsUp
        return all(self._is_visible(record, without_silent) for record in unseen)

    def in_time[T](self, looked_up: Iterable[T]) -> Iterator[T]:
        """The first of these, which take a look each, or as many as there is time for."""
        for one in looked_up:
            yield one
            if self._is_time_up():
                return

    def _is_time_up(self) -> bool:
        return time.monotonic() >= self._end + LOOK_SECONDS

    def _is_visible(self, record: Record, without_silent: bool) -> bool:
        if record in self.visible:
            return True
        if self._is_time_up():
            raise TimeIsUp
        try:
            is_visible = self._solver.is_visible(*record)
        except SilentServers as silent:
            if not without_silent:
                raise
            log.warning("%s: %s; the order goes on without them", record[0], silent)
            is_visible = True
        if is_visible:
            self.visible.add(record)
        return is_visible
