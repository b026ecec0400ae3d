"""What the watchmen remember: when each timer ran, what is wrong now, and the messages that nobody could process.

run       a timer, or `event`: when it ran last, and how
answered  an authority: when it issued last
incident  `KIND|SUBJECT`: since when something is wrong, and whether people were told
poison    a message of a poison queue
attempt   why a message failed last, before it is in the poison queue
delivery  a target of notifications: its last delivery, and the last one that failed
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from certrelay.errors import NotReady
from certrelay.storage.rows import ETAG, Row

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

COLUMNS = [
    "PartitionKey", "RowKey", "at", "begun_at", "ended_at", "succeeded_at", "expected_since", "ok", "detail", "since",
    "told", "next_step", "queue", "subject", "reason", "outcome",
]  # fmt: skip
SELDOM = timedelta(minutes=1)  # how often one process notes the same thing


class Watch:
    """Rows by partition and key. All methods raise NotReady when storage cannot be used now, unless they say more."""

    def __init__(self, table: "Table") -> None:
        self._table = table
        self._noted: dict[tuple[str, str], datetime] = {}

    def rows(self, partition: str) -> dict[str, Row]:
        """All rows of a partition, by key."""
        return {row["RowKey"]: row for row in self._table.query("PartitionKey eq @partition", partition=partition)}

    def all(self) -> dict[str, dict[str, Row]]:
        """All rows by partition and key, without the bodies of messages: one request."""
        found: dict[str, dict[str, Row]] = {name: {} for name in ("run", "answered", "incident", "poison", "attempt")}
        for row in self._table.query(select=COLUMNS):
            found.setdefault(row["PartitionKey"], {})[row["RowKey"]] = row
        return found

    def get(self, partition: str, key: str) -> Row | None:
        return self._table.get(partition, key)

    def add(self, partition: str, key: str, columns: Row) -> bool:
        """Insert a row. Returns False, and changes nothing, if it exists."""
        return self._table.insert({**columns, "PartitionKey": partition, "RowKey": key}) is not None

    def merge(self, partition: str, key: str, columns: Row) -> None:
        """Write these columns, and keep the others."""
        kept = {name: value for name, value in columns.items() if name != ETAG}
        self._table.merge({**kept, "PartitionKey": partition, "RowKey": key})

    def delete(self, partition: str, key: str) -> None:
        self._table.delete(partition, key)

    def note(self, partition: str, key: str, now: datetime, **columns: str) -> None:
        """Note that something happened now: seldom, and at best. Does not raise."""
        last = self._noted.get((partition, key))
        if last is not None and abs(now - last) < SELDOM:
            return
        with suppress(NotReady):
            self.merge(partition, key, {"at": now.isoformat(), **columns})
            self._noted[partition, key] = now


def time_of(row: Row | None, column: str) -> datetime | None:
    """The time (UTC) in a column; None if the row is missing, or the column is, or is unreadable."""
    try:
        return datetime.fromisoformat((row or {}).get(column) or "").astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def incident_key(kind: str, subject: str) -> str:
    return f"{kind}|{subject}"


def told_of(rows: dict[str, Row]) -> set[str]:
    """The keys of the incidents that people were told of."""
    return {key for key, row in rows.items() if row.get("told")}
