"""The ledger: open operations and their history in tables, nudges in a queue.

Table `operations` (PartitionKey = vault, RowKey = certificate name in lower case): the row is the lock and the
worklist. Table `history` (PartitionKey = `vault|name`, RowKey = the end of the operation's id): how each one went.
Every write of a row carries its ETag. Table `renewals` (keys as in `operations`): what the sweep remembers of a
certificate. Table `pace` (PartitionKey = `pace`): when an authority or a vault is free again. Queue `signing` holds
nudges, which say where to look and nothing else.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle import notes
from lifecycle.errors import NotReady
from lifecycle.model import Operation, from_entity, to_entity
from lifecycle.notes import Note

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.data.tables import TableClient
    from azure.storage.queue import QueueClient

OPERATIONS, HISTORY, RENEWALS, PACE, QUEUE = "operations", "history", "renewals", "pace", "signing"
MAX_DELAY_SECONDS = 6 * 24 * 3600
_RETRIES: dict[str, Any] = {"retry_total": 3, "connection_timeout": 5, "read_timeout": 20}


class Stale(Exception):
    """The row changed since it was read: somebody else is at work on the operation."""


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """One line of the worklist."""

    vault: str
    name: str
    id: str
    authority: str | None
    next_attempt_at: datetime
    state: str


class Storage:
    """All that CertRelay remembers. Methods raise NotReady when tables or queue cannot be used now."""

    def __init__(
        self,
        operations: "TableClient",
        history: "TableClient",
        queue: "QueueClient",
        renewals: "TableClient",
        pace: "TableClient",
    ) -> None:
        self._operations, self._history, self._queue = operations, history, queue
        self._renewals, self._pace = renewals, pace
        self._made = False

    def open(self, vault: str, name: str) -> Operation | None:
        """The open operation of a certificate name."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._reachable():
            try:
                return _operation(self._operations.get_entity(vault, name.lower()))
            except ResourceNotFoundError:
                return None

    def insert(self, operation: Operation) -> Operation | None:
        """Open the operation; None when one is open for the name already."""
        from azure.core.exceptions import ResourceExistsError

        with self._reachable():
            try:
                made = self._operations.create_entity(_keys(operation) | to_entity(operation) | _columns(operation))
            except ResourceExistsError:
                return None
            return replace(operation, etag=made["etag"])

    def save(self, operation: Operation) -> Operation:
        """Write the row; the operation with its new ETag. Raises Stale when the row changed since it was read."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError
        from azure.data.tables import UpdateMode

        with self._reachable():
            try:
                written = self._operations.update_entity(
                    _keys(operation) | to_entity(operation) | _columns(operation),
                    mode=UpdateMode.REPLACE,
                    etag=operation.etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except HttpResponseError as error:
                if error.status_code in (404, 412):
                    raise Stale from error
                raise
            return replace(operation, etag=written["etag"])

    def close(self, operation: Operation) -> None:
        """Put the ended operation into the history, then remove its row. Raises Stale when the row changed."""
        self.record(operation)
        self.remove(operation)

    def record(self, operation: Operation) -> None:
        """Put an operation that has ended into the history."""
        with self._reachable():
            keys = {"PartitionKey": _history_of(operation.vault, operation.name), "RowKey": operation.id.split(".")[-1]}
            self._history.upsert_entity(keys | to_entity(operation) | _columns(operation))

    def ended(self, vault: str, name: str) -> list[Operation]:
        """The history of a certificate name, newest first."""
        with self._reachable():
            partition = _history_of(vault, name)
            rows = self._history.query_entities("PartitionKey eq @partition", parameters={"partition": partition})
            return sorted((_operation(row) for row in rows), key=lambda row: row.requested_at, reverse=True)

    def worklist(self, due_by: datetime | None = None) -> Iterator[OpenOperation]:
        """The open operations, or only those whose next attempt is due."""
        columns = ["PartitionKey", "name", "id", "next_attempt_at", "state", "authority"]
        with self._reachable():
            if due_by is None:
                rows = self._operations.list_entities(select=columns)
            else:
                rows = self._operations.query_entities(
                    "next_attempt_at le @due", parameters={"due": due_by.isoformat()}, select=columns
                )
            for row in rows:
                due = datetime.fromisoformat(row["next_attempt_at"])
                names = row["PartitionKey"], row["name"], row["id"]
                yield OpenOperation(*names, row.get("authority") or None, due, row["state"])

    def nudge(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        """Ask the queue function to look at the operation, after a delay."""
        text = json.dumps({"v": 1, "vault": operation.vault, "name": operation.name, "operation": operation.id})
        delay = min(max(math.ceil(delay_seconds), 0), MAX_DELAY_SECONDS)
        with self._reachable():
            self._queue.send_message(text, visibility_timeout=delay)

    def notes(self, vault: str, names: list[str]) -> dict[str, Note]:
        """What is remembered of these certificates (one request for neighbours in the alphabet), by lower-case name."""
        keys = sorted(name.lower() for name in names)
        between = "PartitionKey eq @vault and RowKey ge @first and RowKey le @last"
        with self._reachable():
            bounds = {"vault": vault, "first": keys[0], "last": keys[-1]}
            rows = self._renewals.query_entities(between, parameters=bounds)
            wanted = set(keys)
            return {row["RowKey"]: notes.from_entity(row) for row in rows if row["RowKey"] in wanted}

    def remember(self, note: Note) -> None:
        from azure.data.tables import UpdateMode

        with self._reachable():
            self._renewals.upsert_entity(notes.to_entity(note), mode=UpdateMode.REPLACE)

    def forget(self, vault: str, name: str) -> None:
        with self._reachable():
            self._renewals.delete_entity(vault, name.lower())

    def reserve(self, who: str, now: datetime, interval_seconds: float, burst: int) -> datetime:
        """When `who` (an authority or a vault) is free for one more order, which is hereby placed.

        `burst` orders may come at once, then one each `interval_seconds` (the generic cell rate algorithm)."""
        for _ in range(50):
            due, etag = self._free_at(who, now)
            placed = max(due, now) + timedelta(seconds=interval_seconds)
            if self._place(who, placed, etag):
                return max(now, placed - timedelta(seconds=interval_seconds * burst))
        raise NotReady(f"too many orders for {who} at once; ask again", 2)

    def check(self) -> None:
        """Raise NotReady unless tables and queue answer."""
        with self._reachable():
            next(iter(self._operations.list_entities(results_per_page=1, select=["PartitionKey"])), None)
            self._queue.get_queue_properties()

    def remove(self, operation: Operation) -> None:
        """Free the name. Raises Stale when the row changed."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        with self._reachable():
            try:
                self._operations.delete_entity(
                    _keys(operation), etag=operation.etag, match_condition=MatchConditions.IfNotModified
                )
            except HttpResponseError as error:
                if error.status_code == 412:
                    raise Stale from error
                if error.status_code != 404:
                    raise

    def _free_at(self, who: str, now: datetime) -> tuple[datetime, str]:
        from azure.core.exceptions import ResourceNotFoundError

        with self._reachable():
            try:
                row = self._pace.get_entity("pace", who)
            except ResourceNotFoundError:
                return now, ""
            return datetime.fromisoformat(row["free_at"]), str(row.metadata["etag"])

    def _place(self, who: str, free_at: datetime, etag: str) -> bool:
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError
        from azure.data.tables import UpdateMode

        row = {"PartitionKey": "pace", "RowKey": who, "free_at": free_at.isoformat()}
        with self._reachable():
            try:
                if etag:
                    unchanged = MatchConditions.IfNotModified
                    self._pace.update_entity(row, mode=UpdateMode.REPLACE, etag=etag, match_condition=unchanged)
                else:
                    self._pace.create_entity(row)
            except HttpResponseError as error:
                if error.status_code in (404, 409, 412):
                    return False
                raise
            return True

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            self._make()
            yield
        except HttpResponseError as error:
            raise NotReady(f"the storage account answered {error.status_code}", code="StorageNotReady") from error
        except AzureError as error:
            raise NotReady("the storage account cannot be reached", code="StorageNotReady") from error

    def _make(self) -> None:
        from azure.core.exceptions import ResourceExistsError

        if self._made:
            return
        tables = (self._operations, self._history, self._renewals, self._pace)
        creations: list[Callable[[], object]] = [table.create_table for table in tables]
        for create in (*creations, self._queue.create_queue):
            try:
                create()
            except ResourceExistsError:
                continue
        self._made = True


