"""The dns-01 challenge of an authorization (RFC 8555, sections 7.1.4 and 8.4)."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from certrelay.connectors.acme.reference import PREFIX


@dataclass(frozen=True, slots=True)
class Challenge:
    """A dns-01 challenge and the TXT record (name, value) that answers it; `url` and `record` are None where the server
    offers no such challenge. `wait` is the server's Retry-After in seconds."""

    authorization: str
    identifier: str
    status: str
    url: str | None
    record: tuple[str, str] | None
    error: dict[str, Any] | None
    wait: float = 0.0


def challenge_of(url: str, authorization: dict[str, Any], public_key: Any) -> Challenge:
    """The dns-01 challenge in an authorization that was read from `url`; `public_key` is the account's JWK.

    Its status is the authorization's, but a challenge that was answered is no longer `pending`. Raises KeyError,
    TypeError, AttributeError or ValueError if the document is not an authorization."""
    identifier = str(authorization["identifier"]["value"])
    status = str(authorization["status"])
    found = next((one for one in authorization["challenges"] if one["type"] == "dns-01"), None)
    error = next((dict(one["error"]) for one in authorization["challenges"] if one.get("error")), None)
    if found is None:
        return Challenge(url, identifier, status, None, None, error)
    if status == "pending":
        status = str(found["status"])
    name = f"{PREFIX}{identifier.removeprefix('*.')}"
    return Challenge(url, identifier, status, str(found["url"]), (name, _digest(found["token"], public_key)), error)


def _digest(token: str, public_key: Any) -> str:
    """The value of the TXT record (sections 8.1 and 8.4)."""
    thumbprint = base64.urlsafe_b64encode(public_key.thumbprint()).rstrip(b"=").decode()
    digest = hashlib.sha256(f"{token}.{thumbprint}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
