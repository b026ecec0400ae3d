"""The response bodies of the API, with the names of its OpenAPI document. A test holds each field to that document.

Those of the service itself are in service_models. CertRelay may add fields, and leaves out optional ones that have
no value.
"""

from typing import Any, Literal, NotRequired, TypedDict

type Anything = dict[str, Any]


class Certificate(TypedDict):
    name: str
    vault: str
    version: str
    id: str
    attributes: dict[str, Any]
    tags: NotRequired[dict[str, str]]
    policy: NotRequired[dict[str, Any]]
    cer: NotRequired[str]
    x5t: NotRequired[str]
    subject: NotRequired[str]
    issuer: NotRequired[str]
    serial_number: NotRequired[str]
    not_before: NotRequired[str]
    not_after: NotRequired[str]
    thumbprint_sha256: NotRequired[str]
    dns_names: NotRequired[list[str]]
    email_addresses: NotRequired[list[str]]
    ip_addresses: NotRequired[list[str]]
    uris: NotRequired[list[str]]
    key_type: NotRequired[str]
    key_size: NotRequired[int]


class RenewalPlan(TypedDict):
    due: str | None
    reason: str


class CertificateContents(TypedDict):
    thumbprint_sha256: str
    subject: NotRequired[str]
    issuer: NotRequired[str]
    serial_number: NotRequired[str]
    not_before: NotRequired[str]
    not_after: NotRequired[str]
    key_type: NotRequired[str]
    key_size: NotRequired[int]
    dns_names: NotRequired[list[str]]
    email_addresses: NotRequired[list[str]]
    ip_addresses: NotRequired[list[str]]
    uris: NotRequired[list[str]]


class Fallback(TypedDict):
    of: str
    since: str
    why: str


class Served(TypedDict):
    thumbprint: str
    not_before: NotRequired[str]
    expires: NotRequired[str]
    earlier_version: bool


class Endpoint(TypedDict):
    address: str
    state: Literal["not-allowed", "unseen", "unreachable", "deployed", "pending", "not-deployed"]
    newest_since: str
    deploy_until: str
    looked_at: NotRequired[str]
    served: NotRequired[Served]
    error: NotRequired[str]
    unreachable_since: NotRequired[str]


class CertificateDetail(Certificate):
    renewal: RenewalPlan
    chain: NotRequired[list[str]]
    path: NotRequired[list[CertificateContents]]
    owner: NotRequired[str | None]
    owner_name: NotRequired[str]
    signed_by: NotRequired[str | None]
    fallback: NotRequired[Fallback]
    endpoint: NotRequired[Endpoint]


class CertificateLine(TypedDict):
    name: str
    enabled: bool
    expires: str | None
    authority: str | None
    renewal_due: str | None
    renewal_reason: NotRequired[str]
    failed_renewals: NotRequired[int]
    last_failure: NotRequired[str | None]
    owner: NotRequired[str | None]
    owner_name: NotRequired[str]
    names: NotRequired[list[str] | None]
    more_names: NotRequired[int]
    thumbprint: str
    tags: dict[str, str]
    state: NotRequired[Literal["disabled", "expired", "expiring", "due", "valid"]]
    endpoint: NotRequired[Endpoint]


class CertificateList(TypedDict):
    value: list[CertificateLine]
    continuation: str | None


class Day(TypedDict):
    date: str
    authority: str
    renewals: int
    capacity: int | None


class ErrorDetail(TypedDict):
    code: str
    message: str


class ExpectedRenewal(TypedDict):
    vault: str
    name: str
    authority: str
    due: str
    expires: str


class Fault(TypedDict):
    pointer: str
    detail: str


class VaultDay(TypedDict):
    date: str
    vault: str
    renewals: int
    capacity: int


class Forecast(TypedDict):
    days: list[Day]
    vault_days: list[VaultDay]
    renewals: list[ExpectedRenewal]
    unreadable_vaults: list[str]
    continuation: str | None


class IssuerName(TypedDict):
    name: str


class Transition(TypedDict):
    step: str
    at: str
    detail: NotRequired[str | None]


class Operation(TypedDict):
    id: str
    vault: str
    name: str
    kind: Literal["create", "renew", "import"]
    status: Literal["inProgress", "completed", "failed", "canceled"]
    step: Literal["requested", "pending", "submitted", "issued", "completed", "failed", "canceled"]
    status_details: str
    issuer: IssuerName
    authority: NotRequired[str]
    fallback: NotRequired[Fallback]
    cancellation_requested: bool
    requested_by: str
    requested_by_name: NotRequired[str]
    requested_at: str
    ended_at: NotRequired[str]
    deadline: NotRequired[str]
    next_attempt_at: NotRequired[str]
    error: NotRequired[ErrorDetail]
    last_error: NotRequired[ErrorDetail]
    transitions: list[Transition]
    target: NotRequired[str]
    owner: NotRequired[str]
    owner_name: NotRequired[str]


class OwnerChange(TypedDict):
    owner: str
    owner_name: NotRequired[str]
    since: str
    by: str
    by_name: NotRequired[str]
    why: str


class History(TypedDict):
    value: list[Operation]
    owners: NotRequired[list[OwnerChange]]


class Imported(Certificate):
    imported: bool
    changes: list[str]


class Listed(TypedDict):
    value: list[dict[str, Any]]


class OperationList(TypedDict):
    value: list[Operation]
    continuation: str | None


class Owner(TypedDict):
    owner: str
    owner_name: NotRequired[str]
    since: str
    by: str
    by_name: NotRequired[str]
    why: str
    vault: str
    name: str


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: NotRequired[str]
    code: NotRequired[str]
    errors: NotRequired[list[Fault]]
    correlation_id: str


class RefusedRenewal(TypedDict):
    vault: str
    name: str
    detail: str


class Replacement(TypedDict):
    id: str
    state: Literal["running", "started", "settled", "canceled"]
    requested_by: str
    requested_by_name: NotRequired[str]
    requested_at: str
    looked_at: int
    progress: dict[str, int]
    refused: NotRequired[list[RefusedRenewal]]


class ReplacementLine(TypedDict):
    id: str
    state: Literal["running", "started", "settled", "canceled"]
    requested_by: str
    requested_by_name: NotRequired[str]
    requested_at: str
    looked_at: int


class ReplacementList(TypedDict):
    value: list[ReplacementLine]
    continuation: str | None


class Revoked(TypedDict):
    certificate: Certificate
    operation: Operation | None


class Version(TypedDict):
    version: str
    attributes: dict[str, Any]
    thumbprint: str


class Versions(TypedDict):
    value: list[Version]
