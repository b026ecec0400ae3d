"""The ACME account key in Key Vault: the sandbox's vault, and pebble, which checks every signature."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy
from azure.keyvault.keys import KeyClient

from certrelay.connectors.acme.account_key import AccountKey
from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.reference import Reference
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import ConnectorError, Issued, Pending, Unavailable
from certrelay.keyvault.remote_key import CLIENT_OPTIONS
from sandbox.vault import Settings, VaultServer
from tests.connectors.acme.ordering import TestSolver, acme, follow, request_for
from tests.connectors.acme.pebble import Pebble, TestDns
from tests.connectors.conformance import context

pytestmark = pytest.mark.slow

type Connect = Callable[..., Acme]


class Killed(BaseException):
    """The worker is gone."""


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultServer]:
    with VaultServer(tmp_path / "vault", settings=Settings(self_delay=0.05)) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", server.identity_header)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_bundle))
        yield server


@pytest.fixture
def credential(vault: VaultServer) -> Iterator[ManagedIdentityCredential]:
    with ManagedIdentityCredential() as made:
        yield made


@pytest.fixture
def pebble(dns: TestDns, tmp_path: Path) -> Iterator[Pebble]:
    with Pebble(tmp_path / "pebble", dns.port) as running:
        yield running


@pytest.fixture
def connect(vault: VaultServer, pebble: Pebble, dns: TestDns, credential: ManagedIdentityCredential) -> Connect:
    def connected(name: str = "account", **changes: Any) -> Acme:
        given: dict[str, Any] = {"account_key_vault_url": vault.url, "account_key_name": name, **changes}
        settings = AcmeSettings(url=pebble.directory, ca_certificates=pebble.tls_roots, **given)
        return Acme(settings, replace(context("acme"), credential=lambda: credential), TestSolver(dns))

    return connected


@pytest.fixture
def versions(vault: VaultServer, credential: ManagedIdentityCredential) -> Callable[[], dict[str, bool]]:
    """The versions of the account key, and whether they are enabled."""

    def listed() -> dict[str, bool]:
        with KeyClient(vault.url, credential) as keys:
            return {str(one.id): bool(one.enabled) for one in keys.list_properties_of_key_versions("account")}

    return listed


def key_of(connector: Acme) -> str:
    version = connector._session()._version
    assert version is not None
    return version.id


@pytest.mark.parametrize("kind", [{"key_type": "EC", "key_curve_name": "P-256"}, {"key_type": "RSA", "key_size": 2048}])
def test_a_certificates_key_serves_as_well(
    vault: VaultServer, connect: Connect, credential: ManagedIdentityCredential, kind: dict[str, Any]
) -> None:
    policy = CertificatePolicy("Self", subject="CN=account", exportable=False, **kind)
    with CertificateClient(vault.url, credential) as certificates:
        certificates.begin_create_certificate("account", policy, _polling_interval=0.1).result()
    assert isinstance(follow(connect(), request_for("vaulted.example.com")), Issued)


def test_the_key_is_made_at_its_first_use_and_stays(connect: Connect, versions: Callable[[], dict[str, bool]]) -> None:
    assert isinstance(follow(connect(), request_for("first.example.com")), Issued)
    assert isinstance(follow(connect(), request_for("second.example.com")), Issued)
    assert list(versions().values()) == [True]


def test_workers_that_make_the_key_at_the_same_time_agree_on_one(connect: Connect) -> None:
    connectors = [connect() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda connector: connector.check(), connectors))
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(
            pool.map(lambda one: follow(one[1], request_for(f"r{one[0]}.example.com")), enumerate(connectors))
        )
    assert [type(outcome) for outcome in outcomes] == [Issued] * 6
    assert len({key_of(connect()) for _ in range(3)}) == 1


def test_what_key_vault_does_not_allow_is_told_with_the_role_that_is_missing(
    vault: VaultServer, connect: Connect
) -> None:
    for client in list(vault.identities.permissions):
        vault.identities.permissions[client] = {"keys": ["get", "list", "sign"]}
    outcome = connect().submit(request_for("refused.example.com"))
    assert isinstance(outcome, Unavailable)
    assert "Key Vault Crypto Officer" in outcome.reason
    assert "appid" not in outcome.reason


def test_a_key_that_somebody_disabled_is_not_replaced(
    vault: VaultServer, connect: Connect, credential: ManagedIdentityCredential, versions: Callable[[], dict[str, bool]]
) -> None:
    stale = connect()
    stale.check()
    with KeyClient(vault.url, credential) as keys:
        keys.update_key_properties("account", enabled=False)
    for connector in (stale, connect()):
        outcome = connector.submit(request_for("disabled.example.com"))
        assert isinstance(outcome, Unavailable), outcome
    assert "every version of the account key account is disabled" in str(outcome)
    assert list(versions().values()) == [False]


def test_after_a_rollover_every_worker_uses_the_new_key(
    vault: VaultServer, connect: Connect, versions: Callable[[], dict[str, bool]]
) -> None:
    first, stale, fresh = connect(), connect(), connect()
    assert isinstance(follow(first, request_for("before.example.com")), Issued)
    open_request = request_for("open.example.com")
    open_order = stale.submit(open_request)
    assert isinstance(open_order, Pending)
    old = key_of(first)
    vault.clock.advance(5)
    new = first.roll_over_account_key()
    assert new != old
    assert versions() == {old: False, new: True}
    outcome = open_order
    for _ in range(60):
        if not isinstance(outcome, Pending):
            break
        outcome = stale.collect(open_request, outcome.reference)  # type: ignore[assignment]
    assert isinstance(outcome, Issued), "the order that was open goes on"
    for number, connector in enumerate((first, stale, fresh)):
        assert isinstance(follow(connector, request_for(f"after{number}.example.com")), Issued)
        assert key_of(connector) == new


def test_an_account_whose_key_never_left_key_vault_is_ours_and_its_standing_record_outlives_a_rollover(
    connect: Connect, dns: TestDns
) -> None:
    """dns-persist-01, drafts -00 and -01: pebble's record holds the URL of the account."""
    address = f"127.0.0.1:{dns.port}"
    persist = {"issuer": "pebble.letsencrypt.org", "resolvers": [address], "name_servers": [address]}
    connector = connect(dns_persist=persist)
    record = connector.standing_record("standing.example.com")
    dns.tell("set-txt", host=f"{record.name}.", value=record.value)
    connector.roll_over_account_key()
    later = connect(dns_persist=persist)
    assert later.standing_record("standing.example.com") == replace(record, fault="")
    assert isinstance(follow(later, request_for("standing.example.com")), Issued)


