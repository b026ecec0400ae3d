"""`acme` against pebble, Let's Encrypt's test server, with pebble-challtestsrv as the DNS that it asks."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from josepy.json_util import decode_b64jose
from pydantic import SecretStr, ValidationError

from certrelay.connectors.acme.client import Problem
from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.reference import Reference
from certrelay.connectors.acme.session import certificate_id
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import (
    MAX_REFERENCE_BYTES,
    Cancels,
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    RevocationReason,
    Revokes,
    RollsOverAccountKey,
    SuggestsRenewal,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme_proxy import AcmeProxy, Answer
from tests.connectors.answers import certificates, leaf_of
from tests.connectors.conformance import Authority, Conformance, context
from tests.connectors.debian import CannotFetch
from tests.connectors.hostile import HostileConformance, HostileServer, closed_port_url, hang, hostile_server
from tests.connectors.pebble import Pebble, TestDns
from tests.connectors.signing_requests import malformed, private_key, signing_request

HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def pem(key: Any) -> SecretStr:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return SecretStr(key.private_bytes(encoding, form, serialization.NoEncryption()).decode())


def pem_of(owner: str) -> SecretStr:
    return pem(private_key("ec-256", owner))


class TestSolver:
    """Sets records over challtestsrv's HTTP interface, and remembers what is set."""

    __test__ = False

    def __init__(self, dns: TestDns) -> None:
        self.dns, self.looks = dns, 0
        self.records: set[tuple[str, str]] = set()

    def publish(self, name: str, value: str) -> None:
        if (name, value) not in self.records:
            self.dns.tell("set-txt", host=f"{name}.", value=value)
            self.records.add((name, value))

    def is_visible(self, name: str, value: str) -> bool:
        self.looks += 1
        return (name, value) in self.records

    def remove(self, name: str, value: str) -> None:
        self.records.discard((name, value))
        if not any(known == name for known, _ in self.records):
            self.dns.tell("clear-txt", host=f"{name}.")


@pytest.fixture(scope="module")
def dns() -> Iterator[TestDns]:
    try:
        server = TestDns()
    except CannotFetch as reason:
        pytest.skip(f"pebble cannot be had: {reason}")
    with server:
        yield server


@pytest.fixture
def solver(dns: TestDns) -> TestSolver:
    return TestSolver(dns)


@pytest.fixture(scope="module")
def pebble(dns: TestDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), dns.port, PEBBLE_ALTERNATE_ROOTS="1") as running:
        yield running


@pytest.fixture
def start(dns: TestDns, tmp_path: Path) -> Iterator[Callable[..., Pebble]]:
    """Starts a pebble of the test's own."""
    running: list[Pebble] = []

    def begin(settings: dict[str, Any] | None = None, **knobs: str) -> Pebble:
        running.append(Pebble(tmp_path / str(len(running)), dns.port, settings, **knobs))
        return running[-1].__enter__()

    yield begin
    for server in running:
        server.__exit__()


def acme(pebble: Pebble | AcmeProxy, solver: TestSolver | None = None, **settings: Any) -> Acme:
    defaults = {"url": pebble.directory, "ca_certificates": pebble.tls_roots, "account_key_pem": pem_of("account")}
    return Acme(AcmeSettings(**{**defaults, **settings}), context("acme"), solver)


def follow(connector: Connector, request: Any, outcome: Outcome | None = None) -> Outcome:
    """What the order ends with, each Pending followed up soon."""
    outcome, end = outcome or connector.submit(request), time.monotonic() + 300
    while isinstance(outcome, Pending) and time.monotonic() < end:
        time.sleep(0.05)
        outcome = connector.collect(request, outcome.reference)
    return outcome


