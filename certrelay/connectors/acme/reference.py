"""What of an ACME order is stored: where it is, and which challenge records have to be removed again."""

import json
from dataclasses import dataclass

from certrelay.connectors.acme.problem import MALFORMED
from certrelay.connectors.base import MAX_REFERENCE_BYTES

PREFIX = "_acme-challenge."  # RFC 8555, section 8.4


class OrderGone(Exception):
    """The order's URL leads nowhere, or to another account's order."""


class TooManyNames(Exception):
    """Their challenge records could not all be noted, and so not be removed again for certain."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What finds an order again, and the records (name, value) that may have been published for it: they are noted
    before they are published, so that they can be removed whatever became of the order. `answered` is when its
    challenges were, in seconds since 1970; 0 before."""

    url: str
    records: tuple[tuple[str, str], ...] = ()
    answered: float = 0.0

    def text(self) -> str:
        """JSON. Raises TooManyNames when it is longer than a reference may be."""
        records = [(name.removeprefix(PREFIX), value) for name, value in self.records]
        found = {"order": self.url, "records": records, "answered": self.answered}
        text = json.dumps(found, separators=(",", ":"))
        if len(text.encode()) > MAX_REFERENCE_BYTES:
            raise TooManyNames(f"an order of {len(records)} such long names is too large: ask for fewer at once")
        return text

    @classmethod
    def of(cls, text: str) -> "Reference":
        """Raises OrderGone for a text that is no reference."""
        try:
            found = json.loads(text)
            records = tuple((f"{PREFIX}{name}", str(value)) for name, value in found.get("records", ()))
            return cls(str(found["order"]), records, float(found.get("answered", 0.0)))
        except MALFORMED:
            raise OrderGone("the reference of the order cannot be read") from None
