"""dns-persist-01 against pebble 2.10, which speaks draft -00, and a server of our own, which speaks draft -02."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import ConnectorError, Issued, Pending, Rejected, Unavailable
from tests.connectors.acme.acme_proxy import AcmeProxy
from tests.connectors.acme.acme_server import MemorySolver
from tests.connectors.acme.ordering import TestSolver, follow, fresh_name, pem_of, request_for
from tests.connectors.acme.pebble import Pebble, TestDns
from tests.connectors.acme.persist_server import ISSUER, PersistServer
from tests.connectors.acme.persist_site import PEBBLE_ISSUER, Site


@pytest.fixture
def hashing(dns: TestDns) -> Iterator[PersistServer]:
    with PersistServer(dns.port) as server:
        yield server


def issued_by_standing_record(site: Site, *names: str, asked: str = "") -> bool:
    """Publish what the connector says, and order."""
    connector = site.connect()
    site.publish(connector.standing_record(asked or names[0]))
    return isinstance(follow(connector, request_for(*names)), Issued)


def test_pebble_validates_every_order_by_one_record(pebble: Pebble, dns: TestDns) -> None:
    """Without any access to the DNS: `dns` is none."""
    site, name = Site(pebble, dns, account_key_pem=pem_of("made for pebble")), fresh_name()
    found = site.connect().standing_record(name)
    account = site.connect()._session()._account.url()
    assert (found.name, found.value) == (f"_validation-persist.{name}", f"{PEBBLE_ISSUER}; accounturi={account}")
    assert (found.offered, found.until, found.format[-2:]) == (None, None, "01")
    assert found.fault == f"no record for this account was found at _validation-persist.{name}"
    site.publish(found)
    for _ in range(2):
        assert isinstance(follow(site.connect(), request_for(name)), Issued)
    assert site.connect().standing_record(name) == replace(found, offered=True, fault="")


def test_one_record_with_the_policy_serves_a_name_and_its_wildcard_at_pebble(pebble: Pebble, dns: TestDns) -> None:
    name = fresh_name()
    site = Site(pebble, dns, account_key_pem=pem_of("wildcard at pebble"))
    assert issued_by_standing_record(site, name, f"*.{name}", asked=f"*.{name}")


def test_pebble_takes_a_record_with_an_end_and_the_report_says_until_when(pebble: Pebble, dns: TestDns) -> None:
    site, name = Site(pebble, dns, account_key_pem=pem_of("until")), fresh_name()
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    site.publish(site.connect().standing_record(name, end))
    assert isinstance(follow(site.connect(), request_for(name)), Issued)
    found = site.connect(persist={"names": [name]})
    assert found.standing_record(name).until == end
    assert found.standing_records() == {name: f"good until {end:%Y-%m-%dT%H:%M:%SZ}"}


@pytest.mark.parametrize("published", [False, True])
def test_dns_01_proves_what_no_standing_record_does(pebble: Pebble, solver: TestSolver, published: bool) -> None:
    site = Site(pebble, solver.dns, solver, account_key_pem=pem_of(f"mixed {published}"))
    standing, other = fresh_name(), fresh_name()
    published_names: list[str] = []
    publish = solver.publish

    def noted(name: str, value: str) -> None:
        published_names.append(name)
        publish(name, value)

    solver.publish = noted  # type: ignore[method-assign]
    if published:
        site.publish(site.connect().standing_record(standing))
    assert isinstance(follow(site.connect(), request_for(standing, other)), Issued)
    expected = [other] if published else [standing, other]
    assert sorted(set(published_names)) == sorted(f"_acme-challenge.{name}" for name in expected)


def test_a_record_for_a_name_only_does_not_serve_its_wildcard(pebble: Pebble, solver: TestSolver) -> None:
    site, name = Site(pebble, solver.dns, solver, account_key_pem=pem_of("narrow")), fresh_name()
    site.publish(site.connect().standing_record(name))
    assert site.connect().standing_record(f"*.{name}").fault
    assert isinstance(follow(site.connect(), request_for(f"*.{name}")), Issued), "by dns-01"


def test_a_server_of_our_own_takes_the_hashed_records(hashing: PersistServer, dns: TestDns) -> None:
    site, name = Site(hashing, dns), fresh_name()
    found = site.connect().standing_record(f"*.{name}")
    account = site.connect()._session()._account.url()
    assert found.value == f"{ISSUER}; accounturi={hashing.hashed(name, account)}; policy=wildcard"
    assert account not in found.value
    assert found.format[-2:] == "02"
    assert issued_by_standing_record(site, name, f"*.{name}", asked=f"*.{name}")
    assert hashing.count("persist/") == 2


def test_a_record_for_all_names_of_the_account_serves_as_well(hashing: PersistServer, dns: TestDns) -> None:
    site, name = Site(hashing, dns), fresh_name()
    connector = site.connect()
    account, found = connector._session()._account.url(), connector.standing_record(name)
    site.publish(replace(found, value=f"{ISSUER}; accounturi={hashing.hashed('*', account)}"))
    assert connector.standing_record(name).fault == ""
    assert isinstance(follow(connector, request_for(name)), Issued)


def test_the_hash_is_over_the_name_where_the_record_lies(hashing: PersistServer, dns: TestDns) -> None:
    site, name = Site(hashing, dns), fresh_name()
    connector = site.connect()
    other = connector.standing_record(fresh_name())
    site.publish(replace(other, name=f"_validation-persist.{name}"))
    assert connector.standing_record(name).fault


def test_a_record_with_a_former_key_of_the_account_stays_good(hashing: PersistServer, dns: TestDns) -> None:
    """Section 7.2.1; the server of the tests' own knows only the current one, so nothing is ordered."""
    site, name = Site(hashing, dns), fresh_name()
    connector = site.connect()
    site.publish(connector.standing_record(name))
    session = connector._session()
    assert session._standing is not None
    session._standing.remember_key()
    account = session._account.url()
    later = site.connect(account_key_pem=pem_of("rolled over"))
    later._session()._account._url = account
    standing = later._session()._standing
    assert standing is not None
    assert standing.report(name, confirm=False).fault == ""


