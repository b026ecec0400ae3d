"""One ACME order when things go wrong: what the server, the DNS or a second worker may do in the middle of it."""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.acme import Acme, AcmeSettings
from connectors.base import ConnectorError, Issued, Pending, Unavailable
from tests.connectors.acme_proxy import AcmeProxy, Answer, shuffled
from tests.connectors.conformance import context
from tests.connectors.pebble import Pebble
from tests.connectors.test_acme import (
    TestSolver,
    dns,
    follow,
    pem_of,
    request_for,
    solver,
    start,
    with_a_record,
)

__all__ = ["dns", "solver", "start"]


@pytest.fixture(scope="module")
def pebble(dns: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), dns.port, PEBBLE_ALTERNATE_ROOTS="2") as running:
        yield running


@pytest.fixture
def proxy(pebble: Pebble) -> Iterator[AcmeProxy]:
    with AcmeProxy(pebble) as running:
        yield running


def acme(server: Pebble | AcmeProxy, solver: TestSolver, **settings: Any) -> Acme:
    defaults = {"url": server.directory, "ca_certificates": server.tls_roots, "account_key_pem": pem_of("account")}
    return Acme(AcmeSettings(**{**defaults, **settings}), context("acme"), solver)


def test_the_records_are_removed_by_a_cancel_while_the_server_is_down(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start()
    waiting = with_a_record(acme(server, solver), solver, request_for(fresh_name()))
    server.__exit__()
    with pytest.raises(ConnectorError):
        acme(server, solver).cancel(waiting.reference)
    assert solver.records == set()


def test_a_worker_that_publishes_what_another_one_needs_no_more_removes_it_again(
    pebble: Pebble, solver: TestSolver
) -> None:
    request, publish = request_for(fresh_name()), solver.publish
    outcome = acme(pebble, solver).submit(request)
    assert isinstance(outcome, Pending)
    noted = acme(pebble, solver).collect(request, outcome.reference)

    def publish_late(name: str, value: str) -> None:
        solver.publish = publish  # type: ignore[method-assign]
        assert isinstance(follow(acme(pebble, solver), request, noted), Issued)
        assert solver.records == set()
        publish(name, value)

    solver.publish = publish_late  # type: ignore[method-assign]
    assert isinstance(follow(acme(pebble, solver), request, noted), Issued)
    assert solver.records == set()


@pytest.mark.parametrize("seed", range(4))
def test_an_order_whose_lists_are_shuffled_is_issued(proxy: AcmeProxy, solver: TestSolver, seed: int) -> None:
    proxy.change = shuffled(random.Random(seed))
    request = request_for(name := fresh_name(), f"*.{name}", fresh_name(), fresh_name())
    assert isinstance(follow(acme(proxy, solver), request), Issued)
    assert solver.records == set()


def fresh_name() -> str:
    """A name that has no valid authorization yet."""
    return f"h{uuid.uuid4().hex[:10]}.example.com"


def once(path: str, change: Callable[[Answer], None], after: int = 0) -> Callable[[Answer], None]:
    """`change` for one answer to a path that holds `path`, after so many that are left as they are."""
    seen: list[str] = []

    def maybe(answer: Answer) -> None:
        if path in answer.path:
            seen.append(answer.path)
            if len(seen) == after + 1:
                change(answer)

    return maybe


@pytest.mark.parametrize("path", ["finalize-order", "chalZ"])
@pytest.mark.parametrize("code", ["malformed", "unauthorized", "orderNotReady", "serverInternal", "conflict"])
def test_a_step_that_was_taken_although_the_server_refused_it_is_taken_for_done(
    proxy: AcmeProxy, solver: TestSolver, code: str, path: str
) -> None:
    proxy.change = once(path, lambda answer: answer.refuse(code, 400))
    assert isinstance(follow(acme(proxy, solver), request_for(fresh_name())), Issued)


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
    outcome = connector.collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable), outcome
    assert outcome.restart
    assert solver.records == set()
