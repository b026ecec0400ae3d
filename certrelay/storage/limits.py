"""Rate and concurrency limits, shared by all workers through one table.

A holder is what has the limit: `vault main`, `authority corp`.
Rows of a rate limit: PartitionKey `rate`, RowKey the holder. `at`: when it was written, by the writer's clock.
Rows of a concurrency limit: PartitionKey `concurrency of HOLDER`, RowKey a number.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from certrelay.errors import NotReady
from certrelay.storage.rows import CLOCK_SKEW, ETAG, Row, Stale
from certrelay.storage.watch import time_of

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

MAX_RACES = 50  # lost in a row, until a reservation fails
MAX_STARTS = 1000  # in a row's column, which has room for some more
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RateLimit(NamedTuple):
    """How fast the operations of a holder may start.

    In windows: never more than `requests` within any `seconds`, as Key Vault counts. Otherwise a token bucket, as
    Let's Encrypt counts: `burst` at once, then one each `seconds / requests`."""

    requests: int
    seconds: float
    burst: int
    in_windows: bool = False

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=self.seconds / self.requests)


@dataclass(slots=True, eq=False)
class _Wanted:
    """Somebody who wants to start, and when it may."""

    now: datetime
    limit: RateLimit
    start: datetime | None = None


class Limits:
    """All methods raise NotReady when the storage account cannot be used now."""

    def __init__(self, table: "Table") -> None:
        self._table = table
        self._lock = threading.Lock()
        # By holder: the row as this process has written it last; who waits; and whose turn it is to write for them.
        self._written: dict[str, Row] = {}
        self._waiting: dict[str, list[_Wanted]] = {}
        self._turns: dict[str, threading.Lock] = {}

    def reserve(self, holder: str, now: datetime, limit: RateLimit) -> datetime:
        """Reserve the next start time for an operation of `holder` (an authority or a vault) and return it (UTC).

        One request, if no other process has reserved since this one did; and one for all who ask while it is under way.
        Also raises NotReady when too many workers reserve at the same time."""
        wanted = _Wanted(now, limit)
        with self._lock:
            self._waiting.setdefault(holder, []).append(wanted)
            turn = self._turns.setdefault(holder, threading.Lock())
        with turn:
            if wanted.start is None:
                with self._lock:
                    waiting = self._waiting.pop(holder, [])
                # Whoever had the turn before may have failed: then this one is not among them.
                self._reserve(holder, waiting if wanted in waiting else [wanted, *waiting])
        assert wanted.start is not None  # noqa: S101 - else it was raised
        return wanted.start

    def _reserve(self, holder: str, waiting: Sequence[_Wanted]) -> None:
        for _ in range(MAX_RACES):
            row = self._written.pop(holder, None) or self._table.get("rate", holder)
            columns: Mapping[str, Any] = row or {}
            starts = []
            for wanted in waiting:
                start, columns = _next_start(columns, wanted.now, wanted.limit)
                starts.append(start)
            written = {"PartitionKey": "rate", "RowKey": holder, **columns}
            if etag := self._put(written, row):
                self._written[holder] = {**written, ETAG: etag}
                for wanted, start in zip(waiting, starts, strict=True):
                    wanted.start = start
                return
        raise NotReady(f"too many operations of {holder} at once; try again", 2)

    def next_start(self, holder: str, now: datetime, limit: RateLimit) -> datetime:
        """What `reserve` would return now, without reserving it."""
        return _next_start(self._table.get("rate", holder) or {}, now, limit)[0]

    def acquire(self, holder: str, operation_id: str, limit: int, now: datetime, until: datetime) -> bool:
        """Acquire one of the `limit` slots of `holder` for the operation, unless it holds one.

        The operation holds it until `release`, or until the time `until` (UTC). Returns False if no slot is free."""
        partition = f"concurrency of {holder}"
        rows = {row["RowKey"]: row for row in self._table.query("PartitionKey eq @holder", holder=partition)}
        if any(row.get("operation") == operation_id for row in rows.values()):
            return True
        for number in (f"{number:06}" for number in range(limit)):
            row = rows.get(number)
            if row is not None and (time_of(row, "until") or now) > now:
                continue
            keys = {"PartitionKey": partition, "RowKey": number}
            if self._put({**keys, "operation": operation_id, "until": until.isoformat()}, row):
                return True
        return False

    def release(self, holder: str, operation_id: str) -> None:
        """Release the operation's slot, if it holds one."""
        condition = "PartitionKey eq @holder and operation eq @operation"
        rows = self._table.query(condition, holder=f"concurrency of {holder}", operation=operation_id)
        for row in list(rows):
            self._table.delete(row["PartitionKey"], row["RowKey"], row[ETAG])

    def _put(self, row: Row, before: Row | None) -> str | None:
        """Write a row that is as it was `before`, or absent if that is None.

        Returns its new ETag; None if the race is lost."""
        if before is None:
            return self._table.insert(row)
        try:
            return self._table.replace(row, before[ETAG])
        except Stale:
            return None


def _next_start(row: Mapping[str, Any], now: datetime, limit: RateLimit) -> tuple[datetime, dict[str, str]]:
    """When one more operation may start (UTC), and the row's columns after it."""
    written_at = time_of({**row}, "at") or now
    ahead = written_at - now if written_at > now + CLOCK_SKEW else timedelta(0)
    start, columns = _in_windows(row, now, limit, ahead) if limit.in_windows else _from_bucket(row, now, limit, ahead)
    return start, {**columns, "at": now.isoformat()}


def _from_bucket(
    row: Mapping[str, Any], now: datetime, limit: RateLimit, ahead: timedelta
) -> tuple[datetime, dict[str, str]]:
    """The generic cell rate algorithm (ITU-T I.371). `ahead`: as of `_in_windows`."""
    known = time_of({**row}, "free_at")
    free_at = (now if known is None else max(known - ahead, now)) + limit.interval
    return max(now, free_at - limit.interval * limit.burst), {"free_at": free_at.isoformat()}


def _in_windows(
    row: Mapping[str, Any], now: datetime, limit: RateLimit, ahead: timedelta
) -> tuple[datetime, dict[str, str]]:
    """The row has the last starts. After a burst the next ones are spread over the window, and not one more burst.

    `ahead`: of the clock that wrote the row, if that was wrong. Starts to come are earlier by that."""
    size = min(limit.requests, MAX_STARTS)
    starts = [min(at, max(at - ahead, now)) for at in _starts(row)][-size:]
    start = now
    if len(starts) == size:  # of more than MAX_STARTS, a part of the window holds MAX_STARTS
        start = max(start, starts[0] + limit.interval * size)
    if starts and starts[-1] > now:
        start = max(start, starts[-1] + limit.interval)
    kept = [*starts, start][-size:]
    return start, {"starts": json.dumps([(at - EPOCH) // timedelta(microseconds=1) for at in kept])}


def _starts(row: Mapping[str, Any]) -> list[datetime]:
    """The starts in a row; none if somebody has spoiled it."""
    try:
        return [EPOCH + timedelta(microseconds=at) for at in json.loads(row.get("starts", "[]"))]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return []
