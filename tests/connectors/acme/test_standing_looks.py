"""Looks at standing records (dns-persist-01) in a slow DNS: they end in time, and go on with the next call."""

import time
from typing import Any

import pytest

from certrelay.connectors.acme import order, publication
from certrelay.connectors.acme.standing_records import StandingRecords
from certrelay.connectors.base import Issued, Pending
from tests.connectors.acme.acme_server import MemorySolver
from tests.connectors.acme.ordering import fresh_name, request_for
from tests.connectors.acme.pebble import TestDns
from tests.connectors.acme.persist_server import PersistServer
from tests.connectors.acme.persist_site import Site

pytestmark = pytest.mark.slow

NAMES, SECONDS = 15, 0.02  # of an order; of a look


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names whose record was looked up, each of which took a while: five of them end a call."""
    names: list[str] = []
    look = StandingRecords._look

    def slow(self: StandingRecords, name: str, *arguments: Any) -> Any:
        names.append(name)
        time.sleep(SECONDS)
        return look(self, name, *arguments)

    monkeypatch.setattr(StandingRecords, "_look", slow)
    monkeypatch.setattr(order, "WORK_SECONDS", 2 * SECONDS)
    monkeypatch.setattr(publication, "LOOK_SECONDS", 3 * SECONDS)
    return names


@pytest.mark.parametrize("missing", [0, 4, NAMES], ids=["all-there", "some-missing", "all-missing"])
def test_looks_do_not_hold_the_worker_and_the_next_call_goes_on(dns: TestDns, looked: list[str], missing: int) -> None:
    """Names without a record are proved by dns-01; those that there was no time for are proved later."""
    with PersistServer(dns.port) as server:
        solver = MemorySolver()
        site, names = Site(server, dns, solver), [fresh_name() for _ in range(NAMES)]
        connector, request, calls = site.connect(), request_for(*names), [0]
        for name in names[missing:]:
            site.publish(connector.standing_record(name))
        looked.clear()
        outcome = connector.submit(request)
        while isinstance(outcome, Pending) and len(calls) < 300:
            site.clock.advance(seconds=outcome.retry_after)
            calls.append(len(looked))
            outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Issued), outcome
    assert sorted(looked) == sorted(names), "each is looked up once"
    assert max(after - before for before, after in zip(calls, [*calls[1:], len(looked)], strict=True)) <= 5
    assert solver.records == set()


def test_a_record_that_was_missing_is_looked_for_again(dns: TestDns, looked: list[str]) -> None:
    with PersistServer(dns.port) as server:
        site, name = Site(server, dns), fresh_name()
        connector, request = site.connect(), request_for(name)
        outcome = connector.submit(request)
        assert isinstance(outcome, Pending)
        connector.collect(request, outcome.reference)
        assert len(looked) > 1
        site.publish(connector.standing_record(name))
        while isinstance(outcome, Pending):
            outcome = connector.collect(request, outcome.reference)
        assert isinstance(outcome, Issued), outcome
