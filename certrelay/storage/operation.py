"""An operation as it is stored: one attempt to get one new version of one certificate."""

import base64
import enum
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from certrelay.keyvault import policy
from certrelay.keyvault.certificate import PendingOperation
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected
from certrelay.redaction import redact
from certrelay.storage.fallback import Fallback
from certrelay.validation import ALIAS

COLUMN_BYTES = 60_000  # a column holds 64 KiB
MAX_CHAIN_BYTES = 300_000  # of DER; a row holds 1 MiB
MAX_DETAIL = 200  # characters of a transition; a row holds some sixty transitions in 64 KiB
MAX_COLUMN = 64 * 1024  # bytes of a column
CERTIFICATE_NAME = re.compile(r"^[0-9A-Za-z-]{1,127}$")


class State(enum.StrEnum):
    """The state of an operation; the last three are final."""

    REQUESTED = "requested"
    PENDING = "pending"
    SUBMITTED = "submitted"
    ISSUED = "issued"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self in (State.COMPLETED, State.FAILED, State.CANCELED)


class Kind(enum.StrEnum):
    """What an operation was requested for."""

    CREATE = "create"
    RENEW = "renew"
    IMPORT = "import"


@dataclass(frozen=True)  # without slots, for the cached property
class CertificateRequest:
    """The certificate that an operation requests.

    `policy`: Key Vault's CertificatePolicy, complete, in the JSON of its REST API. `authority`: its name in the
    settings; the policy's issuer is then `Unknown`, and `validity_days` the requested validity. `tags`, `enabled`: of
    the new version. `exact`: the x509_props (`key_usage`, `ekus`) that the caller set, which the certificate must match
    exactly. `names`: the policy's normalised names; without them they are worked out when needed."""

    policy: dict[str, Any]
    authority: str | None = None
    validity_days: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    exact: tuple[str, ...] = ()
    names: SubjectNames | None = field(default=None, compare=False, repr=False)

    @cached_property
    def expected(self) -> Expected:
        """What a CSR and a certificate for this request must look like."""
        return policy.expected(self.policy, self.names, self.exact)

    @property
    def issuer(self) -> str:
        """The name of the policy's issuer, as Key Vault uses the term."""
        return str(self.policy["issuer"]["name"])

    @property
    def hsm(self) -> bool:
        """Whether Key Vault is to make the key in a hardware security module."""
        return str(self.policy["key_props"].get("kty", "")).endswith("-HSM")

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the request's canonical JSON: the same for equal requests."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The request as JSON, for the table and the fingerprint; without `names`, which follow from the policy."""
        return {
            "policy": self.policy,
            "authority": self.authority,
            "validity_days": self.validity_days,
            "tags": self.tags,
            "enabled": self.enabled,
            "exact": list(self.exact),
        }

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> "CertificateRequest":
        """The reverse of `to_json`."""
        return cls(**{**written, "exact": tuple(written.get("exact", ()))})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation, or its last try, failed: a stable code for programs and a sentence for people."""

    code: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))


@dataclass(frozen=True, slots=True)
class Transition:
    """When (UTC) an operation entered a state, and why, if that needs saying."""

    state: State
    at: datetime
    detail: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redact(self.detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation, as its row has it. Times are UTC.

    `request_id`: Key Vault's id of the pending operation (the fencing token); `earlier_request_id`: that of the one
    before it, unless this is a renewal. `reference`: the connector's, which identifies the order. `chain`: the issued
    chain (DER, leaf first).
    `version`: the new version in Key Vault. `replaces`: the version that a renewal replaces; `replaced`: its
    certificate (DER), while the operation is open and if a column can hold it. `attempts`: failed tries in the present
    state. `crashes`: tries that ended in an unexpected exception or with a dead worker. `failure`: why the operation
    failed or, while it is open, why its last try failed, and `failed_at` when that was. `traceparent`: the trace of the
    request (W3C Trace Context). `fallbacks`: who may be asked in place of the request's authority, in order, and
    `fallback` who is. `withdraw_from`: after a change-over, the authority that still has the order `reference`.
    `unavailable_since`: the authority that is asked has been so since then. `replaced_signer`: the authority that
    signed the version `replaces`, "" if it is not known. `requested_by_name`: what people call `requested_by`, only
    to be shown, "" if it is not known. `etag`: of the row. `pending` and `newest_tags` (of the
    version that is renewed): what the holder of the lease has seen in Key Vault; they are not stored.
    """

    id: str
    vault: str
    name: str
    kind: Kind
    state: State
    request: CertificateRequest
    requested_by: str
    requested_at: datetime
    deadline: datetime
    next_attempt_at: datetime
    reason: str = ""
    earlier_request_id: str = ""
    request_id: str = ""
    reference: str = ""
    chain: tuple[bytes, ...] = ()
    version: str = ""
    replaces: str = ""
    replaced: bytes = b""
    attempts: int = 0
    crashes: int = 0
    cancel_requested: bool = False
    lease_id: str = ""
    lease_until: datetime | None = None
    failure: Failure | None = None
    transitions: tuple[Transition, ...] = ()
    ended_at: datetime | None = None
    failed_at: datetime | None = None
    traceparent: str = ""
    fallbacks: tuple[str, ...] = ()
    fallback: Fallback | None = None
    withdraw_from: str = ""
    unavailable_since: datetime | None = None
    replaced_signer: str = ""
    requested_by_name: str = ""
    etag: str = ""
    pending: PendingOperation | None = field(default=None, compare=False, repr=False)
    newest_tags: Mapping[str, str] | None = field(default=None, compare=False, repr=False)

    def moved(self, state: State, at: datetime, detail: str = "", **changes: Any) -> "Operation":
        """This operation in the next state, with the transition recorded and attempts and failure reset.

        `changes`: further fields to set."""
        ended = {"ended_at": at} if state.ended else {}
        entry = Transition(state, at, detail if len(detail) <= MAX_DETAIL else detail[: MAX_DETAIL - 1] + "…")
        fresh = {"state": state, "attempts": 0, "next_attempt_at": at, "transitions": (*self.transitions, entry)}
        return replace(self, **{**fresh, "failure": None, **ended, **changes})

    @property
    def authority(self) -> str | None:
        """The authority that is asked, or has signed: the request's, or a fall-back of it."""
        return self.fallback.authority if self.fallback else self.request.authority

    @property
    def fields(self) -> dict[str, str | None]:
        """The fields of log lines about this operation (certrelay.log.about)."""
        return {"operation": self.id, "vault": self.vault, "certificate": self.name, "authority": self.authority}

    def freed(self) -> "Operation":
        """This operation without its lease."""
        return replace(self, lease_id="", lease_until=None, pending=None, newest_tags=None)


