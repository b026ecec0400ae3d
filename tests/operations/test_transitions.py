"""How an operation waits for its next try, or ends because it has none left; nothing is written anywhere."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from certrelay.operations import lease, transitions
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Failure, Kind, Operation, State, Transition
from certrelay.storage.rows import Stale
from tests.world import out_of_order

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, SECOND, TICK = timedelta(hours=1), timedelta(seconds=1), timedelta(microseconds=1)
DOWN, EARLIER = Failure("AuthorityUnavailable", "out of order"), Failure("Rejected", "no longer yours")


class Middle(random.Random):
    """Chance that is always the average."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def services(save: Any = lambda operation: operation, row: Operation | None = None) -> Services:
    storage: Any = SimpleNamespace(save=save, open=lambda *_: row)
    unused: Any = None
    return Services(unused, storage, unused, unused, lambda: NOW, Middle())


def operation(state: State = State.SUBMITTED, **changes: Any) -> Operation:
    made = Operation(
        id="main.www.1", vault="main", name="www", kind=Kind.CREATE, state=state, requested_by="test",
        request=CertificateRequest({"issuer": {"name": "Unknown"}}, authority="corp"),
        requested_at=NOW, deadline=NOW + HOUR, next_attempt_at=NOW,
        lease_id="mine", lease_until=NOW + SECOND, attempts=3,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("attempts", "retry_after", "longest", "seconds"),
    [
        (0, None, 3600, 5),
        (3, None, 3600, 40),
        (3, None, 20, 20),
        (3, 41, 3600, 41),
        (3, 3599, 60, 3599),
        (3, 3601, 60, 3600),
        (20, None, 99_999, 3600),
    ],
)
def test_the_next_try_is_backed_off_and_the_last_one_is_at_the_deadline(
    attempts: int, retry_after: float | None, longest: float, seconds: float
) -> None:
    later = transitions.postpone(services(), operation(attempts=attempts), DOWN, retry_after, longest)
    assert (later.state, later.attempts, later.failure) == (State.SUBMITTED, attempts + 1, DOWN)
    assert (later.failed_at, later.next_attempt_at) == (NOW, NOW + timedelta(seconds=seconds))
    assert (later.lease_id, later.lease_until) == ("", None)


def test_an_open_operation_fails_at_its_deadline_with_its_last_error_and_keeps_the_lease_to_be_closed() -> None:
    last = transitions.postpone(services(), operation(deadline=NOW, failure=EARLIER), DOWN)
    assert last.failure is not None
    assert (last.state, last.failure.code, last.ended_at, last.lease_id) == (State.FAILED, "TimedOut", NOW, "mine")
    assert "last error: out of order" in last.failure.message
    assert last.transitions[-1].detail == last.failure.message
    assert transitions.postpone(services(), operation(deadline=NOW + TICK), DOWN).state is State.SUBMITTED


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELED])
@pytest.mark.parametrize("deadline", [-HOUR, timedelta(0)])
def test_an_operation_that_has_ended_has_no_deadline_and_keeps_its_failure(state: State, deadline: timedelta) -> None:
    failure = EARLIER if state is State.FAILED else None
    waiting = transitions.postpone(services(), operation(state, deadline=NOW + deadline, failure=failure), DOWN)
    assert (waiting.state, waiting.failure, waiting.attempts) == (state, failure, 4)
    assert waiting.next_attempt_at == NOW + timedelta(seconds=40)


def test_an_end_says_why() -> None:
    failed = transitions.end_as(services(), operation(), State.FAILED, EARLIER)
    assert (failed.state, failed.failure) == (State.FAILED, EARLIER)
    assert failed.transitions[-1] == Transition(State.FAILED, NOW, "no longer yours")
    canceled = transitions.end_as(services(), operation(), State.CANCELED)
    assert (canceled.failure, canceled.transitions[-1].detail) == (None, "")


def stale(_operation: Operation) -> Operation:
    raise Stale("changed meanwhile")


def test_a_lease_that_cannot_be_released_expires_by_itself() -> None:
    for save in (stale, out_of_order):
        lease.release(services(save), operation())


class Changed:
    """A row that somebody else has changed, once; then it is written."""

    def __init__(self) -> None:
        self.written: list[Operation] = []
        self.tries = 0

    def save(self, operation: Operation) -> Operation:
        self.tries += 1
        if self.tries == 1:
            raise Stale("changed meanwhile")
        self.written.append(operation)
        return operation


def test_a_queue_that_is_down_stops_nothing_since_the_poll_timer_advances_it() -> None:
    storage: Any = SimpleNamespace(wake_up=out_of_order)
    lease.wake_up(replace(services(), storage=storage), operation(), 5)


def test_a_row_that_was_changed_by_anything_but_a_cancellation_is_not_written_over() -> None:
    held = operation()
    for row in (None, held, replace(held, lease_id="another's", cancel_requested=True)):
        changed = Changed()
        with pytest.raises(Stale):
            lease.save(services(changed.save, row), held)
        assert changed.written == []


