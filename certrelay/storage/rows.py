"""A row of a table, as it is read and written. Nothing here needs the SDK (certrelay.storage.tables does)."""

from typing import Any

ETAG = "etag"

# PartitionKey, RowKey, the columns and, when it was read, its `etag`.
type Row = dict[str, Any]


class Stale(Exception):
    """The row has changed since it was read: another worker has written it."""
