"""Rate and concurrency limits, shared by all workers through one table.

A holder is what has the limit: `vault main`, `authority corp`.
Rows of a rate limit: PartitionKey `rate`, RowKey the holder.
Rows of a concurrency limit: PartitionKey `concurrency of HOLDER`, RowKey a number.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certrelay.errors import NotReady
from certrelay.storage.rows import ETAG, Row, Stale

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

MAX_RACES = 50  # lost in a row, until a reservation fails


class Limits:
    """All methods raise NotReady when the storage account cannot be used now."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def reserve(self, holder: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """Reserve the next start time for an operation of `holder` (an authority or a vault) and return it (UTC).

        `burst` operations may start at once, then one each `interval_seconds`: the generic cell rate algorithm
        (ITU-T I.371). Also raises NotReady when too many workers reserve at the same time."""
        for _ in range(MAX_RACES):
            row = self._table.get("rate", holder)
            free_at, start = _next_start(row, now, timedelta(seconds=interval_seconds), burst)
            if self._put({"PartitionKey": "rate", "RowKey": holder, "free_at": free_at.isoformat()}, row):
                return start
        raise NotReady(f"too many operations of {holder} at once; try again", 2)

    def next_start(self, holder: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """What `reserve` would return now, without reserving it."""
        return _next_start(self._table.get("rate", holder), now, timedelta(seconds=interval_seconds), burst)[1]

    def acquire(self, holder: str, operation_id: str, limit: int, now: datetime, until: datetime) -> bool:
        """Acquire one of the `limit` slots of `holder` for the operation, unless it holds one.

        The operation holds it until `release`, or until the time `until` (UTC). Returns False if no slot is free."""
        partition = f"concurrency of {holder}"
        rows = {row["RowKey"]: row for row in self._table.query("PartitionKey eq @holder", holder=partition)}
        if any(row["operation"] == operation_id for row in rows.values()):
            return True
        for number in (f"{number:06}" for number in range(limit)):
            row = rows.get(number)
            if row is not None and datetime.fromisoformat(row["until"]) > now:
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

    def _put(self, row: Row, before: Row | None) -> bool:
        """Write a row that is as it was `before`, or absent if that is None. Returns False if the race is lost."""
        if before is None:
            return self._table.insert(row) is not None
        try:
            self._table.replace(row, before[ETAG])
        except Stale:
            return False
        return True


def _next_start(row: Row | None, now: datetime, interval: timedelta, burst: int) -> tuple[datetime, datetime]:
    """The row's new `free_at` after one more operation, and when that operation may start (both UTC)."""
    free_at = max(datetime.fromisoformat(row["free_at"]) if row else now, now) + interval
    return free_at, max(now, free_at - interval * burst)
