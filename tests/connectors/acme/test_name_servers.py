"""Name servers of a zone that do not answer, or not as they should. The servers are the tests' own, over UDP."""

from collections.abc import Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from certrelay.connectors.acme.dns import DnsFailure, SilentServers
from certrelay.connectors.acme.dns import lookup as lookup_module
from certrelay.connectors.acme.dns.lookup import Lookup
from certrelay.connectors.acme.dns.settings import LookedUp
from certrelay.connectors.acme.patience import SILENCE
from certrelay.connectors.base import Issued, Pending, Unavailable
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver
from tests.connectors.acme.clients import TestClock, connect, follow
from tests.connectors.acme.name_server import NameServer
from tests.connectors.acme.ordering import fresh_name, request_for

pytestmark = pytest.mark.slow

NAME, VALUE = "_acme-challenge.www.example.com", "digest"


@pytest.fixture
def resolver() -> Iterator[NameServer]:
    """Knows no alias."""
    with NameServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_module, "SECONDS", 0.4)


def look(resolver: NameServer, *servers: NameServer) -> bool:
    return lookup(resolver, *servers).is_visible(NAME, VALUE)


def lookup(resolver: NameServer, *servers: NameServer) -> Lookup:
    settings = LookedUp(resolvers=(resolver.address,), name_servers=tuple(server.address for server in servers))
    return Lookup(settings)


REFUSALS: list[dict[str, Any]] = [
    {"silent": True},
    {"rcode": dns.rcode.SERVFAIL},
    {"rcode": dns.rcode.REFUSED},
    {"rcode": dns.rcode.NOTIMP},
]


@pytest.mark.parametrize("dead", REFUSALS, ids=str)
def test_a_dead_name_server_is_named_when_the_others_give_the_record(resolver: NameServer, dead: Any) -> None:
    with NameServer(VALUE) as good, NameServer(**dead) as bad:
        for servers in ((good, bad), (bad, good), (bad, good, good)):
            with pytest.raises(SilentServers, match=r"name server 127\.0\.0\.1 did not answer"):
                look(resolver, *servers)


@pytest.mark.parametrize("dead", REFUSALS, ids=str)
def test_a_dead_name_server_does_not_hide_that_another_one_lacks_the_record(resolver: NameServer, dead: Any) -> None:
    with NameServer("another") as late, NameServer(VALUE) as good, NameServer(**dead) as bad:
        assert not look(resolver, bad, good, late)
        assert not look(resolver, bad, late)
    with NameServer(rcode=dns.rcode.NXDOMAIN) as empty, NameServer(**dead) as bad:
        assert not look(resolver, bad, empty)


def test_fewer_than_half_of_the_name_servers_are_no_quorum(resolver: NameServer) -> None:
    with NameServer(VALUE) as good, NameServer(silent=True) as first, NameServer(silent=True) as second:
        for servers in ((good, first, second), (first, second)):
            with pytest.raises(DnsFailure, match="did not answer") as caught:
                look(resolver, *servers)
            assert not isinstance(caught.value, SilentServers)


def test_a_silent_name_server_is_asked_once_a_minute(resolver: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order of a hundred names looks a hundred times."""
    now = [1000.0]
    monkeypatch.setattr(lookup_module, "monotonic", lambda: now[0])
    with NameServer(VALUE) as good, NameServer(silent=True) as bad:
        known = lookup(resolver, good, bad)
        for _ in range(5):
            with pytest.raises(SilentServers):
                known.is_visible(NAME, VALUE)
        assert (len(good.queries), len(bad.queries)) == (5, 2), "twice, since datagrams get lost"
        now[0] += 61
        bad.silent, bad.values = False, (VALUE,)
        assert known.is_visible(NAME, VALUE)


def test_a_silent_resolver_is_asked_last_for_a_minute(resolver: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name of an order takes some ten queries, and each would wait two seconds for it."""
    now = [1000.0]
    monkeypatch.setattr(lookup_module, "monotonic", lambda: now[0])
    with NameServer(silent=True) as dead:
        known = Lookup(LookedUp(resolvers=(dead.address, resolver.address)))
        for _ in range(5):
            assert str(known.target(NAME)) == f"{NAME}."
        assert (len(dead.queries), len(resolver.queries)) == (1, 5)
        now[0] += 61
        dead.silent = False
        assert str(known.target(NAME)) == f"{NAME}."
        assert (len(dead.queries), len(resolver.queries)) == (2, 5)


def test_a_silent_resolver_is_asked_all_the_same_where_no_other_answers() -> None:
    with NameServer(silent=True) as dead, NameServer(rcode=dns.rcode.REFUSED) as other:
        known = Lookup(LookedUp(resolvers=(dead.address, other.address)))
        for _ in range(2):
            with pytest.raises(DnsFailure, match="the resolvers did not answer"):
                known.target(NAME)
            assert dead.queries
            dead.queries.clear()


def test_resolvers_may_stand_in_for_name_servers_that_a_firewall_hides(resolver: NameServer) -> None:
    with NameServer(VALUE) as recursive:
        assert look(resolver, recursive)
        assert recursive.queries[0].flags & dns.flags.RD


class DeadServers(MemorySolver):
    def is_visible(self, name: str, value: str) -> bool:
        if super().is_visible(name, value):
            raise SilentServers("the name server 192.0.2.1 did not answer")
        return False


def test_an_order_waits_five_minutes_for_a_dead_name_server_and_then_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with AcmeServer() as server:
        clock, solver, request = TestClock(), DeadServers(), request_for(fresh_name())
        outcome, reference = connect(server, solver, clock).submit(request), ""
        while isinstance(outcome, Pending):
            reference = outcome.reference
            outcome = connect(server, solver, clock).collect(request, reference)
        assert outcome == Unavailable("the name server 192.0.2.1 did not answer", everywhere=True)
        clock.advance(seconds=SILENCE - 1)
        assert isinstance(connect(server, solver, clock).collect(request, reference), Unavailable)
        clock.advance(seconds=2)
        outcome = follow(connect(server, solver, clock), request, Pending(reference))
        assert isinstance(outcome, Issued)
        assert "192.0.2.1 did not answer; the order goes on without them" in caplog.text
        assert solver.records == set()
