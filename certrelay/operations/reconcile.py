"""The reconciler: the only place that orders the effects on Key Vault, on authorities and on the ledger.

`advance` may be called twice, late, concurrently, or after a crash at any line; the result is exactly one new version.
Each step is gather (read), decide (certrelay.operations.decide, pure), act (one effect, then one write of the row).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from certrelay import telemetry
from certrelay.connectors.base import MAX_REFERENCE_BYTES as MAX_REFERENCE
from certrelay.connectors.base import Issued, Outcome, Pending, Rejected, Unavailable
from certrelay.errors import (
    BeingDeleted,
    Conflict,
    Invalid,
    NotFound,
    NotPermitted,
    NotReady,
    SoftDeleted,
    StorageNotReady,
    Throttled,
    Unverified,
)
from certrelay.keyvault.certificate import PendingOperation, version_of
from certrelay.keyvault.tags import tags_of_renewal
from certrelay.log import about, logger
from certrelay.notifications import outbox
from certrelay.operations import closing, concurrency, decide, fallback, lease, rate, signing
from certrelay.operations.decide import Act, Facts, Step
from certrelay.operations.gather import gather, gather_anew
from certrelay.operations.transitions import end_as, postpone
from certrelay.services import Services
from certrelay.storage.operation import Failure, Kind, Operation, State
from certrelay.storage.rows import Stale

PATIENCE = 3  # refusals of a creation by a throttled vault before the pauses grow
MAX_STEPS = 16  # of one call; an operation needs fewer unless Key Vault's responses contradict each other

log = logger("operations")


def advance(services: Services, vault: str, name: str, identifier: str | None = None) -> Operation | None:
    """Advance the certificate's open operation as far as possible now; with `identifier`, only if it is that one.

    Returns the operation as it is then. None if there was nothing to do: no such operation, not due yet, or another
    worker holds it. Raises only unexpected exceptions; the row then counts a crash, and its lease is released."""
    operation = lease.take(services, vault, name, identifier)
    return go_on(services, operation) if operation is not None else None


def go_on(services: Services, operation: Operation) -> Operation | None:
    """Advance an operation whose lease this worker holds. Returns and raises what `advance` does."""
    with about(**operation.fields), telemetry.span("advance", operation.fields, operation.traceparent):
        return _go_on(services, operation)


def _go_on(services: Services, operation: Operation) -> Operation | None:
    try:
        for _ in range(MAX_STEPS):
            operation = _step(services, operation)
            if operation.state.ended and not operation.etag:
                return operation
            if not operation.lease_id:
                lease.wake_up(services, operation, (operation.next_attempt_at - services.now()).total_seconds())
                return operation
        return postpone(services, operation, Failure("NoProgress", "Key Vault's responses contradict each other"))
    except Stale:
        log.info("another worker has taken the operation over")
        return None
    except NotReady as error:
        log.warning("%s", error)
        return None
    except Exception:
        lease.crashed(services, operation)
        raise


def _step(services: Services, operation: Operation) -> Operation:
    try:
        return _act_on(services, operation, gather(services, operation))
    except StorageNotReady:
        raise
    except NotReady as error:
        longest = decide.LONGEST_THROTTLED_DELAY if isinstance(error, Throttled) else decide.LONGEST_DELAY
        return postpone(services, operation, Failure(error.code, str(error)), error.retry_after, longest)
    except (NotPermitted, Conflict, NotFound) as error:
        return postpone(services, operation, Failure(error.code, str(error)))


def _act_on(services: Services, operation: Operation, facts: Facts) -> Operation:
    step = decide.next_step(operation, facts)
    return _ACTS[step.act](services, replace(operation, pending=facts.pending), facts, step)


def _create(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    request = operation.request
    refusal = concurrency.acquire_of_vault(services, operation)
    if refusal:
        return postpone(services, operation, Failure("Crowded", refusal), longest=decide.LONGEST_CONCURRENCY_DELAY)
    try:
        pending = services.vault(operation.vault).create(operation.name, request.policy, request.tags, request.enabled)
    except Throttled as error:
        return _throttled(services, operation, error)
    except BeingDeleted as error:
        return postpone(services, operation, Failure(error.code, str(error)))
    except (SoftDeleted, Invalid) as error:
        return end_as(services, operation, State.FAILED, Failure(error.code, str(error)))
    except Conflict:  # perhaps a pending operation has appeared: adopt it, or fail
        anew = gather_anew(services, operation)
        if decide.next_step(operation, anew).act is Act.CREATE:
            raise
        return _act_on(services, operation, anew)
    now = services.now()
    seen = replace(operation, pending=pending, newest_tags=facts.newest_tags)
    moved = seen.moved(State.PENDING, now, request_id=pending.request_id)
    # The next step writes the row. Whoever takes over before finds the pending operation, as after a death just here.
    return moved if lease.has_time(operation, now) else lease.save(services, moved)


def _throttled(services: Services, operation: Operation, error: Throttled) -> Operation:
    """Key Vault has done nothing. The operation takes a new place among the vault's, and is no more late than that.

    Refused again and again it tries less often: then somebody else takes what Key Vault allows."""
    refusals = operation.attempts if operation.failure and operation.failure.code == error.code else 0
    place = rate.after_throttling(services, operation.vault, operation.request)
    longest = decide.LONGEST_THROTTLED_DELAY
    delay = max(place, decide.back_off(refusals - PATIENCE, error.retry_after, services.jitter, longest))
    throttled = replace(operation, attempts=refusals)
    return postpone(services, throttled, Failure(error.code, str(error)), delay, longest=0.0)


def _adopt(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    pending = facts.pending
    if pending is None or not signing.adoptable(pending, operation.request):
        text = (
            "the certificate has a pending operation in Key Vault that CertRelay did not create; delete it with force"
        )
        failure = Failure("NameBusy", text)
        return end_as(services, operation, State.FAILED, failure)
    moved = operation.moved(State.PENDING, services.now(), "adopted", request_id=pending.request_id, pending=pending)
    return lease.save(services, moved)


def _submit(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    refusal = concurrency.acquire(services, operation)
    if refusal:
        return postpone(services, operation, Failure("Crowded", refusal), longest=decide.LONGEST_CONCURRENCY_DELAY)
    return _call_authority(services, operation, facts, lambda connector, request: connector.submit(request))


def _collect(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    return _call_authority(
        services, operation, facts, lambda connector, request: connector.collect(request, operation.reference)
    )


def _call_authority(services: Services, operation: Operation, facts: Facts, call: signing.Call) -> Operation:
    assert facts.pending is not None  # noqa: S101 - next_step() has checked it
    try:
        outcome = signing.call_authority(services, operation, facts.pending, call)
    except Unverified as error:
        failure = Failure("UnverifiedRequest", f"Key Vault's CSR does not match the request: {error}")
        return end_as(services, operation, State.FAILED, failure)
    return _with_outcome(services, operation, facts.pending, outcome)


def _with_outcome(services: Services, operation: Operation, pending: PendingOperation, outcome: Outcome) -> Operation:
    now = services.now()
    match outcome:
        case Issued(answer):
            try:
                return lease.save(services, signing.accept(services, operation, pending, answer))
            except Invalid as error:
                return end_as(services, operation, State.FAILED, Failure("UnverifiedCertificate", str(error)))
        case Rejected(reason):
            return end_as(services, operation, State.FAILED, Failure("RequestRejected", reason))
        case Pending(reference, retry_after, awaits) if len(reference.encode()) <= MAX_REFERENCE:
            failure = decide.overdue(operation, now)
            if failure:
                return end_as(services, replace(operation, reference=reference), State.FAILED, failure)
            if awaits:
                outbox.operation_waits(services, operation, awaits)
                concurrency.release_of_vault(services, operation)
            is_new = operation.state is not State.SUBMITTED
            goes_on = is_new and retry_after <= 0 and not awaits and lease.has_time(operation, now)
            if is_new:
                operation = operation.moved(State.SUBMITTED, now)
            due = min(now + timedelta(seconds=max(retry_after, 0)), operation.deadline)
            good = replace(operation, attempts=0, failure=None, unavailable_since=None)
            kept = replace(good, reference=reference, next_attempt_at=due)
            return lease.save(services, kept, release_lease=not goes_on)
        case Pending():
            text = "the connector's reference is too long"
            return end_as(services, operation, State.FAILED, Failure("ConnectorError", text))
        case Unavailable():
            return fallback.after_unavailable(services, operation, outcome)


def _withdraw(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    signing.cancel_order(services, operation)
    return lease.save(services, replace(operation, reference="", withdraw_from=""), release_lease=True)


def _merge(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    vault, tags = services.vault(operation.vault), operation.request.tags
    if operation.kind is Kind.RENEW and (newest_tags := _newest_tags(services, operation)) is not None:
        tags = tags_of_renewal(tags, newest_tags)
    try:
        bundle = vault.merge(operation.name, operation.chain, tags, operation.request.enabled)
    except (Invalid, NotReady, NotPermitted, Conflict, NotFound) as error:
        # Perhaps only the response was lost, or the pending operation is another one. Check at once: past the deadline
        # there is no next step that would.
        anew = gather_anew(services, operation)
        if decide.next_step(operation, anew).act is not Act.MERGE:
            return _act_on(services, operation, anew)
        if isinstance(error, Invalid):
            return end_as(services, operation, State.FAILED, Failure(error.code, str(error)))
        raise
    # The row is not written once more before it is deleted: by its chain or in the history, the version is found.
    return operation.moved(State.COMPLETED, services.now(), version=version_of(bundle))


def _newest_tags(services: Services, operation: Operation) -> Mapping[str, str] | None:
    """The tags of the certificate that is renewed, as this lease has seen them, else as Key Vault has them now."""
    if operation.newest_tags is not None:
        return operation.newest_tags
    renewed = services.vault(operation.vault).get(operation.name)
    return renewed.get("tags") or {} if renewed is not None else None


def _await_key_vault(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    now = services.now()
    failure = decide.overdue(operation, now)
    if failure:
        return end_as(services, operation, State.FAILED, failure)
    delay = decide.key_vault_delay(now - operation.requested_at)
    return lease.save(services, replace(operation, next_attempt_at=now + timedelta(seconds=delay)), release_lease=True)


def _cancel_in_key_vault(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    services.vault(operation.vault).cancel(operation.name, operation.request_id)
    return _await_key_vault(services, operation, facts, step)


def _complete(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    version = facts.merged_version
    if not version:
        bundle = services.vault(operation.vault).get(operation.name)
        version = version_of(bundle) if bundle else ""
    return lease.save(services, operation.moved(State.COMPLETED, services.now(), version=version))


def _end(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    assert step.state is not None  # noqa: S101 - every END has a state
    return end_as(services, operation, step.state, step.failure)


def _close(services: Services, operation: Operation, facts: Facts, step: Step) -> Operation:
    if operation.state is not State.COMPLETED:
        signing.cancel_order(services, operation)
        closing.free_in_key_vault(services, operation)
    _write_down(services, operation)
    closing.announce_to_sweep(services, operation)
    queued = outbox.operation_ended(services, operation)
    if not queued and services.now() < (operation.ended_at or services.now()) + closing.LONGEST_NOTIFICATION_WAIT:
        return postpone(services, operation, Failure("StorageNotReady", "the notification could not be queued"))
    concurrency.release(services, operation)
    lease.remove(services, operation)
    closing.log_end(operation)
    return replace(operation, etag="")


def _write_down(services: Services, operation: Operation) -> None:
    """Write the history and the renewal record: of a failure one after the other, since the record counts those."""
    if operation.state is State.COMPLETED and operation.chain:
        services.both(
            lambda: services.storage.record(operation), lambda: closing.update_renewal_record(services, operation)
        )
        return
    services.storage.record(operation)
    if operation.kind is Kind.RENEW or operation.chain:
        closing.update_renewal_record(services, operation)


_ACTS: dict[Act, Callable[[Services, Operation, Facts, Step], Operation]] = {
    Act.CREATE: _create,
    Act.ADOPT: _adopt,
    Act.WITHDRAW: _withdraw,
    Act.SUBMIT: _submit,
    Act.COLLECT: _collect,
    Act.MERGE: _merge,
    Act.AWAIT_KEY_VAULT: _await_key_vault,
    Act.CANCEL_IN_KEY_VAULT: _cancel_in_key_vault,
    Act.COMPLETE: _complete,
    Act.END: _end,
    Act.CLOSE: _close,
}