class TestAcme(Conformance):
    undeclared = frozenset(Feature) - {Feature.WILDCARD, Feature.RSA, Feature.EC}
    abilities = frozenset({Revokes, Cancels, SuggestsRenewal, RollsOverAccountKey, ChecksHealth})

    @pytest.fixture
    def authority(self, pebble: Pebble, solver: TestSolver) -> Authority:
        def connect() -> Connector:
            return acme(pebble, solver)

        blocked = SubjectNames("x.blocked.example.net", ("x.blocked.example.net",))
        return Authority(
            connect=connect,
            unreachable=lambda: Acme(
                AcmeSettings(url=closed_port_url(), account_key_pem=pem_of("account")), context("acme"), solver
            ),
            roots=pebble.roots(),
            refused=blocked,
            # OpenBao takes it: see test_acme_openbao.
            refused_cases=frozenset({"a_common_name_that_is_no_alternative_name"}),
            is_revoked=pebble.is_revoked,
            pending=connect,
            secrets=[pem_of("account").get_secret_value()],
        )


class TestAcmeAgainstAHostileServer(HostileConformance):
    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        settings = {"ca_certificates": ca_certificates, "timeout": timeout, "account_key_pem": pem_of("account")}
        return Acme(AcmeSettings(url=url, **settings), context("acme"))  # type: ignore[arg-type]


