"""Opening an operation: one at a time for each certificate, at the pace of the rates."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certrelay.errors import NameBusy
from certrelay.operations import lease, signing
from certrelay.operations.find import by_key_or_open
from certrelay.operations.rate import reserve
from certrelay.services import Services
from certrelay.storage.operation import (
    CertificateRequest,
    Kind,
    Operation,
    State,
    Transition,
    operation_id,
)

SHORTEST_DEADLINE, LONGEST_DEADLINE = timedelta(hours=16), timedelta(days=1)  # unless settings or connector say more


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked for an operation, and why. `replaces` is the version that a renewal renews, which ends at `expires`."""

    requested_by: str
    kind: Kind = Kind.CREATE
    reason: str = ""
    replaces: str = ""
    expires: datetime | None = None
    idempotency_key: str | None = None


def open_operation(services: Services, vault: str, name: str, request: CertificateRequest, origin: Origin) -> Operation:
    """Open an operation, or return the open (or, with the same idempotency key, the ended) one for the same request.

    Raises Conflict when the name is busy with something else."""
    existing = by_key_or_open(services, vault, name, origin.idempotency_key)
    if existing is not None:
        return _same(existing, request)
    earlier = services.vault(vault).pending(name)
    if earlier is not None and earlier.in_progress and not signing.adoptable(earlier, request):
        raise NameBusy(f"{name} has a pending operation in Key Vault that is not CertRelay's")
    operation = _requested(services, vault, name, request, origin)
    opened = services.storage.insert(replace(operation, earlier_request_id=earlier.request_id if earlier else ""))
    if opened is None:
        existing = services.storage.open(vault, name)
        if existing is None:
            raise NameBusy(f"{name} was busy until just now; try again")
        return _same(existing, request)
    lease.wake_up(services, opened, (opened.next_attempt_at - opened.requested_at).total_seconds())
    return opened


def _requested(services: Services, vault: str, name: str, request: CertificateRequest, origin: Origin) -> Operation:
    now = services.now()
    start = reserve(services, vault, request.authority, now)
    left = origin.expires - start if origin.expires is not None else None
    return Operation(
        id=operation_id(vault, name, origin.idempotency_key), vault=vault, name=name, kind=origin.kind,
        state=State.REQUESTED, request=request, requested_by=origin.requested_by, requested_at=now,
        next_attempt_at=start, deadline=start + _time_allowed(services, request, left), reason=origin.reason,
        replaces=origin.replaces, transitions=(Transition(State.REQUESTED, now),),
    )  # fmt: skip


def _same(existing: Operation, request: CertificateRequest) -> Operation:
    if existing.request.fingerprint() == request.fingerprint():
        return existing
    raise NameBusy(f"{existing.name} has another operation: {existing.id} ({existing.state})")


def _time_allowed(services: Services, request: CertificateRequest, left: timedelta | None) -> timedelta:
    if request.authority is None:
        return timedelta(days=7)
    known = services.authority(request.authority)
    given = known.settings.deadline_hours or getattr(known.connector_class, "default_deadline_hours", None)
    if given:
        return timedelta(hours=given)
    # An order that hangs leaves a certificate of six days, renewed two days before its end, time for two more.
    return LONGEST_DEADLINE if left is None else min(max(left / 3, SHORTEST_DEADLINE), LONGEST_DEADLINE)