def test_a_record_that_the_server_does_not_accept_leads_to_one_order_by_dns_01(
    hashing: PersistServer, dns: TestDns
) -> None:
    site, name = Site(hashing, dns, MemorySolver()), fresh_name()
    site.publish(site.connect().standing_record(name))
    hashing.accepts = False
    outcome = follow(site.connect(), request_for(name))
    assert isinstance(outcome, Unavailable), outcome
    assert outcome.restart
    assert outcome.reason == f"{name}: its standing record failed: no matching record"
    hashing.failed.clear()
    assert isinstance(follow(site.connect(), request_for(name, lost_orders=1)), Issued)
    assert hashing.count("challenge/") == 1


def test_without_dns_01_a_record_that_the_server_does_not_accept_fails_the_order(
    hashing: PersistServer, dns: TestDns
) -> None:
    site, name = Site(hashing, dns), fresh_name()
    site.publish(site.connect().standing_record(name))
    hashing.accepts = False
    assert isinstance(follow(site.connect(), request_for(name)), Rejected)


def test_without_dns_01_an_order_waits_for_the_record(hashing: PersistServer, dns: TestDns) -> None:
    site, name = Site(hashing, dns), fresh_name()
    connector, request = site.connect(), request_for(name)
    placed = connector.submit(request)
    assert isinstance(placed, Pending)
    outcome = connector.collect(request, placed.reference)
    reason = f"no record for this account was found at _validation-persist.{name}, and the setting dns is none"
    assert outcome == Unavailable(reason)
    site.publish(connector.standing_record(name))
    assert isinstance(follow(connector, request, placed), Issued)


def test_a_record_whose_time_is_over_is_not_used_and_one_that_ends_soon_is_warned_of(
    hashing: PersistServer, dns: TestDns, caplog: pytest.LogCaptureFixture
) -> None:
    site, name = Site(hashing, dns, MemorySolver()), fresh_name()
    end = site.clock.now() + timedelta(days=20)
    site.publish(site.connect().standing_record(name, end))
    assert isinstance(follow(site.connect(), request_for(name)), Issued)
    assert f"the record _validation-persist.{name} expires on {end:%Y-%m-%d}; publish a new one" in caplog.text
    assert hashing.count("persist/") == 1
    site.clock.advance(days=21)
    found = site.connect(persist={"names": [name]})
    assert found.standing_record(name).fault == f"the record at _validation-persist.{name} expired on {end:%Y-%m-%d}"
    assert found.standing_records()[name].endswith("; dns-01 is used")
    assert isinstance(follow(site.connect(), request_for(name)), Issued)
    assert hashing.count("persist/") == 1