def test_threads_do_not_wait_for_an_account_that_hangs_one_after_the_other() -> None:
    def behave(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
        if handler.path != "/dir":
            hang(handler, server)
            return
        urls = {name: f"{server.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        body = json.dumps(urls).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with hostile_server(behave) as server, ThreadPoolExecutor(16) as pool:
        connector = TestAcmeAgainstAHostileServer().connect(f"{server.url}/dir", server.ca_certificates, 0.8)
        begin = time.monotonic()
        outcomes = list(pool.map(lambda _: connector.submit(request_for("a.example.com")), range(16)))
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 16
        assert time.monotonic() - begin < 16 * 0.8


def request_for(*names: str, **changes: Any) -> Any:
    return signing_request(SubjectNames(names[0], names), private_key(), **changes)


def test_a_wildcard_and_its_apex_leave_no_record_behind(pebble: Pebble, solver: TestSolver) -> None:
    request = request_for("both.example.com", "*.both.example.com")
    outcome = follow(acme(pebble, solver), request)
    assert isinstance(outcome, Issued)
    assert solver.looks >= 2
    assert solver.records == set()


@pytest.mark.slow
def test_twenty_orders_of_twenty_succeed_while_half_of_all_nonces_are_refused(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    connector = acme(start(PEBBLE_WFE_NONCEREJECT="50"), solver)
    outcomes = [follow(connector, request_for(f"n{number}.example.com")) for number in range(20)]
    assert [outcome for outcome in outcomes if not isinstance(outcome, Issued)] == []


@pytest.mark.slow
def test_a_slow_validation_stays_pending(start: Callable[..., Pebble], solver: TestSolver) -> None:
    connector = acme(start(PEBBLE_VA_NOSLEEP="", PEBBLE_VA_SLEEPTIME="10"), solver)
    # Each waits 0 to 9 seconds at random; that all ten take less than 3 is one chance in 170,000.
    request = request_for(*(f"slow{number}.example.com" for number in range(10)))
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    outcome = connector.collect(request, outcome.reference)  # which notes the records
    assert isinstance(outcome, Pending)
    begin = time.monotonic()
    outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    assert outcome.retry_after >= 1
    assert time.monotonic() - begin < 9
    assert isinstance(follow(connector, request, outcome), Issued)


def test_authorizations_are_used_again(start: Callable[..., Pebble], solver: TestSolver) -> None:
    server = start(PEBBLE_AUTHZREUSE="100")
    assert isinstance(follow(acme(server, solver), request_for("again.example.com")), Issued)
    looks = solver.looks
    assert isinstance(follow(acme(server, solver), request_for("again.example.com")), Issued)
    assert solver.looks == looks


def test_a_record_that_is_not_seen_yet_is_waited_for(pebble: Pebble, solver: TestSolver) -> None:
    connector, request = acme(pebble, solver), request_for("late.example.com")
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(3):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    del solver.is_visible
    assert isinstance(follow(connector, request, outcome), Issued)


def test_a_wrong_record_fails_the_order_and_is_removed(pebble: Pebble, solver: TestSolver) -> None:
    def publish_something_else(name: str, value: str) -> None:
        solver.records.add((name, value))

    solver.publish = publish_something_else  # type: ignore[method-assign]
    outcome = follow(acme(pebble, solver), request_for("wrong.example.com"))
    assert isinstance(outcome, Rejected)
    assert "wrong.example.com" in outcome.reason
    assert solver.records == set()


def test_a_cancelled_order_leaves_no_record_behind(pebble: Pebble, solver: TestSolver) -> None:
    connector, request = acme(pebble, solver), request_for("cancelled.example.com")
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(2):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    assert len(solver.records) == 1
    connector.cancel(outcome.reference)
    assert solver.records == set()
    assert isinstance(follow(connector, request, outcome), Rejected | Unavailable)


def test_a_server_that_forgot_everything_gets_a_new_account_and_order(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start()
    connector, request = acme(server, solver), request_for("forgotten.example.com")
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    server.restart()
    outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Unavailable)
    assert outcome.restart
    assert isinstance(follow(connector, request), Issued)


def test_a_forgotten_account_is_made_again_by_submit(start: Callable[..., Pebble], solver: TestSolver) -> None:
    server = start()
    connector = acme(server, solver)
    assert isinstance(connector.submit(request_for("one.example.com")), Pending)
    server.restart()
    assert isinstance(follow(connector, request_for("two.example.com")), Issued)


def test_a_health_check_asks_the_server_each_time(start: Callable[..., Pebble], solver: TestSolver) -> None:
    server = start()
    connector = acme(server, solver)
    connector.check()
    server.__exit__()
    with pytest.raises(ConnectorError):
        connector.check()
    server.__enter__()
    with pytest.raises(ConnectorError, match="does not know our account"):
        connector.check()
    connector.check()
    assert isinstance(follow(connector, request_for("healthy.example.com")), Issued)


@pytest.fixture
def binding(start: Callable[..., Pebble]) -> Pebble:
    return start({"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": HMAC}})


def test_an_external_account_is_bound(binding: Pebble, solver: TestSolver) -> None:
    connector = acme(binding, solver, eab_kid="kid-1", eab_hmac_key=HMAC)
    assert isinstance(follow(connector, request_for("bound.example.com")), Issued)


@pytest.mark.parametrize(
    "settings", [{}, {"eab_kid": "kid-1", "eab_hmac_key": "AAAA"}, {"eab_kid": "k", "eab_hmac_key": HMAC}]
)
def test_a_wrong_or_missing_binding_is_rejected_by_the_settings_name(
    binding: Pebble, solver: TestSolver, settings: dict[str, str]
) -> None:
    outcome = acme(binding, solver, **settings).submit(request_for("unbound.example.com"))
    assert isinstance(outcome, Rejected)
    assert "eab_kid" in outcome.reason
    assert HMAC not in outcome.reason


@pytest.fixture
def strict(binding: Pebble) -> Iterator[AcmeProxy]:
    """Some CAs want the binding in every request for an account, also in one that makes none."""

    def insist(answer: Answer) -> None:
        asked = json.loads(decode_b64jose(json.loads(answer.request)["payload"]) or b"{}")
        if answer.path == "/sign-me-up" and "externalAccountBinding" not in asked:
            answer.refuse("externalAccountRequired", 400)

    with AcmeProxy(binding) as running:
        running.change = insist
        yield running


def test_a_binding_that_is_wanted_in_every_request_is_given(strict: AcmeProxy, solver: TestSolver) -> None:
    for number in range(2):
        connector = acme(strict, solver, eab_kid="kid-1", eab_hmac_key=HMAC)
        assert isinstance(follow(connector, request_for(f"strict{number}.example.com")), Issued)
        connector.check()


def test_a_wrong_binding_that_is_wanted_in_every_request_is_rejected_by_the_settings_name(
    strict: AcmeProxy, solver: TestSolver
) -> None:
    outcome = acme(strict, solver, eab_kid="kid-1", eab_hmac_key="AAAA").submit(request_for("strict.example.com"))
    assert isinstance(outcome, Rejected)
    assert "eab_kid" in outcome.reason


@pytest.mark.parametrize("written", ["mailto:{}@example.com", "{}@example.com"])
def test_a_contact_may_be_written_as_an_address_or_as_its_url(pebble: Pebble, solver: TestSolver, written: str) -> None:
    contact = written.format("admin")
    connector = acme(pebble, solver, account_key_pem=pem_of(contact), contact=[contact])
    connector.check()
    session = connector._session()
    url = session._account.url()
    assert session._client.post(url, None, url).json()["contact"] == ["mailto:admin@example.com"]


def leaf_for(connector: Acme, name: str, **changes: Any) -> x509.Certificate:
    request = request_for(name, **changes)
    outcome = follow(connector, request)
    assert isinstance(outcome, Issued), outcome
    return leaf_of(outcome.answer, request)


def known_leaf_for(connector: Acme, name: str) -> x509.Certificate:
    """A leaf that pebble finds again: not one in 256, whose serial number begins with a zero octet."""
    while (leaf := leaf_for(connector, name)).serial_number.bit_length() % 8 == 0:
        pass
    return leaf


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def test_the_profile_decides_on_the_validity(pebble: Pebble, solver: TestSolver) -> None:
    leaf = leaf_for(acme(pebble, solver, profile="shortlived"), "short.example.com")
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=7)


def test_an_unknown_profile_is_rejected(pebble: Pebble, solver: TestSolver) -> None:
    outcome = acme(pebble, solver, profile="no-such").submit(request_for("profile.example.com"))
    assert isinstance(outcome, Rejected)
    assert "invalidProfile" in outcome.reason


def test_the_preferred_chain_is_taken_and_an_unknown_one_falls_back(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start(PEBBLE_ALTERNATE_ROOTS="2", PEBBLE_CHAIN_LENGTH="2")
    for root in server.roots():
        [name] = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        request = request_for("chain.example.com")
        outcome = follow(acme(server, solver, preferred_chain=str(name.value)), request)
        assert isinstance(outcome, Issued)
        assert certificates(outcome.answer)[-1].issuer == root.subject
    assert len(server.roots()) == 3
    assert isinstance(follow(acme(server, solver, preferred_chain="Nobody"), request_for("chain.example.com")), Issued)


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_a_certificate_is_revoked_with_any_reason(pebble: Pebble, solver: TestSolver, reason: RevocationReason) -> None:
    connector = acme(pebble, solver)
    leaf = leaf_for(connector, "revoked.example.com")
    connector.revoke(der(leaf), reason)
    assert pebble.is_revoked(leaf)


def test_a_certificate_of_another_account_is_not_revoked(pebble: Pebble, solver: TestSolver) -> None:
    leaf = leaf_for(acme(pebble, solver), "mine.example.com")
    stranger = acme(pebble, solver, account_key_pem=pem_of("stranger"))
    with pytest.raises(ConnectorError):
        stranger.revoke(der(leaf), RevocationReason.UNSPECIFIED)
    assert not pebble.is_revoked(leaf)


def test_the_server_suggests_when_to_renew(pebble: Pebble, solver: TestSolver) -> None:
    connector = acme(pebble, solver)
    leaf = known_leaf_for(connector, "ari.example.com")
    window = connector.renewal_window(der(leaf))
    assert window
    assert leaf.not_valid_before_utc < window.start < window.end < leaf.not_valid_after_utc
    assert window.retry_after > 0


def test_a_renewal_replaces_and_an_old_certificate_of_elsewhere_does_not_matter(
    pebble: Pebble, solver: TestSolver
) -> None:
    connector = acme(pebble, solver)
    old = known_leaf_for(connector, "renewed.example.com")
    bodies: list[dict[str, Any]] = []
    session = connector._session()
    place = session._place

    def noted(asked: dict[str, Any]) -> str:
        bodies.append(asked)
        return place(asked)

    session._place = noted  # type: ignore[method-assign]
    leaf_for(connector, "renewed.example.com", replaces=der(old))
    assert [body.get("replaces") for body in bodies] == [certificate_id(der(old))]
    leaf_for(connector, "renewed.example.com", replaces=der(old))  # replaced already
    assert ["replaces" in body for body in bodies[1:]] == [True, False]


def test_a_certificate_that_cannot_be_read_is_replaced_all_the_same(pebble: Pebble, solver: TestSolver) -> None:
    old = malformed(SubjectNames("old.example.com")).public_bytes(serialization.Encoding.DER)
    connector = acme(pebble, solver)
    assert isinstance(connector.submit(request_for("old.example.com", replaces=old)), Pending)
    assert connector.renewal_window(old) is None


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        ({"account_key_pem": None}, "needs either account_key_pem, or"),
        ({"account_key_name": "k", "account_key_vault_url": "https://v.vault.azure.net"}, "needs either"),
        ({"account_key_pem": "no key"}, "must hold an unencrypted private key in PEM"),
        ({"account_key_pem": pem(ed25519.Ed25519PrivateKey.generate())}, "must hold an RSA key, or an EC key on P-256"),
        ({"account_key_pem": pem(ec.generate_private_key(ec.SECP256K1()))}, "must hold an RSA key, or an EC key on"),
        ({"contact": ["admin@example.com", "nobody"]}, "must be a mail address"),
        ({"eab_kid": "k"}, "eab_kid and eab_hmac_key go together"),
        ({"eab_kid": "k", "eab_hmac_key": "not base64!"}, "must be a key in base64url"),
        ({"dns": {"provider": "carrier-pigeon"}}, "provider"),
    ],
)
def test_faulty_settings_are_named(faulty: dict[str, Any], fault: str) -> None:
    good = {"url": "https://acme.example/directory", "account_key_pem": pem_of("account")}
    AcmeSettings(**good)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=fault):
        AcmeSettings(**{**good, **faulty})


