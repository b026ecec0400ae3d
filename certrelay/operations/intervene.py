"""What people and timers do to an open operation: cancel it, bring its answer, start it early, give it up."""

from dataclasses import replace

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
from certrelay.storage.tables import Stale

log = logger("operations")


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
        lease.wake_up(services, saved)
        return saved
    raise NotReady(f"the operation of {name} is being changed; ask again", 1)


def fail(services: Services, vault: str, name: str, identifier: str) -> bool:
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
    with about(**operation.fields):
        log.error("given up after %d crashes", operation.crashes)
    reconcile.advance(services, vault, name)
    return True


def provide_answer(services: Services, vault: str, name: str, answer: bytes) -> Operation:
    """Take a certificate that somebody brings for the open operation, verify it like any other, and merge it.

    Raises NotFound, Conflict (at work right now, or past this step), Unverified."""
    operation = lease.take(services, vault, name, even_early=True)
    if operation is None:
        if services.storage.open(vault, name) is None:
            raise NotFound(f"{name} has no operation in progress", "NoPendingOperation")
        raise NameBusy(f"the operation of {name} is being worked on; ask again")
    try:
        pending = services.vault(vault).pending(name)
        step = decide.next_step(operation, Facts(pending))
        if step.act not in (Act.SUBMIT, Act.COLLECT) or pending is None:
            raise Conflict(
                f"the operation of {name} cannot take a certificate now: it is {operation.state}", "NotWaiting"
            )
        issued = signing.accept(services, operation, pending, answer)
    except BaseException:
        lease.release(services, operation)
        raise
    saved = services.storage.save(issued.freed())
    signing.cancel_order(services, saved)
    return reconcile.advance(services, vault, name) or saved


def expedite(services: Services, waiting: OpenOperation) -> None:
    """Let an operation begin now that waits for its turn by a rate: its certificate would expire before, or soon after.
    An authority that has had enough says so, and is asked again. Raises NotReady."""
    operation = services.storage.open(waiting.vault, waiting.name)
    if operation is None or operation.id != waiting.id or operation.state is not State.REQUESTED or operation.lease_id:
        return
    try:
        begun = services.storage.save(replace(operation, next_attempt_at=services.now()))
    except Stale:
        return
    with about(**operation.fields):
        log.warning("starts ahead of the rate: its certificate cannot wait")
    lease.wake_up(services, begun)
