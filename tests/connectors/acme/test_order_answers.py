"""What a server may answer in the middle of an order. The server is the tests' own, unless a test says pebble."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.acme.patience import LONGEST_WAIT
from certrelay.connectors.base import Issued, Outcome, Pending, Rejected, Unavailable
from tests.connectors.acme.acme_proxy import Answer
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver, Request, failed_orders
from tests.connectors.acme.clients import TestClock, connect, follow
from tests.connectors.acme.ordering import fresh_name, request_for


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as running:
        yield running


def test_a_finalize_url_that_only_the_new_order_has_is_remembered(server: AcmeServer) -> None:
    """Posh-ACME#510, django-ca 3.2.0."""

    def hide(request: Request, answer: Answer) -> None:
        if "/order/" in request.target:
            answer.say({name: value for name, value in answer.document.items() if name != "finalize"})

    server.change = hide
    request = request_for(fresh_name())
    outcome = connect(server, MemorySolver()).submit(request)
    while isinstance(outcome, Pending):  # with a new connector each time, as after a restart
        outcome = connect(server, MemorySolver()).collect(request, outcome.reference)
    assert isinstance(outcome, Issued), outcome


def test_a_new_order_without_a_body_is_an_order(server: AcmeServer) -> None:
    def empty(request: Request, answer: Answer) -> None:
        if request.target.endswith("/newOrder"):
            answer.body = b""

    server.change = empty
    assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name())), Issued)


def failing(code: str, detail: str, member: str = "challenge") -> Any:
    return failed_orders({"type": f"urn:ietf:params:acme:error:{code}", "detail": detail}, member)


PASSING = [
    ("dns", "DNS problem: SERVFAIL looking up CAA for example.com"),
    ("dns", "DNS problem: query timed out looking up TXT for _acme-challenge.example.com"),
    ("caa", "Rechecking CAA: While processing CAA for example.com: DNS problem: SERVFAIL looking up CAA"),
    ("connection", "the name server closed the connection"),
    ("unauthorized", "During secondary validation: Incorrect TXT record found at _acme-challenge.example.com"),
]
LASTING = [
    ("caa", "CAA record for example.com prevents issuance"),
    ("caa", "CAA records forbid the CA from issuing a certificate"),
    ("unauthorized", "Incorrect TXT record found at _acme-challenge.example.com"),
    ("rejectedIdentifier", "policy forbids issuing for name"),
]


@pytest.mark.parametrize("member", ["challenge", "order"])
@pytest.mark.parametrize(("code", "detail"), PASSING, ids=str)
def test_a_failed_look_up_of_the_server_gets_two_new_orders_slowly(
    server: AcmeServer, code: str, detail: str, member: str
) -> None:
    """acme.sh#5142. Let's Encrypt allows five failures an hour for a name."""
    server.change = failing(code, detail, member)
    outcomes = [
        follow(connect(server, MemorySolver()), replace(request_for(fresh_name()), lost_orders=n)) for n in range(3)
    ]
    assert [_waits(outcome) for outcome in outcomes] == [(600, True), (3600, True), None]
    assert isinstance(outcomes[2], Rejected)
    assert all(detail.split(":", maxsplit=1)[0] in str(outcome) for outcome in outcomes)


def _waits(outcome: Outcome) -> tuple[float | None, bool] | None:
    return (outcome.retry_after, outcome.restart) if isinstance(outcome, Unavailable) else None


@pytest.mark.parametrize("member", ["challenge", "order"])
@pytest.mark.parametrize(("code", "detail"), LASTING, ids=str)
def test_a_verdict_of_the_server_is_final(server: AcmeServer, code: str, detail: str, member: str) -> None:
    server.change = failing(code, detail, member)
    assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name())), Rejected)


@pytest.mark.parametrize(("code", "detail"), PASSING, ids=str)
def test_a_failed_look_up_at_finalize_gets_a_new_order(server: AcmeServer, code: str, detail: str) -> None:
    """Boulder answers it to finalize, and the order is invalid without an error of its own."""
    failed: list[str] = []

    def change(request: Request, answer: Answer) -> None:
        if "/finalize/" in request.target:
            failed.append(request.target)
            answer.refuse(code, 403, detail)
        if "/order/" in request.target and failed:
            answer.say({**answer.document, "status": "invalid"})

    server.change = change
    outcome = follow(connect(server, MemorySolver()), request_for(fresh_name()))
    assert _waits(outcome) == (600, True), outcome


def test_new_orders_that_cannot_be_placed_for_a_failed_look_up_are_placed_slowly(server: AcmeServer) -> None:
    server.refuse("newOrder", "caa", 403, "SERVFAIL looking up CAA")
    assert _waits(connect(server, MemorySolver()).submit(request_for(fresh_name()))) == (600, False)


