"""The ledger: operations, and access to all other tables and queues.

    operations    open operations. Keys: vault, certificate name in lower case. Each row is a lock, and all are the
                  worklist
    history       ended operations. Keys: `vault|name`, the last part of the operation's id. And requests with an
                  idempotency key that have joined an open operation of another id: that id
    renewals      the sweep's records (certrelay.storage.renewals)
    limits        rate and concurrency limits of vaults and authorities (certrelay.storage.limits)
    replacements  replacements (certrelay.renewal.replacements) and the certificates of each
    authorities   the state of connectors (certrelay.storage.memory). Keys: authority, a key that the connector chooses
    owners        who owns each certificate (certrelay.storage.owners)
    watch         when timers ran, incidents, messages of the poison queues (certrelay.storage.watch)
    keys          what continuations of lists are encrypted with (certrelay.storage.pages)

Every write of an open operation's row carries its ETag. A message in the queue `signing` is a wake-up: it names an
operation and says nothing else. The queue `notifications` holds events (certrelay.notifications.outbox). What the
Functions host gives up goes to `signing-poison` and `notifications-poison`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certrelay.errors import NotReady
from certrelay.log import logger
from certrelay.storage.limits import Limits
from certrelay.storage.memory import AuthorityMemory
from certrelay.storage.operation import Operation, State, from_entity, to_entity
from certrelay.storage.owners import Owners
from certrelay.storage.pages import Continuations
from certrelay.storage.renewals import Renewals
from certrelay.storage.rows import CLOCK_SKEW, ETAG, Row
from certrelay.storage.watch import Watch, time_of

if TYPE_CHECKING:
    from certrelay.storage.tables import Account, Queue

FARTHEST_ATTEMPT = timedelta(days=8)  # an operation waits for its authority for at most a week
DUE = "next_attempt_at le @due or requested_at gt @soon or next_attempt_at gt @far and state ne 'requested'"
JOINED = "joined"
TABLES = ("operations", "history", "renewals", "limits", "replacements", "authorities", "owners", "watch", "keys")
QUEUES = ("signing", "notifications")
UNREADABLE = (LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)

log = logger("storage")


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """One entry of the worklist; `next_attempt_at` is UTC."""

    vault: str
    name: str
    id: str
    authority: str | None
    next_attempt_at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class FailingOperation:
    """An open operation whose last try failed, at `at` (UTC), with its code and message."""

    vault: str
    authority: str
    code: str
    message: str
    at: datetime | None


class Ledger:
    """All methods raise NotReady when the storage account cannot be used now.

    `prefix` of the constructor: of all table and queue names."""

    def __init__(self, account: "Account", prefix: str = "") -> None:
        self._operations, self._history, renewals, limits, self.replacements, self._authorities, owners, watch, keys = (
            account.table(prefix + name) for name in TABLES
        )
        self.renewals, self.limits, self.owners = Renewals(renewals), Limits(limits), Owners(owners)
        self.watch, self.continuations = Watch(watch), Continuations(keys)
        self._signing, self.notifications = (account.queue(prefix + name) for name in QUEUES)
        self.poison = {name: account.queue(f"{prefix}{name}-poison") for name in QUEUES}
        self._logged: set[tuple[str, str]] = set()

    def memory_of(self, authority: str) -> AuthorityMemory:
        """The state of this authority's connector."""
        return AuthorityMemory(self._authorities, authority)

    def open(self, vault: str, name: str) -> Operation | None:
        """The certificate's open operation, or None."""
        row = self._operations.get(vault, name.lower())
        try:
            return from_entity(row, row[ETAG]) if row else None
        except UNREADABLE as error:
            where = f"PartitionKey {vault}, RowKey {name.lower()}"
            raise NotReady(f"the row in table operations cannot be read: {where}; correct or delete it") from error

    def insert(self, operation: Operation) -> Operation | None:
        """Insert the operation, and return it with its ETag; None if the certificate has an open operation.

        Raises Invalid if it is too large."""
        etag = self._operations.insert(_keys(operation) | _columns(operation))
        return replace(operation, etag=etag) if etag else None

    def save(self, operation: Operation) -> Operation:
        """Write the row, and return the operation with its new ETag. Raises Stale if the row has changed."""
        etag = self._operations.replace(_keys(operation) | _columns(operation), operation.etag)
        return replace(operation, etag=etag)

    def record(self, operation: Operation) -> None:
        """Write an ended operation to the history; may be repeated."""
        keys = {"PartitionKey": _history_of(operation.vault, operation.name), "RowKey": _unique(operation.id)}
        self._history.upsert(keys | _columns(replace(operation, replaced=b"")))

    def remove(self, operation: Operation) -> None:
        """Delete the operation's row, which frees the certificate's name. Raises Stale if the row has changed."""
        self._operations.delete(operation.vault, operation.name.lower(), operation.etag)

    def ended(self, vault: str, name: str) -> list[Operation]:
        """The certificate's ended operations, newest first. A row that cannot be read is logged and left out."""
        rows = self._history.query("PartitionKey eq @partition", partition=_history_of(vault, name))
        return sorted(
            self._readable(_operations_in(rows), from_entity),
            key=lambda operation: operation.requested_at,
            reverse=True,
        )

    def ended_with(self, vault: str, name: str, identifier: str) -> Operation | None:
        """The ended operation of the certificate with this id, or the one that the request with this id has joined."""
        partition = _history_of(vault, name)
        row = self._history.get(partition, _unique(identifier))
        if row is not None and JOINED in row:
            row = self._history.get(partition, _unique(str(row[JOINED])))
        return next(self._readable([row] if row else [], from_entity), None)

    def joined_by(self, vault: str, name: str, identifier: str) -> str:
        """The id of the operation that the request with this id has joined, or ""."""
        row = self._history.get(_history_of(vault, name), _unique(identifier)) or {}
        return str(row.get(JOINED, ""))

    def note_joined(self, operation: Operation, identifier: str) -> None:
        """Note that the request that would have opened the operation `identifier` has joined this one."""
        keys = {"PartitionKey": _history_of(operation.vault, operation.name), "RowKey": _unique(identifier)}
        self._history.insert(keys | {JOINED: operation.id})

    def worklist(self, due_by: datetime | None = None) -> Iterator[OpenOperation]:
        """The open operations of all vaults; with `due_by` (UTC), only those whose next attempt is due by then.

        Operations with impossible times, which only a wrong clock can have set, count as due, so that they do not wait
        for years. A row that cannot be read is logged and left out."""
        columns = ["PartitionKey", "RowKey", "name", "id", "next_attempt_at", "state", "authority"]
        moments = {"due": due_by, "soon": due_by + CLOCK_SKEW, "far": due_by + FARTHEST_ATTEMPT} if due_by else {}
        written = {name: moment.isoformat() for name, moment in moments.items()}
        yield from self._readable(self._operations.query(DUE if due_by else "", columns, **written), _open_operation)

    def _readable[Read](self, rows: Iterable[Row], read: Callable[[Row], Read]) -> Iterator[Read]:
        """What `read` makes of each row; one that it cannot read costs itself only, and is logged once."""
        for row in rows:
            try:
                yield read(row)
            except UNREADABLE as error:
                keys = row["PartitionKey"], row["RowKey"]
                if keys not in self._logged:
                    self._logged.add(keys)
                    log.error("the row %s cannot be read (%s): correct or delete it", keys, type(error).__name__)

    def wake_up(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        """Queue a wake-up: after the delay, the queue function advances the operation."""
        message = {"v": 1, "vault": operation.vault, "name": operation.name, "operation": operation.id}
        self._signing.send(json.dumps(message), delay_seconds)

    def failing(self) -> list[FailingOperation]:
        """The open operations whose last try failed."""
        columns = ["PartitionKey", "authority", "failure_code", "failure_message", "failed_at", "state"]
        rows = self._operations.query("failure_code ne ''", columns)
        return [
            FailingOperation(
                row["PartitionKey"], row.get("authority") or "", row["failure_code"], row["failure_message"],
                time_of(row, "failed_at"),
            )
            for row in rows if not State(row["state"]).ended
        ]  # fmt: skip

    def page(
        self, table: str, condition: str, limit: int, after: Row | None, **parameters: str
    ) -> tuple[list[Operation], Row | None]:
        """A page of the `open` or `ended` operations that meet an OData condition: see Table.page."""
        source = self._operations if table == "open" else self._history
        rows, following = source.page(condition, limit, after, **parameters)
        return list(self._readable(_operations_in(rows), from_entity)), following

    def queue(self, name: str) -> "Queue":
        """The queue `signing` or `notifications`."""
        return self._signing if name == "signing" else self.notifications

    def check(self) -> None:
        """Raise NotReady unless the tables and the queue respond."""
        next(self.worklist(), None)
        self._signing.check()


def _open_operation(row: Row) -> OpenOperation:
    next_attempt_at = datetime.fromisoformat(row["next_attempt_at"])
    names = row["PartitionKey"], row["name"], row["id"]
    return OpenOperation(*names, row.get("authority") or None, next_attempt_at, row["state"])


def _keys(operation: Operation) -> Row:
    return {"PartitionKey": operation.vault, "RowKey": operation.name.lower()}


def _columns(operation: Operation) -> Row:
    columns: dict[str, Any] = to_entity(operation)
    return columns | {"authority": operation.authority or ""}


def _unique(identifier: str) -> str:
    return identifier.rpartition(".")[2]


def _operations_in(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in rows if JOINED not in row)


def _history_of(vault: str, name: str) -> str:
    return f"{vault}|{name.lower()}"
