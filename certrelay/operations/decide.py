"""What to do next with an operation: pure functions of what was read. No clock, no I/O."""

import enum
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrelay.keyvault.client import PendingOperation
from certrelay.storage.operation import Failure, Kind, Operation, State

FIRST_DELAY, LONGEST_DELAY, LONGEST_CROWDED_DELAY = 5.0, 3600.0, 300.0
KEY_VAULT_DELAY, LONGEST_KEY_VAULT_DELAY = 10.0, 300.0


class Act(enum.Enum):
    """The one effect to take next."""

    CREATE = enum.auto()
    ADOPT = enum.auto()
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
    """`state` and `failure` say how an END ends."""

    act: Act
    state: State | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What Key Vault said just now. `newest_version` is read for a renewal that is about to start; `merged_version` is
    the newest version if its key is the issued chain's."""

    pending: PendingOperation | None
    merged_version: str = ""
    newest_version: str = ""


def next_step(operation: Operation, facts: Facts) -> Step:
    """The next step of an open operation."""
    if operation.state.ended:
        return Step(Act.CLOSE)
    if operation.state is State.REQUESTED:
        return _when_requested(operation, facts)
    if facts.merged_version:
        return Step(Act.COMPLETE)
    replaced = _replaced(operation, facts.pending)
    if replaced:
        return replaced
    if operation.request.authority is None:
        return _when_key_vault_issues(operation, facts)
    if operation.cancel_requested:
        return Step(Act.END, State.CANCELED)
    acts = {State.PENDING: Act.SUBMIT, State.SUBMITTED: Act.COLLECT, State.ISSUED: Act.MERGE}
    return Step(acts[operation.state])


def _when_requested(operation: Operation, facts: Facts) -> Step:
    if operation.kind is Kind.IMPORT:
        return _when_import_was_cut_off(operation, facts)
    if operation.kind is Kind.RENEW and facts.newest_version != operation.replaces:
        text = "the certificate has a newer version already, or is gone"
        return Step(Act.END, State.CANCELED, Failure("AlreadyRenewed", text))
    pending = facts.pending
    ours = pending is not None and pending.request_id != operation.earlier_request_id
    if ours or (pending is not None and pending.in_progress):
        return Step(Act.ADOPT)
    return Step(Act.END, State.CANCELED) if operation.cancel_requested else Step(Act.CREATE)


def _when_import_was_cut_off(operation: Operation, facts: Facts) -> Step:
    """Only the call that asked for it had the key: what Key Vault has done by now is all that will be done."""
    if facts.merged_version:
        return Step(Act.COMPLETE)
    if operation.cancel_requested:
        return Step(Act.END, State.CANCELED)
    return Step(Act.END, State.FAILED, Failure("ImportInterrupted", "the import was cut off; send it again"))


def _replaced(operation: Operation, pending: PendingOperation | None) -> Step | None:
    """The fence: somebody deleted, ended or replaced our pending operation, so its key is gone."""
    if pending is None or pending.request_id != operation.request_id:
        if operation.cancel_requested:
            return Step(Act.END, State.CANCELED)
        text = "the pending operation in Key Vault was deleted or replaced by somebody else"
        return Step(Act.END, State.FAILED, Failure("PendingOperationReplaced", text))
    if operation.request.authority is not None and not pending.in_progress:
        if pending.status == "cancelled":
            return Step(Act.END, State.CANCELED)
        text = f"somebody else ended the pending operation in Key Vault: it is {pending.status}"
        return Step(Act.END, State.FAILED, Failure("PendingOperationEnded", text))
    return None


def _when_key_vault_issues(operation: Operation, facts: Facts) -> Step:
    pending = facts.pending
    if pending is None or pending.in_progress:
        asked = pending is not None and pending.cancellation_requested
        return Step(Act.CANCEL_IN_KEY_VAULT if operation.cancel_requested and not asked else Act.AWAIT_KEY_VAULT)
    if pending.status == "completed":
        return Step(Act.COMPLETE)
    if pending.status == "cancelled":
        return Step(Act.END, State.CANCELED)
    failure = Failure(pending.error_code or "IssuerError", pending.error_message or "the issuer failed without a word")
    return Step(Act.END, State.FAILED, failure)


def back_off(
    attempts: int, asked: float | None, jitter: random.Random, longest_seconds: float = LONGEST_DELAY
) -> float:
    """Seconds until the next try: doubling from 5 s to an hour, ±20 %, and never sooner than the other side asked."""
    doubled = min(FIRST_DELAY * 2.0 ** min(attempts, 20), longest_seconds)
    return max(doubled * jitter.uniform(0.8, 1.2), asked or 0.0)


def orders_lost(operation: Operation) -> int:
    """How many orders were placed and lost before the present one: each brought the operation back to `pending`."""
    return max(sum(one.state is State.PENDING for one in operation.transitions) - 1, 0)


def key_vault_delay(waited: timedelta) -> float:
    """Seconds between two looks at Key Vault's own issuers: 10 s (its Retry-After), slower as the order ages."""
    return min(max(KEY_VAULT_DELAY, waited.total_seconds() / 10), LONGEST_KEY_VAULT_DELAY)


def overdue(operation: Operation, now: datetime) -> Failure | None:
    """The failure of an operation past its deadline, with the reason of its last try."""
    if now < operation.deadline:
        return None
    last = f"; the last answer was: {operation.failure.message}" if operation.failure else ""
    return Failure("TimedOut", f"not finished by {operation.deadline.isoformat(timespec='seconds')}{last}")
