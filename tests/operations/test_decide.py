"""The pure decisions."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrelay.connectors.base import Unavailable
from certrelay.keyvault.certificate import PendingOperation
from certrelay.operations import decide
from certrelay.operations.decide import Act, Facts, next_step
from certrelay.storage.fallback import Fallback
from certrelay.storage.operation import CertificateRequest, Failure, Kind, Operation, State, from_entity, to_entity

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
REQUEST = CertificateRequest({"issuer": {"name": "Unknown"}}, authority="corp", validity_days=90, tags={"a": "b"})


def operation(state: State, **changes: object) -> Operation:
    made = Operation(
        id="main.www.1", vault="main", name="www", kind=Kind.CREATE, state=state, request=REQUEST, requested_by="test",
        requested_at=NOW, deadline=NOW + timedelta(days=1), next_attempt_at=NOW, request_id="ours",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def pending(request_id: str = "ours", status: str = "inProgress", **changes: object) -> PendingOperation:
    return replace(PendingOperation(request_id, status, b"csr", "Unknown"), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "found", "act"),
    [
        (State.REQUESTED, None, Act.CREATE),
        (State.REQUESTED, pending("earlier", "completed"), Act.CREATE),
        (State.REQUESTED, pending("earlier"), Act.ADOPT),
        (State.REQUESTED, pending("another"), Act.ADOPT),
        (State.REQUESTED, pending("another", "completed"), Act.ADOPT),
        (State.PENDING, pending(), Act.SUBMIT),
        (State.SUBMITTED, pending(), Act.COLLECT),
        (State.ISSUED, pending(), Act.MERGE),
        (State.PENDING, None, Act.END),
        (State.SUBMITTED, pending("another"), Act.END),
        (State.ISSUED, pending(status="completed"), Act.END),
        (State.COMPLETED, None, Act.CLOSE),
        (State.FAILED, pending(), Act.CLOSE),
        (State.CANCELED, pending("another"), Act.CLOSE),
    ],
)
def test_each_state_has_its_next_effect(state: State, found: PendingOperation | None, act: Act) -> None:
    assert next_step(operation(state, earlier_request_id="earlier"), Facts(found)).act is act


def test_a_merged_version_with_our_key_completes_whatever_became_of_the_pending_operation() -> None:
    for found in (None, pending("another"), pending(status="completed")):
        assert next_step(operation(State.ISSUED), Facts(found, merged_version="v2")).act is Act.COMPLETE


@pytest.mark.parametrize("state", [State.PENDING, State.SUBMITTED, State.ISSUED])
def test_a_cancellation_ends_every_state_before_the_merge(state: State) -> None:
    step = next_step(operation(state, cancel_requested=True), Facts(pending()))
    assert (step.act, step.state) == (Act.END, State.CANCELED)


def test_a_cancellation_before_anything_was_created_creates_nothing() -> None:
    step = next_step(operation(State.REQUESTED, cancel_requested=True), Facts(None))
    assert step.state is State.CANCELED


def test_a_renewal_whose_version_is_no_longer_the_newest_ends() -> None:
    renewal = operation(State.REQUESTED, kind=Kind.RENEW, replaces="v1")
    assert next_step(renewal, Facts(None, newest_version="v1")).act is Act.CREATE
    assert next_step(renewal, Facts(None, newest_version="v2")).state is State.CANCELED


@pytest.mark.parametrize(
    ("found", "act", "state"),
    [
        (pending(), Act.AWAIT_KEY_VAULT, None),
        (pending(status="completed"), Act.COMPLETE, None),
        (pending(status="cancelled"), Act.END, State.CANCELED),
        (pending(status="failed", error_code="Request rejected", error_message="no"), Act.END, State.FAILED),
    ],
)
def test_key_vaults_own_issuers_are_waited_for(found: PendingOperation, act: Act, state: State | None) -> None:
    own = operation(State.PENDING, request=replace(REQUEST, authority=None))
    step = next_step(own, Facts(found))
    assert (step.act, step.state) == (act, state)
    if state is State.FAILED:
        assert step.failure == Failure("Request rejected", "no")


def test_a_cancellation_is_handed_to_key_vault_once() -> None:
    own = operation(State.PENDING, request=replace(REQUEST, authority=None), cancel_requested=True)
    assert next_step(own, Facts(pending())).act is Act.CANCEL_IN_KEY_VAULT
    assert next_step(own, Facts(pending(cancellation_requested=True))).act is Act.AWAIT_KEY_VAULT


@given(attempts=st.integers(0, 10_000), asked=st.none() | st.floats(0, 1e6), seed=st.integers(0, 999))
def test_back_off_is_bounded_jittered_and_never_sooner_than_asked(
    attempts: int, asked: float | None, seed: int
) -> None:
    delay = decide.back_off(attempts, asked, random.Random(seed))
    assert delay >= (asked or 0)
    assert 4 <= delay <= max(decide.LONGEST_DELAY * 1.2, asked or 0)


def test_the_deadline_names_the_last_answer() -> None:
    late = operation(State.SUBMITTED, failure=Failure("AuthorityUnavailable", "out of order"))
    assert decide.overdue(late, NOW) is None
    failure = decide.overdue(late, NOW + timedelta(days=1))
    assert failure is not None
    assert "out of order" in failure.message


def test_an_operation_survives_its_way_through_a_row() -> None:
    moved = operation(
        State.SUBMITTED,
        chain=(b"leaf", b"issuer"),
        reference="r" * 9000,
        lease_until=NOW,
        failure=Failure("C", "text"),
        fallbacks=("second", "third"),
        fallback=Fallback("second", NOW, "日本 is down"),
        withdraw_from="corp",
        unavailable_since=NOW,
        replaced_signer="third",
    ).moved(State.ISSUED, NOW, "detail", failure=Failure("C", "text"))
    assert from_entity(to_entity(moved)) == moved
    older = {
        name: value for name, value in to_entity(operation(State.PENDING)).items()
        if name not in ("fallbacks", "fallback", "withdraw_from", "replaced_signer", "traceparent")
    }  # fmt: skip
    assert from_entity(older) == operation(State.PENDING)


class Extreme(random.Random):
    """Chance that always takes one end."""

    def __init__(self, end: int) -> None:
        super().__init__(0)
        self.end = end

    def uniform(self, a: float, b: float) -> float:
        return (a, b)[self.end]


@pytest.mark.parametrize(
    ("attempts", "longest", "expected"), [(0, 3600.0, 5.0), (3, 3600.0, 40.0), (50, 3600.0, 3600.0), (9, 300.0, 300.0)]
)
def test_workers_that_failed_together_do_not_try_again_together(attempts: int, longest: float, expected: float) -> None:
    ends = [decide.back_off(attempts, None, Extreme(end), longest) for end in (0, 1)]
    assert ends == pytest.approx([expected * 0.8, expected * 1.2])
    spread = {decide.back_off(attempts, None, random.Random(seed), longest) for seed in range(50)}
    assert len(spread) > 40
    assert decide.back_off(attempts, expected * 2, Extreme(1), longest) == expected * 2
    assert decide.back_off(50, None, Extreme(1)) == pytest.approx(3600 * 1.2), "an hour, unless it is said otherwise"


def test_a_cancellation_of_what_somebody_else_took_away_is_a_cancellation() -> None:
    for found in (None, pending("another")):
        step = next_step(operation(State.PENDING, cancel_requested=True), Facts(found))
        assert (step.act, step.state, step.failure) == (Act.END, State.CANCELED, None)
        step = next_step(operation(State.PENDING), Facts(found))
        assert step.state is State.FAILED
        assert step.failure is not None
        assert step.failure.code == "PendingOperationReplaced"


def test_what_somebody_else_ended_in_key_vault_is_told_by_its_status() -> None:
    for status, state, code in (("cancelled", State.CANCELED, ""), ("failed", State.FAILED, "PendingOperationEnded")):
        step = next_step(operation(State.SUBMITTED), Facts(pending(status=status)))
        assert (step.act, step.state) == (Act.END, state)
        assert (step.failure.code if step.failure else "") == code
    assert step.failure is not None
    assert "its status is failed" in step.failure.message


def test_an_import_that_was_cut_off_ends_as_key_vault_says() -> None:
    cut_off = operation(State.REQUESTED, kind=Kind.IMPORT)
    assert next_step(cut_off, Facts(None, merged_version="v2")) == decide.Step(Act.COMPLETE)
    assert next_step(replace(cut_off, cancel_requested=True), Facts(None, merged_version="v2")).act is Act.COMPLETE
    assert next_step(replace(cut_off, cancel_requested=True), Facts(None)).state is State.CANCELED
    step = next_step(cut_off, Facts(None))
    assert (step.act, step.state) == (Act.END, State.FAILED)
    assert step.failure is not None
    assert step.failure.code == "ImportInterrupted"


def test_a_renewal_that_was_overtaken_says_so() -> None:
    step = next_step(operation(State.REQUESTED, kind=Kind.RENEW, replaces="v1"), Facts(None, newest_version="v2"))
    assert step.act is Act.END
    assert step.failure is not None
    assert step.failure.code == "AlreadyRenewed"
    creation = operation(State.REQUESTED, replaces="v1")
    assert next_step(creation, Facts(None, newest_version="v2")).act is Act.CREATE


def test_a_cancellation_adopts_what_was_created_before_it_is_canceled() -> None:
    """Else a pending operation that nobody deletes would be left in Key Vault."""
    canceled = operation(State.REQUESTED, cancel_requested=True, earlier_request_id="earlier")
    assert next_step(canceled, Facts(pending("another", "completed"))).act is Act.ADOPT
    assert next_step(canceled, Facts(pending("earlier"))).act is Act.ADOPT
    assert next_step(canceled, Facts(pending("earlier", "completed"))).act is Act.END


def test_key_vaults_own_issuer_that_failed_without_words_gets_some() -> None:
    own = operation(State.PENDING, request=replace(REQUEST, authority=None))
    failure = next_step(own, Facts(pending(status="failed"))).failure
    assert failure == Failure("IssuerError", "the issuer failed without an error message")
    assert next_step(replace(own, cancel_requested=True), Facts(None)).act is Act.END


def test_orders_are_lost_when_an_operation_returns_to_pending() -> None:
    moved = operation(State.REQUESTED)
    assert decide.orders_lost(moved) == 0
    for count, state in enumerate((State.PENDING, State.PENDING, State.PENDING)):
        moved = moved.moved(state, NOW).moved(State.SUBMITTED, NOW)
        assert decide.orders_lost(moved) == decide.orders_lost(moved.moved(State.ISSUED, NOW)) == count


@pytest.mark.parametrize(
    ("waited", "delay"), [(0, 10), (99, 10), (200, 20), (2999, 299.9), (3000, 300), (90_000, 300), (864_000, 300)]
)
def test_an_order_with_key_vaults_issuer_is_polled_at_a_tenth_of_its_age(waited: float, delay: float) -> None:
    assert decide.key_vault_delay(timedelta(seconds=waited)) == pytest.approx(delay)


def test_an_operation_is_overdue_from_its_deadline_on() -> None:
    late = operation(State.SUBMITTED)
    assert decide.overdue(late, late.deadline - timedelta(microseconds=1)) is None
    failure = decide.overdue(late, late.deadline)
    assert failure is not None
    assert failure.code == "TimedOut"
    assert failure.message == "not finished by 2026-11-24T12:00:00+00:00"


def test_a_renewal_creates_its_version_after_an_operation_that_somebody_else_has_ended() -> None:
    renewal = operation(State.REQUESTED, kind=Kind.RENEW, replaces="v1")
    ended = Facts(pending("another", "completed"), newest_version="v1")
    assert next_step(renewal, ended).act is Act.CREATE


HOUR = timedelta(hours=1)
DOWN, LOST = Unavailable("down"), Unavailable("the order failed", restart=True)


@pytest.mark.parametrize(
    ("waited", "retry_after", "expires", "asks"),
    [
        (5.9, None, None, False),
        (6, None, None, True),
        (5, 3600, None, True),
        (5, 3599, None, False),
        (0, 86_400, None, True),
        (0, 6 * 3600 - 1, None, False),
        (0.9, None, 4, False),
        (1, None, 4, True),
        (0, None, 0, True),
        (0, None, -1, True),
        (5.9, None, 100, False),
    ],
)
def test_another_authority_is_asked_after_a_quarter_of_the_time_that_was_left(
    waited: float, retry_after: float | None, expires: float | None, asks: bool
) -> None:
    """Hours; the deadline is a day away."""
    down = operation(State.SUBMITTED, unavailable_since=NOW)
    outcome = Unavailable("down", retry_after)
    ends = None if expires is None else NOW + expires * HOUR
    assert decide.asks_another(down, outcome, NOW + waited * HOUR, ends) is asks


def test_the_authority_asked_next_has_a_quarter_of_what_is_left_then() -> None:
    second = operation(State.PENDING, unavailable_since=NOW + 6 * HOUR)
    assert not decide.asks_another(second, DOWN, NOW + 10.4 * HOUR)
    assert decide.asks_another(second, DOWN, NOW + 10.5 * HOUR)


def test_an_authority_is_unavailable_from_its_first_answer_of_that_kind_on() -> None:
    good = operation(State.SUBMITTED)
    assert decide.unavailable_since(good, DOWN, NOW) == NOW
    down = replace(good, unavailable_since=NOW)
    assert decide.unavailable_since(down, DOWN, NOW + HOUR) == NOW
    everywhere = Unavailable("our DNS is down", everywhere=True)
    assert decide.unavailable_since(down, everywhere, NOW + HOUR) is None
    assert not decide.asks_another(replace(down, unavailable_since=None), everywhere, NOW + 23 * HOUR)


def test_an_authority_that_loses_every_order_is_unavailable_since_the_first_loss() -> None:
    moved = operation(State.REQUESTED).moved(State.PENDING, NOW)
    for hour in range(1, 4):
        moved = moved.moved(State.SUBMITTED, NOW + hour * HOUR).moved(State.PENDING, NOW + hour * HOUR, "lost")
        assert decide.unavailable_since(moved, LOST, NOW + hour * HOUR) == NOW + HOUR
    assert decide.unavailable_since(moved, DOWN, NOW + 9 * HOUR) == NOW + 9 * HOUR, "slow orders are not lost ones"


def test_orders_that_the_authority_before_lost_do_not_count() -> None:
    moved = operation(State.REQUESTED).moved(State.PENDING, NOW).moved(State.PENDING, NOW + HOUR, "lost")
    assert decide.orders_lost(moved) == 1
    since = NOW + 2 * HOUR
    changed = moved.moved(State.PENDING, since, fallback=Fallback("second", since, "down"))
    assert decide.orders_lost(changed) == 0
    assert decide.orders_lost(changed.moved(State.PENDING, since + HOUR, "lost")) == 1


def test_an_order_of_the_authority_before_is_withdrawn_before_the_next_one_is_placed() -> None:
    changed = operation(State.PENDING, reference="order-1", withdraw_from="corp")
    assert next_step(changed, Facts(pending())).act is Act.WITHDRAW
    assert next_step(replace(changed, withdraw_from=""), Facts(pending())).act is Act.SUBMIT
    assert next_step(replace(changed, state=State.ISSUED), Facts(pending())).act is Act.MERGE
    canceled = next_step(replace(changed, cancel_requested=True), Facts(pending()))
    assert (canceled.act, canceled.state) == (Act.END, State.CANCELED)
