"""What callers ask of operations: open, find, cancel, abandon one, or bring the answer of an authority."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from certrelay.errors import Conflict, NotFound, NotReady
from certrelay.services import Services
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.operation import (
    CertificateRequest,
    Failure,
    Kind,
    Operation,
    State,
    Transition,
    operation_id,
    split_operation_id,
)
from certrelay.storage.tables import Stale
from lifecycle import decide, leases, operations, signing
from lifecycle.decide import Act, Facts

SHORTEST_PATIENCE, LONGEST_PATIENCE = timedelta(hours=16), timedelta(days=1)  # unless settings or connector say more

log = logging.getLogger("certrelay.operations")


def request(
    services: Services,
    vault: str,
    name: str,
    wanted: CertificateRequest,
    *,
    requested_by: str,
    kind: Kind = Kind.CREATE,
    reason: str = "",
    replaces: str = "",
    expires: datetime | None = None,
    idempotency_key: str | None = None,
) -> Operation:
    """Open an operation, or return the open (or, with the same idempotency key, the ended) one for the same request.

    `replaces` is the version that a renewal renews, and `expires` is when that one ends.
    Raises Conflict when the name is busy with something else."""
    existing = known(services, vault, name, idempotency_key)
    if existing is not None:
        return _same(existing, wanted)
    now = services.now()
    earlier = services.vault(vault).pending(name)
    if earlier is not None and earlier.in_progress and not signing.adoptable(earlier, wanted):
        raise Conflict(f"{name} has a pending operation in Key Vault that is not CertRelay's", "NameBusy")
    begins = _paced(services, vault, wanted, now)
    left = expires - begins if expires is not None else None
    operation = Operation(
        id=operation_id(vault, name, idempotency_key), vault=vault, name=name, kind=kind, state=State.REQUESTED,
        request=wanted, requested_by=requested_by, requested_at=now, next_attempt_at=begins,
        deadline=begins + _patience(services, wanted, left), reason=reason, replaces=replaces,
        earlier_request_id=earlier.request_id if earlier else "", transitions=(Transition(State.REQUESTED, now),),
    )  # fmt: skip
    opened = services.storage.insert(operation)
    if opened is None:
        existing = services.storage.open(vault, name)
        if existing is None:
            raise Conflict(f"{name} was busy until just now; ask again", "NameBusy")
        return _same(existing, wanted)
    leases.nudge(services, opened, (begins - now).total_seconds())
    return opened


def known(services: Services, vault: str, name: str, idempotency_key: str | None) -> Operation | None:
    """The operation that this key began, open or ended; else the open one of the certificate, if any."""
    found = services.storage.open(vault, name)
    identifier = operation_id(vault, name, idempotency_key)
    if idempotency_key is not None and (found is None or found.id != identifier):
        found = _ended(services, identifier) or found
    return found


def cancel(services: Services, vault: str, name: str) -> Operation:
    """Ask for the open operation to be canceled. It takes effect unless the certificate is merged first."""
    for _ in range(5):
        operation = services.storage.open(vault, name)
        if operation is None:
            raise NotFound(f"{name} has no operation in progress", "NoPendingOperation")
        if operation.cancel_requested or operation.state.ended:
            return operation
        try:
            asked = replace(operation, cancel_requested=True, next_attempt_at=services.now())
            saved = services.storage.save(asked)
        except Stale:
            continue
        leases.nudge(services, saved)
        return saved
    raise NotReady(f"the operation of {name} is being changed; ask again", 1)


def abandon(services: Services, vault: str, name: str, identifier: str) -> bool:
    """Close an operation whose nudges crashed every time (the poison queue). A message alone proves nothing: it is
    heeded only when the row itself counts crashes."""
    operation = services.storage.open(vault, name)
    if operation is None or operation.id != identifier or not operation.crashes or operation.state.ended:
        return False
    failure = Failure("Abandoned", f"given up after {operation.crashes} tries that crashed; the log tells more")
    try:
        services.storage.save(operation.moved(State.FAILED, services.now(), failure=failure).freed())
    except Stale:
        return False
    log.error("operation %s is abandoned after %d crashes", operation.id, operation.crashes)
    operations.advance(services, vault, name)
    return True


def free_at(services: Services, vault: str, authority: str) -> datetime:
    """When the rates of the vault and the authority would let one more operation begin. Raises NotReady."""
    now = services.now()
    paces = _paces(services, vault, authority)
    return max([now, *(services.storage.limits.next_start(who, now, gap, burst) for who, gap, burst in paces)])


def provide_answer(services: Services, vault: str, name: str, answer: bytes) -> Operation:
    """Take a certificate that somebody brings for the open operation, verify it like any other, and merge it.

    Raises NotFound, Conflict (at work right now, or past this step), Unverified."""
    operation = leases.take(services, vault, name, even_early=True)
    if operation is None:
        if services.storage.open(vault, name) is None:
            raise NotFound(f"{name} has no operation in progress", "NoPendingOperation")
        raise Conflict(f"the operation of {name} is being worked on; ask again", "NameBusy")
    try:
        pending = services.vault(vault).pending(name)
        step = decide.next_step(operation, Facts(pending))
        if step.act not in (Act.SUBMIT, Act.COLLECT) or pending is None:
            raise Conflict(
                f"the operation of {name} cannot take a certificate now: it is {operation.state}", "NotWaiting"
            )
        issued = signing.accept(services, operation, pending, answer)
    except BaseException:
        leases.release(services, operation)
        raise
    saved = services.storage.save(issued.freed())
    signing.withdraw(services, saved)
    return operations.advance(services, vault, name) or saved


def hurry(services: Services, waiting: OpenOperation) -> None:
    """Let an operation begin now that waits for its turn by a rate: its certificate would expire before, or soon after.
    An authority that has had enough says so, and is asked again. Raises NotReady."""
    operation = services.storage.open(waiting.vault, waiting.name)
    if operation is None or operation.id != waiting.id or operation.state is not State.REQUESTED or operation.lease_id:
        return
    try:
        begun = services.storage.save(replace(operation, next_attempt_at=services.now()))
    except Stale:
        return
    log.warning("operation %s begins before its turn: its certificate cannot wait", operation.id)
    leases.nudge(services, begun)


def refuse_while_open(services: Services, vault: str, name: str) -> None:
    """Raise Conflict when the certificate has an operation that has not ended: what it will bring was asked before."""
    operation = services.storage.open(vault, name)
    if operation is not None and not operation.state.ended:
        raise Conflict(f"{name} has an operation in progress; cancel it first: {operation.id}", "NameBusy")


def find(services: Services, identifier: str) -> Operation:
    """The operation with this id, open or ended. Raises NotFound."""
    parts = split_operation_id(identifier)
    found = services.storage.open(*parts) if parts else None
    if found is None or found.id != identifier:
        found = _ended(services, identifier) if parts else None
    if found is None:
        raise NotFound(f"there is no operation {identifier!r}", "NoSuchOperation")
    return found


def latest(services: Services, vault: str, name: str) -> Operation:
    """The open operation of a certificate, else the last one that ended. Raises NotFound."""
    found = services.storage.open(vault, name) or next(iter(services.storage.ended(vault, name)), None)
    if found is None:
        raise NotFound(f"{name} has had no operation", "NoSuchOperation")
    return found


def _same(existing: Operation, wanted: CertificateRequest) -> Operation:
    if existing.request.fingerprint() == wanted.fingerprint():
        return existing
    raise Conflict(f"{existing.name} has another operation: {existing.id} ({existing.state})", "NameBusy")


def _ended(services: Services, identifier: str) -> Operation | None:
    parts = split_operation_id(identifier)
    history = services.storage.ended(*parts) if parts else []
    return next((operation for operation in history if operation.id == identifier), None)


def _paced(services: Services, vault: str, wanted: CertificateRequest, now: datetime) -> datetime:
    """When the vault's and the authority's rates let the operation begin."""
    paces = _paces(services, vault, wanted.authority)
    return max([now, *(services.storage.limits.reserve(who, now, gap, burst) for who, gap, burst in paces)])


def _paces(services: Services, vault: str, authority: str | None) -> Iterator[tuple[str, float, int]]:
    """Who has a rate, with the seconds between two operations and how many may begin at once."""
    known = services.settings.authorities.get(authority or "")
    rates = {
        f"vault {vault}": services.vault_settings(vault).rate,
        f"authority {authority}": known.settings.rate if known else None,
    }
    for who, rate in rates.items():
        if rate is not None:
            yield who, rate.seconds / rate.requests, rate.requests


def _patience(services: Services, wanted: CertificateRequest, left: timedelta | None) -> timedelta:
    if wanted.authority is None:
        return timedelta(days=7)
    known = services.authority(wanted.authority)
    given = known.settings.deadline_hours or getattr(known.connector_class, "default_deadline_hours", None)
    if given:
        return timedelta(hours=given)
    # An order that hangs leaves a certificate of six days, renewed two days before its end, time for two more.
    return LONGEST_PATIENCE if left is None else min(max(left / 3, SHORTEST_PATIENCE), LONGEST_PATIENCE)
