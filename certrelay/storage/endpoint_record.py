"""What was seen at the endpoint of a certificate, and since when the newest version should be there."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from certrelay.storage.watch import time_of


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """One certificate's record. Times are UTC; thumbprints are SHA-1 in hex.

    `endpoint`: which one was looked at. `newest`: the thumbprint of the newest version, which has been in the vault
    since `since`. `looked_at`: the last look; None: none yet. `served`: what was seen at the last look that saw
    something, valid from `served_from` to `served_until`; `is_earlier`: it is an earlier version of the certificate.
    `error`: why the last look saw nothing; "" if it did. `failing_since`: the first of the looks in a row that saw
    nothing. `told`: the last alert, as its stage and version. `recoveries`: how often that was over."""

    vault: str
    name: str
    endpoint: str = ""
    newest: str = ""
    since: datetime | None = None
    looked_at: datetime | None = None
    served: str = ""
    served_from: datetime | None = None
    served_until: datetime | None = None
    is_earlier: bool = False
    error: str = ""
    failing_since: datetime | None = None
    told: str = ""
    recoveries: int = 0

    def about(self, endpoint: str, newest: str, since: datetime) -> "EndpointRecord":
        """The record as it holds for this endpoint and this version. What was seen at another endpoint is dropped."""
        if self.endpoint != endpoint:
            return EndpointRecord(self.vault, self.name, endpoint, newest, since)
        if self.newest == newest:
            return self
        is_earlier = self.is_earlier or self.served == self.newest
        return replace(self, newest=newest, since=since, is_earlier=is_earlier)


_TIMES = ("since", "looked_at", "served_from", "served_until", "failing_since")


def to_entity(record: EndpointRecord) -> dict[str, Any]:
    """The columns of the record's row, all of them."""
    return {one.name: _written(getattr(record, one.name)) for one in fields(record)}


def from_entity(vault: str, name: str, entity: Mapping[str, Any]) -> EndpointRecord:
    """The reverse of `to_entity`. A column that is missing or unreadable counts as empty: the next look writes it."""
    texts = {key: value for key, value in entity.items() if isinstance(value, str)}
    found: dict[str, Any] = {key: texts.get(key, "") for key in ("endpoint", "newest", "served", "error", "told")}
    found |= {key: time_of(texts, key) for key in _TIMES}
    number = entity.get("recoveries")
    found |= {"is_earlier": entity.get("is_earlier") is True, "recoveries": number if isinstance(number, int) else 0}
    return EndpointRecord(vault, name, **found)


def _written(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else "" if value is None else value
