"""The dns-01 and dns-persist-01 challenges of an authorization (RFC 8555, sections 7.1.4 and 8.4)."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from certrelay.connectors.acme.dns_persist import NotUsable, Offer, offer_of
from certrelay.connectors.acme.reference import PREFIX

PERSIST = "dns-persist-01"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge to answer at `url`, and the TXT record (name, value) to publish for it: dns-01's. Both are None where
    the server offers none. `persist` is what it offers besides, or why that cannot be used. `wildcard`: the name below
    `identifier` is meant. `failed`: the type of the challenge that has `error`. `wait`: its Retry-After in seconds."""

    authorization: str
    identifier: str
    status: str
    url: str | None
    record: tuple[str, str] | None
    error: dict[str, Any] | None
    wait: float = 0.0
    persist: Offer | NotUsable | None = None
    wildcard: bool = False
    failed: str = ""


def challenge_of(url: str, authorization: dict[str, Any], public_key: Any) -> Challenge:
    """The challenges in an authorization that was read from `url`; `public_key` is the account's JWK.

    The status is the authorization's, but with a challenge that was answered it is no longer `pending`. Raises
    KeyError, TypeError, AttributeError or ValueError if the document is not an authorization."""
    identifier, status = str(authorization["identifier"]["value"]), str(authorization["status"])
    # Some servers hide the challenges of what is valid, and parts of them.
    challenges = authorization["challenges"] if status == "pending" else authorization.get("challenges") or []
    challenges = [one for one in challenges if isinstance(one, dict)]
    found = next((one for one in challenges if one.get("type") == "dns-01"), None)
    persist = next((one for one in challenges if one.get("type") == PERSIST), None)
    failed = min((one for one in challenges if one.get("error")), key=_is_undecided, default=None)
    if status == "pending":
        known = [str(one["status"]) for one in (found, persist) if one and "status" in one]
        status = next((one for one in known if one != "pending"), status)
    usable = found if status == "pending" else None
    return Challenge(
        authorization=url,
        identifier=identifier,
        status=status,
        url=str(usable["url"]) if usable else None,
        record=(f"{PREFIX}{identifier.removeprefix('*.')}", _digest(usable["token"], public_key)) if usable else None,
        error=dict(failed["error"]) if failed else None,
        persist=_offer(persist) if persist else None,
        wildcard=authorization.get("wildcard") is True or identifier.startswith("*."),
        failed=str(failed.get("type", "")) if failed else "",
    )


def _is_undecided(challenge: dict[str, Any]) -> bool:
    return challenge.get("status") != "invalid"


def _offer(challenge: dict[str, Any]) -> Offer | NotUsable:
    try:
        return offer_of(challenge)
    except NotUsable as fault:
        return fault


def _digest(token: str, public_key: Any) -> str:
    """The value of the TXT record (sections 8.1 and 8.4)."""
    digest = hashlib.sha256(f"{token}.{thumbprint_of(public_key)}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def thumbprint_of(public_key: Any) -> str:
    """The thumbprint of a JWK (RFC 7638) with SHA-256, in base64url."""
    return base64.urlsafe_b64encode(public_key.thumbprint()).rstrip(b"=").decode()
