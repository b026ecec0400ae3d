"""Continuations of lists: where the next page starts, sealed for whoever gets it.

A position is the key of a row, which its holder may not be allowed to read: Azure Tables name the next row, Key Vault
the last one. So it is encrypted, with a key that all hosts share: it is in the storage account, where these names are.
"""

import json
import math
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken

from certrelay.errors import BadContinuation, NotReady
from certrelay.storage.rows import Row

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

PARTITION, ROW = "continuations", "key"
BLOCK = 1024  # bytes; positions are padded, so that the length of a continuation does not tell that of a name
MAX_KEY = 1024  # characters; of a partition key or a row key


class Continuations:
    """All methods raise NotReady when storage cannot be used now.

    The key is read each time, so that hosts agree on it even after its row was deleted."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def seal(self, of: str, position: object) -> str:
        """The continuation of a list. `of`: which list; `position`: anything that JSON can have."""
        written = json.dumps([of, position]).encode()
        return self._cipher().encrypt(written.ljust(math.ceil(len(written) / BLOCK) * BLOCK)).decode()

    def open(self, of: str, continuation: str) -> Any:
        """The position in a continuation. Raises BadContinuation if `seal` has not made it for this list."""
        try:
            sealed_for, position = json.loads(self._cipher().decrypt(continuation.encode()))
        except (InvalidToken, ValueError):
            raise BadContinuation from None
        if sealed_for != of:
            raise BadContinuation
        return position

    def seal_row(self, of: str, table: str, after: Row | None) -> str:
        """`table`: which of a list's tables comes next; `after`: where in it, as Table.page said; None: its start."""
        return self.seal(of, [table, [after.get("PartitionKey"), after.get("RowKey")] if after else None])

    def open_row(self, of: str, continuation: str | None, tables: tuple[str, ...]) -> tuple[str, Row | None]:
        """The table and the start of a page; the first one without a continuation. Raises BadContinuation."""
        if continuation is None:
            return tables[0], None
        position = self.open(of, continuation)
        try:
            table, keys = position
            after = None if keys is None else dict(zip(("PartitionKey", "RowKey"), keys, strict=True))
        except (ValueError, TypeError):
            raise BadContinuation from None
        are_keys = all(isinstance(key, str) and len(key) <= MAX_KEY for key in (after or {}).values())
        if table not in tables or not are_keys:
            raise BadContinuation
        return table, after

    def _cipher(self) -> Fernet:
        row = self._table.get(PARTITION, ROW)
        if row is None:
            made = {"PartitionKey": PARTITION, "RowKey": ROW, "value": Fernet.generate_key().decode()}
            self._table.insert(made)  # or another host has, meanwhile
            row = self._table.get(PARTITION, ROW) or {}
        try:
            return Fernet(str(row.get("value")))
        except ValueError as error:
            text = f"the row in table keys cannot be read: PartitionKey {PARTITION}, RowKey {ROW}; delete it"
            raise NotReady(text) from error
