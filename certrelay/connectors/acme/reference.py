"""The stored part of an ACME order: its URL, and the challenge records that must be removed."""

import json
from dataclasses import dataclass

from certrelay.connectors.acme.problem import MALFORMED
from certrelay.connectors.base import MAX_REFERENCE_BYTES

PREFIX = "_acme-challenge."  # RFC 8555, section 8.4
MAX_URL_LENGTH = 1000


class OrderGone(Exception):
    """The server has no order at the URL, or it belongs to another account."""


class OrderElsewhere(Exception):
    """The server placed the order at another origin, where it is not asked about, or did not say where; the next one
    would be there too."""


class TooManyNames(Exception):
    """The challenge records do not fit into a reference, so their removal could not be guaranteed."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The URL of an order, and the records (name, value) that may have been published for it. They are stored before
    they are published, so that they can always be removed.

    `finalize` is the URL that the answer to newOrder had; some servers tell it only there. `stored` is when the order
    was placed or, if that was later, its records were stored, and `answered` when the challenges were answered, in
    seconds since 1970; 0 before.
    `chain_tries` counts the downloads that waited for an alternate chain."""

    url: str
    records: tuple[tuple[str, str], ...] = ()
    answered: float = 0.0
    stored: float = 0.0
    finalize: str = ""
    chain_tries: int = 0

    def text(self) -> str:
        """The reference in JSON. Raises TooManyNames if it is longer than MAX_REFERENCE_BYTES."""
        records = [(name.removeprefix(PREFIX), value) for name, value in self.records]
        found = {"order": self.url, "records": records, "answered": self.answered, "stored": self.stored}
        finalize = self.finalize if len(self.finalize) <= MAX_URL_LENGTH else ""
        others = {"finalize": finalize, "chain_tries": self.chain_tries}
        text = json.dumps(found | {key: value for key, value in others.items() if value}, separators=(",", ":"))
        if len(text.encode()) > MAX_REFERENCE_BYTES:
            what = f"an order of {len(records)} such long names is too large: ask for fewer at once"
            is_url = len(self.url) > MAX_URL_LENGTH
            raise TooManyNames("the URL that the server gave the order is too long" if is_url else what)
        return text

    @classmethod
    def of(cls, text: str) -> "Reference":
        """The reverse of `text`. Raises OrderGone for anything else."""
        try:
            found = json.loads(text)
            return cls(
                url=str(found["order"]),
                records=tuple((f"{PREFIX}{name}", str(value)) for name, value in found.get("records", ())),
                answered=float(found.get("answered", 0.0)),
                stored=float(found.get("stored", 0.0)),
                finalize=str(found.get("finalize", "")),
                chain_tries=int(found.get("chain_tries", 0)),
            )
        except MALFORMED:
            raise OrderGone("the reference of the order cannot be read") from None
