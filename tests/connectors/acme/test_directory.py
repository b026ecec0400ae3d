"""The directory (RFC 8555, section 7.1.1): its URL, and that it may change. The server is the tests' own."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Issued, Pending, Unavailable
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver
from tests.connectors.acme.clients import TestClock, connect, follow
from tests.connectors.acme.ordering import fresh_name, pem_of, request_for

TARGETS = ["/", "/v2/DV90", "/v2/DV90/", "/directory?action=renew&orderId=7", "/directory/?a=%2F"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_directory_is_asked_for_at_exactly_the_url_of_the_settings(target: str) -> None:
    with AcmeServer(target) as server:
        assert isinstance(follow(connect(server, MemorySolver()), request_for(fresh_name())), Issued)
        assert server.requests[0].target == target


@pytest.mark.parametrize("url", ["https://user@ca.example/x", "https://ca.example/x#y", "http://ca.example/x", "x"])
def test_a_directory_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        AcmeSettings(url=url, account_key_pem=pem_of("account"))


def test_urls_that_moved_are_found_in_the_directory_after_a_404() -> None:
    with AcmeServer() as server:
        connector = connect(server, MemorySolver())
        assert isinstance(follow(connector, request_for(fresh_name())), Issued)
        server.prefix = "/acme/v3"
        assert isinstance(follow(connector, request_for(fresh_name())), Issued)
        assert server.count("directory") == 2


def test_urls_that_moved_are_found_also_by_the_health_check_and_by_renewal_info() -> None:
    with AcmeServer() as server:
        clock, solver = TestClock(), MemorySolver()
        connector, request = connect(server, solver, clock), request_for(fresh_name())
        issued = follow(connector, request)
        assert isinstance(issued, Issued)
        server.prefix = "/moved"
        connector.check()
        server.prefix = "/moved/again"
        clock.advance(minutes=2)
        server.renewal_info = lambda _: _window(clock)
        assert connector.renewal_window(_leaf(issued)) is not None


def test_a_404_that_the_directory_cannot_explain_makes_it_be_read_once_a_minute() -> None:
    with AcmeServer() as server:
        clock = TestClock()
        connector, request = connect(server, MemorySolver(), clock), request_for(fresh_name())
        issued = follow(connector, request)
        assert isinstance(issued, Issued)
        for _ in range(5):
            with pytest.raises(Exception, match="no such certificate"):
                connector.renewal_window(_leaf(issued))
        assert server.count("directory") == 2
        clock.advance(seconds=61)
        with pytest.raises(Exception, match="no such certificate"):
            connector.renewal_window(_leaf(issued))
        assert server.count("directory") == 3


def test_an_order_outlives_that_its_urls_moved_just_after_the_directory_was_read() -> None:
    """The server answers 404 for certificates of others, after which the directory is not read for a minute."""
    with AcmeServer() as server:
        clock, request = TestClock(), request_for(fresh_name())
        connector = connect(server, MemorySolver(), clock)
        issued = follow(connector, request)
        assert isinstance(issued, Issued)
        with pytest.raises(Exception, match="no such certificate"):
            connector.renewal_window(_leaf(issued))
        server.prefix = "/moved"
        assert connector.submit(request) == Unavailable("there is no such page (malformed)")
        clock.advance(seconds=61)
        assert isinstance(follow(connector, request), Issued)


def test_the_directory_is_read_again_every_day_and_an_old_one_serves_while_it_cannot_be_read() -> None:
    with AcmeServer() as server:
        clock = TestClock()
        connector = connect(server, MemorySolver(), clock)
        connector.check()
        clock.advance(hours=23)
        connector.check()
        assert server.count("directory") == 1
        clock.advance(hours=2)
        server.refuse("directory", "serverInternal", 500)
        connector.check()
        assert server.count("directory") == 2, "and the old one serves"
        server.change = lambda request, answer: None
        clock.advance(minutes=2)
        assert isinstance(connector.submit(request_for(fresh_name())), Pending)
        assert server.count("directory") == 3


def _leaf(issued: Issued) -> bytes:
    return x509.load_pem_x509_certificates(issued.answer)[0].public_bytes(Encoding.DER)


def _window(clock: TestClock) -> object:
    start = clock.now() + timedelta(days=30)
    return {"suggestedWindow": {"start": start.isoformat(), "end": (start + timedelta(days=2)).isoformat()}}
