"""Do a plan: each change once, orders followed to their end, each refusal told, nothing else held up by it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from certrelay_cli.code.planner import Change, Plan
from certrelay_cli.code.threads import each
from certrelay_client import Client, ClientError, NotSignedIn, Refused, Unreachable
from certrelay_client.paging import pages
from certrelay_client.polling import pauses
from certrelay_client.response_models import Operation, OperationList

PAGE = 200  # operations that one request lists at most
DELETED = "ObjectIsDeletedButRecoverable"  # Key Vault's: the name is taken until somebody recovers or purges it


class Result(StrEnum):
    """How a change ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    NOT_SIGNED_IN = "not signed in"
    UNREACHABLE = "unreachable"
    LEFT = "not done"


@dataclass(slots=True)
class Outcome:
    """`detail`: who refused it and why, or why it is not done. `sent`: its request has been sent, answered or not."""

    change: Change
    result: Result = Result.LEFT
    detail: str = ""
    sent: bool = False
    operation: Operation | None = None

    @property
    def has_ended(self) -> bool:
        return self.result is not Result.LEFT

    @property
    def is_open(self) -> bool:
        return self.operation is not None and self.operation["status"] == "inProgress"


class Interrupted(KeyboardInterrupt):
    """Somebody has pressed Ctrl-C: no other request is sent, and those that were sent are not waited for."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


def apply(
    client: Client,
    plan: Plan,
    timeout: float,
    sleep: Callable[[float], None],
    seen: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
) -> list[Outcome]:
    """An outcome for each change, in the plan's order. `seen` is called whenever something has changed.

    May be repeated after a crash at any line. `timeout`: seconds to wait for orders, which go on after that. Raises
    Interrupted."""
    outcomes = [Outcome(change) for change in plan.changes]
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:  # changes of the same certificate, one after the other
        groups.setdefault(outcome.change.name, []).append(outcome)
    cut_off = threading.Event()

    def run(group: list[Outcome]) -> None:
        for outcome in group:
            if cut_off.is_set():
                return
            _do(client, plan.vault, outcome)
            seen(outcomes)
            if outcome.result in (Result.NOT_SIGNED_IN, Result.UNREACHABLE):
                cut_off.set()
            if outcome.result is not Result.DONE and not outcome.is_open:
                return

    try:
        each(run, groups.values())
        _follow(client, plan.vault, outcomes, timeout, sleep, seen)
    except KeyboardInterrupt:
        cut_off.set()
        raise Interrupted(outcomes) from None
    return outcomes


def _do(client: Client, vault: str, outcome: Outcome) -> None:
    change = outcome.change
    arguments: list[Any] = [vault, change.name] + ([] if change.body is None else [dict(change.body)])
    more = {"idempotency_key": change.key} if change.key else {}
    outcome.sent = True
    try:
        answer = getattr(client, change.request)(*arguments, **more)
    except ClientError as error:
        outcome.result, outcome.detail = _result_of(error), _told(error)
        return
    if change.orders:
        _note(outcome, answer)
    else:
        outcome.result = Result.DONE


def _follow(
    client: Client,
    vault: str,
    outcomes: Sequence[Outcome],
    timeout: float,
    sleep: Callable[[float], None],
    seen: Callable[[Sequence[Outcome]], None],
) -> None:
    waits = pauses(timeout)
    while waiting := [outcome for outcome in outcomes if outcome.is_open]:
        if (pause := next(waits, None)) is None:
            for outcome in waiting:
                outcome.result, outcome.operation = Result.TIMED_OUT, None
                outcome.detail = "its order goes on; `certrelay apply` again follows it"
            return
        sleep(pause)
        _look(client, vault, waiting)
        seen(outcomes)


def _look(client: Client, vault: str, waiting: Sequence[Outcome]) -> None:
    """Note how the orders stand. One request tells it of PAGE open ones; only those that it does not tell of are asked
    for. Of a vault with many more open than these no more pages are read than asking for each would take."""
    try:
        still_open = _open_operations(client, vault, most_pages=len(waiting))
    except Refused:  # who may not list operations may ask for each of them
        still_open = {}
    except ClientError as error:
        for outcome in waiting:
            _give_up(outcome, error)
        return

    def look(outcome: Outcome) -> None:
        identifier = outcome.operation["id"] if outcome.operation else ""
        try:
            _note(outcome, still_open.get(identifier) or client.get_operation(identifier))
        except ClientError as error:
            _give_up(outcome, error)

    each(look, waiting)


def _open_operations(client: Client, vault: str, most_pages: int) -> dict[str, Operation]:
    def page(after: str | None) -> OperationList:
        return client.list_operations(state="open", vault=vault, max=PAGE, continuation=after)

    return {operation["id"]: operation for part in islice(pages(page), most_pages) for operation in part["value"]}


def _give_up(outcome: Outcome, error: ClientError) -> None:
    outcome.result, outcome.detail, outcome.operation = _result_of(error), _told(error), None


def _note(outcome: Outcome, operation: Operation) -> None:
    outcome.operation = operation
    error = operation.get("error") or operation.get("last_error")
    outcome.detail = f"{error['code']}: {error['message']}" if error else operation["status_details"]
    if operation["status"] == "completed":
        outcome.result, outcome.detail = Result.DONE, ""
    elif operation["status"] in ("failed", "canceled"):
        outcome.result = Result.FAILED
        is_deleted = error is not None and error["code"] == DELETED
        step = f"`certrelay recover {operation['name']}` brings it back" if is_deleted else "a new plan tries it again"
        outcome.detail += f"; {step}"


def _result_of(error: ClientError) -> Result:
    if isinstance(error, Refused):
        return Result.REFUSED
    if isinstance(error, NotSignedIn):
        return Result.NOT_SIGNED_IN
    return Result.UNREACHABLE if isinstance(error, Unreachable) else Result.FAILED


def _told(error: ClientError) -> str:
    faults = "; ".join(f"{pointer}: {detail}" for pointer, detail in getattr(error, "faults", []))
    code = f"{error.code}: " if isinstance(error, Refused) and error.code else ""
    return f"{code}{error}{f' ({faults})' if faults and faults not in str(error) else ''}"
