"""A row of a table, as it is read and written. Nothing here needs the SDK (certrelay.storage.tables does)."""

from datetime import timedelta
from typing import Any

ETAG = "etag"
CLOCK_SKEW = timedelta(minutes=10)  # between two workers, at most
TOO_LARGE = "the request is too large to be stored; shorten it"

# PartitionKey, RowKey, the columns and, when it was read, its `etag`.
type Row = dict[str, Any]


class Stale(Exception):
    """The row has changed since it was read: another worker has written it."""
