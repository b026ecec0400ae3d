"""How `vault_pki` logs in to OpenBao, and keeps its token."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from certrelay.connectors.base import ConnectorError, Issued, Unavailable
from certrelay.connectors.vault_pki.connector import VaultPki
from certrelay.connectors.vault_pki.settings import VaultPkiSettings
from tests.connectors.bao import NAMES, Pki
from tests.connectors.conformance import context
from tests.connectors.hostile import HostileServer, hostile_server
from tests.connectors.signing_requests import private_key, signing_request


class Clock:
    """The time of the tests; it stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def jwt(claims: dict[str, Any]) -> str:
    """Signed with RS256 (RFC 7515) by the tests' RSA key."""

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    key = private_key("rsa-2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    return f"{signed}.{encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_a_wrong_secret_id_is_unavailable_and_keeps_the_secret(pki: Pki) -> None:
    outcome = pki.approle(secret_id="a-wrong-one").submit(signing_request(NAMES))
    assert outcome == Unavailable("login: invalid role or secret ID")


def test_a_denied_token_is_unavailable_for_the_denial_may_pass(pki: Pki) -> None:
    connector = pki.connect(token="s.unknown")
    assert connector.submit(signing_request(NAMES)) == Unavailable("permission denied")
    with pytest.raises(ConnectorError, match="permission denied"):
        connector.check()


def test_many_threads_log_in_once(pki: Pki) -> None:
    before, connector = pki.bao.accessors(), pki.approle()
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: connector.submit(signing_request(NAMES)), range(24)))
    assert all(isinstance(outcome, Issued) for outcome in outcomes)
    assert len(pki.bao.accessors() - before) == 1


def test_a_token_is_renewed_after_two_thirds_of_its_lease(pki: Pki) -> None:
    clock = Clock()
    before, connector = pki.bao.accessors(), pki.approle(now=clock)
    for minutes in (0, 20, 25, 30):
        clock.time += timedelta(minutes=minutes)
        assert isinstance(connector.submit(signing_request(NAMES)), Issued)
    [accessor] = pki.bao.accessors() - before
    assert pki.bao.write("auth/token/lookup-accessor", accessor=accessor)["last_renewal_time"]


def test_a_token_that_was_revoked_is_replaced_within_the_same_call(pki: Pki) -> None:
    connector = pki.approle()
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)
    pki.bao.write("auth/approle-conformance/role/relay/secret-id")
    pki.bao.write("sys/leases/revoke-prefix/auth/approle-conformance")
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)


def test_a_given_token_is_renewed_before_its_lease_ends(pki: Pki) -> None:
    token = pki.bao.token(period="1h")
    assert isinstance(pki.connect(token=token).submit(signing_request(NAMES)), Issued)
    assert pki.bao.write("auth/token/lookup", token=token)["last_renewal_time"]


def test_a_given_token_whose_renewal_met_an_outage_is_renewed_at_the_next_call(pki: Pki) -> None:
    clock, token, renewals = Clock(), pki.bao.token(period="1h"), list[int]()
    connector = pki.connect(token=token, now=clock)

    def outage(answer: requests.Response, **_: Any) -> None:
        if answer.url.endswith("/renew-self"):
            answer.status_code = 503 if len(renewals) == 1 else answer.status_code
            renewals.append(answer.status_code)

    connector._session.hooks["response"].append(outage)
    for _ in range(3):
        connector.submit(signing_request(NAMES))
        clock.time += timedelta(minutes=45)
    assert renewals == [200, 503, 200]


def test_a_given_token_that_cannot_be_renewed_is_used_all_the_same(pki: Pki) -> None:
    token = pki.bao.token(renewable=False, ttl="1h", no_default_policy=True)
    assert isinstance(pki.connect(token=token).submit(signing_request(NAMES)), Issued)


def test_the_managed_identity_logs_in_with_a_token_for_the_audience(pki: Pki) -> None:
    key = private_key("rsa-2048")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pki.bao.write("sys/auth/jwt", type="jwt")
    pki.bao.write("auth/jwt/config", jwt_validation_pubkeys=[public.decode()])
    pki.bao.write(
        "auth/jwt/role/relay", role_type="jwt", user_claim="sub", bound_audiences="api://bao", token_policies="signing"
    )
    asked: list[str] = []

    def get_token(scope: str) -> Any:
        asked.append(scope)
        return SimpleNamespace(
            token=jwt(
                {"sub": "identity", "aud": "api://bao", "nbf": int(time.time()) - 5, "exp": int(time.time()) + 600}
            )
        )

    def credential() -> Any:
        return SimpleNamespace(get_token=get_token)

    connector = pki.connect(jwt_role="relay", jwt_audience="api://bao", credential=credential)
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)
    connector.check()
    assert asked == ["api://bao/.default"]
    elsewhere = pki.connect(jwt_role="unknown", jwt_audience="api://bao", credential=credential)
    refused = elsewhere.submit(signing_request(NAMES))
    assert isinstance(refused, Unavailable)
    assert refused.reason.startswith("login: ")


def test_a_managed_identity_without_a_token_is_unavailable(pki: Pki) -> None:
    def get_token(_scope: str) -> Any:
        raise ClientAuthenticationError("a text that nobody needs to see")

    connector = pki.connect(
        jwt_role="relay", jwt_audience="api://bao", credential=lambda: SimpleNamespace(get_token=get_token)
    )
    reason = "login: no token from the managed identity (ClientAuthenticationError)"
    assert connector.submit(signing_request(NAMES)) == Unavailable(reason)


def test_a_lease_of_any_length_is_taken() -> None:
    def log_in(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        body = json.dumps({"auth": {"client_token": "t", "lease_duration": 10**400}, "data": None}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with hostile_server(log_in) as server:
        login = {"role": "web", "role_id": "r", "secret_id": "s", "ca_certificates": server.ca_certificates}
        connector = VaultPki(VaultPkiSettings.model_validate({"url": server.url, **login}), context("bao"))
        assert connector.submit(signing_request(NAMES)) == Unavailable("its answer holds no certificate")
