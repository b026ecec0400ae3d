"""`acme` against pebble, Let's Encrypt's test server, with pebble-challtestsrv as the DNS that it asks."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pydantic import ValidationError

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    RevocationReason,
    Revokes,
    RollsOverAccountKey,
    SuggestsRenewal,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.ordering import TestSolver, acme, der, follow, leaf_for, pem, pem_of, request_for
from tests.connectors.acme.pebble import Pebble
from tests.connectors.conformance import Authority, Conformance, context
from tests.connectors.hostile import HostileConformance, HostileServer, closed_port_url, hang, hostile_server

pytestmark = pytest.mark.slow


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
