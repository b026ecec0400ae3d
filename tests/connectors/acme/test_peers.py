"""`acme` against two more implementations, which the tests start from PyPI: acme2certifier and django-ca."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    Context,
    Feature,
    Issued,
    Revokes,
    RollsOverAccountKey,
    SuggestsRenewal,
)
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.clients import TestClock
from tests.connectors.acme.ordering import TestSolver, follow, fresh_name, pem_of, request_for
from tests.connectors.acme.pebble import TestDns
from tests.connectors.acme.peers import Acme2Certifier, DjangoCa, Peer
from tests.connectors.conformance import Authority, Conformance, context
from tests.connectors.debian import CannotFetch
from tests.connectors.hostile import closed_port_url
from tests.connectors.name_cases import NAME_CASES, NameCase

pytestmark = pytest.mark.slow

ABILITIES = frozenset({Revokes, Cancels, SuggestsRenewal, RollsOverAccountKey, ChecksHealth})
UNDECLARED = frozenset(Feature) - {Feature.WILDCARD, Feature.RSA, Feature.EC}


def started(make: Callable[[], Peer]) -> Iterator[Any]:
    try:
        server = make()
    except CannotFetch as reason:
        pytest.skip(f"it cannot be had: {reason}")
    with server:
        yield server


@pytest.fixture(scope="module")
def acme2certifier(dns: TestDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme2Certifier]:
    yield from started(lambda: Acme2Certifier(tmp_path_factory.mktemp("acme2certifier"), dns.port))


@pytest.fixture(scope="module")
def django_ca(dns: TestDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DjangoCa]:
    yield from started(lambda: DjangoCa(tmp_path_factory.mktemp("django-ca"), dns.port))


def settings(server: Peer, **changes: Any) -> AcmeSettings:
    defaults = {"url": server.directory, "contact": ["ca@example.com"], "account_key_pem": pem_of("peers")}
    return AcmeSettings(**{**defaults, **changes})


@pytest.fixture(scope="module")
def solver(dns: TestDns) -> TestSolver:
    return TestSolver(dns)


def authority(server: Peer, solver: TestSolver, **changes: Any) -> Authority:
    def connect(**other: Any) -> Acme:
        return Acme(settings(server, **other), context("peer"), solver)

    given = {
        "connect": lambda: lasting(server, solver),
        "unreachable": lambda: connect(url=closed_port_url()),
        "roots": [server.root()],
        "is_revoked": server.is_revoked,
        "pending": connect,  # a restart
        "secrets": [pem_of("peers").get_secret_value()],
    }
    return Authority(**{**given, **changes})


@functools.cache
def lasting(server: Peer, solver: TestSolver) -> Acme:
    """One connector for all tests but those of a restart: a new one asks for directory, nonce and account again."""
    return Acme(settings(server), context("peer"), solver)


class TestAcmeOnAcme2Certifier(Conformance):
    undeclared, abilities = UNDECLARED, ABILITIES

    @pytest.fixture
    def authority(self, acme2certifier: Acme2Certifier, solver: TestSolver) -> Authority:
        refused = SubjectNames("evil.example.net", ("evil.example.net",))
        return authority(acme2certifier, solver, refused=refused, names_of_one_certificate=5)

    def test_a_csr_that_is_none_is_never_issued(self, authority: Authority, names: SubjectNames) -> None:
        """It verifies no CSR's signature. CertRelay does, before it places an order, so none like that is sent."""


# It looks for a wildcard's record at `_acme-challenge.*.NAME`, wants the order to have exactly the CSR's alternative
# names, and takes the first of them as the common name, which has room for 64 characters.
NOT_AT_DJANGO_CA = {
    "a_common_name_that_is_no_alternative_name", "a_label_of_63_characters", "a_wildcard", "a_wildcard_and_its_apex",
}  # fmt: skip


class TestAcmeOnDjangoCa(Conformance):
    undeclared, abilities = UNDECLARED, ABILITIES

    @pytest.fixture
    def authority(self, django_ca: DjangoCa, solver: TestSolver) -> Authority:
        return authority(django_ca, solver, names_of_one_certificate=5)

    @pytest.mark.parametrize("case", NAME_CASES, ids=lambda case: str(case.title))
    def test_a_certificate_with(self, authority: Authority, host: str, case: NameCase) -> None:
        if case.title not in NOT_AT_DJANGO_CA:
            super().test_a_certificate_with(authority, host, case)
            return
        with pytest.raises(AssertionError, match="not issued"):
            super().test_a_certificate_with(replace(authority, polls=8, refused_cases=frozenset()), host, case)


def test_acme2certifier_takes_standing_records_in_the_form_of_draft_01(
    acme2certifier: Acme2Certifier, dns: TestDns
) -> None:
    """Its challenge names the account; `dns` is none."""
    name, address = fresh_name(), f"127.0.0.1:{dns.port}"
    persist = {"issuer": acme2certifier.issuer, "resolvers": [address], "name_servers": [address]}
    found = settings(acme2certifier, account_key_pem=pem_of("standing at a peer"), dns_persist=persist)
    connector = Acme(found, Context("peer", TestClock().now, lambda: None))
    record = connector.standing_record(f"*.{name}")
    dns.tell("set-txt", host=f"{record.name}.", value=record.value)
    assert isinstance(follow(connector, request_for(name, f"*.{name}")), Issued)
    assert connector.standing_record(name).offered
