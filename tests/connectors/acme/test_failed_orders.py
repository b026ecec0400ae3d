"""What an order failed for: which of the errors in it and in its authorizations is the one that counts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from certrelay.connectors.base import Outcome, Rejected, Unavailable
from tests.connectors.acme.acme_proxy import Answer
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver, Request, failed_orders
from tests.connectors.acme.clients import connect, follow
from tests.connectors.acme.ordering import fresh_name, request_for

type Change = Callable[[Request, Answer], None]


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as running:
        yield running


def error(code: str, detail: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A problem document."""
    found: dict[str, Any] = {"type": f"urn:ietf:params:acme:error:{code}", "detail": detail}
    return {**found, "subproblems": list(parts)} if parts else found


def placed(server: AcmeServer, *names: str) -> Outcome:
    return follow(connect(server, MemorySolver()), request_for(*(names or (fresh_name(),))))


def of_failed_order(change: Change, *, own: Any = None) -> Change:
    """`change` for the authorizations of an order that is invalid once its challenges were answered."""
    fail, failed = failed_orders(own, "order" if own else "challenge"), list[str]()

    def both(request: Request, answer: Answer) -> None:
        if "/order/" in request.target:
            fail(request, answer)
            failed.extend([request.target] if answer.document["status"] == "invalid" else [])
        elif "/authorization/" in request.target and failed:
            change(request, answer)

    return both


@pytest.mark.parametrize(("code", "status"), [("malformed", 404), ("unauthorized", 403), ("malformed", 400)])
def test_an_order_says_why_it_failed_though_its_authorizations_cannot_be_read_any_more(
    server: AcmeServer, code: str, status: int
) -> None:
    """DigiCert hides the details of a finished authorization. Another order would fail alike."""
    verdict = error("rejectedIdentifier", "the name is on a list")
    server.change = of_failed_order(lambda _, answer: answer.refuse(code, status), own=verdict)
    outcome = placed(server)
    assert outcome == Rejected("the order failed: the name is on a list (rejectedIdentifier)")


def test_an_order_says_why_it_failed_though_its_authorizations_are_broken(server: AcmeServer) -> None:
    verdict = error("rejectedIdentifier", "the name is on a list")
    server.change = of_failed_order(lambda _, answer: answer.say({"status": "invalid"}), own=verdict)
    assert isinstance(placed(server), Rejected)


def test_an_authorization_that_cannot_be_read_now_is_read_later(server: AcmeServer) -> None:
    """It may say more than the order does."""
    verdict = error("unauthorized", "an authorization failed")
    server.change = of_failed_order(lambda _, answer: answer.refuse("serverInternal", 500), own=verdict)
    assert placed(server) == Unavailable("because (serverInternal)")


def with_challenge(number: int, status: str, challenge: dict[str, Any]) -> Change:
    """An authorization's status, and what its challenge says besides."""

    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith(f"/{number}"):
            [known] = answer.document["challenges"]
            answer.say({**answer.document, "status": status, "challenges": [{**known, **challenge}]})

    return change


PASSING, LASTING = error("dns", "SERVFAIL at the first try"), error("unauthorized", "no such record")


@pytest.mark.parametrize("status", ["valid", "processing"])
@pytest.mark.parametrize("place", [0, 1])
def test_the_error_of_an_earlier_try_is_not_what_the_order_failed_for(
    server: AcmeServer, place: int, status: str
) -> None:
    """RFC 8555, section 8.2: a server that tries again says in the challenge how the earlier try ended."""
    authorization = "valid" if status == "valid" else "pending"
    retried = with_challenge(1 - place, authorization, {"status": status, "error": PASSING})
    failed = with_challenge(place, "invalid", {"status": "invalid", "error": LASTING})

    def change(request: Request, answer: Answer) -> None:
        retried(request, answer)
        failed(request, answer)

    server.change = of_failed_order(change)
    names = fresh_name(), fresh_name()
    assert placed(server, *names) == Rejected(f"the order failed: {names[place]}: no such record (unauthorized)")


