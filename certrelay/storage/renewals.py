"""The sweep's state: a renewal record for each certificate, and its position in the list of each vault."""

from contextlib import suppress
from typing import TYPE_CHECKING

from certrelay.errors import NotReady
from certrelay.log import about, logger
from certrelay.storage.renewal_record import RenewalRecord, from_entity, to_entity, unreadable_columns, without
from certrelay.storage.rows import Row

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

_POSITIONS = "|sweep"  # a partition of its own, since no vault alias contains `|`

log = logger("sweep")


class Renewals:
    """Keys: vault, certificate name in lower case. All methods raise NotReady when storage cannot be used now."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def records(self, vault: str, names: list[str]) -> dict[str, RenewalRecord]:
        """The records of these certificates that exist, by name in lower case.

        Reads all rows between the first and the last name, so that a page of a list costs one request."""
        if not names:
            return {}
        keys = sorted(name.lower() for name in names)
        between = "PartitionKey eq @vault and RowKey ge @first and RowKey le @last"
        rows = self._table.query(between, vault=vault, first=keys[0], last=keys[-1])
        requested = set(keys)
        return {row["RowKey"]: self._record_of(row) for row in rows if row["RowKey"] in requested}

    def _record_of(self, row: Row) -> RenewalRecord:
        """The record of a row. An unreadable column is logged and emptied, so that it is logged once."""
        if unreadable := unreadable_columns(row):
            with about(vault=row["PartitionKey"], certificate=row["RowKey"]):
                log.error("columns of the renewal record were unreadable and are reset: %s", ", ".join(unreadable))
            with suppress(NotReady):  # the record is usable even if its row cannot be corrected now
                self._table.merge(without(row, unreadable))
        return from_entity(row)

    def record(self, vault: str, name: str) -> RenewalRecord:
        """The record of one certificate; an empty one if none exists."""
        return self.records(vault, [name]).get(name.lower()) or RenewalRecord(vault, name)

    def save(self, record: RenewalRecord, known: RenewalRecord) -> None:
        """Write the columns that differ from `known`, the record as it was read; other columns keep their values."""
        self._table.merge(to_entity(record, known))

    def begin(self, record: RenewalRecord) -> None:
        """Write the record of a new version in place of the one before."""
        self._table.upsert(to_entity(record))

    def delete(self, vault: str, name: str) -> None:
        """Delete the record of a certificate, if it exists."""
        self._table.delete(vault, name.lower())

    def list_position(self, vault: str) -> str:
        """The path of the list page where the last sweep stopped; empty if it reached the end."""
        path = (self._table.get(_POSITIONS, vault) or {}).get("path")
        return path if isinstance(path, str) else ""

    def save_list_position(self, vault: str, path: str) -> None:
        """Save the path of the list page where the next sweep continues; empty for the start."""
        self._table.upsert({"PartitionKey": _POSITIONS, "RowKey": vault, "path": path})
