"""Where a challenge record must be seen: at the name servers that its own zone names, on port 53.

Port 53 is for root only; elsewhere these tests are skipped."""

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import pytest

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns import lookup as lookup_module
from certrelay.connectors.acme.dns.lookup import Lookup
from certrelay.connectors.acme.dns.settings import LookedUp
from tests.connectors.acme.dns.bind import Bind
from tests.connectors.acme.pebble import TestDns
from tests.connectors.debian import CannotFetch

pytestmark = pytest.mark.slow

NAME = "_acme-challenge.seen.example.com"
ALIAS = "_acme-challenge.alias.example.com"


@pytest.fixture
def addresses() -> list[str]:
    """Two of the loopback network that no other test run uses."""
    network = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
    found = [f"{network}.1", f"{network}.2"]
    for address in found:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 53))
            except OSError as error:
                pytest.skip(f"no name server can be run on port 53: {error}")
    return found


@pytest.fixture
def lookup(tmp_path: Path, addresses: list[str]) -> Iterator[Lookup]:
    """Asks BIND for the zones, which name both addresses as their name servers."""
    try:
        server = Bind(tmp_path, addresses)
    except CannotFetch as reason:
        pytest.skip(f"BIND cannot be had: {reason}")
    with server:
        yield Lookup(LookedUp(resolvers=(server.address,)))


def say(server: TestDns, name: str, value: str) -> None:
    server.tell("set-txt", host=f"{name}.", value=value)


def test_a_record_is_visible_only_when_all_name_servers_of_its_zone_have_it(
    lookup: Lookup, addresses: list[str]
) -> None:
    with TestDns(addresses[0], 53) as first, TestDns(addresses[1], 53) as second:
        assert not lookup.is_visible(NAME, "value")
        say(first, NAME, "value")
        assert not lookup.is_visible(NAME, "value"), "the second one has no copy yet"
        say(second, NAME, "another value")
        assert not lookup.is_visible(NAME, "value")
        say(second, NAME, "value")
        assert lookup.is_visible(NAME, "value")


def test_an_aliased_record_is_looked_for_at_the_name_servers_of_its_targets_zone(
    lookup: Lookup, addresses: list[str]
) -> None:
    with TestDns(addresses[0], 53) as first, TestDns(addresses[1], 53) as second:
        for server in (first, second):
            assert not lookup.is_visible(ALIAS, "value")
            say(server, "alias.challenges.example.org", "value")
        assert lookup.is_visible(ALIAS, "value")


def test_a_question_that_is_lost_on_its_way_is_asked_once_more() -> None:
    """An order of a hundred names asks hundreds, and each has to be answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def lose_one() -> None:
            server.recvfrom(4096)
            question, whence = server.recvfrom(4096)
            server.sendto(dns.message.make_response(dns.message.from_wire(question)).to_wire(), whence)

        thread = threading.Thread(target=lose_one, daemon=True)
        thread.start()
        assert not lookup_module._texts(server.getsockname(), dns.name.from_text(NAME))
        thread.join(5)


def test_a_name_server_of_the_zone_that_does_not_answer_is_named(
    lookup: Lookup, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup_module, "SECONDS", 2)
    with TestDns(addresses[0], 53) as first:
        say(first, NAME, "value")
        with pytest.raises(DnsFailure, match=f"the name server {addresses[1]} did not answer"):
            lookup.is_visible(NAME, "value")