def test_of_several_challenges_the_one_that_failed_counts(server: AcmeServer) -> None:
    def change(_: Request, answer: Answer) -> None:
        [known] = answer.document["challenges"]
        other = {**known, "type": "http-01", "status": "pending", "error": PASSING}
        failed = {**known, "status": "invalid", "error": LASTING}
        answer.say({**answer.document, "status": "invalid", "challenges": [other, failed]})

    server.change = of_failed_order(change)
    outcome = placed(server)
    assert isinstance(outcome, Rejected)
    assert "no such record" in outcome.reason


def test_an_order_that_expires_does_not_fail_for_the_error_of_an_earlier_try(server: AcmeServer) -> None:
    """Section 7.1.6: it becomes invalid without an error."""
    server.change = of_failed_order(with_challenge(0, "valid", {"status": "valid", "error": LASTING}))
    assert placed(server) == Unavailable(
        "the order or an authorization expired, or failed without a reason", restart=True
    )


def test_an_error_counts_though_the_server_left_the_authorization_open(server: AcmeServer) -> None:
    server.change = of_failed_order(with_challenge(0, "pending", {"status": "pending", "error": LASTING}))
    assert isinstance(placed(server), Rejected)


REFUSED, BUSY = error("rejectedIdentifier", "policy"), error("rateLimited", "too many")
FORBIDDEN = error("caa", "CAA prevents issuance")


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([REFUSED], Rejected),
        ([REFUSED, REFUSED], Rejected),
        ([PASSING, REFUSED], Rejected),
        ([BUSY, FORBIDDEN], Rejected),
        ([BUSY], Unavailable),
        ([BUSY, PASSING], Unavailable),
        ([PASSING], Unavailable),
    ],
    ids=str,
)
def test_a_new_order_is_refused_for_good_if_one_of_several_reasons_is_lasting(
    server: AcmeServer, parts: list[dict[str, Any]], kind: type[Outcome]
) -> None:
    """RFC 8555, section 6.7: `compound` says nothing by itself; the subproblems do."""

    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("/newOrder"):
            answer.say(error("compound", "several", *parts), 403)

    server.change = change
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name(), fresh_name()))
    assert isinstance(outcome, kind), outcome
    assert isinstance(outcome, Rejected | Unavailable)
    assert parts[-1]["detail"] in outcome.reason
    if isinstance(outcome, Unavailable):
        assert (outcome.retry_after, outcome.everywhere) == ((600, True) if BUSY not in parts else (None, False))


@pytest.mark.parametrize("parts", [[], "text", [5, None], [{"detail": "no"}]], ids=str)
def test_a_compound_problem_without_usable_parts_is_asked_again(server: AcmeServer, parts: Any) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("/newOrder"):
            answer.say({**error("compound", "several"), "subproblems": parts}, 403)

    server.change = change
    assert isinstance(connect(server, MemorySolver()).submit(request_for(fresh_name())), Unavailable)


@pytest.mark.parametrize(
    ("parts", "wait"),
    [([PASSING], (600, True)), ([BUSY], (None, True)), ([PASSING, BUSY], (600, True)), ([PASSING, LASTING], None)],
    ids=str,
)
def test_an_order_that_failed_for_several_reasons_gets_a_new_one_if_all_of_them_pass(
    server: AcmeServer, parts: list[dict[str, Any]], wait: tuple[float | None, bool] | None
) -> None:
    server.change = failed_orders(error("compound", "several", *parts), "order")
    connector, request = connect(server, MemorySolver()), request_for(fresh_name())
    outcome = follow(connector, request)
    if wait is None:
        assert isinstance(outcome, Rejected), outcome
        return
    assert isinstance(outcome, Unavailable), outcome
    assert (outcome.retry_after, outcome.restart) == wait
    late = follow(connect(server, MemorySolver()), replace(request_for(fresh_name()), lost_orders=4))
    assert isinstance(late, Rejected)
