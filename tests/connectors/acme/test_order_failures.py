"""One ACME order when things go wrong: what the server, the DNS or a second worker may do in the middle of it."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from certrelay.connectors.acme import client, exchange
from certrelay.connectors.acme import order as acme_order
from certrelay.connectors.acme.reference import Reference
from certrelay.connectors.base import Issued, Outcome, Pending, Rejected, Unavailable
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer, set_member, shuffled
from tests.connectors.acme.ordering import (
    TestSolver,
    acme,
    follow,
    follow_some,
    fresh_name,
    once,
    request_for,
    with_a_record,
)
from tests.connectors.acme.pebble import Pebble
from tests.connectors.answers import certificates
from tests.connectors.signing_requests import private_key, signing_request

pytestmark = pytest.mark.slow


def test_an_order_without_end_does_not_hold_the_worker(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(answer: Answer) -> None:
        if answer.path.startswith("/my-order/"):
            order = answer.document
            answer.say({**order, "authorizations": order["authorizations"] * 2000})

    monkeypatch.setattr(exchange, "MAX_SECONDS", 0.2)
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    proxy.change = endless
    begin = time.monotonic()
    assert acme(proxy, solver).collect(request, outcome.reference) == Unavailable("its answers take too long")
    assert time.monotonic() - begin < 60


def test_an_order_goes_on_after_thirty_nonces_refused_one_after_the_other(proxy: AcmeProxy, solver: TestSolver) -> None:
    left = [30]

    def refuse(answer: Answer) -> None:
        if answer.path == "/sign-me-up" and left[0]:
            left[0] -= 1
            answer.refuse("badNonce", 400)

    proxy.change = refuse
    assert isinstance(acme(proxy, solver).submit(request_for(fresh_name())), Pending)
    assert left == [0]


def test_nonces_that_are_refused_slowly_do_not_hold_the_worker(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def slow(answer: Answer) -> None:
        time.sleep(0.1)
        refused.append(answer.path)
        answer.refuse("badNonce", 400)

    monkeypatch.setattr(client, "MAX_NONCE_SECONDS", 0.2)
    proxy.change = slow
    assert isinstance(acme(proxy, solver).submit(request_for(fresh_name())), Unavailable)
    assert len(refused) < client.MAX_NONCE_TRIES


@pytest.mark.parametrize("seed", range(4))
def test_an_order_whose_lists_are_shuffled_is_issued(proxy: AcmeProxy, solver: TestSolver, seed: int) -> None:
    proxy.change = shuffled(random.Random(seed))
    request = request_for(name := fresh_name(), f"*.{name}", fresh_name(), fresh_name())
    assert isinstance(follow(acme(proxy, solver), request), Issued)
    assert solver.records == set()


@pytest.mark.parametrize("path", ["finalize-order", "chalZ"])
@pytest.mark.parametrize("code", ["malformed", "unauthorized", "orderNotReady", "serverInternal", "conflict"])
def test_a_step_that_was_taken_although_the_server_refused_it_is_taken_for_done(
    proxy: AcmeProxy, solver: TestSolver, code: str, path: str
) -> None:
    proxy.change = once(path, lambda answer: answer.refuse(code, 400))
    assert isinstance(follow(acme(proxy, solver), request_for(fresh_name())), Issued)


@pytest.mark.parametrize("path", ["sign-me-up", "order-plz", "my-order", "authZ", "certZ"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_rate_limit_at_any_step_is_waited_out_and_the_order_goes_on(
    proxy: AcmeProxy, solver: TestSolver, path: str, status: int
) -> None:
    """Boulder says 503 with the same code when it is busy."""

    def limit(answer: Answer) -> None:
        answer.refuse("rateLimited", status, "too many")
        answer.headers["Retry-After"] = "77"

    proxy.change = once(path, limit)
    connector, request = acme(proxy, solver), request_for(fresh_name())
    placed: Outcome | None = None
    outcome = connector.submit(request)
    while isinstance(outcome, Pending) and outcome.retry_after != 77:
        time.sleep(0.05)
        placed, outcome = outcome, connector.collect(request, outcome.reference)
    if isinstance(outcome, Pending):  # the order is placed once its authorizations are asked for
        placed = outcome
    else:
        assert isinstance(outcome, Unavailable), outcome
        assert "too many" in outcome.reason
        assert (outcome.retry_after, outcome.restart) == (77, False)
    assert isinstance(follow(connector, request, placed), Issued)


@pytest.mark.parametrize(("code", "status"), [("malformed", 404), ("unauthorized", 403), ("malformed", 400)])
def test_a_valid_order_whose_certificate_is_not_there_yet_is_not_rejected(
    proxy: AcmeProxy, solver: TestSolver, code: str, status: int
) -> None:
    proxy.change = once("certZ", lambda answer: answer.refuse(code, status))
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = connector.submit(request)
    while isinstance(outcome, Pending):
        time.sleep(0.05)
        reference, outcome = outcome.reference, connector.collect(request, outcome.reference)
    assert isinstance(outcome, Unavailable), outcome
    assert not outcome.restart
    assert isinstance(follow(connector, request, Pending(reference)), Issued)


def test_an_order_that_expired_with_its_authorizations_starts_anew(proxy: AcmeProxy, solver: TestSolver) -> None:
    """Boulder answers 404 for an authorization that expired."""
    connector, request = acme(proxy, solver), request_for(fresh_name())
    waiting = with_a_record(connector, solver, request)

    def expire(answer: Answer) -> None:
        if "my-order" in answer.path:
            answer.say({**answer.document, "status": "invalid"})
        if "authZ" in answer.path:
            answer.refuse("malformed", 404, "Expired authorization")

    proxy.change = expire
    outcome = acme(proxy, solver).collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable), outcome
    assert outcome.restart
    assert solver.records == set()


def test_two_requests_that_the_server_gave_one_order_get_two_certificates(pebble: Pebble, solver: TestSolver) -> None:
    """Boulder answers a new order with one that is open, where account and names are the same."""
    name = fresh_name()
    first, second = (signing_request(SubjectNames(name, (name,)), private_key("ec-256", owner)) for owner in "ab")
    connector = acme(pebble, solver)
    shared = connector.submit(first)
    assert isinstance(follow(connector, first, shared), Issued)
    assert isinstance(shared, Pending)
    lost = connector.collect(second, shared.reference)
    assert isinstance(lost, Unavailable), lost
    assert lost.restart
    assert isinstance(outcome := follow(connector, second), Issued)
    assert certificates(outcome.answer)[0].public_key() == private_key("ec-256", "b").public_key()


def validating(status: str, answered: list[str], **headers: str) -> Callable[[Answer], None]:
    """A server that takes its time over a challenge that was answered, and says `status` of it meanwhile."""

    def change(answer: Answer) -> None:
        if answer.path.startswith("/chalZ/"):
            answered.append(answer.path)
        if answer.path.startswith("/my-order/"):
            answer.say({**answer.document, "status": "pending"})
        if answer.path.startswith("/authZ/"):
            challenges = [{**one, "status": status if answered else "pending"} for one in answer.document["challenges"]]
            answer.say({**answer.document, "status": "pending", "challenges": challenges})
            answer.headers.update(headers if answered else {})

    return change


def test_a_challenge_that_is_pending_while_it_is_validated_is_answered_once(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boulder validates once more for each answer, and counts each failure against the account."""
    answered: list[str] = []
    proxy.change = validating("pending", answered)
    request = request_for(fresh_name())
    waiting = follow_some(acme(proxy, solver), request, 4)
    assert isinstance(waiting, Pending)
    assert len(answered) == 1
    monkeypatch.setattr(acme_order, "ANSWER_AGAIN", 0.0)
    acme(proxy, solver).collect(request, waiting.reference)
    assert len(answered) > 1, "an answer that the server forgot is given again"
    proxy.change = lambda answer: None
    assert isinstance(follow(acme(proxy, solver), request, waiting), Issued)


