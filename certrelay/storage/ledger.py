"""The ledger: all tables and queues, and the operations among them.

    operations    the open ones. Keys: vault, certificate name in lower case. The row is the lock and the worklist
    history       how each operation went. Keys: `vault|name`, the end of the operation's id
    renewals      what the sweep remembers (certrelay.storage.renewals)
    limits        rates and concurrency of vaults and authorities (certrelay.storage.limits)
    replacements  replacements (certrelay.renewal.replacements) and the certificates of each

Every write of an open row carries its ETag. A message in the queue `signing` is a wake-up: it says where to look, and
nothing else. The queue `notifications` holds what people are told (certrelay.notifications.outbox).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from certrelay.storage.limits import Limits
from certrelay.storage.operation import Operation, from_entity, to_entity
from certrelay.storage.renewals import Renewals
from certrelay.storage.tables import ETAG, Account, Row

TABLES = ("operations", "history", "renewals", "limits", "replacements")
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
        self._operations, self._history, renewals, limits, self.replacements = (
            account.table(prefix + name) for name in TABLES
        )
        self.renewals, self.limits = Renewals(renewals), Limits(limits)
        self._signing, self.notifications = (account.queue(prefix + name) for name in QUEUES)

    def open(self, vault: str, name: str) -> Operation | None:
        """The open operation of a certificate name."""
        row = self._operations.get(vault, name.lower())
        return from_entity(row, row[ETAG]) if row else None

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
        return sorted((from_entity(row) for row in rows), key=lambda one: one.requested_at, reverse=True)

    def worklist(self, due_by: datetime | None = None) -> Iterator[OpenOperation]:
        """The open operations, or only those whose next attempt is due."""
        columns = ["PartitionKey", "name", "id", "next_attempt_at", "state", "authority"]
        due = {"due": due_by.isoformat()} if due_by else {}
        for row in self._operations.query("next_attempt_at le @due" if due else "", columns, **due):
            names = row["PartitionKey"], row["name"], row["id"]
            moment = datetime.fromisoformat(row["next_attempt_at"])
            yield OpenOperation(*names, row.get("authority") or None, moment, row["state"])

    def wake_up(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        """Send a wake-up: the queue function looks at the operation, after a delay."""
        text = {"v": 1, "vault": operation.vault, "name": operation.name, "operation": operation.id}
        self._signing.send(json.dumps(text), delay_seconds)

    def check(self) -> None:
        """Raise NotReady unless tables and queue answer."""
        next(self.worklist(), None)
        self._signing.check()


def _keys(operation: Operation) -> Row:
    return {"PartitionKey": operation.vault, "RowKey": operation.name.lower()}


def _columns(operation: Operation) -> Row:
    columns: dict[str, Any] = to_entity(operation)
    return columns | {"authority": operation.request.authority or ""}


def _history_of(vault: str, name: str) -> str:
    return f"{vault}|{name.lower()}"
