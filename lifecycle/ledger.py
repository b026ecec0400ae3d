"""The ledger: what CertRelay remembers.

    operations    the open ones. Keys: vault, certificate name in lower case. The row is the lock and the worklist
    history       how each operation went. Keys: `vault|name`, the end of the operation's id
    renewals      what the sweep remembers of a certificate (lifecycle.notes). Keys as in `operations`
    pace          when a vault or an authority is free for the next order (keys: `pace`, who), which operations it
                  has at once (keys: `slots of` who, a number), and where a sweep had to stop (keys: `sweep`, vault)
    replacements  mass renewals (lifecycle.replacements) and the certificates of each

Every write of an open row carries its ETag. The queue `signing` holds nudges, which say where to look and nothing else;
`notifications` holds what people are told (lifecycle.notifications).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certrelay.errors import NotReady
from lifecycle import model, notes
from lifecycle.model import Operation
from lifecycle.notes import Note
from lifecycle.storage import ETAG, Account, Row, Stale

TABLES = ("operations", "history", "renewals", "pace", "replacements")
QUEUES = ("signing", "notifications")


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """One line of the worklist."""

    vault: str
    name: str
    id: str
    authority: str | None
    next_attempt_at: datetime
    state: str


class Ledger:
    """All methods raise NotReady when the storage account cannot be used now."""

    def __init__(self, account: Account, prefix: str = "") -> None:
        self._operations, self._history, self._renewals, self._pace, self.replacements = (
            account.table(prefix + name) for name in TABLES
        )
        self._signing, self.notifications = (account.queue(prefix + name) for name in QUEUES)

    def open(self, vault: str, name: str) -> Operation | None:
        """The open operation of a certificate name."""
        row = self._operations.get(vault, name.lower())
        return model.from_entity(row, row[ETAG]) if row else None

    def insert(self, operation: Operation) -> Operation | None:
        """Open the operation; None when one is open for the name already."""
        etag = self._operations.insert(_keys(operation) | _columns(operation))
        return replace(operation, etag=etag) if etag else None

    def save(self, operation: Operation) -> Operation:
        """Write the row; the operation with its new ETag. Raises Stale when the row changed since it was read."""
        etag = self._operations.replace(_keys(operation) | _columns(operation), operation.etag)
        return replace(operation, etag=etag)

    def close(self, operation: Operation) -> None:
        """Put the ended operation into the history, then remove its row. Raises Stale when the row changed."""
        self.record(operation)
        self.remove(operation)

    def record(self, operation: Operation) -> None:
        """Put an operation that has ended into the history."""
        keys = {"PartitionKey": _history_of(operation.vault, operation.name), "RowKey": operation.id.split(".")[-1]}
        self._history.upsert(keys | _columns(operation))

    def remove(self, operation: Operation) -> None:
        """Free the name. Raises Stale when the row changed."""
        self._operations.delete(operation.vault, operation.name.lower(), operation.etag)

    def ended(self, vault: str, name: str) -> list[Operation]:
        """The history of a certificate name, newest first."""
        rows = self._history.query("PartitionKey eq @partition", partition=_history_of(vault, name))
        return sorted((model.from_entity(row) for row in rows), key=lambda one: one.requested_at, reverse=True)

    def worklist(self, due_by: datetime | None = None) -> Iterator[OpenOperation]:
        """The open operations, or only those whose next attempt is due."""
        columns = ["PartitionKey", "name", "id", "next_attempt_at", "state", "authority"]
        due = {"due": due_by.isoformat()} if due_by else {}
        for row in self._operations.query("next_attempt_at le @due" if due else "", columns, **due):
            names = row["PartitionKey"], row["name"], row["id"]
            moment = datetime.fromisoformat(row["next_attempt_at"])
            yield OpenOperation(*names, row.get("authority") or None, moment, row["state"])

    def nudge(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        """Ask the queue function to look at the operation, after a delay."""
        text = {"v": 1, "vault": operation.vault, "name": operation.name, "operation": operation.id}
        self._signing.send(json.dumps(text), delay_seconds)

    def notes(self, vault: str, names: list[str]) -> dict[str, Note]:
        """What is remembered of these certificates (one request for neighbours in the alphabet), by lower-case name."""
        if not names:
            return {}
        keys = sorted(name.lower() for name in names)
        between = "PartitionKey eq @vault and RowKey ge @first and RowKey le @last"
        rows = self._renewals.query(between, vault=vault, first=keys[0], last=keys[-1])
        wanted = set(keys)
        return {row["RowKey"]: notes.from_entity(row) for row in rows if row["RowKey"] in wanted}

    def note(self, vault: str, name: str) -> Note:
        """What is remembered of one certificate; an empty note when that is nothing."""
        return self.notes(vault, [name]).get(name.lower()) or Note(vault, name)

    def remember(self, note: Note, known: Note) -> None:
        """Write what became of the note that was `known`; what others wrote into the row meanwhile stays."""
        self._renewals.merge(notes.to_entity(note, known))

    def forget(self, vault: str, name: str) -> None:
        self._renewals.delete(vault, name.lower())

    def place_in_list(self, vault: str) -> str:
        """The path of the page where the last sweep had to stop; empty when it came to the end."""
        row = self._pace.get("sweep", vault)
        return str(row["path"]) if row else ""

    def keep_place_in_list(self, vault: str, path: str) -> None:
        self._pace.upsert({"PartitionKey": "sweep", "RowKey": vault, "path": path})

    def reserve(self, who: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """When `who` (an authority or a vault) is free for one more order, which is hereby placed.

        `burst` orders may come at once, then one each `interval_seconds` (the generic cell rate algorithm)."""
        for _ in range(50):
            row = self._pace.get("pace", who)
            free_at, begins = _turn(row, now, timedelta(seconds=interval_seconds), burst)
            if self._placed({"PartitionKey": "pace", "RowKey": who, "free_at": free_at.isoformat()}, row):
                return begins
        raise NotReady(f"too many orders for {who} at once; ask again", 2)

    def free_at(self, who: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """What `reserve` would answer now; nothing is placed."""
        return _turn(self._pace.get("pace", who), now, timedelta(seconds=interval_seconds), burst)[1]

    def occupy(self, who: str, operation_id: str, limit: int, now: datetime, until: datetime) -> bool:
        """Whether the operation has one of the `limit` slots of `who` (an authority or a vault), now or already.

        A slot is free again when it is vacated, or after `until`."""
        slots = {row["RowKey"]: row for row in self._pace.query("PartitionKey eq @slots", slots=f"slots of {who}")}
        if any(row["operation"] == operation_id for row in slots.values()):
            return True
        for number in (f"{number:06}" for number in range(limit)):
            taken = slots.get(number)
            if taken is not None and datetime.fromisoformat(taken["until"]) > now:
                continue
            keys = {"PartitionKey": f"slots of {who}", "RowKey": number}
            if self._placed({**keys, "operation": operation_id, "until": until.isoformat()}, taken):
                return True
        return False

    def vacate(self, who: str, operation_id: str) -> None:
        """Free the slot that the operation has, if any."""
        condition = "PartitionKey eq @slots and operation eq @operation"
        for row in list(self._pace.query(condition, slots=f"slots of {who}", operation=operation_id)):
            self._pace.delete(row["PartitionKey"], row["RowKey"], row[ETAG])

    def check(self) -> None:
        """Raise NotReady unless tables and queue answer."""
        next(self.worklist(), None)
        self._signing.check()

    def _placed(self, row: Row, before: Row | None) -> bool:
        if before is None:
            return self._pace.insert(row) is not None
        try:
            self._pace.replace(row, before[ETAG])
        except Stale:
            return False
        return True


def _turn(row: Row | None, now: datetime, interval: timedelta, burst: int) -> tuple[datetime, datetime]:
    """What one more order makes of the row's `free_at`, and when that order may begin."""
    free_at = max(datetime.fromisoformat(row["free_at"]) if row else now, now) + interval
    return free_at, max(now, free_at - interval * burst)


def _keys(operation: Operation) -> Row:
    return {"PartitionKey": operation.vault, "RowKey": operation.name.lower()}


def _columns(operation: Operation) -> Row:
    columns: dict[str, Any] = model.to_entity(operation)
    return columns | {"authority": operation.request.authority or ""}


def _history_of(vault: str, name: str) -> str:
    return f"{vault}|{name.lower()}"
