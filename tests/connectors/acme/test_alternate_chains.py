"""Alternate chains (RFC 8555, section 7.4.2) that pebble offers, and that a proxy before it refuses."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certrelay.connectors.acme.order import CHAIN_TRIES
from certrelay.connectors.base import Issued, Outcome, Pending
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer
from tests.connectors.acme.acme_server import MemorySolver
from tests.connectors.acme.clients import connect, follow
from tests.connectors.acme.ordering import fresh_name, request_for
from tests.connectors.acme.pebble import Pebble
from tests.connectors.answers import certificates
from tests.connectors.debian import CannotFetch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Two alternate roots; it asks no DNS."""
    folder = tmp_path_factory.mktemp("pebble")
    try:
        server = Pebble(folder, 9, PEBBLE_ALTERNATE_ROOTS="2", PEBBLE_VA_ALWAYS_VALID="1")
    except CannotFetch as reason:
        pytest.skip(f"pebble cannot be had: {reason}")
    with server:
        yield server


@pytest.fixture
def proxy(pebble: Pebble) -> Iterator[AcmeProxy]:
    with AcmeProxy(pebble) as running:
        yield running


def root_name(pebble: Pebble, number: int) -> str:
    [name] = pebble.roots()[number].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def order(proxy: AcmeProxy, root: str) -> Outcome:
    return follow(connect(proxy, MemorySolver(), preferred_chain=root), request_for(fresh_name()))


def refuse(status: int, *numbers: int) -> Callable[[Answer], None]:
    """Refuse these alternates."""

    def change(answer: Answer) -> None:
        if any(answer.path.endswith(f"/alternate/{number}") for number in numbers):
            answer.refuse("malformed" if status < 500 else "serverInternal", status)

    return change


def issuer_of(outcome: Outcome) -> x509.Name:
    assert isinstance(outcome, Issued), outcome
    return certificates(outcome.answer)[-1].issuer


@pytest.mark.parametrize("status", [404, 403, 410])
def test_after_an_alternate_that_is_refused_the_next_one_is_tried(
    pebble: Pebble, proxy: AcmeProxy, status: int
) -> None:
    """Let's Encrypt named alternates that it answered 404 for in September 2026 (acmez#54)."""
    proxy.change = refuse(status, 1)
    assert issuer_of(order(proxy, root_name(pebble, 2))) == pebble.roots()[2].subject


@pytest.mark.parametrize("status", [404, 403, 410])
def test_without_the_preferred_chain_the_first_one_is_taken(pebble: Pebble, proxy: AcmeProxy, status: int) -> None:
    proxy.change = refuse(status, 1, 2)
    assert issuer_of(order(proxy, root_name(pebble, 1))) == pebble.roots()[0].subject


def test_what_is_no_certificate_is_passed_over(pebble: Pebble, proxy: AcmeProxy) -> None:
    def garble(answer: Answer) -> None:
        if answer.path.endswith("/alternate/1"):
            answer.body = b"soon"

    proxy.change = garble
    assert issuer_of(order(proxy, root_name(pebble, 2))) == pebble.roots()[2].subject


def ask_until_the_end(proxy: AcmeProxy, root: str, after: Callable[[int], Any]) -> tuple[Outcome, int]:
    """The outcome, and how many waits of a minute the server was given."""
    request, waits = request_for(fresh_name()), 0
    outcome = order_of(proxy, root, request)
    while isinstance(outcome, Pending):
        assert outcome.retry_after == 60
        waits += 1
        after(waits)
        connector = connect(proxy, MemorySolver(), preferred_chain=root)
        outcome = follow(connector, request, connector.collect(request, outcome.reference))
    return outcome, waits


def order_of(proxy: AcmeProxy, root: str, request: Any) -> Outcome:
    return follow(connect(proxy, MemorySolver(), preferred_chain=root), request)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_alternate_that_cannot_be_answered_now_is_waited_for(pebble: Pebble, proxy: AcmeProxy, status: int) -> None:
    proxy.change = refuse(status, 1, 2)

    def recover(waits: int) -> None:
        if waits == CHAIN_TRIES - 1:
            proxy.change = lambda answer: None

    outcome, waits = ask_until_the_end(proxy, root_name(pebble, 2), recover)
    assert issuer_of(outcome) == pebble.roots()[2].subject
    assert waits == CHAIN_TRIES - 1


def test_an_alternate_that_can_never_be_answered_does_not_keep_the_certificate(
    pebble: Pebble, proxy: AcmeProxy
) -> None:
    proxy.change = refuse(503, 1, 2)
    outcome, waits = ask_until_the_end(proxy, root_name(pebble, 2), lambda waits: None)
    assert issuer_of(outcome) == pebble.roots()[0].subject
    assert waits == CHAIN_TRIES - 1
