"""The names of a certificate for a list: the first ones, and how many more there are. Kept in the renewal record."""

import json
from typing import NamedTuple

from certrelay.pki.description import what_it_says

SHOWN, LONGEST = 10, 253  # names; characters of a name
KINDS = ("dns_names", "ip_addresses", "email_addresses", "uris")


class ShownNames(NamedTuple):
    """`first`: at most ten of the alternative names, or the subject if there are none. `more`: how many are left."""

    first: list[str]
    more: int


def text_of(der: bytes) -> str:
    """What the record keeps of a certificate (DER); empty if it cannot be read. Raises nothing."""
    found = what_it_says(der)
    names = [str(name) for kind in KINDS for name in found.get(kind, ())] or list(filter(None, [found.get("subject")]))
    kept = [name[:LONGEST] for name in names[:SHOWN]]
    return json.dumps([kept, len(names) - len(kept)]) if kept else ""


def read(text: str) -> ShownNames | None:
    """The reverse; None if nothing is known."""
    try:
        first, more = json.loads(text)
        return ShownNames([str(name) for name in first], int(more))
    except (ValueError, TypeError, RecursionError):
        return None