def operation_id(vault: str, name: str, idempotency_key: str | None = None) -> str:
    """The id of a new operation, `VAULT.NAME.UNIQUE`; the same for the same idempotency key."""
    unique = hashlib.sha256(f"{vault}|{name.lower()}|{idempotency_key}".encode()).hexdigest()[:32]
    return f"{vault}.{name}.{unique if idempotency_key else uuid.uuid4().hex}"


def split_operation_id(identifier: str) -> tuple[str, str] | None:
    """The vault and certificate name in an operation's id; None if the id is malformed."""
    parts = identifier.split(".")
    readable = len(parts) == 3 and ALIAS.fullmatch(parts[0]) and CERTIFICATE_NAME.fullmatch(parts[1])
    readable = readable and re.fullmatch("[0-9a-f]{32}", parts[2])
    return (parts[0], parts[1]) if readable else None


_TIMES = ("requested_at", "deadline", "next_attempt_at", "lease_until", "ended_at", "failed_at", "unavailable_since")
_TEXTS = (
    "id",
    "vault",
    "name",
    "requested_by",
    "reason",
    "earlier_request_id",
    "request_id",
    "version",
    "replaces",
    "lease_id",
)
_NUMBERS = ("attempts", "crashes")
_LATER = ("traceparent", "withdraw_from", "replaced_signer", "requested_by_name")  # columns that older rows lack


