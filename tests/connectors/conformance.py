"""The promises of certrelay/connectors/base.py, run against a real server: every connector's test module inherits them.

    from tests.connectors.conformance import Authority, Conformance, context

    class TestExample(Conformance):
        undeclared = frozenset({Feature.EMAIL, Feature.FINDS_EARLIER_ORDER})   # all others are declared and tested
        abilities = frozenset({Revokes, ChecksHealth})                         # the optional protocols it fulfils

        @pytest.fixture(scope="class")
        def authority(self, example_server) -> Authority:
            return Authority(
                connect=lambda: Example(ExampleSettings(url=example_server.url, ...), context("example")),
                unreachable=lambda: Example(ExampleSettings(url=closed_port_url(), ...), context("example")),
                roots=[example_server.root],           # x509.Certificate: what the chain must lead to
                refused=SubjectNames("evil.example.net", ("evil.example.net",)),   # the server's policy says no
                is_revoked=example_server.is_revoked,  # asks the server itself; needed where Revokes is declared
                settle=example_server.approve,         # called with the reference while an order is pending
                pending=lambda: ...,                   # a connector whose `submit` answers Pending first
                secrets=[example_server.password],     # must never appear in an outcome, an error or a log
            )

A case whose feature is not declared asserts that it is in `undeclared`: nothing is skipped. `connect` makes a new
connector each time, as after a restart. What a hostile server may do is in tests/connectors/hostile.py.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    Connector,
    ConnectorError,
    Context,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    RevocationReason,
    Revokes,
    RollsOverAccountKey,
    SigningRequest,
    SuggestsRenewal,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected, Limits, verify_answer
from tests.connectors.answers import alternative_names, common_names, leaf_of, verify_chain, verify_names
from tests.connectors.name_cases import NAME_CASES, NameCase
from tests.connectors.signing_requests import private_key, self_signed, signing_request

ABILITIES: frozenset[Any] = frozenset({Revokes, Cancels, SuggestsRenewal, RollsOverAccountKey, ChecksHealth})


@dataclass(frozen=True)
class Authority:
    """One real server, and how to reach it. See the example above."""

    connect: Callable[[], Connector]
    unreachable: Callable[[], Connector]
    roots: Sequence[x509.Certificate]
    domain: str = "example.com"
    refused: SubjectNames | None = None
    is_revoked: Callable[[x509.Certificate], bool] | None = None
    settle: Callable[[str], None] = lambda _reference: None
    pending: Callable[[], Connector] | None = None
    secrets: Sequence[str] = ()
    poll_interval: float = 0.05
    polls: int = 400
    key_types: Sequence[str] = ("rsa-2048", "ec-256", "ec-384")
    validity: timedelta = timedelta(days=30)
    names_of_one_certificate: int = 30
    default_key: str = "ec-256"
    refused_cases: frozenset[str] = frozenset()  # of NAME_CASES, by this very server, though its protocol allows them


def context(authority: str) -> Context:
    """A context without an Azure credential, on the real clock."""

    def no_credential() -> Any:
        raise AssertionError("this connector needs no Azure credential")

    return Context(authority, lambda: datetime.now(UTC), no_credential)


def finish(authority: Authority, connector: Connector, request: SigningRequest, outcome: Outcome) -> Issued:
    """Follow an order until it is issued, as the reconciler does; a busy machine's server may break off connections."""
    patience, known = 2, ""
    for _ in range(authority.polls):
        match outcome:
            case Issued():
                return outcome
            case Pending(reference):
                known = reference
                authority.settle(reference)
                time.sleep(authority.poll_interval)
                outcome = connector.collect(request, reference)
            case Unavailable(restart=True):
                known, outcome = "", connector.submit(request)
            case Unavailable() if patience:
                patience -= 1
                outcome = connector.collect(request, known) if known else connector.submit(request)
            case _:
                raise AssertionError(f"not issued: {outcome}")
    raise AssertionError(f"not issued after {authority.polls} looks: {outcome}")


def accept(answer: bytes, request: SigningRequest, now: datetime | None = None) -> None:
    """Raises certrelay.errors.Unverified."""
    key = x509.load_der_x509_csr(request.csr).public_key()
    is_rsa = isinstance(key, rsa.RSAPublicKey)
    usage = frozenset({"digitalSignature", "keyCertSign", "cRLSign"}) if request.is_ca else None
    expected = Expected(request.names, "RSA" if is_rsa else "EC", None, None, request.is_ca, usage)
    verify_answer(answer, request.csr, expected, Limits(), now or datetime.now(UTC))


def issue(authority: Authority, request: SigningRequest, connector: Connector | None = None) -> x509.Certificate:
    """The leaf for `request`, its names and its chain verified: here, and as CertRelay does before it merges."""
    connector = connector or authority.connect()
    issued = finish(authority, connector, request, connector.submit(request))
    accept(issued.answer, request)
    leaf = leaf_of(issued.answer, request)
    verify_chain(leaf, issued.answer, authority.roots)
    verify_names(leaf, request.names)
    return leaf


