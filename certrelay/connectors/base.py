"""The contract between CertRelay and a certificate authority.

A connector answers `submit` and `collect` with one of four outcomes, and nothing else:

    Outcome
    ├── Issued       the authority's answer, in any encoding; CertRelay picks the leaf, orders and verifies
    ├── Pending      not yet; come back with this reference
    ├── Rejected     no, and it will not change; never retried
    └── Unavailable  not now; retried with back-off until the operation's deadline

Any exception that a connector raises counts as Unavailable. It may be called twice, late, or after a crash at any line.
The small protocols at the end are optional abilities. `features` declares what an authority can put into a
certificate.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from certrelay.connectors.settings import ConnectorSettings as ConnectorSettings  # noqa: PLC0414 - part of this
from certrelay.pki.subject import SubjectNames
from certrelay.redaction import redact

MAX_REFERENCE_BYTES = 16_000


class Feature(enum.StrEnum):
    """What an authority can put into a certificate, or do for it. Undeclared features are refused before `submit`."""

    WILDCARD = "wildcard"
    IP_ADDRESS = "ip_address"
    EMAIL = "email"
    URI = "uri"
    USER_PRINCIPAL_NAME = "user_principal_name"
    COMMON_NAME_ONLY = "common_name_only"
    RSA = "rsa"
    EC = "ec"
    REQUESTED_VALIDITY = "requested_validity"
    FINDS_EARLIER_ORDER = "finds_earlier_order"
    CERTIFICATE_AUTHORITY = "certificate_authority"


class RevocationReason(enum.StrEnum):
    """CRLReason of RFC 5280, section 5.3.1: the values that the owner of an end-entity certificate may give."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """One CSR to be signed.

    `operation_id` is the same on every repeat of one order: an idempotency key. `csr` is a PKCS#10 request in DER
    (RFC 2986). `not_after` is the requested end of validity (UTC); authorities without REQUESTED_VALIDITY ignore it.
    `replaces` is the certificate (DER) that this one renews (RFC 9773, section 5; RFC 7030, section 4.2.2).
    `is_ca` requests a CA certificate. `lost_orders` counts this operation's earlier orders that were lost.
    """

    operation_id: str
    csr: bytes
    names: SubjectNames
    not_after: datetime
    replaces: bytes | None = None
    is_ca: bool = False
    lost_orders: int = 0


@dataclass(frozen=True, slots=True)
class Issued:
    """`answer`: leaf and chain as the authority sent them (PEM, DER or PKCS#7, any order)."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """`reference` finds the order again (opaque, public, at most MAX_REFERENCE_BYTES); `retry_after` in seconds.

    `awaits` is what people have to do first, in one clause. CertRelay notifies them each time this is returned."""

    reference: str
    retry_after: float = 10.0
    awaits: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """`reason`: one sentence for the caller, without secrets."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """`retry_after` in seconds, if the authority named one.

    `restart` discards the reference (of an expired order, say): the next attempt submits a new order. `everywhere`:
    another authority would meet the same trouble (our own DNS, say), so no fall-back is asked."""

    reason: str
    retry_after: float | None = None
    restart: bool = False
    everywhere: bool = False


type Outcome = Issued | Pending | Rejected | Unavailable


class Memory(Protocol):
    """Short texts that a connector remembers of its authority, beyond a restart; a dict is one that does not last.

    Not for secrets. Its methods raise CertRelayError when storage cannot be used now."""

    def get(self, key: str, default: str, /) -> str: ...

    def __setitem__(self, key: str, value: str, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a connector gets from CertRelay besides its own settings, which hold its secrets.

    `authority` is its name in the settings; `now` returns the current time (UTC); `credential` returns the app's own
    Azure credential (an `azure.core.credentials.TokenCredential`); `memory` outlives the process.
    """

    authority: str
    now: Callable[[], datetime]
    credential: Callable[[], Any]
    memory: Memory = field(default_factory=dict[str, str])


class Connector(Protocol):
    """One kind of authority. The constructor reads the settings and makes no request.

    A class attribute `default_deadline_hours` is optional: how long an order may take if the settings do not say.
    Without it the deadline is at most a day; authorities where people decide need more."""

    Settings: ClassVar[type[ConnectorSettings]]
    features: ClassVar[frozenset[Feature]]

    def __init__(self, settings: Any, context: Context) -> None: ...

    def submit(self, request: SigningRequest) -> Outcome:
        """Place the order, or find the one that an earlier call with this `operation_id` placed."""
        ...

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        """Check the order that `reference` names once, without waiting, and take its next step, if any."""
        ...


class ConnectorError(Exception):
    """An optional ability failed; callers see the text."""

    def __init__(self, text: str = "") -> None:
        super().__init__(redact(text))


@runtime_checkable
class Revokes(Protocol):
    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        """Revoke the certificate (DER). Revoking it twice is no error. Raises ConnectorError when refused."""
        ...


@runtime_checkable
class Cancels(Protocol):
    def cancel(self, reference: str) -> None:
        """Cancel the order, best effort. Raises ConnectorError when the authority no longer can."""
        ...


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """RFC 9773, section 4.2: renew at a random time in [start, end) (UTC); ask again after `retry_after` seconds."""

    start: datetime
    end: datetime
    retry_after: float = 21_600.0
    explanation_url: str | None = None


class NoRenewalWindow(ConnectorError):
    """The authority refused this certificate, or answered without a usable window; it may have one for others."""


@runtime_checkable
class SuggestsRenewal(Protocol):
    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        """When the authority suggests renewing the certificate (DER); None if it makes no suggestions at all.

        Raises NoRenewalWindow, which is an answer about this certificate only, and ConnectorError."""
        ...


@runtime_checkable
class PublishesRevocations(Protocol):
    def publish_crl(self, now: datetime) -> object:
        """Publish a new CRL (RFC 5280, section 5). Raises ConnectorError."""
        ...


@runtime_checkable
class RollsOverAccountKey(Protocol):
    def roll_over_account_key(self) -> str:
        """Replace our account key (RFC 8555, section 7.3.5). Returns the new key's id. Raises ConnectorError."""
        ...


@dataclass(frozen=True, slots=True)
class StandingRecord:
    """A TXT record that the owner of a domain publishes once, so that the authority validates every order by it.

    `name`: where, absolute, without final dot. `value`: what to publish; `strings`: the same in parts of at most 255
    octets. `format`: the draft whose form it has. `offered`: whether the authority offered to look at it in the latest
    order; None before the first. `until`: the end of the record that is there now (UTC), None where it has none.
    `fault`: why orders cannot rely on that record now; empty if they can."""

    name: str
    value: str
    strings: tuple[str, ...]
    format: str
    offered: bool | None
    until: datetime | None
    fault: str


@runtime_checkable
class UsesStandingRecords(Protocol):
    def standing_record(self, name: str, until: datetime | None = None) -> StandingRecord:
        """The record for a normalised DNS name, or a wildcard, to expire at `until` (UTC). Raises ConnectorError."""
        ...

    def standing_records(self) -> dict[str, str]:
        """For each name in the settings: until when its record is good, or what is used instead.

        Raises ConnectorError where orders for one of the names cannot succeed."""
        ...


@runtime_checkable
class ChecksHealth(Protocol):
    def check(self) -> None:
        """One cheap request that proves the authority answers and accepts our credentials. Raises ConnectorError."""
        ...


@runtime_checkable
class ChecksNames(Protocol):
    def check_names(self, names: list[str]) -> dict[str, str]:
        """What is in the way of proving each of these DNS names to the authority, or "". Changes nothing."""
        ...
