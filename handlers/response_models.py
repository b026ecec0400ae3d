"""The response bodies, as models for OpenAPI. Optional fields without a value are left out of a response."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    model_config = ConfigDict(extra="allow", defer_build=True)


class ErrorDetail(Body):
    code: str
    message: str


class Fault(Body):
    pointer: str
    detail: str


class Problem(Body):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str = ""
    errors: list[Fault] = []
    correlation_id: str


class Transition(Body):
    step: str
    at: str
    detail: str | None = None


class IssuerName(Body):
    name: str


class Fallback(Body):
    """`of` is the authority that would have been asked; another one was, since then, for this reason."""

    of: str
    since: str
    why: str


class Operation(Body):
    """One attempt to get one new version of one certificate. `authority`: the one that is asked, or has signed.

    `requested_by_name`, `owner_name`: what people call them; only to be shown, and left out where it is not known."""

    id: str
    vault: str
    name: str
    kind: Literal["create", "renew", "import"]
    status: Literal["inProgress", "completed", "failed", "canceled"]
    step: Literal["requested", "pending", "submitted", "issued", "completed", "failed", "canceled"]
    status_details: str
    issuer: IssuerName
    authority: str = ""
    fallback: Fallback = Field(default=None)  # type: ignore[assignment]
    cancellation_requested: bool
    requested_by: str
    requested_by_name: str = ""
    owner: str = ""
    owner_name: str = ""
    requested_at: str
    ended_at: str = ""
    deadline: str = ""
    next_attempt_at: str = ""
    error: ErrorDetail = Field(default=None)  # type: ignore[assignment]
    last_error: ErrorDetail = Field(default=None)  # type: ignore[assignment]
    transitions: list[Transition]
    target: str = ""


class RenewalPlan(Body):
    due: str | None
    reason: str


class Certificate(Body):
    """Key Vault's CertificateBundle, and the contents of the certificate."""

    name: str
    vault: str
    version: str
    id: str
    attributes: dict[str, Any]
    tags: dict[str, str] = {}
    policy: dict[str, Any] = {}


class Imported(Certificate):
    imported: bool
    changes: list[str]


class CertificateContents(Body):
    """What a certificate says; a part that cannot be read is left out. Names in RFC 4514, numbers in hex, the key's
    size in bits."""

    thumbprint_sha256: str
    subject: str = ""
    issuer: str = ""
    serial_number: str = ""
    not_before: str = ""
    not_after: str = ""
    key_type: str = ""
    key_size: int = 0
    dns_names: list[str] = []
    email_addresses: list[str] = []
    ip_addresses: list[str] = []
    uris: list[str] = []


class Served(Body):
    """What an endpoint serves. `thumbprint`: SHA-1 in hex, as in Key Vault's `x5t`."""

    thumbprint: str
    not_before: str = ""
    expires: str = ""
    earlier_version: bool


class Endpoint(Body):
    """What was seen where the certificate is served (the tag `certrelay-endpoint`).

    `newest_since`: since when the newest version is in the vault; it is `pending` until `deploy_until`, and
    `not-deployed` from then on. `served`: what was seen last."""

    address: str
    state: Literal["not-allowed", "unseen", "unreachable", "deployed", "pending", "not-deployed"]
    newest_since: str
    deploy_until: str
    looked_at: str = ""
    served: Served = Field(default=None)  # type: ignore[assignment]
    error: str = ""
    unreachable_since: str = ""


class CertificateDetail(Certificate):
    """`chain` (PEM) and `path` (what they say): the certificate first; empty if CertRelay did not merge it.

    `signed_by`: the authority that signed it, by the history."""

    renewal: RenewalPlan
    owner: str | None
    owner_name: str = ""
    signed_by: str | None
    fallback: Fallback = Field(default=None)  # type: ignore[assignment]
    endpoint: Endpoint = Field(default=None)  # type: ignore[assignment]
    chain: list[str] = []
    path: list[CertificateContents] = []


class CertificateLine(Body):
    """`names`: the first ten names in the newest version, `more_names`: how many more; null unless CertRelay has merged
    or imported it. `failed_renewals`: how many failed in a row, the last one because of `last_failure`."""

    name: str
    enabled: bool
    expires: str | None
    authority: str | None
    state: Literal["disabled", "expired", "expiring", "due", "valid"]
    renewal_due: str | None
    renewal_reason: str
    failed_renewals: int
    last_failure: str | None
    owner: str | None
    owner_name: str = ""
    names: list[str] | None
    more_names: int
    thumbprint: str
    tags: dict[str, str]
    endpoint: Endpoint = Field(default=None)  # type: ignore[assignment]


class CertificateList(Body):
    value: list[CertificateLine]
    continuation: str | None


class Version(Body):
    version: str
    attributes: dict[str, Any]
    thumbprint: str


class Versions(Body):
    value: list[Version]


class OwnerChange(Body):
    """`by` created, imported, adopted or transferred (`why`) the certificate."""

    owner: str
    owner_name: str = ""
    since: str
    by: str
    by_name: str = ""
    why: str


class Owner(OwnerChange):
    vault: str
    name: str


class History(Body):
    value: list[Operation]
    owners: list[OwnerChange]


class Anything(Body):
    """An object as in Key Vault's REST API."""


class Listed(Body):
    value: list[dict[str, Any]]


class Contacts(Body):
    contacts: list[dict[str, Any]]


class Rate(Body):
    """At most `requests` new operations in `seconds`; `burst` of them at once."""

    requests: int
    seconds: int
    burst: int = 1


class Authority(Body):
    """`rate` and `concurrency` only where the settings limit them. `fallback`: who is asked in its place, in order."""

    name: str
    connector: str
    features: list[str]
    abilities: list[str]
    default_validity_days: int
    fallback: list[str]
    rules: dict[str, Any]
    rate: Rate = Field(default=None)  # type: ignore[assignment]
    concurrency: int = 1


class Authorities(Body):
    value: list[Authority]


class AccountKey(Body):
    authority: str
    key_id: str


class TxtRecord(Body):
    name: str
    type: Literal["TXT"]
    value: str
    strings: list[str]


class DnsPersist(Body):
    authority: str
    format: str
    records: list[TxtRecord]
    offered: bool | None
    published: bool
    until: str | None
    detail: str


class Vault(Body):
    """`rate` and `concurrency` only where the settings limit them. `endpoints`: the patterns of those that a tag may
    name, as in the setting."""

    name: str
    url: str
    authorities: list[str]
    rules: dict[str, Any]
    endpoints: list[str]
    rate: Rate = Field(default=None)  # type: ignore[assignment]
    concurrency: int = 1


class Vaults(Body):
    value: list[Vault]


class Revoked(Body):
    certificate: Certificate
    operation: Operation | None
