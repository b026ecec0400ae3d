"""The response bodies of the routes of the service itself; as response_models, and held to the document as they are."""

from typing import Any, Literal, NotRequired, TypedDict


class Access(TypedDict):
    name: str
    role: str
    routes: list[str]


class AccountKey(TypedDict):
    authority: str
    key_id: str


class TxtRecord(TypedDict):
    name: str
    type: str
    value: str
    strings: list[str]


class DnsPersist(TypedDict):
    authority: str
    format: str
    records: list[TxtRecord]
    offered: bool | None
    published: bool
    until: str | None
    detail: str


class Rate(TypedDict):
    requests: int
    seconds: int
    burst: NotRequired[int]


class Authority(TypedDict):
    name: str
    connector: str
    features: list[str]
    abilities: list[str]
    default_validity_days: int
    fallback: NotRequired[list[str]]
    rules: dict[str, Any]
    rate: NotRequired[Rate]
    concurrency: NotRequired[int]


class Authorities(TypedDict):
    value: list[Authority]


class Certificates(TypedDict):
    authority: str | None
    state: Literal["disabled", "expired", "expiring", "due", "valid"]
    count: int


class Contacts(TypedDict):
    contacts: list[dict[str, Any]]


class Finding(TypedDict):
    what: str
    ok: bool
    detail: str
    mend: str


class Delivery(TypedDict):
    at: str
    event: str
    subject: str
    status: int | None
    delivered: bool


class NotificationTarget(TypedDict):
    name: str
    kind: Literal["webhook", "teams", "slack"]
    host: str
    events: list[str]
    last_delivered: Delivery | None
    last_failed: Delivery | None


class NotificationTargets(TypedDict):
    value: list[NotificationTarget]


class Diagnosis(TypedDict):
    ok: bool
    findings: list[Finding]


class Grant(TypedDict):
    role: str
    vaults: list[str]
    authorities: list[str]
    certificates: list[str]
    subjects: list[str]


class Health(TypedDict):
    status: Literal["ok", "unavailable"]


class Incident(TypedDict):
    event: str
    subject: str
    since: str
    detail: str
    next_step: str


class Me(TypedDict):
    name: str
    display_name: str
    ids: list[str]
    role: str | None
    groups: list[str]
    groups_left_out: bool
    decided_by: Literal["role", "grants"]
    grants: list[Grant]
    vaults: list[Access]


class AuthorityState(TypedDict):
    name: str
    open: int
    issued_at: str | None
    down_since: str | None
    detail: str


class OpenOperations(TypedDict):
    open: int
    failing: int
    waiting: int
    crowded: int


class Part(TypedDict):
    what: str
    ok: bool
    milliseconds: int
    detail: str


class PoisonMessage(TypedDict):
    id: str
    queue: Literal["signing", "notifications"]
    subject: str
    reason: str
    outcome: str
    at: str


class PoisonMessages(TypedDict):
    value: list[PoisonMessage]


class Readiness(TypedDict):
    status: Literal["ok", "unavailable"]
    parts: list[Part]


class Run(TypedDict):
    name: Literal["poll", "sweep", "digest", "crl", "event"]
    schedule: str | None
    begun_at: str | None
    ended_at: str | None
    succeeded_at: str | None
    ok: bool | None
    detail: Any
    late: bool


class Status(TypedDict):
    version: str
    now: str
    runs: list[Run]
    operations: OpenOperations
    authorities: list[AuthorityState]
    certificates: list[Certificates]
    endpoints: dict[str, int]
    not_deployed: list[str]
    incidents: list[Incident]
    poison_messages: int


class Vault(TypedDict):
    name: str
    url: str
    authorities: list[str]
    rules: NotRequired[dict[str, Any]]
    rate: NotRequired[Rate]
    concurrency: NotRequired[int]
    endpoints: list[str]


class Vaults(TypedDict):
    value: list[Vault]
