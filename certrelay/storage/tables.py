"""Tables and queues of the storage account: the only module that uses their SDKs.

Every method raises StorageNotReady when storage cannot be reached or refuses a request. Stale means a lost race.
"""

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, TableServiceClient, UpdateMode
from azure.storage.queue import LinearRetry, QueueClient, QueueServiceClient, TextBase64EncodePolicy

from certrelay.errors import BadContinuation, Invalid, StorageNotReady
from certrelay.pooled import transport
from certrelay.storage.rows import ETAG, TOO_LARGE, Row, Stale

MAX_DELAY_SECONDS = 6 * 24 * 3600
TOO_LARGE_CODES = ("PropertyValueTooLarge", "EntityTooLarge", "RequestBodyTooLarge")
_RETRIES: dict[str, Any] = {"retry_total": 3}


class Table:
    """One table, created at first use. A row is a dict with PartitionKey, RowKey and, when it was read, `etag`."""

    def __init__(self, client: TableClient) -> None:
        self._client = client
        self._made = False

    def get(self, partition: str, key: str) -> Row | None:
        """The row with these keys, or None."""
        with self._reachable():
            try:
                return _row(self._client.get_entity(partition, key))
            except ResourceNotFoundError:
                return None

    def insert(self, row: Row) -> str | None:
        """Insert a row, and return its ETag; None if a row with its keys exists. Raises Invalid if it is too large."""
        with self._reachable():
            try:
                return str(self._client.create_entity(row)["etag"])
            except ResourceExistsError:
                return None
            except HttpResponseError as error:
                _refuse_too_large(error)
                raise

    def replace(self, row: Row, etag: str) -> str:
        """Replace the row that has this `etag`, and return its new ETag.

        Raises Stale if it has changed or is gone, Invalid if it is too large."""
        unchanged: Any = MatchConditions.IfNotModified
        with self._reachable():
            try:
                written = self._client.update_entity(row, UpdateMode.REPLACE, etag=etag, match_condition=unchanged)
            except HttpResponseError as error:
                if error.status_code in (404, 412):
                    raise Stale from error
                _refuse_too_large(error)
                raise
            return str(written["etag"])

    def upsert(self, row: Row) -> None:
        """Insert a row, or replace the one with its keys."""
        with self._reachable():
            self._client.upsert_entity(row, UpdateMode.REPLACE)

    def merge(self, row: Row) -> None:
        """Write these columns and keep the row's other ones; insert the row if it does not exist."""
        with self._reachable():
            self._client.upsert_entity(row, UpdateMode.MERGE)

    def delete(self, partition: str, key: str, etag: str = "") -> None:
        """Delete a row, if it exists. Raises Stale if an `etag` is given and the row has changed."""
        unchanged: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with self._reachable():
            try:
                self._client.delete_entity(partition, key, **unchanged)
            except HttpResponseError as error:
                if error.status_code == 412:
                    raise Stale from error
                if error.status_code != 404:
                    raise

    def query(self, condition: str = "", select: list[str] | None = None, **parameters: str) -> Iterator[Row]:
        """The rows that meet an OData `condition`, which refers to `parameters` as `@name`; `select` names columns."""
        with self._reachable():
            for entity in self._client.query_entities(condition, select=select, parameters=parameters):
                yield _row(entity)

    def named(self, partition: str, keys: Iterable[str], select: list[str] | None = None) -> list[Row]:
        """The rows of a partition with these keys, those that exist; `select` names columns, RowKey among them.

        Reads all rows between the first and the last key: one request for as few as a page of a list has."""
        wanted = set(keys)
        if not wanted:
            return []
        between = "PartitionKey eq @partition and RowKey ge @first and RowKey le @last"
        rows = self.query(between, select, partition=partition, first=min(wanted), last=max(wanted))
        return [row for row in rows if row["RowKey"] in wanted]

    def page(
        self, condition: str, limit: int, after: Row | None = None, **parameters: str
    ) -> tuple[list[Row], Row | None]:
        """At most `limit` rows that meet the condition, and where the next page starts; None at the end.

        One request: a page may be short, or empty, before the end. `after`: where it starts, as the last call said.
        Raises BadContinuation if `after` is nothing that a call has returned."""
        with self._reachable():
            found = self._client.query_entities(condition, parameters=parameters, results_per_page=limit)
            pages: Any = found.by_page(after)  # type: ignore[arg-type]  # the SDK's own tokens are dicts here
            try:
                rows = [_row(entity) for entity in next(pages, [])]
            except HttpResponseError as error:
                if error.status_code == 400 and after is not None:
                    raise BadContinuation from error
                raise
            following = pages.continuation_token
        return rows, dict(following) if following else None

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        with _reachable():
            if not self._made:
                _make(self._client.create_table)
                self._made = True
            yield


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a queue. `body`: decoded; None if it is no base64, which the Functions host expects."""

    id: str
    body: bytes | None
    received: Any


class Queue:
    """One queue, created at first use. Messages are base64, as the Functions host expects."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client
        self._made = False

    def send(self, text: str, delay_seconds: float = 0) -> None:
        """Send a message that becomes visible after the delay, six days at most."""
        delay = min(max(math.ceil(delay_seconds), 0), MAX_DELAY_SECONDS)
        with self._reachable():
            self._client.send_message(text, visibility_timeout=delay)

    def receive(self, limit: int) -> list[Message]:
        """At most `limit` messages (32), which stay hidden from others for a minute; `delete` those that are done."""
        with self._reachable():
            received = self._client.receive_messages(max_messages=limit, visibility_timeout=60)
            return [Message(str(one.id), _decoded(str(one.content)), one) for one in received]

    def delete(self, message: Message) -> None:
        """Delete a message that was received; one that is gone or was received by others is left alone."""
        with self._reachable():
            try:
                self._client.delete_message(message.received)
            except HttpResponseError as error:
                if error.status_code not in (400, 404):  # PopReceiptMismatch, MessageNotFound
                    raise

    def check(self) -> None:
        """Send one request that proves that the queue can be reached."""
        with self._reachable():
            self._client.get_queue_properties()

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        with _reachable():
            if not self._made:
                _make(self._client.create_queue)
                self._made = True
            yield


