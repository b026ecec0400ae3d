"""The ledger: open operations and their history in tables, nudges in a queue.

Table `operations` (PartitionKey = vault, RowKey = certificate name in lower case): the row is the lock and the
worklist. Table `history` (PartitionKey = `vault|name`, RowKey = the end of the operation's id): how each one went.
Every write of a row carries its ETag. Queue `signing` holds nudges, which say where to look and nothing else.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lifecycle.errors import NotReady
from lifecycle.model import Operation, from_entity, to_entity

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.data.tables import TableClient
    from azure.storage.queue import QueueClient

OPERATIONS, HISTORY, QUEUE = "operations", "history", "signing"
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

    def __init__(self, operations: "TableClient", history: "TableClient", queue: "QueueClient") -> None:
        self._operations, self._history, self._queue = operations, history, queue
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
        self._remove(operation)

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

    def check(self) -> None:
        """Raise NotReady unless tables and queue answer."""
        with self._reachable():
            next(iter(self._operations.list_entities(results_per_page=1, select=["PartitionKey"])), None)
            self._queue.get_queue_properties()

    def _remove(self, operation: Operation) -> None:
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
        for create in (self._operations.create_table, self._history.create_table, self._queue.create_queue):
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
    return Storage(tables.get_table_client(OPERATIONS), tables.get_table_client(HISTORY), queue)


def _keys(operation: Operation) -> dict[str, Any]:
    return {"PartitionKey": operation.vault, "RowKey": operation.name.lower()}


def _columns(operation: Operation) -> dict[str, Any]:
    return {"authority": operation.request.authority or ""}


def _history_of(vault: str, name: str) -> str:
    return f"{vault}|{name.lower()}"


def _operation(entity: Any) -> Operation:
    return from_entity(dict(entity), entity.metadata["etag"])