class Conformance:
    """Inherit, and give `authority`, `undeclared` and `abilities`."""

    undeclared: ClassVar[frozenset[Feature]]
    abilities: ClassVar[frozenset[Any]]

    @pytest.fixture
    def host(self, authority: Authority) -> str:
        """A host name of the authority's domain that no other test uses."""
        return f"h{uuid.uuid4().hex[:10]}.{authority.domain}"

    @pytest.fixture
    def names(self, host: str) -> SubjectNames:
        return SubjectNames(host, (host,))

    @pytest.fixture(autouse=True)
    def no_secret_in_a_log(self, authority: Authority, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        with caplog.at_level(logging.DEBUG):
            yield
        assert not [secret for secret in authority.secrets if secret in caplog.text]

    def declares(self, authority: Authority, *needed: Feature) -> bool:
        """Whether all are declared; if not, the missing ones must be expected to be missing."""
        missing = set(needed) - authority.connect().features
        assert missing <= self.undeclared
        return not missing

    # What it says of itself

    def test_it_declares_exactly_what_is_expected_of_it(self, authority: Authority) -> None:
        assert set(Feature) - authority.connect().features == self.undeclared
        assert {ability for ability in ABILITIES if isinstance(authority.connect(), ability)} == self.abilities

    def test_its_settings_refuse_an_unknown_key(self, authority: Authority) -> None:
        with pytest.raises(ValueError, match="no_such_setting"):
            authority.connect().Settings(no_such_setting=1)  # type: ignore[call-arg]

    # Names

    @pytest.mark.parametrize("case", NAME_CASES, ids=lambda case: str(case.title))
    def test_a_certificate_with(self, authority: Authority, host: str, case: NameCase) -> None:
        if case.title in authority.refused_cases:
            with pytest.raises(AssertionError, match="not issued: Rejected"):
                issue(authority, signing_request(case.for_host(host), private_key(authority.default_key)))
        elif self.declares(authority, *case.needs):
            names = case.for_host(host)
            leaf = issue(authority, signing_request(names, private_key(authority.default_key)))
            if names.common_name and not names.dns_names:
                assert names.common_name in (*common_names(leaf), *alternative_names(leaf).dns_names)

    def test_many_names_in_one_certificate(self, authority: Authority, host: str) -> None:
        names = tuple(f"n{number}.{host}" for number in range(authority.names_of_one_certificate))
        issue(authority, signing_request(SubjectNames(None, names), private_key(authority.default_key)))

    # Keys, usages, validity

    @pytest.mark.parametrize("kind", ["rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"])
    def test_a_certificate_for_a_key(self, authority: Authority, names: SubjectNames, kind: str) -> None:
        if kind in authority.key_types and self.declares(authority, Feature(kind.partition("-")[0])):
            issue(authority, signing_request(names, private_key(kind)))

    def test_it_is_an_end_entity_certificate_for_servers(self, authority: Authority, names: SubjectNames) -> None:
        leaf = issue(authority, signing_request(names, private_key(authority.default_key)))
        with_constraints = [one for one in leaf.extensions if isinstance(one.value, x509.BasicConstraints)]
        assert not any(constraints.value.ca for constraints in with_constraints)
        assert ExtendedKeyUsageOID.SERVER_AUTH in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature

    def test_it_is_valid_now_and_until_the_requested_time(self, authority: Authority, names: SubjectNames) -> None:
        request = signing_request(names, private_key(authority.default_key), authority.validity)
        leaf = issue(authority, request)
        assert leaf.not_valid_before_utc <= datetime.now(UTC) + timedelta(seconds=2) < leaf.not_valid_after_utc
        if self.declares(authority, Feature.REQUESTED_VALIDITY):
            assert abs(leaf.not_valid_after_utc - request.not_after) <= timedelta(seconds=30)

    def test_a_certificate_authority_gets_a_ca_certificate(self, authority: Authority, host: str) -> None:
        if not self.declares(authority, Feature.CERTIFICATE_AUTHORITY):
            return
        request = signing_request(SubjectNames(f"Intermediate {host}"), private_key("rsa-2048"), is_ca=True)
        connector = authority.connect()
        answer = finish(authority, connector, request, connector.submit(request)).answer
        accept(answer, request)
        leaf = leaf_of(answer, request)
        assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign

    # Orders

    def test_an_order_survives_a_restart_between_submit_and_collect(
        self, authority: Authority, names: SubjectNames
    ) -> None:
        request = signing_request(names, private_key(authority.default_key))
        outcome = (authority.pending or authority.connect)().submit(request)
        if authority.pending:
            assert isinstance(outcome, Pending)
        connector = (authority.pending or authority.connect)()
        issued = finish(authority, connector, request, outcome)
        verify_names(leaf_of(issued.answer, request), names)

    def test_the_same_order_again_is_found_where_that_is_declared(
        self, authority: Authority, names: SubjectNames
    ) -> None:
        request = signing_request(names, private_key(authority.default_key))
        first, second = issue(authority, request), issue(authority, request)
        found = first.serial_number == second.serial_number
        assert found == self.declares(authority, Feature.FINDS_EARLIER_ORDER)

    def test_the_same_key_and_names_can_be_certified_anew(self, authority: Authority, names: SubjectNames) -> None:
        first = signing_request(names, private_key(authority.default_key))
        second = replace(first, operation_id=uuid.uuid4().hex)
        assert issue(authority, first).serial_number != issue(authority, second).serial_number

    def test_a_renewal_names_the_certificate_that_it_replaces(self, authority: Authority, names: SubjectNames) -> None:
        old = issue(authority, signing_request(names, private_key(authority.default_key)))
        der = old.public_bytes(serialization.Encoding.DER)
        renewed = issue(authority, signing_request(names, private_key(authority.default_key), replaces=der))
        assert renewed.serial_number != old.serial_number

    def test_one_connector_serves_many_threads(self, authority: Authority, host: str) -> None:
        connector = authority.connect()

        def one(number: int) -> int:
            names = SubjectNames(None, (f"t{number}.{host}",))
            request = signing_request(names, private_key(authority.default_key))
            return issue(authority, request, connector).serial_number

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(one, range(8)))) == 8

    # Refusals and outages

    def test_names_that_the_authority_does_not_allow_are_rejected(self, authority: Authority) -> None:
        if authority.refused is None:
            pytest.skip("the server that is tested against has no policy on names")
        request = signing_request(authority.refused, private_key(authority.default_key))
        connector = authority.connect()
        outcome = connector.submit(request)
        for _ in range(authority.polls):
            if not isinstance(outcome, Pending):
                break
            time.sleep(authority.poll_interval)
            outcome = connector.collect(request, outcome.reference)
        assert isinstance(outcome, Rejected)
        self.verify_reason(authority, outcome.reason)

    def test_a_csr_that_is_none_is_never_issued(self, authority: Authority, names: SubjectNames) -> None:
        request = signing_request(names, private_key(authority.default_key))
        broken = replace(request, csr=request.csr[:-3] + b"\0\0\0")
        connector = authority.connect()
        outcome = connector.submit(broken)
        for _ in range(authority.polls):
            if not isinstance(outcome, Pending):
                break
            time.sleep(authority.poll_interval)
            outcome = connector.collect(broken, outcome.reference)
        assert isinstance(outcome, (Rejected, Unavailable))

    def test_an_authority_that_is_down_is_unavailable(self, authority: Authority, names: SubjectNames) -> None:
        begin = time.monotonic()
        outcome = authority.unreachable().submit(signing_request(names, private_key(authority.default_key)))
        assert isinstance(outcome, Unavailable)
        assert time.monotonic() - begin < 60
        self.verify_reason(authority, outcome.reason)

    def verify_reason(self, authority: Authority, reason: str) -> None:
        """One line for people, without secrets."""
        assert reason.strip()
        assert reason.isprintable()
        assert len(reason) <= 1000
        assert not [secret for secret in authority.secrets if secret in reason]

    # Optional abilities

    def test_a_certificate_is_revoked_once_and_again(self, authority: Authority, names: SubjectNames) -> None:
        connector = authority.connect()
        if not isinstance(connector, Revokes):
            assert Revokes not in self.abilities
            return
        leaf = issue(authority, signing_request(names, private_key(authority.default_key)), connector)
        der = leaf.public_bytes(serialization.Encoding.DER)
        assert authority.is_revoked
        assert not authority.is_revoked(leaf)
        connector.revoke(der, RevocationReason.UNSPECIFIED)
        assert authority.is_revoked(leaf)
        connector.revoke(der, RevocationReason.UNSPECIFIED)

    def test_a_certificate_of_a_stranger_cannot_be_revoked(self, authority: Authority, names: SubjectNames) -> None:
        connector = authority.connect()
        if not isinstance(connector, Revokes):
            assert Revokes not in self.abilities
            return
        stranger = self_signed(names).public_bytes(serialization.Encoding.DER)
        with pytest.raises(ConnectorError) as caught:
            connector.revoke(stranger, RevocationReason.UNSPECIFIED)
        self.verify_reason(authority, str(caught.value))

    def test_the_health_check_tells_up_from_down(self, authority: Authority) -> None:
        connector, unreachable = authority.connect(), authority.unreachable()
        if not isinstance(connector, ChecksHealth):
            assert ChecksHealth not in self.abilities
            return
        connector.check()
        assert isinstance(unreachable, ChecksHealth)
        with pytest.raises(ConnectorError) as caught:
            unreachable.check()
        self.verify_reason(authority, str(caught.value))