def test_a_record_that_could_not_be_removed_is_removed_by_the_next_look(pebble: Pebble, solver: TestSolver) -> None:
    request, remove = request_for("stubborn.example.com"), solver.remove

    def fail_once(name: str, value: str) -> None:
        solver.remove = remove  # type: ignore[method-assign]
        raise DnsFailure("the DNS is down")

    solver.remove = fail_once  # type: ignore[method-assign]
    outcome = acme(pebble, solver).submit(request)
    assert isinstance(outcome, Pending)
    while isinstance(outcome, Pending):
        time.sleep(0.05)
        reference = outcome.reference
        outcome = acme(pebble, solver).collect(request, reference)
    assert isinstance(outcome, Unavailable)
    assert (
        outcome.reason == "the DNS is down; challenge records are left behind at _acme-challenge.stubborn.example.com"
    )
    assert len(solver.records) == 1
    assert isinstance(follow(acme(pebble, solver), request, Pending(reference)), Issued)
    assert solver.records == set()


def with_a_record(connector: Acme, solver: TestSolver, request: Any) -> Pending:
    """An order that waits for its record to be seen."""
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(2):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    assert len(solver.records) == len(request.names.dns_names)
    return outcome


def test_the_records_of_an_order_that_the_server_forgot_are_removed_before_the_next_one(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server, request = start(), request_for("forgotten.example.com", "*.forgotten.example.com")
    waiting = with_a_record(acme(server, solver), solver, request)
    server.restart()
    remove, solver.remove = solver.remove, lambda name, value: _fail()  # type: ignore[method-assign]
    outcome = acme(server, solver).collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable)
    assert not outcome.restart
    assert "the DNS is down; challenge records are left behind at _acme-challenge.forgotten." in outcome.reason
    solver.remove = remove  # type: ignore[method-assign]
    outcome = acme(server, solver).collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable)
    assert outcome.restart
    assert solver.records == set()