TERMS, SITE = "https://ca.example/terms/v8", "https://ca.example/agree?account=7"


def test_the_pages_that_a_person_has_to_visit_are_told(server: AcmeServer) -> None:
    """RFC 8555, section 7.3.3."""

    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("/newOrder"):
            answer.refuse("userActionRequired", 403, "Terms of service have changed. " * 60)
            answer.say({**answer.document, "instance": SITE})
            answer.headers["Link"] = f'<{TERMS}>; rel="terms-of-service", <https://x>; rel="index"'

    server.change = change
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert isinstance(outcome, Rejected)
    assert TERMS in outcome.reason
    assert SITE in outcome.reason
    assert len(outcome.reason) <= 1000


@pytest.mark.parametrize(
    "instance", [None, 5, "/relative", "javascript:alert(1)", "https://x/\n\x1b[31m", "https://" + "y" * 900]
)
def test_an_instance_that_is_no_url_is_left_out(server: AcmeServer, instance: Any) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("/newOrder"):
            answer.refuse("userActionRequired", 403, "agree first")
            answer.say({**answer.document, "instance": instance})

    server.change = change
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert outcome == Rejected("the server refused: agree first (userActionRequired)")


def test_a_paused_account_is_told_where_to_lift_the_pause_and_not_tried_again(server: AcmeServer) -> None:
    """Let's Encrypt; its URL holds a token of several hundred characters."""
    url = "https://unpause.ca.example/sfe/v1/unpause?jwt=" + "x" * 500
    detail = f"Your account is temporarily prevented from requesting certificates for example.com. Please visit: {url}"
    server.refuse("newOrder", "rateLimited", 429, detail)
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert isinstance(outcome, Rejected)
    assert url in outcome.reason
    server.refuse("newOrder", "rateLimited", 429, "too many certificates already issued")
    assert isinstance(connect(server, MemorySolver()).submit(request_for(fresh_name())), Unavailable)


def test_a_server_that_asks_to_wait_for_a_day_is_asked_every_hour(server: AcmeServer) -> None:
    """ZeroSSL does, and the order is done long before; an operation has a day in all."""

    def change(request: Request, answer: Answer) -> None:
        if "/order/" in request.target:
            answer.say({**answer.document, "status": "processing"})
            answer.headers["Retry-After"] = "86400"

    server.change = change
    outcome = follow(connect(server, MemorySolver()), request_for(fresh_name()))
    assert isinstance(outcome, Pending)
    assert outcome.retry_after == LONGEST_WAIT == 3600


def answered_with(server: AcmeServer, resource: str, **members: Any) -> None:
    """Let every answer to a resource have these members from now on."""

    def change(request: Request, answer: Answer) -> None:
        if f"/{resource}/" in request.target:
            answer.say({**answer.document, **members})

    server.change = change


@pytest.mark.parametrize("status", ["deactivated", "expired", "revoked", "invalid"])
def test_an_order_whose_authorization_is_dead_begins_anew_though_the_server_calls_it_pending(
    server: AcmeServer, status: str
) -> None:
    answered_with(server, "authorization", status=status)
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert isinstance(outcome, Pending)
    outcome = connect(server, MemorySolver()).collect(request_for(fresh_name()), outcome.reference)
    assert outcome == Unavailable("the order or an authorization expired, or failed without a reason", restart=True)


def test_an_authorization_that_failed_decides_before_the_order_says_so(server: AcmeServer) -> None:
    error = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "no such record"}
    answered_with(server, "authorization", status="invalid", challenges=[{"type": "dns-01", "url": "x", "token": "t",
                  "status": "invalid", "error": error}])  # fmt: skip
    name = fresh_name()
    outcome = follow(connect(server, MemorySolver()), request_for(name))
    assert outcome == Rejected(f"the order failed: {name}: no such record (unauthorized)")


def test_an_order_that_lasts_is_asked_about_at_a_tenth_of_its_age(server: AcmeServer) -> None:
    def change(request: Request, answer: Answer) -> None:
        is_order = "/order/" in request.target or "/finalize/" in request.target
        if is_order and server.orders[0].certificate:
            answer.say({**answer.document, "status": "processing"})

    server.change = change
    clock, waits = TestClock(), []
    connector, request = connect(server, MemorySolver(), clock), request_for(fresh_name())
    outcome = connector.submit(request)
    for seconds in (0, 0, 10, 90, 900, 9000):
        clock.advance(seconds=seconds)
        assert isinstance(outcome, Pending), outcome
        outcome = connector.collect(request, outcome.reference)
        assert isinstance(outcome, Pending), outcome
        waits.append(outcome.retry_after)
    assert waits == [2, 2, 2, 10, 100, 300]