def connect(settings: Mapping[str, str], credential: "TokenCredential | None") -> Storage:
    """The storage that `settings` (see lifecycle.settings) name, by connection string or with the app's identity."""
    from azure.data.tables import TableServiceClient
    from azure.storage.queue import LinearRetry, QueueServiceClient, TextBase64EncodePolicy

    queue_options: dict[str, Any] = {**_RETRIES, "retry_policy": LinearRetry(backoff=1, retry_total=3)}
    connection_string = settings.get("AzureWebJobsStorage")
    if connection_string:
        tables = TableServiceClient.from_connection_string(connection_string, **_RETRIES)
        queues = QueueServiceClient.from_connection_string(connection_string, **queue_options)
    else:
        account = settings.get("AzureWebJobsStorage__accountName", "")
        table_url = settings.get("AzureWebJobsStorage__tableServiceUri", f"https://{account}.table.core.windows.net")
        queue_url = settings.get("AzureWebJobsStorage__queueServiceUri", f"https://{account}.queue.core.windows.net")
        tables = TableServiceClient(table_url, credential=credential, **_RETRIES)
        queues = QueueServiceClient(queue_url, credential=credential, **queue_options)
    queue = queues.get_queue_client(QUEUE, message_encode_policy=TextBase64EncodePolicy())
    operations, history, renewals, pace = map(tables.get_table_client, (OPERATIONS, HISTORY, RENEWALS, PACE))
    return Storage(operations, history, queue, renewals, pace)


def _keys(operation: Operation) -> dict[str, Any]:
    return {"PartitionKey": operation.vault, "RowKey": operation.name.lower()}


def _columns(operation: Operation) -> dict[str, Any]:
    return {"authority": operation.request.authority or ""}


def _history_of(vault: str, name: str) -> str:
    return f"{vault}|{name.lower()}"


def _operation(entity: Any) -> Operation:
    return from_entity(dict(entity), entity.metadata["etag"])