def _fail() -> None:
    raise DnsFailure("the DNS is down")


def test_canceling_an_order_that_the_server_forgot_removes_its_records(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server, request = start(), request_for("canceled.example.com")
    waiting = with_a_record(acme(server, solver), solver, request)
    server.restart()
    with pytest.raises(ConnectorError, match="does not know the order any more"):
        acme(server, solver).cancel(waiting.reference)
    assert solver.records == set()


def test_one_record_that_cannot_be_removed_does_not_keep_the_others(pebble: Pebble, solver: TestSolver) -> None:
    connector, request = acme(pebble, solver), request_for("stays.example.com", "goes.example.com")
    waiting = with_a_record(connector, solver, request)
    remove = solver.remove

    def selective(name: str, value: str) -> None:
        _fail() if "stays" in name else remove(name, value)

    solver.remove = selective  # type: ignore[method-assign]
    with pytest.raises(ConnectorError, match=r"is down; challenge records are left .*\.stays\.example\.com$"):
        connector.cancel(waiting.reference)
    assert [name for name, _ in solver.records] == ["_acme-challenge.stays.example.com"]


def test_a_worker_who_answers_and_finalizes_what_another_one_did_just_before_rejects_nothing(
    pebble: Pebble, solver: TestSolver
) -> None:
    connector, request = acme(pebble, solver), request_for("twice.example.com")
    client = connector._session()._client
    post, repeated = client.post, []

    def twice(url: str, payload: dict[str, Any] | None, account: str | None) -> Any:
        if payload is not None and ("chalZ" in url or "finalize" in url):
            post(url, payload, account)
            repeated.append(url)
            time.sleep(0.3)
        return post(url, payload, account)

    client.post = twice  # type: ignore[method-assign]
    assert isinstance(follow(connector, request), Issued)
    assert len(repeated) >= 2, repeated
    assert solver.records == set()


@pytest.mark.parametrize(
    "reference", ["", "x", "[]", "{}", '{"order": "u", "records": [1]}', '{"order": "u", "records": 7}']
)
def test_a_reference_that_cannot_be_read_starts_the_order_anew(
    pebble: Pebble, solver: TestSolver, reference: str
) -> None:
    outcome = acme(pebble, solver).collect(request_for("garbled.example.com"), reference)
    assert isinstance(outcome, Unavailable)
    assert outcome.restart
    with pytest.raises(ConnectorError):
        acme(pebble, solver).cancel(reference)


def test_a_reference_has_room_for_the_records_of_a_hundred_long_names() -> None:
    names = [f"_acme-challenge.{number:03}.{'a' * 63}.departments.example.com" for number in range(100)]
    reference = Reference("https://ca.example/order/1", tuple((name, "d" * 43) for name in names))
    assert len(reference.text()) <= MAX_REFERENCE_BYTES
    assert Reference.of(reference.text()) == reference


def test_an_order_whose_records_cannot_all_be_noted_is_rejected_before_one_is_set(
    pebble: Pebble, solver: TestSolver
) -> None:
    names = [f"{number}.{'.'.join(['a' * 60] * 3)}.example.com" for number in range(80)]
    outcome = follow(acme(pebble, solver), request_for("x.example.com", *names))
    assert solver.records == set()
    assert isinstance(outcome, Rejected), outcome
    assert "ask for fewer at once" in outcome.reason


@pytest.mark.parametrize("fault", [Problem("serverInternal", "busy", 500), Problem("rateLimited", "wait", 429, 60.0)])
def test_a_binding_is_not_spent_when_the_server_could_only_not_say_whether_there_is_an_account(
    start: Callable[..., Pebble], solver: TestSolver, fault: Problem
) -> None:
    server = start({"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": HMAC}})
    connector = acme(server, solver, eab_kid="kid-1", eab_hmac_key=HMAC)
    client = connector._session()._client
    post, asked = client.post, []

    def busy(url: str, payload: dict[str, Any] | None, account: str | None) -> Any:
        asked.append(payload)
        raise fault

    client.post = busy  # type: ignore[method-assign]
    outcome = connector.submit(request_for("bound.example.com"))
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after == fault.wait
    assert asked == [{"onlyReturnExisting": True}]
    client.post = post  # type: ignore[method-assign]
    assert isinstance(follow(connector, request_for("bound.example.com")), Issued)
