"""The sweep's state: a renewal record for each certificate, what is served at its endpoint, and how far it is with the
list of each vault."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from certrelay.errors import NotReady
from certrelay.log import about, logger
from certrelay.storage import endpoint_record
from certrelay.storage.endpoint_record import EndpointRecord
from certrelay.storage.renewal_record import RenewalRecord, from_entity, to_entity, unreadable_columns, without
from certrelay.storage.rows import Row
from certrelay.storage.watch import time_of

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

# Partitions of their own, since no vault alias contains `|`.
_POSITIONS, _ENDPOINTS = "|sweep", "|endpoint"

log = logger("sweep")


@dataclass(frozen=True, slots=True)
class ListState:
    """How far the sweep is with the list of one vault. Times are UTC.

    `path`: the page where the next sweep continues; empty for the start. `read_at`: when the list was read whole, and
    `read_by`: when it must be read again; without them, in the next sweep. `states`: authority, state, and how many
    certificates, when it was read. `changed_at`: when CertRelay last changed a certificate that may now be due sooner.
    """

    path: str = ""
    read_at: datetime | None = None
    read_by: datetime | None = None
    states: tuple[tuple[str, str, int], ...] = ()
    changed_at: datetime | None = None


class Renewals:
    """Keys: vault, certificate name in lower case. All methods raise NotReady when storage cannot be used now."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def records(self, vault: str, names: list[str]) -> dict[str, RenewalRecord]:
        """The records of these certificates that exist, by name in lower case.

        Reads all rows between the first and the last name, so that a page of a list costs one request."""
        return {row["RowKey"]: self._record_of(row) for row in self._rows(vault, names)}

    def _rows(self, partition: str, names: list[str]) -> list[Row]:
        return self._table.named(partition, map(str.lower, names))

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

    def endpoints(self, vault: str, names: list[str]) -> dict[str, EndpointRecord]:
        """What was seen at the endpoints of these certificates, by name in lower case: one request for a page."""
        rows = self._rows(vault + _ENDPOINTS, names)
        return {row["RowKey"]: endpoint_record.from_entity(vault, _name(row), row) for row in rows}

    def save_endpoint(self, record: EndpointRecord) -> None:
        """Write what was seen at an endpoint."""
        keys = {"PartitionKey": record.vault + _ENDPOINTS, "RowKey": record.name.lower()}
        self._table.upsert({**endpoint_record.to_entity(record), **keys})

    def delete_endpoint(self, vault: str, name: str) -> None:
        """Delete what was seen at the endpoint of a certificate, if anything was."""
        self._table.delete(vault + _ENDPOINTS, name.lower())

    def list_state(self, vault: str) -> ListState:
        """How far the sweep is with the vault's list. What is unreadable counts as missing."""
        row = self._table.get(_POSITIONS, vault) or {}
        path = row.get("path")
        try:
            states = tuple((str(name), str(state), int(count)) for name, state, count in json.loads(row["states"]))
        except (KeyError, TypeError, ValueError):
            states = ()
        read_at, read_by, changed_at = (time_of(row, name) for name in ("read_at", "read_by", "changed_at"))
        return ListState(path if isinstance(path, str) else "", read_at, read_by, states, changed_at)

    def save_list_state(self, vault: str, state: ListState) -> None:
        """Save how far the sweep is; `changed_at` stays what it is."""
        times = {
            name: moment.isoformat() if (moment := getattr(state, name)) else "" for name in ("read_at", "read_by")
        }
        columns = {"path": state.path, **times, "states": json.dumps(state.states)}
        self._table.merge({"PartitionKey": _POSITIONS, "RowKey": vault, **columns})

    def note_change(self, vault: str, now: datetime) -> None:
        """Let the next sweep read the vault's list: a certificate in it may be due soon, or another way than before."""
        self._table.merge({"PartitionKey": _POSITIONS, "RowKey": vault, "changed_at": now.isoformat()})


def _name(row: Row) -> str:
    """The name as Key Vault writes it, if the row has that."""
    name, key = row.get("name"), str(row["RowKey"])
    return name if isinstance(name, str) and name.lower() == key else key