def test_an_authorization_that_is_valid_from_the_start_needs_no_challenge(hashing: PersistServer, dns: TestDns) -> None:
    """Section 4.4."""
    site, name = Site(hashing, dns), fresh_name()
    connector, request = site.connect(), request_for(name)
    placed = connector.submit(request)
    hashing.orders[0].answered.add(0)
    assert isinstance(follow(connector, request, placed), Issued)
    assert hashing.count("persist/") == 0


def test_readiness_names_the_records_that_are_missing_where_nothing_else_proves_the_name(
    hashing: PersistServer, dns: TestDns
) -> None:
    site, here, missing = Site(hashing, dns), fresh_name(), fresh_name()
    site.publish(site.connect().standing_record(here))
    names = {"names": [here, missing]}
    with pytest.raises(ConnectorError, match=f"no record for this account was found at _validation-persist.{missing}$"):
        site.connect(persist=names).standing_records()
    site.solver = MemorySolver()
    fallback = f"no record for this account was found at _validation-persist.{missing}; dns-01 is used"
    assert site.connect(persist=names).standing_records() == {here: "good without an end", missing: fallback}


def test_it_is_off_unless_the_settings_say_so(hashing: PersistServer, dns: TestDns) -> None:
    site, name = Site(hashing, dns, MemorySolver()), fresh_name()
    site.publish(site.connect().standing_record(name))
    plain = site.connect(dns_persist=None)
    assert isinstance(follow(plain, request_for(name)), Issued)
    assert hashing.count("persist/") == 0
    assert plain.standing_records() == {}
    with pytest.raises(ConnectorError, match="its settings have no dns_persist"):
        plain.standing_record(name)


def refused(site: Site, name: str = "a.example.com", **changes: Any) -> str:
    with pytest.raises(ConnectorError) as caught:
        site.connect(**changes).standing_record(name)
    return str(caught.value)


def test_a_server_that_calls_itself_otherwise_than_the_settings_do_gets_no_record(
    hashing: PersistServer, pebble: Pebble, dns: TestDns
) -> None:
    persist = {"issuer": "letsencrypt.org"}
    for server, issuer in ((hashing, ISSUER), (pebble, PEBBLE_ISSUER)):
        site = Site(server, dns, MemorySolver())
        assert (
            refused(site, persist=persist) == f"the server calls itself {issuer}, and dns_persist names letsencrypt.org"
        )


def test_an_account_of_another_origin_gets_no_record(hashing: PersistServer, dns: TestDns) -> None:
    """A false server hands out the URL of an account at a real CA."""

    def elsewhere(request: Any, answer: Any) -> None:
        if "/newAccount" in request.target:
            answer.headers["Location"] = "https://real-ca.example/acct/attacker"

    hashing.change = elsewhere
    assert "origin" in refused(Site(hashing, dns))


@pytest.mark.parametrize("hashed", [True, False])
def test_an_account_that_the_server_does_not_confirm_gets_no_record(
    hashing: PersistServer, dns: TestDns, hashed: bool
) -> None:
    """Section 4.5: an empty POST-as-GET to exactly the URL that stands in the record."""

    def other_state(request: Any, answer: Any) -> None:
        if "/account/" in request.target:
            answer.say({"status": "deactivated"})

    if not hashed:
        hashing.extra_meta = {"accountHashPrefix": None}
    hashing.change = other_state
    assert refused(Site(hashing, dns)) == "the account at the server is not valid"
    hashing.change = lambda request, answer: setattr(
        answer, "status", 302 if "/account/" in request.target else answer.status
    )
    assert "302" in refused(Site(hashing, dns))


def test_the_url_of_an_account_that_was_made_elsewhere_is_not_published(pebble: Pebble, solver: TestSolver) -> None:
    """Drafts -00 and -01. Who else has the key of the settings, nobody knows; the record would serve them, too."""
    site, name = Site(pebble, solver.dns, account_key_pem=pem_of("elsewhere")), fresh_name()
    site.connect().check()
    site.memory.clear()
    assert "did not make the account" in refused(site, name)
    site.solver = solver
    assert isinstance(follow(site.connect(), request_for(name)), Issued), "by dns-01"


