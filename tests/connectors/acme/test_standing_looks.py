"""Looks at standing records (dns-persist-01) in a slow DNS: they end in time, and go on with the next call."""

import time
from typing import Any

import pytest

from certrelay.connectors.acme import order, publication
from certrelay.connectors.acme.standing_records import StandingRecords
from certrelay.connectors.base import Issued, Pending
from tests.connectors.acme.ordering import fresh_name, request_for
from tests.connectors.acme.pebble import TestDns
from tests.connectors.acme.persist_server import PersistServer
from tests.connectors.acme.persist_site import Site

NAMES = 15


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names whose record was looked up, each of which took a while."""
    names: list[str] = []
    look = StandingRecords._look

    def slow(self: StandingRecords, name: str, *arguments: Any) -> Any:
        names.append(name)
        time.sleep(0.02)
        return look(self, name, *arguments)

    monkeypatch.setattr(StandingRecords, "_look", slow)
    monkeypatch.setattr(order, "WORK_SECONDS", 0.05)
    monkeypatch.setattr(publication, "LOOK_SECONDS", 0.05)
    return names


def test_looks_do_not_hold_the_worker_and_the_next_call_goes_on(dns: TestDns, looked: list[str]) -> None:
    with PersistServer(dns.port) as server:
        site, names = Site(server, dns), [fresh_name() for _ in range(NAMES)]
        connector = site.connect()
        for name in names:
            site.publish(connector.standing_record(name))
        looked.clear()
        request, longest, begin = request_for(*names), 0.0, time.monotonic()
        outcome = connector.submit(request)
        for _ in range(100):
            longest = max(longest, time.monotonic() - begin)
            if not isinstance(outcome, Pending):
                break
            begin = time.monotonic()
            outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Issued), outcome
    assert sorted(looked) == sorted(names), "each is looked up once"
    assert longest < 0.02 * NAMES


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
        assert connector.standing_record(name).fault == ""
        before = len(looked)
        site.clock.advance(minutes=6)
        again = connector.submit(request)
        assert len(looked) == before + 1, "what was seen minutes ago is looked up anew"
        assert isinstance(again, Pending)