def to_entity(operation: Operation) -> dict[str, Any]:
    """The operation as columns of a table. Long texts are binary: a column holds 64 KiB, as a string half of that."""
    entity: dict[str, Any] = {name: getattr(operation, name) for name in (*_TEXTS, *_LATER, *_NUMBERS)}
    entity |= {name: value.isoformat() for name in _TIMES if (value := getattr(operation, name)) is not None}
    entity |= {"kind": operation.kind.value, "state": operation.state.value}
    entity |= {"cancel_requested": operation.cancel_requested, "reference": operation.reference.encode()}
    entity["replaced"] = operation.replaced
    entity["request"] = json.dumps(operation.request.to_json()).encode()
    transitions = [[t.state, t.at.isoformat(), t.detail] for t in operation.transitions]
    entity["transitions"] = json.dumps(transitions, ensure_ascii=False).encode(errors="replace")
    entity |= _columns_of(json.dumps([base64.b64encode(certificate).decode() for certificate in operation.chain]))
    entity["fallbacks"] = json.dumps(operation.fallbacks)
    entity["fallback"] = operation.fallback.text() if operation.fallback else ""
    failure = operation.failure
    entity["failure_code"] = failure.code if failure else ""
    entity["failure_message"] = failure.message if failure else ""
    return entity


def _columns_of(chain: str) -> dict[str, bytes]:
    """The chain in as many columns as it needs: `chain`, `chain_01` and so on."""
    parts = [chain[at : at + COLUMN_BYTES].encode() for at in range(0, len(chain), COLUMN_BYTES)]
    return {f"chain_{number:02}" if number else "chain": part for number, part in enumerate(parts)}


def _chain_in(entity: dict[str, Any]) -> bytes:
    return b"".join(bytes(entity[name]) for name in sorted(entity) if name == "chain" or name.startswith("chain_"))


def from_entity(entity: dict[str, Any], etag: str = "") -> Operation:
    """The reverse of `to_entity`. Raises one of UNREADABLE of the ledger if it cannot be read."""
    texts = (*_TEXTS, *(name for name in _LATER if name in entity), "failure_code", "failure_message")
    for kind, names in ((str, texts), (int, _NUMBERS), (bool, ("cancel_requested",))):
        if strange := [name for name in names if not isinstance(entity[name], kind)]:
            raise TypeError(f"columns of another type than {kind.__name__}: {', '.join(strange)}")
    times: dict[str, Any] = {
        name: datetime.fromisoformat(entity[name]).astimezone(UTC) for name in _TIMES if entity.get(name)
    }
    transitions = [
        Transition(State(s), datetime.fromisoformat(at), d) for s, at, d in json.loads(entity["transitions"])
    ]
    code = entity["failure_code"]
    return Operation(
        **{name: entity[name] for name in (*_TEXTS, *_NUMBERS, "cancel_requested")},
        **{name: entity.get(name, "") for name in _LATER},
        **times,
        kind=Kind(entity["kind"]),
        state=State(entity["state"]),
        chain=tuple(base64.b64decode(certificate) for certificate in json.loads(_chain_in(entity))),
        reference=bytes(entity["reference"]).decode(),
        replaced=bytes(entity.get("replaced", b"")),
        fallbacks=tuple(map(str, json.loads(entity.get("fallbacks", "[]")))),
        fallback=Fallback.of(entity.get("fallback", "")),
        request=CertificateRequest.from_json(json.loads(entity["request"])),
        transitions=tuple(transitions),
        failure=Failure(code, entity["failure_message"]) if code else None,
        etag=etag,
    )
