"""Do a plan: each change once, orders followed to their end, each refusal told, nothing else held up by it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from certrelay_cli.code.actual import THREADS
from certrelay_cli.code.planner import Change, Plan
from certrelay_client import Client, ClientError, NotSignedIn, Refused, Unreachable
from certrelay_client.polling import pauses
from certrelay_client.response_models import Operation


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
    """`detail`: who refused it and why, or why it is not done."""

    change: Change
    result: Result = Result.LEFT
    detail: str = ""
    operation: Operation | None = None

    @property
    def is_open(self) -> bool:
        return self.operation is not None and self.operation["status"] == "inProgress"


def apply(
    client: Client,
    plan: Plan,
    timeout: float,
    sleep: Callable[[float], None],
    seen: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
) -> list[Outcome]:
    """An outcome for each change, in the plan's order. `seen` is called whenever something has changed.

    May be repeated after a crash at any line. `timeout`: seconds to wait for orders, which go on after that."""
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

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, groups.values()))
    _follow(client, outcomes, timeout, sleep, seen)
    return outcomes


def _do(client: Client, vault: str, outcome: Outcome) -> None:
    change = outcome.change
    arguments: list[Any] = [vault, change.name] + ([] if change.body is None else [dict(change.body)])
    more = {"idempotency_key": change.key} if change.key else {}
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
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda outcome: _look(client, outcome), waiting))
        seen(outcomes)


def _look(client: Client, outcome: Outcome) -> None:
    assert outcome.operation is not None  # noqa: S101 - of those that are open
    try:
        _note(outcome, client.get_operation(outcome.operation["id"]))
    except ClientError as error:
        outcome.result, outcome.detail, outcome.operation = _result_of(error), _told(error), None


def _note(outcome: Outcome, operation: Operation) -> None:
    outcome.operation = operation
    error = operation.get("error") or operation.get("last_error")
    outcome.detail = f"{error['code']}: {error['message']}" if error else operation["status_details"]
    if operation["status"] == "completed":
        outcome.result, outcome.detail = Result.DONE, ""
    elif operation["status"] in ("failed", "canceled"):
        outcome.result = Result.FAILED
        outcome.detail += "; a new plan tries it again"


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
