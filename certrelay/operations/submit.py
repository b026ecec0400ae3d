"""Open operations: one at a time for each certificate, as fast as the rate limits allow."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certrelay import telemetry
from certrelay.access import ownership
from certrelay.errors import CertRelayError, Invalid, NameBusy
from certrelay.operations import fallback, find, lease, signing
from certrelay.operations.rate import reserve
from certrelay.services import Services
from certrelay.storage.operation import (
    MAX_COLUMN,
    MAX_DETAIL,
    CertificateRequest,
    Kind,
    Operation,
    State,
    Transition,
    operation_id,
)
from certrelay.storage.rows import TOO_LARGE

SHORTEST_DEADLINE, LONGEST_DEADLINE = timedelta(hours=16), timedelta(days=1)  # by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who requested an operation, and why.

    `requested_by_name`: what people call who that is, if it is not the caller. `replaces`: the version (of Key Vault)
    that a renewal replaces; `replaced`: its certificate (DER);
    `replaced_signer`: the authority that signed it, "" if that is not known; `expires`: when it expires (UTC).
    `idempotency_key`: a second request with the same key returns the operation of the first. `must_own`: a creation is
    refused if the caller does not become, or is not, the certificate's owner. `hold`: the caller takes the first steps
    itself, and at once (certrelay.operations.waiting): the operation is opened with its lease taken, if it is due, and
    without a wake-up."""

    requested_by: str
    kind: Kind = Kind.CREATE
    reason: str = ""
    replaces: str = ""
    replaced: bytes = b""
    replaced_signer: str = ""
    expires: datetime | None = None
    idempotency_key: str | None = None
    must_own: bool = False
    hold: bool = False
    requested_by_name: str = ""


def open_operation(services: Services, vault: str, name: str, request: CertificateRequest, origin: Origin) -> Operation:
    """Open an operation, or return the existing one for the same request.

    An existing operation is the certificate's open one or, with an idempotency key, the ended one with that key. It is
    returned without a lease; a new one has one, which is this worker's, if `origin` says so.
    Of a creation, the caller becomes the certificate's owner, unless it has one.
    Raises NameBusy (the certificate has another operation), NotPermitted `NotOwner`, Invalid (it is too large),
    NotReady."""
    existing, earlier = services.both(
        lambda: find.by_key_or_open(services, vault, name, origin.idempotency_key),
        lambda: _earlier(services, vault, name, request, origin),
    )
    if existing is not None:
        if origin.must_own:  # somebody else may have claimed the name since that was checked
            ownership.require_owner(services, vault, name)
        return _joined(services, existing, request, origin)
    if isinstance(earlier, CertRelayError):
        raise earlier
    if len(json.dumps(request.to_json()).encode()) > MAX_COLUMN:  # before the name is claimed
        raise Invalid(TOO_LARGE)
    operation, _ = services.both(
        lambda: _requested(services, vault, name, request, origin), lambda: _claim(services, vault, name, origin)
    )
    if origin.hold and lease.is_due(operation, operation.requested_at):
        operation = lease.with_lease(operation, operation.requested_at)
    opened = services.storage.insert(replace(operation, earlier_request_id=earlier))
    if opened is None:
        existing = services.storage.open(vault, name)
        if existing is None:
            raise NameBusy(f"another operation of {name} has just ended; try again")
        return _joined(services, existing, request, origin)
    if origin.kind is Kind.RENEW and origin.expires is not None:
        left = (origin.expires - opened.requested_at).total_seconds() / 86_400
        telemetry.days_left.record(left, {"authority": request.authority or request.issuer})
    if not opened.lease_id:  # else it is queued while this worker takes the first steps
        lease.wake_up(services, opened, (opened.next_attempt_at - opened.requested_at).total_seconds())
    return opened


def _earlier(
    services: Services, vault: str, name: str, request: CertificateRequest, origin: Origin
) -> str | CertRelayError:
    """What `earlier_request` returns or raises; it does not matter if the certificate has an operation."""
    try:
        return "" if origin.kind is Kind.RENEW else earlier_request(services, vault, name, request)
    except CertRelayError as error:
        return error


def _claim(services: Services, vault: str, name: str, origin: Origin) -> None:
    if origin.kind is Kind.CREATE:
        ownership.claim(services, vault, name, "created", must_own=origin.must_own)


def earlier_request(services: Services, vault: str, name: str, request: CertificateRequest) -> str:
    """The request id of the name's last pending operation in Key Vault, or "".

    Raises NameBusy if it is in progress and cannot serve `request`, NotReady."""
    earlier = services.vault(vault).pending(name)
    if earlier is not None and earlier.in_progress and not signing.adoptable(earlier, request):
        text = f"{name} has a pending operation in Key Vault that CertRelay did not create"
        raise NameBusy(f"{text}; wait for it, or delete it with force")
    return earlier.request_id if earlier else ""


def _requested(services: Services, vault: str, name: str, request: CertificateRequest, origin: Origin) -> Operation:
    now = services.now()
    fallbacks, refusals = fallback.permitted(services, vault, name, request)
    start = reserve(services, vault, request, now)
    remaining = origin.expires - start if origin.expires is not None else None
    return Operation(
        id=operation_id(vault, name, origin.idempotency_key), vault=vault, name=name, kind=origin.kind,
        state=State.REQUESTED, request=request, requested_by=origin.requested_by, requested_at=now,
        next_attempt_at=start, deadline=start + _time_allowed(services, request, remaining), reason=origin.reason,
        replaces=origin.replaces, replaced=origin.replaced if len(origin.replaced) <= MAX_COLUMN else b"",
        replaced_signer=origin.replaced_signer, fallbacks=fallbacks,
        transitions=(Transition(State.REQUESTED, now, refusals[:MAX_DETAIL]),), traceparent=telemetry.traceparent(),
        requested_by_name=origin.requested_by_name or services.caller_name,
    )  # fmt: skip


def _joined(services: Services, existing: Operation, request: CertificateRequest, origin: Origin) -> Operation:
    if existing.request.fingerprint() == request.fingerprint():
        if origin.idempotency_key:
            find.refuse_ended(services, existing, origin.idempotency_key)
        find.join(services, existing, origin.idempotency_key)
        return existing.freed()
    text = f"{existing.name} has a different operation: {existing.id} ({existing.state})"
    raise NameBusy(f"{text}; wait for it, or cancel it first")


def _time_allowed(services: Services, request: CertificateRequest, remaining: timedelta | None) -> timedelta:
    """From start to deadline: as the settings or the connector say, else by the time that the certificate has left."""
    if request.authority is None:
        return timedelta(days=7)
    hours = services.authority(request.authority).deadline_hours
    if hours:
        return timedelta(hours=hours)
    # A six-day certificate, renewed two days before it expires, has time for two more orders if the first one hangs.
    return LONGEST_DEADLINE if remaining is None else min(max(remaining / 3, SHORTEST_DEADLINE), LONGEST_DEADLINE)