@pytest.mark.parametrize("status", ["valid", "processing"])
def test_an_order_with_nothing_left_to_answer_that_stays_pending_is_asked_about_at_a_tenth_of_its_age(
    server: AcmeServer, status: str
) -> None:
    """Its authorizations were valid before, or are validated for another order; Actalis leaves some so for ever."""

    def change(request: Request, answer: Answer) -> None:
        if "/order/" in request.target or request.target.endswith("/newOrder"):
            answer.say({**answer.document, "status": "pending"})
        if "/authorization/" in request.target:
            [challenge] = answer.document["challenges"]
            authorization = "valid" if status == "valid" else "pending"
            answer.say({**answer.document, "status": authorization, "challenges": [{**challenge, "status": status}]})

    server.change = change
    clock, waits, request = TestClock(), [], request_for(fresh_name())
    outcome = connect(server, MemorySolver(), clock).submit(request)
    for seconds in (0, 10, 90, 900, 9000):  # with a new connector each time, as after a restart
        clock.advance(seconds=seconds)
        assert isinstance(outcome, Pending), outcome
        outcome = connect(server, MemorySolver(), clock).collect(request, outcome.reference)
        assert isinstance(outcome, Pending), outcome
        waits.append(outcome.retry_after)
    assert waits == [2, 2, 10, 100, 300]


def test_an_order_whose_answer_to_finalize_was_lost_is_asked_about_at_a_tenth_of_its_age(server: AcmeServer) -> None:
    """What the call that sent it knew is lost as well."""
    answered_with(server, "order", status="processing")
    clock, waits, request = TestClock(), [], request_for(fresh_name())
    outcome = connect(server, MemorySolver(), clock).submit(request)
    for seconds in (10, 990, 9000):
        clock.advance(seconds=seconds)
        assert isinstance(outcome, Pending), outcome
        outcome = connect(server, MemorySolver(), clock).collect(request, outcome.reference)
        assert isinstance(outcome, Pending), outcome
        waits.append(outcome.retry_after)
    assert waits == [2, 100, 300]


@pytest.mark.parametrize("resource", ["newOrder", "newAccount"])
def test_a_relative_location_is_of_the_server_that_gives_it(server: AcmeServer, resource: str) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith(resource):
            answer.headers["Location"] = answer.headers["Location"].removeprefix(server.origin)

    server.change = change
    assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name())), Issued)
    assert server.count("newOrder") == 1


def test_relative_urls_in_documents_are_of_the_server_that_writes_them(server: AcmeServer) -> None:
    def change(_: Request, answer: Answer) -> None:
        answer.body = answer.body.replace(server.origin.encode(), b"")

    server.change = change
    connector = connect(server, MemorySolver())
    outcome = follow(connector, request_for(fresh_name()))
    assert isinstance(outcome, Issued)
    leaf = x509.load_pem_x509_certificates(outcome.answer)[0].public_bytes(Encoding.DER)
    server.renewal_info = lambda _: {
        "suggestedWindow": {"start": "2027-01-10T00:00:00Z", "end": "2027-01-12T00:00:00Z"}
    }
    assert connector.renewal_window(leaf)
    assert server.count("newOrder") == server.count("newAccount") == 1


@pytest.mark.parametrize("url", ["https://evil.example/order/1", "http://[::1", "//evil.example/1"])
def test_an_order_at_another_origin_is_placed_once_and_the_reason_says_where(server: AcmeServer, url: str) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("newOrder"):
            answer.headers["Location"] = url

    server.change = change
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert isinstance(outcome, Rejected)
    assert url.removeprefix("https:") in outcome.reason
    assert "correct the url" in outcome.reason


def test_the_url_of_an_order_that_is_too_long_is_not_called_a_matter_of_names(server: AcmeServer) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("newOrder"):
            answer.headers["Location"] += "x" * 50_000

    server.change = change
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert outcome == Rejected("the URL that the server gave the order is too long")


def test_a_name_in_capital_letters_is_the_name_that_was_asked_for(server: AcmeServer) -> None:
    name = fresh_name()
    answered_with(server, "authorization", identifier={"type": "dns", "value": name.upper()})
    assert isinstance(follow(connect(server, MemorySolver()), request_for(name)), Issued)


def test_an_order_that_the_answer_to_finalize_calls_valid_is_not_asked_about_again(server: AcmeServer) -> None:
    asked: list[str] = []

    def note(request: Request, _answer: Answer) -> None:
        asked.append(request.target)

    server.change = note
    assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name())), Issued)
    finalized = next(index for index, target in enumerate(asked) if "/finalize/" in target)
    assert not any("/order/" in target for target in asked[finalized:])