class Account:
    """The storage account of the app, as the AzureWebJobsStorage settings name it.

    `credential`: the app's own identity, for settings without a connection string."""

    def __init__(self, settings: Mapping[str, str], credential: TokenCredential | None) -> None:
        table_options: dict[str, Any] = {**_RETRIES, "transport": transport(5, 20)}
        retries = LinearRetry(backoff=1, retry_total=3)
        queue_options: dict[str, Any] = {**_RETRIES, "transport": transport(5, 20), "retry_policy": retries}
        connection_string = settings.get("AzureWebJobsStorage")
        if connection_string:
            self._tables = TableServiceClient.from_connection_string(connection_string, **table_options)
            self._queues = QueueServiceClient.from_connection_string(connection_string, **queue_options)
            return
        account = settings.get("AzureWebJobsStorage__accountName", "")
        table_url = settings.get("AzureWebJobsStorage__tableServiceUri", f"https://{account}.table.core.windows.net")
        queue_url = settings.get("AzureWebJobsStorage__queueServiceUri", f"https://{account}.queue.core.windows.net")
        self._tables = TableServiceClient(table_url, credential=credential, **table_options)
        self._queues = QueueServiceClient(queue_url, credential=credential, **queue_options)

    def table(self, name: str) -> Table:
        """The table with this name; sends no request."""
        return Table(self._tables.get_table_client(name))

    def queue(self, name: str) -> Queue:
        """The queue with this name; sends no request."""
        return Queue(self._queues.get_queue_client(name, message_encode_policy=TextBase64EncodePolicy()))


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except HttpResponseError as error:
        raise StorageNotReady(f"the storage account responded with status {error.status_code}") from error
    except AzureError as error:
        raise StorageNotReady("the storage account cannot be reached") from error


def _refuse_too_large(error: HttpResponseError) -> None:
    if any(code in str(error) for code in TOO_LARGE_CODES):  # for some calls the SDK has the code in its text only
        raise Invalid(TOO_LARGE) from error


def _make(create: Callable[[], object]) -> None:
    try:
        create()
    except ResourceExistsError:
        return


def _decoded(content: str) -> bytes | None:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        return None


def _row(entity: Any) -> Row:
    return {**entity, ETAG: str(entity.metadata["etag"])}
