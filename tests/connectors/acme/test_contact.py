"""The contacts of the account (RFC 8555, section 7.3.2). The server is the tests' own, unless a test says pebble."""

from collections.abc import Iterator
from typing import Any

import pytest

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Context, Pending
from certrelay.errors import NotReady
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver
from tests.connectors.acme.clients import TestClock
from tests.connectors.acme.ordering import TestSolver, acme, fresh_name, pem_of, request_for
from tests.connectors.acme.pebble import Pebble


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as running:
        yield running


@pytest.fixture
def memory() -> dict[str, str]:
    """What outlives a restart."""
    return {}


def test_pebble_has_the_changed_contact(pebble: Pebble, solver: TestSolver) -> None:
    settings = {"account_key_pem": pem_of("owner of contacts")}
    acme(pebble, solver, contact=["old@example.com"], **settings).check()
    connector = acme(pebble, solver, contact=["new@example.com"], **settings)
    connector.check()
    session = connector._session()
    url = session._account.url()
    assert session._client.post(url, None, url).json()["contact"] == ["mailto:new@example.com"]


def restart(server: AcmeServer, memory: Any, *contact: str, **settings: Any) -> Acme:
    """A new connector that has placed an order."""
    found = AcmeSettings(url=server.directory, account_key_pem=pem_of("account"), contact=contact, **settings)
    context = Context("acme", TestClock().now, lambda: None, memory=memory)
    connector = Acme(found, context, MemorySolver())
    assert isinstance(connector.submit(request_for(fresh_name())), Pending)
    return connector


def contacts(server: AcmeServer) -> list[str]:
    [found] = server.accounts.values()
    return found


def updates(server: AcmeServer) -> int:
    return sum(bool(one.payload) for one in server.requests if one.target.startswith("/acme/account/"))


def test_a_changed_contact_is_sent_to_the_account_once(server: AcmeServer, memory: dict[str, str]) -> None:
    """Posh-ACME#443."""
    for _ in range(2):
        restart(server, memory, "old@example.com")
    assert (contacts(server), updates(server)) == (["mailto:old@example.com"], 0)
    for _ in range(3):
        restart(server, memory, "new@example.com", "second@example.com")
    assert contacts(server) == ["mailto:new@example.com", "mailto:second@example.com"]
    assert updates(server) == 1


def test_contacts_that_were_taken_out_of_the_settings_are_removed(server: AcmeServer, memory: dict[str, str]) -> None:
    restart(server, memory, "old@example.com")
    for _ in range(2):
        restart(server, memory)
    assert (contacts(server), updates(server)) == ([], 1)


def test_an_account_that_was_made_elsewhere_gets_the_contacts_once_and_keeps_its_own_without_any(
    server: AcmeServer, memory: dict[str, str]
) -> None:
    restart(server, {}, "elsewhere@example.com")
    restart(server, memory)
    assert (contacts(server), updates(server)) == (["mailto:elsewhere@example.com"], 0)
    for _ in range(2):
        restart(server, memory, "ours@example.com")
    assert (contacts(server), updates(server)) == (["mailto:ours@example.com"], 1)


def test_a_health_check_sends_a_changed_contact_as_well(server: AcmeServer, memory: dict[str, str]) -> None:
    restart(server, memory, "old@example.com")
    found = AcmeSettings(url=server.directory, account_key_pem=pem_of("account"), contact=("new@example.com",))
    connector = Acme(found, Context("acme", TestClock().now, lambda: None, memory=memory), MemorySolver())
    for _ in range(2):
        connector.check()
    assert (contacts(server), updates(server)) == (["mailto:new@example.com"], 1)


def test_a_contact_that_the_server_refuses_fails_no_order_and_is_not_sent_again(
    server: AcmeServer, memory: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """EJBCA refuses updates while external accounts are bound."""
    restart(server, memory, "old@example.com")
    server.refuse("account/", "invalidContact", 400, "no mail for new@example.com")
    for _ in range(3):
        restart(server, memory, "new@example.com")
    assert updates(server) == 1
    assert "the server refused the new contacts: no mail for new@example.com" in caplog.text


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_contact_that_cannot_be_sent_now_fails_no_order_and_is_sent_by_the_next_process(
    server: AcmeServer, memory: dict[str, str], status: int
) -> None:
    restart(server, memory, "old@example.com")
    server.refuse("account/", "serverInternal", status)
    restart(server, memory, "new@example.com")
    server.change = lambda request, answer: None
    restart(server, memory, "new@example.com")
    assert (contacts(server), updates(server)) == (["mailto:new@example.com"], 2)


def test_a_memory_that_cannot_be_used_fails_no_order(server: AcmeServer) -> None:
    class Broken:
        def get(self, key: str, default: str, /) -> str:
            raise NotReady("storage is down")

        def __setitem__(self, key: str, value: str, /) -> None:
            raise NotReady("storage is down")

    for _ in range(2):
        restart(server, Broken(), "a@example.com")
    assert updates(server) == 0, "nobody knows whether it changed"
    assert contacts(server) == ["mailto:a@example.com"]


def test_what_is_remembered_tells_no_address(server: AcmeServer, memory: dict[str, str]) -> None:
    restart(server, memory, "secret@example.com")
    assert memory.keys() == {"acme-contact", "acme-account"}
    assert "secret" not in str(memory)
