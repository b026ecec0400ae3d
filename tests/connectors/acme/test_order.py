"""One ACME order, from submit to the certificate."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from certrelay.connectors.base import ConnectorError, Issued, Pending, Rejected, Unavailable
from tests.connectors.acme.ordering import TestSolver, acme, follow, leaf_for, request_for
from tests.connectors.acme.pebble import Pebble


def test_a_wildcard_and_its_apex_leave_no_record_behind(pebble: Pebble, solver: TestSolver) -> None:
    request = request_for("both.example.com", "*.both.example.com")
    outcome = follow(acme(pebble, solver), request)
    assert isinstance(outcome, Issued)
    assert solver.looks >= 2
    assert solver.records == set()


@pytest.mark.slow
def test_eight_orders_of_eight_succeed_while_half_of_all_nonces_are_refused(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    connector = acme(start(PEBBLE_WFE_NONCEREJECT="50"), solver)
    outcomes = [follow(connector, request_for(f"n{number}.example.com")) for number in range(8)]
    assert [outcome for outcome in outcomes if not isinstance(outcome, Issued)] == []


@pytest.mark.slow
def test_a_slow_validation_stays_pending(start: Callable[..., Pebble], solver: TestSolver) -> None:
    connector = acme(start(PEBBLE_VA_NOSLEEP="", PEBBLE_VA_SLEEPTIME="6"), solver)
    # Each waits 0 to 5 seconds at random; that all eleven take less than 2 is one chance in 177,000.
    request = request_for(*(f"slow{number}.example.com" for number in range(11)))
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    begin = time.monotonic()
    outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    assert outcome.retry_after > 0  # pebble gives seconds or a date, by chance: up to a second less
    assert time.monotonic() - begin < 9
    assert isinstance(follow(connector, request, outcome, pause=0.5), Issued)


def test_authorizations_are_used_again(start: Callable[..., Pebble], solver: TestSolver) -> None:
    server = start(PEBBLE_AUTHZREUSE="100")
    assert isinstance(follow(acme(server, solver), request_for("again.example.com")), Issued)
    looks = solver.looks
    assert isinstance(follow(acme(server, solver), request_for("again.example.com")), Issued)
    assert solver.looks == looks


def test_a_record_that_is_not_seen_yet_is_waited_for(pebble: Pebble, solver: TestSolver) -> None:
    connector, request = acme(pebble, solver), request_for("late.example.com")
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(3):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    del solver.is_visible
    assert isinstance(follow(connector, request, outcome), Issued)


def test_a_wrong_record_fails_the_order_and_is_removed(pebble: Pebble, solver: TestSolver) -> None:
    def publish_something_else(name: str, value: str) -> None:
        solver.records.add((name, value))

    solver.publish = publish_something_else  # type: ignore[method-assign]
    outcome = follow(acme(pebble, solver), request_for("wrong.example.com"))
    assert isinstance(outcome, Rejected)
    assert "wrong.example.com" in outcome.reason
    assert solver.records == set()


def test_a_server_that_forgot_everything_gets_a_new_account_and_order(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start()
    connector, request = acme(server, solver), request_for("forgotten.example.com")
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    server.restart()
    outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Unavailable)
    assert outcome.restart
    assert isinstance(follow(connector, request), Issued)


def test_the_profile_decides_on_the_validity(pebble: Pebble, solver: TestSolver) -> None:
    leaf = leaf_for(acme(pebble, solver, profile="shortlived"), "short.example.com")
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=7)


def test_an_unknown_profile_is_rejected(pebble: Pebble, solver: TestSolver) -> None:
    outcome = acme(pebble, solver, profile="no-such").submit(request_for("profile.example.com"))
    assert isinstance(outcome, Rejected)
    assert "invalidProfile" in outcome.reason


def test_a_worker_who_answers_and_finalizes_what_another_one_did_just_before_rejects_nothing(
    pebble: Pebble, solver: TestSolver
) -> None:
    connector, request = acme(pebble, solver), request_for("twice.example.com")
    client = connector._session()._client
    post, repeated = client.post, []

    def twice(url: str, payload: dict[str, Any] | None, account: str | None) -> Any:
        if payload is not None and ("chalZ" in url or "finalize" in url):
            post(url, payload, account)
            repeated.append(url)
            time.sleep(0.3)
        return post(url, payload, account)

    client.post = twice  # type: ignore[method-assign]
    assert isinstance(follow(connector, request), Issued)
    assert len(repeated) >= 2, repeated
    assert solver.records == set()


@pytest.mark.parametrize(
    "reference", ["", "x", "[]", "{}", '{"order": "u", "records": [1]}', '{"order": "u", "records": 7}']
)
def test_a_reference_that_cannot_be_read_starts_the_order_anew(
    pebble: Pebble, solver: TestSolver, reference: str
) -> None:
    outcome = acme(pebble, solver).collect(request_for("garbled.example.com"), reference)
    assert isinstance(outcome, Unavailable)
    assert outcome.restart
    with pytest.raises(ConnectorError):
        acme(pebble, solver).cancel(reference)
