"""The response bodies about the service itself, as models for OpenAPI."""

from typing import Any, Literal

from handlers.response_models import Body, Operation


class OperationList(Body):
    value: list[Operation]
    continuation: str | None


class ReplacementLine(Body):
    id: str
    state: Literal["running", "started", "settled", "canceled"]
    requested_by: str
    requested_by_name: str = ""
    requested_at: str
    looked_at: int


class ReplacementList(Body):
    value: list[ReplacementLine]
    continuation: str | None


class Run(Body):
    """The last run of a timer, or the last event."""

    name: Literal["poll", "sweep", "digest", "crl", "event"]
    schedule: str | None
    begun_at: str | None
    ended_at: str | None
    succeeded_at: str | None
    ok: bool | None
    detail: Any
    late: bool


class OpenOperations(Body):
    open: int
    failing: int
    waiting: int
    crowded: int


class AuthorityState(Body):
    """How an authority stands. `open`: its open operations. `issued_at`: when it issued last; null: never.
    `down_since`: since when operations fail because of it and it has issued nothing; null if that is not so. `detail`:
    the last error then."""

    name: str
    open: int
    issued_at: str | None
    down_since: str | None
    detail: str


class Certificates(Body):
    authority: str | None
    state: Literal["disabled", "expired", "expiring", "due", "valid"]
    count: int


class Incident(Body):
    event: str
    subject: str
    since: str
    detail: str
    next_step: str


class Status(Body):
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


class PoisonMessage(Body):
    """A message that could not be processed."""

    id: str
    queue: Literal["signing", "notifications"]
    subject: str
    reason: str
    outcome: str
    at: str


class PoisonMessages(Body):
    value: list[PoisonMessage]


class Delivery(Body):
    """One try to deliver one event. `status`: of the response; null without one."""

    at: str
    event: str
    subject: str
    status: int | None
    delivered: bool


class NotificationTarget(Body):
    """Who is told of what. `host`: of the target's URL, which may be a password. `last_delivered`, `last_failed`: null
    if there was none yet."""

    name: str
    kind: Literal["webhook", "teams", "slack"]
    host: str
    events: list[str]
    last_delivered: Delivery | None
    last_failed: Delivery | None


class NotificationTargets(Body):
    value: list[NotificationTarget]


class Finding(Body):
    """`mend`: the command or step that mends it; empty if it is ok."""

    what: str
    ok: bool
    detail: str
    mend: str


class Diagnosis(Body):
    ok: bool
    findings: list[Finding]


class Health(Body):
    status: Literal["ok", "unavailable"]


class Part(Body):
    what: str
    ok: bool
    milliseconds: int
    detail: str


class Readiness(Health):
    parts: list[Part]
