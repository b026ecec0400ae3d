"""dns-persist-01: one standing TXT record proves a name for every order of an account (draft-ietf-acme-dns-persist).

Two formats of the record do not mix. Up to draft -01 it holds the account's URL as it is; from -02 on it holds a hash
of the name, the account key and that URL, so that a server cannot make its clients publish the account of another.
"""

import base64
import enum
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PREFIX = "_validation-persist."
MAX_ISSUERS, MAX_STRING = 10, 255
ALL_NAMES = "*"  # hashed instead of a name, it makes one value good for every name of the account

_ISSUER = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9]+(-+[A-Za-z0-9]+)*")
_VALUE = re.compile(r"[!-:<-~]*")  # RFC 8659, section 4.2: printable ASCII without semicolon and blank
_NUMBER = re.compile(r"[0-9]{1,20}")


class Format(enum.StrEnum):
    """The draft that a server speaks, by what it puts into `accounturi`."""

    ACCOUNT_URL = "draft-ietf-acme-dns-persist-01"
    HASHED = "draft-ietf-acme-dns-persist-02"


class NotUsable(Exception):
    """dns-persist-01 cannot be used here. The text is one clause."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A dns-persist-01 challenge: where to answer, its format, the CA's names, and the account that it names (-01)."""

    url: str
    format: Format
    issuers: tuple[str, ...]
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A TXT record in the syntax `issue-value` of RFC 8659, section 4.2. `until`: its persistUntil (UTC)."""

    issuer: str
    account_uri: str
    wildcard: bool = False
    until: datetime | None = None

    def text(self) -> str:
        """The value to publish; no semicolon at its end, which some servers refuse."""
        parts = [self.issuer, f"accounturi={self.account_uri}"]
        if self.wildcard:
            parts.append("policy=wildcard")
        if self.until:
            parts.append(f"persistUntil={int(self.until.timestamp())}")
        return "; ".join(parts)

    def strings(self) -> list[str]:
        """The value as character-strings of at most 255 octets (RFC 1035, section 3.3.14)."""
        text = self.text()
        return [text[begin : begin + MAX_STRING] for begin in range(0, len(text), MAX_STRING)]


def offer_of(challenge: dict[str, Any]) -> Offer:
    """From a challenge of the type dns-persist-01. Raises NotUsable if it is not as the drafts say."""
    hashed = "issuerDomainNames" in challenge
    names = issuer_names(challenge.get("issuerDomainNames" if hashed else "issuer-domain-names"))
    account = None if hashed else challenge.get("accounturi")
    if account is not None and not isinstance(account, str):
        raise NotUsable("the challenge names an account that is no URL")
    if not isinstance(challenge.get("url"), str):
        raise NotUsable("the challenge has no URL")
    return Offer(challenge["url"], Format.HASHED if hashed else Format.ACCOUNT_URL, names, account)


def format_of(meta: dict[str, Any]) -> Format:
    """The format of a server, by its directory's `meta` (draft -02, section 4.1): both members, or an earlier draft."""
    hashed = "accountHashPrefix" in meta and "issuerDomainNames" in meta
    return Format.HASHED if hashed else Format.ACCOUNT_URL


def issuer_names(found: object) -> tuple[str, ...]:
    """A server's list of its names: 1 to 10, in lower case without a final dot (section 3.1). Raises NotUsable."""
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_ISSUERS:
        raise NotUsable("the server names no issuer domain name, or more than ten")
    if not all(isinstance(name, str) and _ISSUER.fullmatch(name) for name in found):
        raise NotUsable("the server names an issuer domain name that is none")
    return tuple(found)


def check_consistency(offer: Offer, meta: dict[str, Any]) -> None:
    """What the directory and a challenge must agree on (section 3.2). Raises NotUsable."""
    identities = meta.get("caaIdentities")
    if isinstance(identities, list) and identities:
        known = {str(one).lower().removesuffix(".") for one in identities}
        if not known.issuperset(offer.issuers):
            raise NotUsable("the challenge names an issuer that is not among the directory's caaIdentities")
    listed = meta.get("issuerDomainNames")
    if (
        offer.format is Format.HASHED
        and isinstance(listed, list)
        and not set(offer.issuers).issuperset(map(str, listed))
    ):
        raise NotUsable("the challenge lacks an issuer that the directory names")


def hashed_uri(prefix: str, name: str, thumbprint: str, account: str) -> str:
    """Section 4.1 of draft -02. `name`: in A-labels and lower case, where the record lies, or ALL_NAMES; `thumbprint`:
    of the account key (RFC 7638), its 43 characters in base64url; `account`: its URL."""
    octets = bytes([len(name)]) + name.encode("ascii") + thumbprint.encode("ascii") + account.encode("ascii")
    digest = base64.urlsafe_b64encode(hashlib.sha256(octets).digest()).rstrip(b"=").decode()
    return f"{prefix}sha-256/{digest}"


def checked_prefix(found: object) -> str:
    """The directory's `accountHashPrefix`. Raises NotUsable."""
    if not isinstance(found, str) or not found or len(found) > 1000 or not _VALUE.fullmatch(found):
        raise NotUsable("the directory has no usable accountHashPrefix")
    return found


def checked_account(url: str) -> str:
    """An account URL that may stand in a record. Raises NotUsable."""
    if len(url) > 1000 or not _VALUE.fullmatch(url):
        raise NotUsable("the account's URL cannot be written into a record")
    return url


def record_of(text: bytes) -> Record | None:
    """A TXT record's joined strings; None if it is malformed, as the servers judge it (section 9.3.1)."""
    try:
        issuer, *parameters = [part.strip(" \t") for part in text.decode("ascii").split(";")]
        found = _parameters(parameters)
        until = found.get("persistuntil")
        if until is not None and not _NUMBER.fullmatch(until):
            return None
        moment = None if until is None else _moment(int(until))
        return Record(issuer.lower().removesuffix("."), found["accounturi"], _is_wildcard(found), moment)
    except (ValueError, KeyError):
        return None


def _parameters(parts: Iterable[str]) -> dict[str, str]:
    """By tag in lower case. Raises ValueError for what is none, and for a tag that stands twice."""
    found: dict[str, str] = {}
    for part in parts:
        tag, separator, value = (piece.strip(" \t") for piece in part.partition("="))
        if not separator or not _TAG.fullmatch(tag) or not _VALUE.fullmatch(value) or tag.lower() in found:
            raise ValueError(part)
        found[tag.lower()] = value
    if not found.get("accounturi"):
        raise ValueError("no accounturi")
    return found


def _is_wildcard(parameters: dict[str, str]) -> bool:
    return parameters.get("policy", "").lower() == "wildcard"


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def best(texts: Iterable[bytes], wanted: Record, accounts: Iterable[str]) -> Record | None:
    """Of the TXT records at one name the one that proves what `wanted` does, and lasts longest.

    `accounts`: every account URI that stands for our account. Broken records, and those of other CAs, do not matter."""
    known = {wanted.account_uri, *accounts}
    good = [
        record
        for record in map(record_of, texts)
        if record
        and record.issuer == wanted.issuer
        and record.account_uri in known
        and (record.wildcard or not wanted.wildcard)
    ]
    return max(good, key=lambda record: record.until or datetime.max.replace(tzinfo=UTC), default=None)
