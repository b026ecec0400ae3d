"""`acme` with challenge records in a real name server: BIND, changed over RFC 2136, asked by pebble and by us."""

import time
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.query
import pytest
from pydantic import SecretStr, ValidationError

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns.rfc2136 import Rfc2136
from certrelay.connectors.acme.dns.settings import Rfc2136Dns, host_port
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Issued, Outcome, Rejected, Unavailable
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.dns.bind import KEY_NAME, KEY_SECRET, Bind
from tests.connectors.acme.ordering import follow, pem_of
from tests.connectors.acme.pebble import Pebble
from tests.connectors.conformance import context
from tests.connectors.hostile import closed_port_url
from tests.connectors.signing_requests import private_key, signing_request


@pytest.fixture(scope="module")
def pebble(bind: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), bind.port) as running:
        yield running


def settings(bind: Bind, **changes: Any) -> dict[str, Any]:
    return {
        "provider": "rfc2136",
        "server": bind.address,
        "key_name": KEY_NAME,
        "key_secret": KEY_SECRET,
        "resolvers": [bind.address],
        "name_servers": [bind.address],
        **changes,
    }


def texts(bind: Bind, name: str) -> list[str]:
    answer = dns.query.udp(dns.message.make_query(name, "TXT"), "127.0.0.1", 3, bind.port)
    return sorted(record.to_text().strip('"') for rrset in answer.answer for record in rrset if rrset.rdtype == 16)


def order(pebble: Pebble, dns_settings: dict[str, Any], *names: str) -> Outcome:
    account: dict[str, Any] = {"account_key_pem": pem_of("account"), "ca_certificates": pebble.tls_roots}
    connector = Acme(AcmeSettings(url=pebble.directory, dns=dns_settings, **account), context("acme"))  # type: ignore[arg-type]
    return follow(connector, signing_request(SubjectNames(names[0], names), private_key()))


def test_a_wildcard_and_its_apex_are_proven_by_two_values_at_one_name(bind: Bind, pebble: Pebble) -> None:
    outcome = order(pebble, settings(bind), "two.example.com", "*.two.example.com")
    assert isinstance(outcome, Issued)
    assert texts(bind, "_acme-challenge.two.example.com") == []


def test_an_aliased_challenge_name_is_answered_where_the_alias_leads(bind: Bind, pebble: Pebble) -> None:
    outcome = order(pebble, settings(bind), "alias.example.com")
    assert isinstance(outcome, Issued)
    assert texts(bind, "alias.challenges.example.org") == []


def test_values_of_others_are_left_alone(bind: Bind) -> None:
    solver, name = Rfc2136(Rfc2136Dns.model_validate(settings(bind))), "_acme-challenge.shared.example.com"
    for value in ("mine", "theirs", "mine"):
        solver.publish(name, value)
    assert texts(bind, name) == ["mine", "theirs"]
    solver.remove(name, "mine")
    solver.remove(name, "mine")
    assert texts(bind, name) == ["theirs"]
    assert solver.is_visible(name, "theirs")
    assert not solver.is_visible(name, "mine")


def test_an_alias_is_followed_for_setting_looking_and_removing(bind: Bind) -> None:
    solver, name = Rfc2136(Rfc2136Dns.model_validate(settings(bind))), "_acme-challenge.alias.example.com"
    solver.publish(name, "value")
    assert texts(bind, "alias.challenges.example.org") == ["value"]
    assert solver.is_visible(name, "value")
    solver.remove(name, "value")
    assert texts(bind, "alias.challenges.example.org") == []


def test_the_alias_of_a_wildcard_is_none_of_a_challenge_name(bind: Bind, pebble: Pebble) -> None:
    """It leads hosts to a front door, in a zone of somebody else; a record at the name itself goes before it."""
    solver, name = Rfc2136(Rfc2136Dns.model_validate(settings(bind))), "_acme-challenge.www.hosts.example.com"
    solver.publish(name, "value")
    assert texts(bind, "front.challenges.example.org") == []
    assert texts(bind, name) == ["value"]
    solver.remove(name, "value")
    assert texts(bind, name) == []
    assert isinstance(order(pebble, settings(bind), "www.hosts.example.com"), Issued)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"key_secret": "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZyE="},
            "another secret for the key: correct key_secret",
        ),
        ({"key_name": "unknown-key"}, "the server does not know key_name with this key_algorithm"),
        ({"key_secret": "not base64!"}, "key_secret must be in base64"),
    ],
)
def test_a_wrong_key_makes_the_order_unavailable(
    bind: Bind, pebble: Pebble, changes: dict[str, str], what: str
) -> None:
    outcome = order(pebble, settings(bind, **changes), "refused.example.com")
    assert isinstance(outcome, Unavailable)
    assert what in outcome.reason
    assert changes.get("key_secret", KEY_SECRET) not in outcome.reason


def test_clocks_that_differ_are_told(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    solver, now = Rfc2136(Rfc2136Dns.model_validate(settings(bind))), time.time()
    monkeypatch.setattr("dns.message.time.time", lambda: now + 3600)
    with pytest.raises(DnsFailure, match=r"example\.com\. failed \(the clock of the server is wrong, or ours: "):
        solver.publish("_acme-challenge.clocks.example.com", "value")


def test_a_name_server_that_is_down_is_named(bind: Bind) -> None:
    port = closed_port_url().rpartition(":")[2].split("/")[0]
    down = settings(bind, server=f"127.0.0.1:{port}")
    with pytest.raises(DnsFailure, match=r"the DNS update of example\.com\. failed"):
        Rfc2136(Rfc2136Dns.model_validate(down)).publish("_acme-challenge.x.example.com", "value")


def test_without_a_solver_a_challenge_cannot_be_answered(pebble: Pebble) -> None:
    outcome = order(pebble, {"provider": "none"}, "nobody.example.com")
    assert isinstance(outcome, Unavailable | Rejected)
    assert "_acme-challenge.nobody.example.com" in outcome.reason


def test_addresses_have_a_port_where_one_is_given() -> None:
    assert host_port("192.0.2.1") == ("192.0.2.1", 53)
    assert host_port("192.0.2.1:5353") == ("192.0.2.1", 5353)
    assert host_port("2001:db8::1") == ("2001:db8::1", 53)
    assert host_port("[2001:db8::1]:5353") == ("2001:db8::1", 5353)
    for server in ("ns.example.com", "192.0.2.1:70000", "192.0.2.1:0", "[2001:db8::1]:65536"):
        with pytest.raises(ValidationError):
            Rfc2136Dns(provider="rfc2136", server=server, key_name="k", key_secret=SecretStr("s"))
