"""Decide the next step of an operation: pure functions of the facts that were read. No clock, no I/O."""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certrelay.connectors.base import Unavailable
from certrelay.keyvault.certificate import PendingOperation
from certrelay.storage.operation import Failure, Kind, Operation, State

# All in seconds.
FIRST_DELAY, LONGEST_DELAY, LONGEST_CONCURRENCY_DELAY, LONGEST_THROTTLED_DELAY = 5.0, 3600.0, 300.0, 60.0
KEY_VAULT_DELAY, LONGEST_KEY_VAULT_DELAY = 10.0, 300.0
SHARE_BEFORE_FALLBACK = 1 / 4  # of the time left


class Act(enum.Enum):
    """The one action to take next."""

    CREATE = enum.auto()
    ADOPT = enum.auto()
    WITHDRAW = enum.auto()
    SUBMIT = enum.auto()
    COLLECT = enum.auto()
    MERGE = enum.auto()
    AWAIT_KEY_VAULT = enum.auto()
    CANCEL_IN_KEY_VAULT = enum.auto()
    COMPLETE = enum.auto()
    END = enum.auto()
    CLOSE = enum.auto()


@dataclass(frozen=True, slots=True)
class Step:
    """An action; for END, `state` is the final state and `failure` its reason."""

    act: Act
    state: State | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What Key Vault reports now.

    `merged_version`: the newest version, if it holds the issued certificate's key; else empty.
    `newest_version` and its tags: read only for a renewal that is about to start; else empty, and None."""

    pending: PendingOperation | None
    merged_version: str = ""
    newest_version: str = ""
    newest_tags: Mapping[str, str] | None = None


def next_step(operation: Operation, facts: Facts) -> Step:
    """The next step of an operation: CLOSE if it has ended, else what its state and the facts require."""
    if operation.state.ended:
        return Step(Act.CLOSE)
    if operation.state is State.REQUESTED:
        return _when_requested(operation, facts)
    if facts.merged_version:
        return Step(Act.COMPLETE)
    pending = facts.pending
    if pending is None or pending.request_id != operation.request_id:
        return _when_replaced(operation)
    if operation.request.authority is None:
        return _when_key_vault_issues(operation, pending)
    if not pending.in_progress:
        return _when_somebody_ended(pending)
    if operation.cancel_requested:
        return Step(Act.END, State.CANCELED)
    if operation.state is State.PENDING and operation.withdraw_from:
        return Step(Act.WITHDRAW)
    acts = {State.PENDING: Act.SUBMIT, State.SUBMITTED: Act.COLLECT, State.ISSUED: Act.MERGE}
    return Step(acts[operation.state])


def _when_requested(operation: Operation, facts: Facts) -> Step:
    if operation.kind is Kind.IMPORT:
        return _when_import_was_cut_off(operation, facts)
    if operation.kind is Kind.RENEW and facts.newest_version != operation.replaces:
        text = "the certificate already has a newer version, or was deleted"
        return Step(Act.END, State.CANCELED, Failure("AlreadyRenewed", text))
    pending = facts.pending
    # Who has made a newer version was seen above, so of a renewal only a pending operation in progress can be our own.
    is_new = pending is not None and pending.request_id != operation.earlier_request_id
    if pending is not None and (pending.in_progress or (is_new and operation.kind is not Kind.RENEW)):
        return Step(Act.ADOPT)
    return Step(Act.END, State.CANCELED) if operation.cancel_requested else Step(Act.CREATE)


def _when_import_was_cut_off(operation: Operation, facts: Facts) -> Step:
    """Only the interrupted call had the private key, so the import cannot be resumed: Key Vault has it or it failed."""
    if facts.merged_version:
        return Step(Act.COMPLETE)
    if operation.cancel_requested:
        return Step(Act.END, State.CANCELED)
    return Step(Act.END, State.FAILED, Failure("ImportInterrupted", "the import was interrupted; send it again"))


def _when_replaced(operation: Operation) -> Step:
    """Someone else deleted or replaced our pending operation, whose key is then lost."""
    if operation.cancel_requested:
        return Step(Act.END, State.CANCELED)
    text = "someone else deleted or replaced the pending operation in Key Vault; request the certificate again"
    return Step(Act.END, State.FAILED, Failure("PendingOperationReplaced", text))


def _when_somebody_ended(pending: PendingOperation) -> Step:
    if pending.status == "cancelled":
        return Step(Act.END, State.CANCELED)
    text = f"someone else ended the pending operation in Key Vault: its status is {pending.status}"
    return Step(Act.END, State.FAILED, Failure("PendingOperationEnded", text))


def _when_key_vault_issues(operation: Operation, pending: PendingOperation) -> Step:
    if pending.in_progress:
        asks = operation.cancel_requested and not pending.cancellation_requested
        return Step(Act.CANCEL_IN_KEY_VAULT if asks else Act.AWAIT_KEY_VAULT)
    if pending.status == "completed":
        return Step(Act.COMPLETE)
    if pending.status == "cancelled":
        return Step(Act.END, State.CANCELED)
    failure = Failure(
        pending.error_code or "IssuerError", pending.error_message or "the issuer failed without an error message"
    )
    return Step(Act.END, State.FAILED, failure)


def back_off(
    attempts: int, retry_after: float | None, jitter: random.Random, longest_seconds: float = LONGEST_DELAY
) -> float:
    """Seconds until the next try: doubling from 5 s to `longest_seconds`, ±20 %, and never less than `retry_after`.

    `attempts` that have failed; below 0 it is half of 5 s, a quarter …"""
    doubled = min(FIRST_DELAY * 2.0 ** min(attempts, 20), longest_seconds)
    return max(doubled * jitter.uniform(0.8, 1.2), retry_after or 0.0)


def orders_lost(operation: Operation) -> int:
    """How many orders with the authority that is asked were lost before the current one."""
    return len(_losses(operation))


def _losses(operation: Operation) -> list[datetime]:
    """When they were lost: each lost order brought the operation back to `pending`, and so does a change-over."""
    since = operation.fallback.since if operation.fallback else datetime.min.replace(tzinfo=UTC)
    return [one.at for one in operation.transitions if one.state is State.PENDING and one.at >= since][1:]


def unavailable_since(operation: Operation, outcome: Unavailable, now: datetime) -> datetime | None:
    """Since when the authority has been unavailable, after this outcome; None if another one would be as well.

    One that loses orders again and again has been since it lost the first: that it took the next proves nothing."""
    if outcome.everywhere:
        return None
    first_loss = next(iter(_losses(operation)), now) if outcome.restart else now
    return operation.unavailable_since or first_loss


def asks_another(operation: Operation, outcome: Unavailable, now: datetime, expires: datetime | None = None) -> bool:
    """Whether a fall-back is asked now: a quarter of the time that was left is over, or will be at the next try.

    `expires`: when the version that is renewed does (UTC)."""
    since = operation.unavailable_since
    if since is None:
        return False
    end = min(operation.deadline, expires or operation.deadline)
    next_try = now + timedelta(seconds=outcome.retry_after or 0.0)
    return next_try >= since + max(end - since, timedelta(0)) * SHARE_BEFORE_FALLBACK


def key_vault_delay(waited: timedelta) -> float:
    """Seconds between two polls of an order with a Key Vault issuer: a tenth of its age, from 10 to 300 seconds."""
    return min(max(KEY_VAULT_DELAY, waited.total_seconds() / 10), LONGEST_KEY_VAULT_DELAY)


def overdue(operation: Operation, now: datetime) -> Failure | None:
    """The failure of an operation past its deadline, with the error of its last try; None before the deadline."""
    if now < operation.deadline:
        return None
    last = f"; last error: {operation.failure.message}" if operation.failure else ""
    return Failure("TimedOut", f"not finished by {operation.deadline.isoformat(timespec='seconds')}{last}")
