"""Rate and concurrency limits, shared by all workers through one table.

Rows of a rate: PartitionKey `rate`, RowKey the holder of the limit (`vault main`, `authority corp`).
Rows of a concurrency limit: PartitionKey `concurrency of HOLDER`, RowKey a number.
"""

from datetime import datetime, timedelta

from certrelay.errors import NotReady
from certrelay.storage.tables import ETAG, Row, Stale, Table

MAX_RACES = 50


class Limits:
    """All methods raise NotReady when the storage account cannot be used now."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def reserve(self, holder: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """Reserve the next start time for an operation of `holder` (an authority or a vault) and return it (UTC).

        `burst` operations may start at once, then one each `interval_seconds`: the generic cell rate algorithm
        (ITU-T I.371). Raises NotReady as well when too many workers reserve at the same time."""
        for _ in range(MAX_RACES):
            row = self._table.get("rate", holder)
            free_at, start = _next_start(row, now, timedelta(seconds=interval_seconds), burst)
            if self._put({"PartitionKey": "rate", "RowKey": holder, "free_at": free_at.isoformat()}, row):
                return start
        raise NotReady(f"too many operations of {holder} at once; try again", 2)

    def next_start(self, holder: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """What `reserve` would return now; nothing is reserved."""
        return _next_start(self._table.get("rate", holder), now, timedelta(seconds=interval_seconds), burst)[1]

    def acquire(self, holder: str, operation_id: str, limit: int, now: datetime, until: datetime) -> bool:
        """Whether the operation is now, or was already, one of the `limit` that `holder` may have at once.

        It holds its place until it is released, and no longer than `until` (UTC)."""
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
        """Free the operation's place, if it has one."""
        condition = "PartitionKey eq @holder and operation eq @operation"
        rows = self._table.query(condition, holder=f"concurrency of {holder}", operation=operation_id)
        for row in list(rows):
            self._table.delete(row["PartitionKey"], row["RowKey"], row[ETAG])

    def _put(self, row: Row, before: Row | None) -> bool:
        if before is None:
            return self._table.insert(row) is not None
        try:
            self._table.replace(row, before[ETAG])
        except Stale:
            return False
        return True


def _next_start(row: Row | None, now: datetime, interval: timedelta, burst: int) -> tuple[datetime, datetime]:
    """The row's `free_at` after one more operation, and when that operation may start."""
    free_at = max(datetime.fromisoformat(row["free_at"]) if row else now, now) + interval
    return free_at, max(now, free_at - interval * burst)