@pytest.mark.parametrize(("release", "due"), [(True, NOW), (False, NOW + HOUR)])
def test_a_cancellation_is_merged_into_what_the_holder_of_the_lease_writes(release: bool, due: datetime) -> None:
    held = operation(State.ISSUED, next_attempt_at=NOW + HOUR)
    row = replace(held, state=State.SUBMITTED, cancel_requested=True, etag="newer")
    saved = lease.save(services(Changed().save, row), held, release_lease=release)
    assert (saved.state, saved.cancel_requested, saved.etag, saved.next_attempt_at) == (
        State.ISSUED, True, "newer", due,
    )  # fmt: skip
    assert saved.lease_id == ("" if release else "mine")


def test_a_row_keeps_the_first_transition_and_the_latest_sixty() -> None:
    history = tuple(Transition(State.PENDING, NOW + number * SECOND) for number in range(100))
    kept = lease.save(services(), operation(transitions=history)).transitions
    assert kept == (history[0], *history[-60:])
    assert lease.save(services(), operation(transitions=history[:61])).transitions == history[:61]


@pytest.mark.parametrize(
    ("late", "state", "result"),
    [(-TICK, State.SUBMITTED, State.SUBMITTED), (TICK, State.SUBMITTED, State.FAILED), (TICK, *2 * (State.COMPLETED,))],
)
def test_a_crash_is_counted_and_ends_what_is_open_past_its_deadline(
    late: timedelta, state: State, result: State
) -> None:
    written: list[Operation] = []
    row = operation(state, deadline=NOW - late)
    lease.crashed(services(written.append, row), row)
    for other in (None, replace(row, lease_id="another's")):
        lease.crashed(services(written.append, other), row)
    [after] = written
    assert (after.state, after.crashes, after.lease_id) == (result, 1, "")


@pytest.mark.parametrize(
    ("until", "held"),
    [(None, False), (timedelta(0), False), (TICK, True), (16 * 60 * SECOND, True), (16 * 60 * SECOND + TICK, False)],
)
def test_a_lease_holds_until_its_end_if_no_wrong_clock_has_set_it(until: timedelta | None, held: bool) -> None:
    assert lease.is_held(operation(lease_until=None if until is None else NOW + until), NOW) is held


DAYS = timedelta(days=8)


@pytest.mark.parametrize(
    ("state", "ahead", "requested", "due"),
    [
        (State.SUBMITTED, SECOND, timedelta(0), True),
        (State.SUBMITTED, SECOND + TICK, timedelta(0), False),
        (State.SUBMITTED, DAYS, timedelta(0), False),
        (State.SUBMITTED, DAYS + TICK, timedelta(0), True),
        (State.REQUESTED, DAYS + TICK, timedelta(0), False),
        (State.REQUESTED, HOUR, timedelta(minutes=10), False),
        (State.REQUESTED, HOUR, timedelta(minutes=10) + TICK, True),
    ],
)
def test_a_try_is_due_a_second_early_or_if_a_wrong_clock_has_set_its_time(
    state: State, ahead: timedelta, requested: timedelta, due: bool
) -> None:
    one = operation(state, next_attempt_at=NOW + ahead, requested_at=NOW + requested)
    assert lease.is_due(one, NOW) is due


def test_a_lease_that_was_not_released_is_taken_over_and_the_fifth_dead_worker_ends_what_is_late() -> None:
    late: dict[str, Any] = {"deadline": NOW - SECOND, "lease_until": NOW - SECOND}
    free: dict[str, Any] = {"lease_id": "", "lease_until": None}
    for row, crashes, state in (
        (operation(**free), 0, State.SUBMITTED),
        (operation(**free, deadline=NOW - SECOND, crashes=9), 9, State.SUBMITTED),
        (operation(lease_until=NOW), 1, State.SUBMITTED),
        (operation(lease_until=None), 1, State.SUBMITTED),
        (operation(**free, next_attempt_at=NOW - HOUR), 0, State.SUBMITTED),
        (operation(**late, crashes=3), 4, State.SUBMITTED),
        (operation(**late, crashes=4), 5, State.FAILED),
        (operation(lease_until=NOW, crashes=4), 5, State.SUBMITTED),
    ):
        taken = lease.take(services(row=row), "main", "www")
        assert taken is not None
        assert (taken.crashes, taken.state, taken.lease_until) == (crashes, state, NOW + timedelta(minutes=6))
        assert taken.lease_id not in ("", row.lease_id)


def test_what_is_gone_held_early_another_or_lost_to_another_worker_is_not_taken() -> None:
    free = operation(lease_id="", lease_until=None)
    early = replace(free, next_attempt_at=NOW + HOUR)
    assert lease.take(services(row=None), "main", "www") is None
    assert lease.take(services(row=operation()), "main", "www", even_early=True) is None
    assert lease.take(services(row=early), "main", "www") is None
    assert lease.take(services(row=early), "main", "www", even_early=True) is not None
    assert lease.take(services(row=replace(early, cancel_requested=True)), "main", "www") is not None
    assert lease.take(services(row=free), "main", "www", "main.www.2") is None
    assert lease.take(services(row=free), "main", "www", "main.www.1") is not None
    assert lease.take(services(stale, free), "main", "www") is None
