"""What the sweep remembers: a record for each certificate, and how far it got in each vault's list."""

from certrelay.storage.renewal_record import RenewalRecord, from_entity, to_entity
from certrelay.storage.tables import Table

_POSITIONS = "|sweep"  # no vault's alias, so no vault's certificates are in this partition


class Renewals:
    """Keys as in `operations`: vault, name in lower case. Methods raise NotReady when storage cannot be used now."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def records(self, vault: str, names: list[str]) -> dict[str, RenewalRecord]:
        """The records of these certificates, by name in lower case. One request for neighbours in the alphabet."""
        if not names:
            return {}
        keys = sorted(name.lower() for name in names)
        between = "PartitionKey eq @vault and RowKey ge @first and RowKey le @last"
        rows = self._table.query(between, vault=vault, first=keys[0], last=keys[-1])
        wanted = set(keys)
        return {row["RowKey"]: from_entity(row) for row in rows if row["RowKey"] in wanted}

    def record(self, vault: str, name: str) -> RenewalRecord:
        """The record of one certificate; an empty one when nothing is remembered."""
        return self.records(vault, [name]).get(name.lower()) or RenewalRecord(vault, name)

    def save(self, record: RenewalRecord, known: RenewalRecord) -> None:
        """Write what changed since the record was `known`. What others wrote into the row meanwhile stays."""
        self._table.merge(to_entity(record, known))

    def delete(self, vault: str, name: str) -> None:
        """Forget the certificate."""
        self._table.delete(vault, name.lower())

    def list_position(self, vault: str) -> str:
        """The path of the page where the last sweep had to stop; empty when it reached the end."""
        row = self._table.get(_POSITIONS, vault)
        return str(row["path"]) if row else ""

    def save_list_position(self, vault: str, path: str) -> None:
        """Remember where the sweep has to go on in the vault's list; empty: at its start."""
        self._table.upsert({"PartitionKey": _POSITIONS, "RowKey": vault, "path": path})
