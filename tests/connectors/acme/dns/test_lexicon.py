"""`acme` with challenge records by dns-lexicon in a real PowerDNS, which pebble asks."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import requests
from lexicon._private.discovery import find_providers
from lexicon._private.providers import namecom, namesilo
from pydantic import ValidationError

from certrelay import settings as app_settings
from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.dns import DnsFailure, Solver
from certrelay.connectors.acme.dns import lexicon as by_lexicon
from certrelay.connectors.acme.dns.settings import LexiconDns
from certrelay.connectors.acme.session import make_solver
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Issued, Outcome, Unavailable
from certrelay.errors import SettingsError
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.dns.powerdns import API_KEY, ZONE, PowerDns
from tests.connectors.acme.ordering import follow, pem_of
from tests.connectors.acme.pebble import Pebble
from tests.connectors.aws_pca.moto import Moto
from tests.connectors.conformance import context
from tests.connectors.debian import CannotFetch
from tests.connectors.hostile import closed_port_url
from tests.connectors.signing_requests import private_key, signing_request

CHALLENGE = f"_acme-challenge.www.{ZONE}"


@pytest.fixture(scope="module")
def powerdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    try:
        server = PowerDns(tmp_path_factory.mktemp("powerdns"))
    except CannotFetch as reason:
        pytest.skip(f"PowerDNS cannot be had: {reason}")
    with server:
        yield server


@pytest.fixture(scope="module")
def pebble(powerdns: PowerDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), powerdns.port) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_public_suffix_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone is asked of the DNS; nothing may be fetched from elsewhere."""
    send = requests.Session.send

    def only_here(session: requests.Session, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        assert str(request.url).startswith(("http://127.0.0.1:", "https://127.0.0.1:", "https://localhost")), (
            request.url
        )
        return send(session, request, **given)

    monkeypatch.setattr(requests.Session, "send", only_here)


def settings(powerdns: PowerDns, **changes: Any) -> LexiconDns:
    given: dict[str, Any] = {
        "provider": "lexicon",
        "service": "powerdns",
        "options": {"pdns_server": powerdns.url},
        "secrets": {"auth_token": API_KEY},
        "resolvers": [powerdns.address],
        "name_servers": [powerdns.address],
    }
    return LexiconDns.model_validate(given | changes)


def solver(powerdns: PowerDns, **changes: Any) -> Solver:
    return make_solver(settings(powerdns, **changes), context("acme"))


def order(pebble: Pebble, powerdns: PowerDns, *names: str, **changes: Any) -> Outcome:
    account: dict[str, Any] = {"account_key_pem": pem_of("account"), "ca_certificates": pebble.tls_roots}
    given = AcmeSettings(url=pebble.directory, dns=settings(powerdns, **changes), **account)
    connector = Acme(given, context("acme"))
    return follow(connector, signing_request(SubjectNames(names[0], names), private_key()))


def test_a_wildcard_and_its_apex_are_proven_by_two_values_at_one_name(powerdns: PowerDns, pebble: Pebble) -> None:
    assert isinstance(order(pebble, powerdns, f"two.{ZONE}", f"*.two.{ZONE}"), Issued)
    assert powerdns.texts(f"_acme-challenge.two.{ZONE}") == []


def test_values_of_others_are_left_alone_and_doing_it_twice_changes_nothing(powerdns: PowerDns) -> None:
    made = solver(powerdns)
    for value in ("mine", "theirs", "mine"):
        made.publish(CHALLENGE, value)
    assert powerdns.texts(CHALLENGE) == ["mine", "theirs"]
    for _ in range(2):
        made.remove(CHALLENGE, "mine")
    assert powerdns.texts(CHALLENGE) == ["theirs"]
    assert made.is_visible(CHALLENGE, "theirs")
    assert not made.is_visible(CHALLENGE, "mine")
    made.remove(CHALLENGE, "theirs")
    assert powerdns.texts(CHALLENGE) == []


@pytest.mark.slow
def test_removing_what_is_not_there_is_no_error_where_the_library_says_it_is_one(
    powerdns: PowerDns, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record is noted before it is set, so it may have to be removed without ever having been there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_ROUTE_53", moto.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    secrets = {"auth_access_key": "AKIATESTTESTTESTTEST", "auth_access_secret": "secret"}
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    zones = boto3.client("route53", "us-east-1", endpoint_url=moto.url, **keys)
    zone = zones.create_hosted_zone(Name=ZONE, CallerReference=CHALLENGE)["HostedZone"]["Id"]
    made = solver(powerdns, service="route53", options={"private_zone": "false"}, secrets=secrets)

    def texts() -> list[str]:
        sets = zones.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return [one["Value"] for found in sets if found["Type"] == "TXT" for one in found["ResourceRecords"]]

    made.remove(CHALLENGE, "mine")
    made.publish(CHALLENGE, "theirs")
    made.remove(CHALLENGE, "mine")
    assert texts() == ['"theirs"']
    made.remove(CHALLENGE, "theirs")
    assert texts() == []


class NameCom:
    """What the library asks of Name.com's API. SIMULATED, after https://www.name.com/api-docs."""

    def __init__(self) -> None:
        self.records: dict[int, dict[str, Any]] = {}

    def request(self, action: str = "GET", url: str = "/", data: Any = None, query_params: Any = None) -> Any:
        number = int(url.rpartition("/")[2]) if url[-1].isdigit() else len(self.records) + 100
        match action:
            case "POST":
                self.records[number] = {**data, "id": number, "fqdn": f"{data['host']}.{ZONE}."}
                return self.records[number]
            case "DELETE":
                del self.records[number]
        return {"domains": [{"domainName": ZONE}], "records": list(self.records.values())}


def test_a_service_that_answers_neither_yes_nor_no_has_done_it(
    powerdns: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library returns what the service says: a number for a record that was made, no for one that is not there."""
    name_com = NameCom()
    monkeypatch.setattr(namecom.Provider, "_request", name_com.request)
    made = solver(powerdns, service="namecom", options={}, secrets={"auth_username": "u", "auth_token": "t"})
    made.publish(CHALLENGE, "value")
    assert [record["answer"] for record in name_com.records.values()] == ["value"]
    for _ in range(2):
        made.remove(CHALLENGE, "value")
    assert name_com.records == {}


def no(*_: object) -> bool:
    return False


def refuse(*_: object) -> bool:
    raise requests.HTTPError("400 it is there already, or is not there")


@pytest.mark.parametrize("answer", [no, refuse])
def test_a_service_that_refuses_is_asked_what_is_there(answer: Callable[..., bool]) -> None:
    """A record that is not seen yet is set again, and not every service takes that."""
    there = ["value"]
    provider: Any = SimpleNamespace(create_record=answer, delete_record=answer, list_records=lambda *_: there)
    assert by_lexicon.published(provider, CHALLENGE, "value")
    with suppress(requests.HTTPError):
        assert not by_lexicon.removed(provider, CHALLENGE, "value")
    there.clear()
    assert by_lexicon.removed(provider, CHALLENGE, "value")
    with suppress(requests.HTTPError):
        assert not by_lexicon.published(provider, CHALLENGE, "value")


def test_an_alias_is_followed(powerdns: PowerDns) -> None:
    made, name = solver(powerdns), f"_acme-challenge.alias.{ZONE}"
    made.publish(name, "value")
    assert powerdns.texts(f"elsewhere.{ZONE}") == ["value"]
    assert made.is_visible(name, "value")
    made.remove(name, "value")
    assert powerdns.texts(f"elsewhere.{ZONE}") == []


def test_a_wrong_key_makes_the_order_unavailable_and_is_told_nowhere(
    powerdns: PowerDns, pebble: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "canary-of-a-wrong-key"
    outcome = order(pebble, powerdns, f"refused.{ZONE}", secrets={"auth_token": wrong})
    assert isinstance(outcome, Unavailable)
    assert "powerdns did not change" in outcome.reason
    assert "HTTP 401" in outcome.reason
    assert wrong not in outcome.reason + caplog.text


def test_the_key_is_in_no_log_at_any_level(
    powerdns: PowerDns, pebble: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert isinstance(order(pebble, powerdns, f"quiet.{ZONE}"), Issued)
    assert API_KEY not in caplog.text
    assert pem_of("account").get_secret_value() not in caplog.text


def test_a_key_that_a_service_wants_in_the_address_is_in_no_log(
    powerdns: PowerDns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DuckDNS, DreamHost and Name Silo want it there, and urllib3 tells addresses at DEBUG."""
    caplog.set_level(logging.DEBUG)
    begin: Any = namesilo.Provider.__init__

    def elsewhere(provider: namesilo.Provider, config: Any) -> None:
        begin(provider, config)
        provider.api_endpoint = powerdns.url

    monkeypatch.setattr(namesilo.Provider, "__init__", elsewhere)
    made = solver(powerdns, service="namesilo", options={}, secrets={"auth_token": "canary-in-the-address"})
    with pytest.raises(DnsFailure, match="namesilo did not change"):
        made.publish(CHALLENGE, "value")
    assert "canary-in-the-address" not in caplog.text


def test_a_service_that_is_down_or_says_nothing_is_a_failure_in_time(
    powerdns: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = solver(powerdns, options={"pdns_server": closed_port_url().replace("https", "http")})
    with pytest.raises(DnsFailure, match=r"in the zone example\.com \(ConnectionError\)"):
        down.publish(CHALLENGE, "value")
    monkeypatch.setattr(by_lexicon, "SECONDS", 0.2)
    monkeypatch.setattr(by_lexicon, "change_in", lambda *_: time.sleep(1))
    with pytest.raises(DnsFailure, match="TimeoutError"):
        solver(powerdns).publish(CHALLENGE, "value")


def test_a_service_that_the_library_does_not_know_is_named(powerdns: PowerDns) -> None:
    """At start, and not by the first order."""
    for service, told in [
        ("carrierpigeon", "is not a service that dns-lexicon knows, such as"),
        ("cloudflair", "knows, such as cloudflare"),
        ("base", "is not a service"),
        ("localzone", r"needs packages that are not installed: localzone"),
    ]:
        with pytest.raises(ValidationError, match=told):
            settings(powerdns, service=service)


def test_faulty_settings_are_named(powerdns: PowerDns) -> None:
    with pytest.raises(ValidationError, match="service"):
        settings(powerdns, service="../../evil")
    authority = '{"le": {"connector": "acme", "url": "https://ca.example/dir", "account_key_pem": "@KEY", "dns": {%s}}}'
    written = authority % '"provider": "lexicon", "service": "cloudflare", "secrets": {"auth_token": "literal-secret"}'
    with pytest.raises(SettingsError) as refused:
        app_settings.load(
            {
                "AzureWebJobsStorage": "UseDevelopmentStorage=true",
                "CERTRELAY_VAULTS": '{"main": {"url": "https://v.vault.azure.net"}}',
                "CERTRELAY_AUTHORITIES": written,
                "KEY": pem_of("account").get_secret_value(),
            }
        )
    assert "dns/secrets/auth_token: is a secret" in str(refused.value)
    assert "literal-secret" not in str(refused.value)


@pytest.mark.slow
def test_the_services_that_the_settings_allow_are_those_that_the_library_can_use() -> None:
    """They are found without importing it, since that takes long; here it is asked itself."""
    for service, usable in find_providers().items():
        written = {"provider": "lexicon", "service": service}
        if usable:
            assert LexiconDns.model_validate(written).service == service
        else:
            with pytest.raises(ValidationError, match="needs packages that are not installed"):
                LexiconDns.model_validate(written)
