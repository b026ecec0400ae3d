"""Interventions in an open operation: cancel it, provide its certificate, expedite it, fail it."""

from dataclasses import replace

from cryptography import x509

from certrelay.access import grants, ownership
from certrelay.callers import Role
from certrelay.errors import Conflict, NameBusy, NotFound, NotReady
from certrelay.log import about, logger
from certrelay.operations import decide, lease, reconcile, signing
from certrelay.operations.decide import Act, Facts
from certrelay.services import Services
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.operation import (
    Failure,
    Operation,
    State,
)
from certrelay.storage.rows import Stale

log = logger("operations")


def cancel(services: Services, vault: str, name: str) -> Operation:
    """Request cancellation of the certificate's open operation; it takes effect unless the certificate is merged first.

    Returns the operation, unchanged if it was canceled before. Raises NotFound (no open operation),
    NotPermitted, NotReady."""
    ownership.require_owner(services, vault, name)
    for _ in range(5):
        operation = services.storage.open(vault, name)
        if operation is None:
            raise NotFound(f"{name} has no operation in progress", "NoPendingOperation")
        ownership.permit_cancel(services, operation)
        if operation.cancel_requested or operation.state.ended:
            return operation
        try:
            canceling = replace(operation, cancel_requested=True, next_attempt_at=services.now())
            saved = services.storage.save(canceling)
        except Stale:
            continue
        lease.wake_up(services, saved)
        return saved
    raise NotReady(f"the operation of {name} is being updated; try again", 1)


def fail(services: Services, vault: str, name: str, identifier: str) -> bool:
    """Fail and close an operation whose wake-ups crashed every time (its message is in the poison queue).

    The message alone is no proof: the row must count crashes, too, and no worker may be merging its certificate now.
    Returns whether the operation was failed."""
    operation = services.storage.open(vault, name)
    if operation is None or operation.id != identifier or not operation.crashes or operation.state.ended:
        return False
    if operation.state is State.ISSUED and lease.is_held(operation, services.now()):
        return False
    failure = Failure("Abandoned", f"failed after {operation.crashes} crashes; see the log for the cause")
    try:
        services.storage.save(operation.moved(State.FAILED, services.now(), failure=failure).freed())
    except Stale:
        return False
    with about(**operation.fields):
        log.error("failed after %d crashes", operation.crashes)
    reconcile.advance(services, vault, name)
    return True


def provide_answer(services: Services, vault: str, name: str, answer: bytes) -> Operation:
    """Verify a certificate that a person provides for the open operation, and merge it.

    `answer`: leaf and chain as the authority sent them (PEM, DER or PKCS#7, any order).
    Returns the operation after the merge. Raises NotFound (no open operation), NameBusy (a worker holds it),
    Conflict `NotWaiting` (it does not wait for a certificate, or was canceled meanwhile), NotPermitted, Unverified."""
    operation = lease.take(services, vault, name, even_early=True)
    if operation is None:
        if services.storage.open(vault, name) is None:
            text = f"{name} has no operation in progress; create it first, or import the certificate with its key"
            raise NotFound(text, "NoPendingOperation")
        raise NameBusy(f"the operation of {name} is being processed; try again")
    try:
        pending = services.vault(vault).pending(name)
        step = decide.next_step(operation, Facts(pending))
        if step.act not in (Act.SUBMIT, Act.COLLECT) or pending is None:
            text = f"the operation of {name} does not wait for a certificate: it is {operation.state}"
            raise Conflict(f"{text}; its pending operation says what it waits for", "NotWaiting")
        issued = signing.accept(services, operation, pending, answer)
        wanted = grants.wanted_in(x509.load_der_x509_certificate(issued.chain[0]))
        grants.require_request(services, Role.OPERATOR, vault, name, wanted)
    except BaseException:
        lease.release(services, operation)
        raise
    try:
        saved = lease.save(services, issued, release_lease=True)
    except Stale:
        raise NameBusy(f"the operation of {name} is being processed; try again") from None
    signing.cancel_order(services, saved)
    ended = reconcile.advance(services, vault, name) or saved
    if ended.state is State.CANCELED:
        raise Conflict(
            f"the operation of {name} was canceled meanwhile, and the certificate was not merged; request it again",
            "NotWaiting",
        )
    return ended


def expedite(services: Services, waiting: OpenOperation) -> None:
    """Start an operation now that waits for the rate limit, because its certificate would expire too soon otherwise.

    If the authority's own limit is exhausted, it says so, and the operation backs off. Does nothing if the operation
    has begun. Raises NotReady."""
    operation = services.storage.open(waiting.vault, waiting.name)
    if operation is None or operation.id != waiting.id or operation.state is not State.REQUESTED or operation.lease_id:
        return
    try:
        expedited = services.storage.save(replace(operation, next_attempt_at=services.now()))
    except Stale:
        return
    with about(**operation.fields):
        log.warning("expedited ahead of the rate limit: the certificate expires too soon to wait")
    lease.wake_up(services, expedited)