def test_a_challenge_that_names_another_account_is_not_used(proxy: AcmeProxy, solver: TestSolver) -> None:
    """Draft -01."""
    site, names = Site(proxy, solver.dns, solver, account_key_pem=pem_of("named")), [fresh_name(), fresh_name()]
    for name in names:
        site.publish(site.connect().standing_record(name))

    def change(answer: Any) -> None:
        if "/authZ/" in answer.path:
            for challenge in (document := answer.document)["challenges"]:
                if challenge["type"] == "dns-persist-01":
                    challenge["accounturi"] = named
            answer.say(document)

    proxy.change, named = change, site.connect()._session()._account.url()
    assert isinstance(follow(site.connect(), request_for(names[0])), Issued)
    assert solver.looks == 0, "by the standing record"
    named += "0"
    assert isinstance(follow(site.connect(), request_for(names[1])), Issued)
    assert solver.looks > 0, "by dns-01"


CONTRADICTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"issuerDomainNames": []}, {}),
    ({"issuerDomainNames": [f"i{number}.example" for number in range(11)]}, {}),
    ({"issuerDomainNames": ["other.example"]}, {"issuerDomainNames": None}),
    ({}, {"caaIdentities": ["other.example"]}),
    ({}, {"issuerDomainNames": [ISSUER, "second.example"]}),
    ({}, {"accountHashPrefix": "no prefix; at all"}),
]


@pytest.mark.parametrize(("challenge", "meta"), CONTRADICTIONS)
def test_a_challenge_that_contradicts_the_directory_or_the_draft_is_left_to_dns_01(
    hashing: PersistServer, dns: TestDns, challenge: dict[str, Any], meta: dict[str, Any]
) -> None:
    site, name = Site(hashing, dns, MemorySolver()), fresh_name()
    site.publish(site.connect().standing_record(name))
    hashing.challenge, hashing.extra_meta = {**hashing.challenge, **challenge}, meta
    assert isinstance(follow(site.connect(), request_for(name)), Issued)
    assert hashing.count("persist/") == 0


def test_a_directory_without_its_lists_rules_out_publishing_in_advance_only(
    hashing: PersistServer, dns: TestDns
) -> None:
    site, name = Site(hashing, dns), fresh_name()
    site.publish(site.connect().standing_record(name))
    hashing.extra_meta = {"issuerDomainNames": ["not a name"]}
    assert "issuer domain name" in refused(site, name)
    hashing.extra_meta = {"issuerDomainNames": None}
    assert isinstance(follow(site.connect(), request_for(name)), Issued)


def test_the_record_to_publish_is_told_although_the_dns_does_not_answer(hashing: PersistServer, dns: TestDns) -> None:
    connector, name = Site(hashing, dns).connect(), fresh_name()
    usual = connector.standing_record(name)
    dns.tell("set-servfail", host=f"_validation-persist.{name}.")
    told = connector.standing_record(name)
    assert told == replace(usual, fault=f"the resolvers did not answer for {usual.name}. CNAME (NoNameservers)")


def test_an_authority_that_does_not_offer_it_is_said_to(dns: TestDns, hashing: PersistServer) -> None:
    site, name = Site(hashing, dns), fresh_name()
    hashing.challenge = {"type": "dns-account-01"}
    connector, request = site.connect(), request_for(name)
    placed = connector.submit(request)
    assert isinstance(placed, Pending)
    outcome = connector.collect(request, placed.reference)
    reason = f"this authority does not offer dns-persist-01 for {name}, and the setting dns is none"
    assert outcome == Unavailable(reason)
    assert connector.standing_record(name).offered is False


@pytest.mark.parametrize("issuer", ["", "localhost", "*.example.com", "a b.example", "192.0.2.1"])
def test_an_issuer_that_is_no_domain_name_is_a_faulty_setting(issuer: str) -> None:
    with pytest.raises(ValidationError, match="issuer"):
        AcmeSettings(
            url="https://ca.example/d",
            account_key_pem=pem_of("account"),
            dns_persist={"issuer": issuer},  # type: ignore[arg-type]
        )


def test_a_name_that_leaves_no_room_for_the_label_is_told(hashing: PersistServer, dns: TestDns) -> None:
    assert "too long" in refused(Site(hashing, dns), ".".join(["a" * 60] * 4))


def test_a_record_at_the_end_of_an_alias_is_found(hashing: PersistServer, dns: TestDns) -> None:
    """A CA may follow a CNAME (Baseline Requirements, 3.2.2.4.22); the hash is over the name that is validated."""
    site, name, central = Site(hashing, dns), fresh_name(), f"central.{fresh_name()}"
    record = site.connect().standing_record(name)
    dns.tell("set-cname", host=f"{record.name}.", target=f"{central}.")
    site.publish(replace(record, name=central))
    assert site.connect().standing_record(name).fault == ""
