"""Documents of an ACME server that lack a member, or have odd ones: what they do say counts."""

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import Issued, Pending, Rejected, Unavailable
from certrelay.pki.contents import read_certificates
from tests.connectors.acme.acme_proxy import Answer
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver, Request, failed_orders
from tests.connectors.acme.clients import connect, follow
from tests.connectors.acme.ordering import fresh_name, request_for
from tests.pki import files
from tests.pki.builders import Authority, dns, ec_key


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as running:
        yield running


def placed(server: AcmeServer, **settings: Any) -> Any:
    return follow(connect(server, MemorySolver(), **settings), request_for(fresh_name()))


def broken_root() -> bytes:
    """A certificate that cannot be read, in PEM."""
    odd = Authority.root("Odd Root", extensions=[dns("odd.example")]).certificate
    return files.pem_block("CERTIFICATE", files.critical_false(odd, ec_key()))


def download(server: AcmeServer, change: Any) -> None:
    def changed(request: Request, answer: Answer) -> None:
        if "/certificate/" in request.target:
            change(answer)

    server.change = changed


@pytest.mark.parametrize("preferred", [None, "another root"])
def test_a_certificate_in_the_chain_that_cannot_be_read_does_not_keep_the_others(
    server: AcmeServer, preferred: str | None
) -> None:
    def change(answer: Answer) -> None:
        answer.body += broken_root()

    download(server, change)
    assert isinstance(placed(server, preferred_chain=preferred), Issued)


def test_a_chain_in_another_form_than_pem_is_taken(server: AcmeServer) -> None:
    """The verification reads it as it reads every answer."""

    def change(answer: Answer) -> None:
        chain = x509.load_pem_x509_certificates(answer.body)
        answer.body = files.pkcs7(*[one.public_bytes(Encoding.DER) for one in chain])
        answer.headers["Content-Type"] = "application/pkcs7-mime"

    download(server, change)
    outcome = placed(server)
    assert isinstance(outcome, Issued)
    assert len(read_certificates(outcome.answer).certificates) == 2


UNTYPED: list[dict[str, Any]] = [
    {"detail": "the name is on a list"},
    {"type": None, "detail": "the name is on a list"},
    {"detail": "the name is on a list", "subproblems": {"detail": "no list"}},
    {"detail": "the name is on a list", "subproblems": ["text", None, {"identifier": None, "detail": 5}]},
]


@pytest.mark.parametrize("member", ["order", "challenge"])
@pytest.mark.parametrize("error", UNTYPED, ids=range(len(UNTYPED)))
def test_a_problem_without_a_type_is_told_and_ends_the_order(server: AcmeServer, error: Any, member: str) -> None:
    """RFC 9457, section 3.1.1: it is `about:blank`. The order is invalid, and asking again changes nothing."""
    server.change = failed_orders(error, member)
    outcome = placed(server)
    assert isinstance(outcome, Rejected)
    assert "the name is on a list" in outcome.reason


def test_the_subproblems_of_an_order_are_told_by_their_names(server: AcmeServer) -> None:
    parts = [
        {
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "CAA forbids",
            "identifier": {"type": "dns", "value": "a"},
        },
        {"type": "urn:ietf:params:acme:error:dns", "identifier": None},
    ]
    kind = "urn:ietf:params:acme:error:compound"
    server.change = failed_orders({"type": kind, "detail": "several", "subproblems": parts}, "order")
    outcome = placed(server)
    assert isinstance(outcome, Rejected)
    assert "several; a: CAA forbids" in outcome.reason


@pytest.mark.parametrize(
    "persist", [{}, {"status": "pending"}, {"url": "x"}, {"url": 5, "issuer-domain-names": ["ca.example"]}]
)
def test_a_broken_challenge_of_another_type_does_not_keep_dns_01(server: AcmeServer, persist: dict[str, Any]) -> None:
    def change(request: Request, answer: Answer) -> None:
        if "/authorization/" in request.target:
            more = [{"type": "dns-persist-01", **persist}, {"status": "pending"}, "text"]
            answer.say({**answer.document, "challenges": [*more, *answer.document["challenges"]]})

    server.change = change
    assert isinstance(placed(server), Issued)


@pytest.mark.parametrize("lacking", ["token", "status", "url"])
def test_a_challenge_that_is_done_needs_no_more_members(server: AcmeServer, lacking: str) -> None:
    """DigiCert hides the details of a finished authorization. Here one of two is valid when the order is pending."""

    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("/0") and "/authorization/" in request.target:
            server.orders[-1].answered.add(0)
            [challenge] = answer.document["challenges"]
            done = {name: value for name, value in challenge.items() if name != lacking}
            answer.say({**answer.document, "status": "valid", "challenges": [done]})

    server.change = change
    assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name(), fresh_name())), Issued)


def test_an_authorization_that_is_valid_needs_no_challenges(server: AcmeServer) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith("/0") and "/authorization/" in request.target:
            server.orders[-1].answered.add(0)
            answer.say({"identifier": answer.document["identifier"], "status": "valid"})

    server.change = change
    assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name(), fresh_name())), Issued)


def test_an_order_whose_url_the_server_does_not_tell_is_not_placed_again(server: AcmeServer) -> None:
    def change(request: Request, answer: Answer) -> None:
        if "/newOrder" in request.target:
            del answer.headers["Location"]

    server.change = change
    outcome = placed(server)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("the server placed an order and did not say where (no Location)")


def test_orders_that_fail_without_a_reason_are_not_placed_for_ever(server: AcmeServer) -> None:
    def change(request: Request, answer: Answer) -> None:
        if "/order/" in request.target:
            answer.say(answer.document | {"status": "invalid"})

    connector = connect(server, MemorySolver())
    placed = connector.submit(request_for(fresh_name()))
    assert isinstance(placed, Pending)
    server.change = change
    reason = "the order or an authorization expired, or failed without a reason"
    lost = [connector.collect(request_for(fresh_name(), lost_orders=number), placed.reference) for number in range(5)]
    assert lost == [
        Unavailable(reason, restart=True),
        Unavailable(reason, 600.0, restart=True),
        *[Unavailable(reason, 3600.0, restart=True)] * 2,
        Rejected(f"5 orders failed one after the other: {reason}"),
    ]


def test_a_page_in_the_place_of_a_new_order_is_asked_for_again(server: AcmeServer) -> None:
    def change(request: Request, answer: Answer) -> None:
        if "/newOrder" in request.target:
            answer.body, answer.headers = b"<html>Back in five minutes</html>", {}

    server.change = change
    outcome = connect(server, MemorySolver()).submit(request_for(fresh_name()))
    assert outcome == Unavailable("it answered something other than a JSON object")


@pytest.mark.parametrize("resource", ["directory", "newOrder"])
def test_a_redirect_is_told_with_what_to_do(server: AcmeServer, resource: str) -> None:
    def change(request: Request, answer: Answer) -> None:
        if request.target.endswith(f"/{resource}"):
            answer.status, answer.headers["Location"] = 301, "https://elsewhere.example/directory?key=SECRET"

    server.change = change
    outcome = placed(server)
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == (
        "it answered HTTP 301, to https://elsewhere.example; "
        "redirects are not followed: correct the url in the settings"
    )
