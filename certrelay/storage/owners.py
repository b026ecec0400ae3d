"""Owners of certificates. Nothing removes a row: neither the end of an operation, nor a release, nor a deletion."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from certrelay.errors import NotReady
from certrelay.storage.rows import ETAG, Row

if TYPE_CHECKING:
    from certrelay.storage.tables import Table

MAX_CHANGES = 100  # that a row keeps: the first and the latest ones; a column holds 64 KiB
MAX_NAMED = 40  # of these, the latest ones, with the names of who was in them


class Owner(NamedTuple):
    """Who owns a certificate: the `id` decides; the `name` is only shown, and empty if it is not known."""

    id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """`owner` became the owner at `at` (UTC), because of what `by` did: created, imported, adopted, transferred.

    `owner_name`, `by_name`: what people call them, only to be shown; empty if it is not known."""

    owner: str
    at: datetime
    by: str
    why: str
    owner_name: str = ""
    by_name: str = ""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The owners of one certificate's name, oldest first. `etag`: of the row; empty if there is none yet."""

    vault: str
    name: str
    changes: tuple[OwnerChange, ...]
    etag: str = ""

    @property
    def owner(self) -> str:
        """The owner now: an object or application id of Entra ID, or `function key`."""
        return self.changes[-1].owner

    @property
    def names(self) -> dict[str, str]:
        """The names by id, as far as they are known."""
        said = [pair for one in self.changes for pair in ((one.owner, one.owner_name), (one.by, one.by_name))]
        return {identifier: name for identifier, name in said if name}


class Owners:
    """Keys: vault, certificate name in lower case. All methods raise NotReady when storage cannot be used now."""

    def __init__(self, table: "Table") -> None:
        self._table = table

    def get(self, vault: str, name: str) -> Ownership | None:
        """The certificate's ownership, or None if it has no owner."""
        row = self._table.get(vault, name.lower())
        return _from_row(row) if row else None

    def of(self, vault: str, names: list[str]) -> dict[str, Owner]:
        """The owners of these certificates now, by name in lower case; without those that have none.

        Reads all rows between the first and the last name, so that a page of a list costs one request."""
        rows = self._table.named(vault, map(str.lower, names), ["RowKey", "owner", "owner_name"])
        return {
            row["RowKey"]: Owner(str(row["owner"]), str(row.get("owner_name") or ""))
            for row in rows if row.get("owner")
        }  # fmt: skip

    def insert(self, ownership: Ownership) -> bool:
        """Write the first owner. Returns False, and changes nothing, if the certificate has one."""
        return self._table.insert(_to_row(ownership)) is not None

    def replace(self, ownership: Ownership) -> None:
        """Write the ownership. Raises Stale if the row has changed since it was read."""
        self._table.replace(_to_row(ownership), ownership.etag)


def _to_row(ownership: Ownership) -> Row:
    changes = ownership.changes
    kept = changes if len(changes) <= MAX_CHANGES else (changes[0], *changes[1 - MAX_CHANGES :])
    written = [[change.owner, change.at.isoformat(), change.by, change.why] for change in kept]
    keys = {"PartitionKey": ownership.vault, "RowKey": ownership.name.lower()}
    named = replace(ownership, changes=kept[-MAX_NAMED:]).names
    return {
        **keys, "name": ownership.name, "owner": ownership.owner, "owner_name": named.get(ownership.owner, ""),
        "changes": json.dumps(written).encode(), "names": json.dumps(named, ensure_ascii=False).encode(),
    }  # fmt: skip


def _from_row(row: Row) -> Ownership:
    """Raises NotReady for a row that cannot be read: whoever it belongs to, it is not nobody's."""
    try:
        names = json.loads(row.get("names") or "{}")  # older rows lack it
        changes = tuple(
            OwnerChange(
                str(owner), datetime.fromisoformat(at).astimezone(UTC), str(by), str(why),
                str(names.get(owner, "")), str(names.get(by, "")),
            )
            for owner, at, by, why in json.loads(row["changes"])
        )  # fmt: skip
        name, _ = str(row["name"]), changes[-1]
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        where = f"PartitionKey {row['PartitionKey']}, RowKey {row['RowKey']}"
        raise NotReady(f"the row in table owners cannot be read: {where}; correct or delete it") from error
    return Ownership(row["PartitionKey"], name, changes, row[ETAG])