def test_a_stale_worker_places_an_order_after_a_rollover(connect: Connect) -> None:
    first, stale = connect(), connect()
    stale.check()
    first.roll_over_account_key()
    assert isinstance(follow(stale, request_for("stale.example.com")), Issued)


def test_a_health_check_of_a_stale_worker_makes_no_account_for_the_old_key(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, stale = connect(), connect()
    stale.check()
    monkeypatch.setattr(AccountKey, "disable_before", lambda *_: None)  # it is best effort
    new = first.roll_over_account_key()
    stale.check()
    assert [key_of(stale), key_of(connect())] == [new, new]


@pytest.mark.parametrize("first_asked", ["order", "check", "standing_record"])
def test_a_stale_worker_that_has_lost_an_order_makes_no_account_for_the_old_key(
    connect: Connect, dns: TestDns, monkeypatch: pytest.MonkeyPatch, first_asked: str
) -> None:
    """After an order that is lost, the account is asked for anew."""
    address = f"127.0.0.1:{dns.port}"
    persist = {"issuer": "pebble.letsencrypt.org", "resolvers": [address], "name_servers": [address]}
    first, stale = connect(), connect(dns_persist=persist)
    stale.check()
    account = stale._session()._account.url()
    lost = stale.collect(request_for("lost.example.com"), Reference("https://other.example/order/1").text())
    assert isinstance(lost, Unavailable)
    assert lost.restart
    monkeypatch.setattr(AccountKey, "disable_before", lambda *_: None)  # it is best effort
    new = first.roll_over_account_key()
    if first_asked == "check":
        stale.check()
    elif first_asked == "standing_record":
        assert account in stale.standing_record("lost.example.com").value
    assert isinstance(follow(stale, request_for("lost.example.com")), Issued)
    assert [key_of(stale), key_of(connect())] == [new, new]
    assert stale._session()._account.url() == account


@pytest.mark.parametrize("rolled_over", [False, True])
def test_a_server_that_has_lost_every_account_gets_a_new_one_at_once(
    connect: Connect, pebble: Pebble, versions: Callable[[], dict[str, bool]], rolled_over: bool
) -> None:
    connector = connect()
    connector.check()
    if rolled_over:
        connector.roll_over_account_key()
        connector.check()
    before = versions()
    pebble.restart()
    assert isinstance(follow(connector, request_for("anew.example.com")), Issued)
    assert versions() == before


@pytest.mark.parametrize("cut", ["change_key", "disable_before"])
def test_a_rollover_that_was_cut_off_leaves_the_account_usable_and_is_finished_by_the_next_one(
    vault: VaultServer,
    connect: Connect,
    versions: Callable[[], dict[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
    cut: str,
) -> None:
    connector = connect()
    assert isinstance(follow(connector, request_for("before.example.com")), Issued)
    where = (
        "certrelay.connectors.acme.account.Account"
        if cut == "change_key"
        else "certrelay.connectors.acme.account_key.AccountKey"
    )

    def die(*_: object) -> None:
        raise Killed

    vault.clock.advance(5)
    with monkeypatch.context() as patched:
        patched.setattr(f"{where}.{cut}", die)
        with pytest.raises(Killed):
            connector.roll_over_account_key()
    assert isinstance(follow(connect(), request_for("between.example.com")), Issued)
    assert len(versions()) == 2
    vault.clock.advance(5)
    new = connect().roll_over_account_key()
    assert [name for name, enabled in versions().items() if enabled] == [new]
    assert len(versions()) == (2 if cut == "change_key" else 3)
    assert isinstance(follow(connect(), request_for("end.example.com")), Issued)


def test_a_key_in_a_setting_is_not_rolled_over(pebble: Pebble, dns: TestDns) -> None:
    with pytest.raises(ConnectorError, match="only an account key in Key Vault"):
        acme(pebble, TestSolver(dns)).roll_over_account_key()


def test_a_vault_that_is_down_makes_the_authority_unavailable(vault: VaultServer, connect: Connect) -> None:
    vault.faults.add(status=503, times=None)
    outcome = connect().submit(request_for("down.example.com"))
    assert isinstance(outcome, Unavailable)
    assert "Key Vault" in outcome.reason


def test_threads_do_not_wait_for_a_vault_that_hangs_one_after_the_other(
    vault: VaultServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIENT_OPTIONS, "read_timeout", 0.5)
    monkeypatch.setitem(CLIENT_OPTIONS, "retry_total", 0)
    vault.faults.add(kind="latency", seconds=1.0, times=None)
    connector, begin = connect(), time.monotonic()
    with ThreadPoolExecutor(24) as pool:
        outcomes = list(pool.map(lambda _: connector.submit(request_for("slow.example.com")), range(24)))
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 24
    assert time.monotonic() - begin < 24 * 0.5


@pytest.mark.parametrize(
    "fault",
    [{"kind": "latency", "seconds": 30.0}, {"status": 429, "retry_after": 30}, {"status": 503, "retry_after": 30}],
)
@pytest.mark.parametrize("at", ["the list of its versions", "a signature"])
def test_a_vault_that_wants_us_to_wait_does_not_hold_the_worker(
    vault: VaultServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], at: str
) -> None:
    monkeypatch.setitem(CLIENT_OPTIONS, "read_timeout", 0.5)
    connector = connect()
    if at == "a signature":
        assert isinstance(connector.submit(request_for("before.example.com")), Pending)
    vault.faults.add(times=None, **fault)
    begin = time.monotonic()
    assert isinstance(connector.submit(request_for("slow.example.com")), Unavailable)
    assert time.monotonic() - begin < 25


def test_a_key_on_a_curve_that_acme_does_not_know_is_refused(
    vault: VaultServer, credential: ManagedIdentityCredential
) -> None:
    with KeyClient(vault.url, credential) as keys:
        keys.create_ec_key("odd", curve="P-256K")
    with pytest.raises(Exception, match="P-256, P-384 or P-521"):
        AccountKey(vault.url, "odd", replace(context("acme"), credential=lambda: credential)).versions()
