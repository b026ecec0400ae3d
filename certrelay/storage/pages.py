"""Continuations of lists that come out of tables: where the next page starts, as an opaque text."""

import base64
import binascii
import json

from certrelay.errors import Fault, Invalid
from certrelay.storage.rows import Row

MAX_KEY = 1024  # characters; of a partition key or a row key


def continuation(table: str, after: Row | None) -> str:
    """`table`: which of a list's tables comes next; `after`: where in it, as Table.page said; None: at its start."""
    keys = [after.get("PartitionKey"), after.get("RowKey")] if after else None
    return base64.urlsafe_b64encode(json.dumps([table, keys]).encode()).decode()


def position(text: str | None, tables: tuple[str, ...]) -> tuple[str, Row | None]:
    """The table and the start of a page; the first one without a continuation. Raises Invalid."""
    if text is None:
        return tables[0], None
    try:
        table, keys = json.loads(base64.urlsafe_b64decode(text))
        after = None if keys is None else dict(zip(("PartitionKey", "RowKey"), keys, strict=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        table, after = "", None
    is_key = all(isinstance(key, str) and key.isprintable() and len(key) <= MAX_KEY for key in (after or {}).values())
    if table not in tables or not is_key:
        raise Invalid([Fault("/continuation", "must be the continuation of an earlier response")])
    return table, after
