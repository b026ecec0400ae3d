"""How many signed requests an order costs: with an account key in Key Vault each of them is a signature there."""

from collections import Counter
from collections.abc import Iterator

import pytest

from certrelay.connectors.acme import order
from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.base import Issued, Pending, Unavailable
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver, Request
from tests.connectors.acme.clients import TestClock, connect, follow
from tests.connectors.acme.ordering import TestSolver, acme, fresh_name, request_for

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as running:
        yield running


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be: a call then ends in the middle, and the next one reads again."""
    monkeypatch.setattr(order, "WORK_SECONDS", 3600.0)


def known(server: AcmeServer, solver: MemorySolver | None = None, clock: TestClock | None = None) -> Acme:
    """A connector that has asked for its account already, which each process does once."""
    connector = connect(server, solver or MemorySolver(), clock)
    connector.check()
    server.requests.clear()
    return connector


def signed(server: AcmeServer) -> list[str]:
    """The resources that signed requests went to, in their order."""
    return [request.target.split("/")[2] for request in server.requests if request.method == "POST"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_order_takes_four_signed_requests_and_two_for_each_name(server: AcmeServer, count: int) -> None:
    """What docs/connectors.md says."""
    request = request_for(*(fresh_name() for _ in range(count)))
    assert isinstance(follow(known(server), request), Issued)
    proofs = ["authorization"] * count + ["challenge"] * count
    assert signed(server) == ["newOrder", *proofs, "order", "finalize", "certificate"]


@pytest.mark.parametrize("count", [1, 5])
def test_an_order_whose_names_are_proved_takes_three_signed_requests(server: AcmeServer, count: int) -> None:
    def proved(request: Request, answer: Answer) -> None:
        if request.target.endswith("/newOrder"):
            server.orders[-1].answered.update(range(count))
            answer.say({**answer.document, "status": "ready"})

    connector = known(server)
    server.change = proved
    assert isinstance(follow(connector, request_for(*(fresh_name() for _ in range(count)))), Issued)
    assert signed(server) == ["newOrder", "finalize", "certificate"]


def test_only_the_first_nonce_is_asked_for(server: AcmeServer) -> None:
    connector = connect(server, MemorySolver())
    for _ in range(3):
        assert isinstance(follow(connector, request_for(fresh_name())), Issued)
    assert server.count("newNonce") == 1


def test_waiting_for_the_dns_costs_the_server_nothing_for_some_minutes(server: AcmeServer) -> None:
    solver, clock = MemorySolver(), TestClock()
    connector, request = known(server, solver, clock), request_for(fresh_name())
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(4):
        clock.advance(seconds=30)
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert signed(server) == ["newOrder", "authorization"]
    clock.advance(minutes=5)
    assert isinstance(outcome, Pending)
    outcome = connector.collect(request, outcome.reference)
    assert signed(server) == ["newOrder", "authorization", "order", "authorization"]
    del solver.is_visible
    assert isinstance(follow(connector, request, outcome), Issued)


def test_a_server_that_validates_slowly_is_asked_for_the_order_and_one_authorization_at_each_look(
    server: AcmeServer,
) -> None:
    def slow(request: Request, answer: Answer) -> None:
        if "/order/" in request.target:
            answer.say({**answer.document, "status": "pending"})
        if "/authorization/" in request.target:
            challenges = [{**one, "status": "processing"} for one in answer.document["challenges"]]
            answer.say({**answer.document, "status": "pending", "challenges": challenges})

    clock = TestClock()
    connector, request = known(server, clock=clock), request_for(fresh_name(), fresh_name(), fresh_name())
    outcome = connector.submit(request)
    server.change = slow
    assert isinstance(outcome, Pending)
    outcome = connector.collect(request, outcome.reference)
    for _ in range(3):
        server.requests.clear()
        clock.advance(seconds=10)
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
        assert signed(server) == ["order", "authorization"]


def test_whoever_takes_over_reads_what_the_server_says(server: AcmeServer) -> None:
    """What one process has seen is in its memory only: nothing is lost with it, and nothing is stale."""
    first, request = known(server), request_for(fresh_name())
    outcome = first.submit(request)
    other = known(server)
    assert isinstance(follow(other, request, outcome), Issued)
    assert signed(server) == ["order", "authorization", "challenge", "order", "finalize", "certificate"]
    assert isinstance(outcome, Pending)
    assert isinstance(first.collect(request, outcome.reference), Issued), "what it has seen is not true any more"


def test_what_was_seen_is_used_once(server: AcmeServer) -> None:
    """A step that failed is taken again with what the server says then."""
    connector, request = known(server), request_for(fresh_name())
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    server.refuse("", "serverInternal", 500)
    assert isinstance(connector.collect(request, outcome.reference), Unavailable)
    server.change = lambda request, answer: None
    server.requests.clear()
    assert isinstance(follow(connector, request, outcome), Issued)
    assert signed(server)[0] == "order", "an answer to the challenge may have been taken: the server says"


def test_pebble_is_asked_no_more_besides_the_looks_at_what_it_does_later(proxy: AcmeProxy, solver: TestSolver) -> None:
    """It validates and issues after its answers, so it may be looked at again; the machine decides how often."""
    paths: list[str] = []
    proxy.change = lambda answer: paths.append(answer.path.split("/")[1])
    connector = acme(proxy, solver)
    connector.check()
    paths.clear()
    assert isinstance(follow(connector, request_for(fresh_name(), fresh_name())), Issued)
    counts = Counter(paths)
    assert counts.pop("my-order") >= 1
    assert counts == {"order-plz": 1, "authZ": 2, "chalZ": 2, "finalize-order": 1, "certZ": 1}
