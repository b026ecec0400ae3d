"""The vault's data. Values are immutable: a change creates a new one, so that a reader never sees half a change.

Times are UNIX seconds of the sandbox clock, certificates are DER, keys are PKCS#8 DER.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")  # the object identifier 1.2.840.10045.2.1


@dataclass(frozen=True)
class Version:
    """One version of a certificate, with its key and secret. `certificate` is None until it is completed."""

    id: str
    created: int
    updated: int
    not_before: int
    expires: int
    key: bytes
    enabled: bool = True
    enabled_when_completed: bool = True
    certificate: bytes | None = None
    chain: tuple[bytes, ...] = ()
    imported: bool = False
    file_order: tuple[bytes, ...] = ()  # imports only: every certificate in the order of the file
    tags: Mapping[str, str] | None = None
    content_type: str = "application/x-pkcs12"
    exportable: bool = True
    hsm: bool = False
    key_usage: tuple[str, ...] = ()
    preserve_cert_order: bool | None = None
    near_expiry_raised: bool = False
    expired_raised: bool = False
    lifetime_action_done: bool = False

    @property
    def elliptic(self) -> bool:
        """Whether the key is an EC key (RFC 5480): its PKCS#8 names the algorithm near the start."""
        return _EC_PUBLIC_KEY in self.key[:32]


@dataclass(frozen=True)
class Operation:
    """A pending certificate: the request for one version."""

    version: str
    request_id: str
    issuer: str
    csr: bytes
    status: str = "inProgress"
    status_details: str | None = None
    cancellation_requested: bool = False
    error: Mapping[str, str] | None = None
    preserve_cert_order: bool | None = None
    due: float | None = None  # when the issuer answers
    cancel_due: float | None = None
    renewal: bool = False


@dataclass(frozen=True)
class Deletion:
    """When a certificate was deleted, when that becomes visible, and when it is purged automatically.

    `recovered`, `purged`: when a recovery or a purge that somebody asked for is complete; until then it is neither
    live nor among the deleted ones.
    """

    deleted: int
    visible: float
    scheduled_purge: int
    recovered: float | None = None
    purged: float | None = None

    @property
    def ending(self) -> bool:
        """Whether somebody asked for its recovery or its purge."""
        return self.recovered is not None or self.purged is not None

    @property
    def due(self) -> float:
        """When it ends (UNIX seconds)."""
        if self.recovered is not None:
            return self.recovered
        return self.scheduled_purge if self.purged is None else self.purged


@dataclass(frozen=True)
class Certificate:
    """Everything under one name. `policy` has the shape of the REST API, without its id."""

    name: str
    policy: Mapping[str, Any]
    versions: tuple[Version, ...]
    pending: Operation | None = None
    deletion: Deletion | None = None

    @property
    def current(self) -> Version:
        """The newest completed version, or the newest version if none is completed."""
        return next((version for version in reversed(self.versions) if version.certificate), self.versions[-1])

    @property
    def completed(self) -> bool:
        """Whether any version has a certificate."""
        return any(version.certificate for version in self.versions)

    def version(self, identifier: str) -> Version | None:
        """The version with this id, without regard to case."""
        return next((version for version in self.versions if version.id == identifier.lower()), None)


def to_json(certificate: Certificate) -> str:
    """One line of JSON that `from_json` reads back; binary values are base64."""
    return json.dumps(asdict(certificate), default=_encode, separators=(",", ":"))


def from_json(text: str) -> Certificate:
    """The inverse of `to_json`."""
    data = json.loads(text)
    return Certificate(
        name=data["name"],
        policy=data["policy"],
        versions=tuple(_version(version) for version in data["versions"]),
        pending=_operation(data["pending"]),
        deletion=Deletion(**data["deletion"]) if data["deletion"] else None,
    )


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _version(data: dict[str, Any]) -> Version:
    known = {item.name for item in fields(Version)}
    data = {key: value for key, value in data.items() if key in known}
    data["key"] = base64.b64decode(data["key"])
    data["certificate"] = base64.b64decode(data["certificate"]) if data["certificate"] else None
    data["chain"] = tuple(base64.b64decode(item) for item in data["chain"])
    data["file_order"] = tuple(base64.b64decode(item) for item in data["file_order"])
    data["key_usage"] = tuple(data["key_usage"])
    return Version(**data)


def _operation(data: dict[str, Any] | None) -> Operation | None:
    return Operation(**{**data, "csr": base64.b64decode(data["csr"])}) if data else None
