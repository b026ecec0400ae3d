"""What Key Vault's REST API says about certificates, read: lines of a list, pending operations, versions, times.

https://learn.microsoft.com/rest/api/keyvault/certificates. Nothing here needs the SDK (certrelay.keyvault.client does).
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from certrelay.log import logger

log = logger("keyvault")

PAGE = 25
CERTIFICATES = f"/certificates?maxresults={PAGE}"

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PendingOperation:
    """Key Vault's CertificateOperation. `status` is inProgress, completed, cancelled or failed."""

    request_id: str
    status: str
    csr: bytes
    issuer: str
    error_code: str = ""
    error_message: str = ""
    cancellation_requested: bool = False

    @property
    def in_progress(self) -> bool:
        return self.status.lower() == "inprogress"


@dataclass(frozen=True, slots=True)
class CertificateItem:
    """One line of the certificate list: what the sweep needs and nothing that costs a request of its own."""

    name: str
    enabled: bool
    created: datetime | None
    not_before: datetime | None
    expires: datetime | None
    tags: Mapping[str, str]
    thumbprint: str


def pending_operation(body: Json) -> PendingOperation:
    """Key Vault's CertificateOperation."""
    error = body.get("error") or {}
    return PendingOperation(
        request_id=str(body.get("request_id", "")),
        status=str(body.get("status", "")),
        csr=base64.b64decode(body.get("csr") or ""),
        issuer=str((body.get("issuer") or {}).get("name", "")),
        error_code=str(error.get("code", "")),
        error_message=str(error.get("message", "")),
        cancellation_requested=bool(body.get("cancellation_requested")),
    )


def item_of(item: Json) -> CertificateItem:
    """One line of Key Vault's certificate list. What cannot be read of it counts as absent.

    Raises LookupError or TypeError for a line without a name."""
    attributes, tags = (value if isinstance(value := item.get(part), dict) else {} for part in ("attributes", "tags"))
    return CertificateItem(
        name=str(item["id"]).split("/certificates/", 1)[1].split("/")[0],
        enabled=bool(attributes.get("enabled", True)),
        created=moment(attributes.get("created")),
        not_before=moment(attributes.get("nbf")),
        expires=moment(attributes.get("exp")),
        tags={key: text for key, text in tags.items() if isinstance(text, str)},
        thumbprint=thumbprint_of(item),
    )


def items_of(page: list[Json]) -> list[CertificateItem]:
    """The lines of a page of the list. One that has no name is logged and left out."""
    found = []
    for line in page:
        try:
            found.append(item_of(line))
        except (LookupError, TypeError, AttributeError):
            log.error("a line of Key Vault's certificate list has no name, and is left out")
    return found


def thumbprint(der: bytes) -> str:
    """The SHA-1 thumbprint in hex, as Key Vault names a certificate; it tells versions apart and proves nothing."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


def thumbprint_of(item: Json) -> str:
    """The SHA-1 thumbprint in hex; empty if the version has no certificate yet."""
    try:
        return base64.urlsafe_b64decode(str(item.get("x5t") or "") + "==").hex()
    except ValueError:
        return ""


def version_of(bundle: Json) -> str:
    """The version in the `id` of a CertificateBundle."""
    return str(bundle["id"]).rstrip("/").rsplit("/", 1)[-1]


def moment(seconds: int | None) -> datetime | None:
    """Key Vault's UNIX seconds as UTC; None without them, or when they are beyond the years that there are."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        return None
