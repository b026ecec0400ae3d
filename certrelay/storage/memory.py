"""State that connectors keep for their authorities across restarts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certrelay.storage.tables import Table


class AuthorityMemory:
    """Short texts by key. Rows: PartitionKey the authority, RowKey the key. All methods raise NotReady."""

    def __init__(self, table: "Table", authority: str) -> None:
        self._table, self._authority = table, authority

    def get(self, key: str, default: str, /) -> str:
        """The text that was stored last, or `default`."""
        value = (self._table.get(self._authority, key) or {}).get("value")
        return value if isinstance(value, str) else default

    def __setitem__(self, key: str, value: str, /) -> None:
        self._table.upsert({"PartitionKey": self._authority, "RowKey": key, "value": value})