def test_a_server_that_validates_is_asked_again_when_it_says(proxy: AcmeProxy, solver: TestSolver) -> None:
    proxy.change = validating("processing", [], **{"Retry-After": "37"})
    waiting = follow_some(acme(proxy, solver), request_for(fresh_name()), 3)
    assert isinstance(waiting, Pending)
    assert waiting.retry_after == 37


ODD: list[Any] = [
    None,
    5,
    "x",
    "",
    [],
    {},
    [5],
    [None],
    [{}],
    "https://[",
    "https://127.0.0.1:99999/x",
    "https://evil.example/x",
    "\x00",
]
CHALLENGE = {"type": "dns-01", "url": "https://evil.example/x", "status": "pending", "token": "t"}


def odd_answers() -> Iterator[Callable[[Answer], None]]:
    for value in ODD:
        for member in ("status", "authorizations", "identifiers", "expires", "error"):
            yield set_member("my-order", member, value)
        yield set_member("my-order", "error", value, status="invalid")
        yield set_member("my-order", "finalize", value, status="ready")
        yield set_member("my-order", "certificate", value, status="valid")
        for member in ("identifier", "status", "challenges"):
            yield set_member("authZ", member, value)
        yield set_member("authZ", "identifier", {"type": "dns", "value": value})
        for member in ("type", "url", "status", "token", "error"):
            yield set_member("authZ", "challenges", [{**CHALLENGE, member: value}])


def test_no_odd_answer_is_taken_for_a_fault_of_ours(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme_order, "PAUSES", (0,))
    connector, request = acme(proxy, solver), request_for(fresh_name())
    waiting = with_a_record(connector, solver, request)
    for proxy.change in odd_answers():
        connector._session()._seen.take(Reference.of(waiting.reference).url)  # it is read anew
        outcome = connector.collect(request, waiting.reference)
        assert isinstance(outcome, Pending | Unavailable | Rejected)


@pytest.mark.parametrize("body", [b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_not_issued(proxy: AcmeProxy, solver: TestSolver, body: bytes) -> None:
    def replace_certificate(answer: Answer) -> None:
        if "certZ" in answer.path:
            answer.body = body

    proxy.change = replace_certificate
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = follow(connector, request)
    assert isinstance(outcome, Unavailable)
    assert "certificates in PEM" in outcome.reason


@pytest.mark.parametrize("bug", [TypeError, AttributeError, KeyError, ValueError])
def test_a_fault_of_ours_is_not_taken_for_one_of_the_server(
    pebble: Pebble, solver: TestSolver, bug: type[Exception]
) -> None:
    def publish(name: str, value: str) -> None:
        raise bug("a mistake in the code")

    solver.publish = publish  # type: ignore[method-assign]
    with pytest.raises(bug):
        follow(acme(pebble, solver), request_for(fresh_name()))


@pytest.mark.parametrize("url", ["", "order-7", "ftp://127.0.0.1/order", "https://[", "https://other.example/order/1"])
def test_an_order_of_another_authority_starts_anew_and_its_records_are_removed(
    pebble: Pebble, solver: TestSolver, url: str
) -> None:
    record = ("_acme-challenge.moved.example.com", "digest")
    solver.publish(*record)
    outcome = acme(pebble, solver).collect(request_for("moved.example.com"), Reference(url, (record,)).text())
    assert isinstance(outcome, Unavailable)
    assert outcome.restart, outcome
    assert solver.records == set()
