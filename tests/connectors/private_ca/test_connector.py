"""`private_ca` against the sandbox vault (its key), Azurite (its records) and openssl (a verifier of others)."""

import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from certrelay.connectors.base import ChecksHealth, ConnectorError, Feature, RevocationReason, Revokes, Unavailable
from certrelay.connectors.private_ca.connector import PrivateCa
from certrelay.connectors.private_ca.settings import PrivateCaSettings
from certrelay.keyvault.remote_key import CLIENT_OPTIONS
from certrelay.pki.subject import SubjectNames
from sandbox.identity import SYSTEM_ASSIGNED
from tests.connectors.conformance import Authority, Conformance
from tests.connectors.hostile import HostileServer, closed_port_url, hostile_server
from tests.connectors.private_ca.private_authority import NAMES, World, der, issued, openssl, pem_file
from tests.connectors.signing_requests import signing_request


@pytest.fixture(scope="module")
def authority(world: World) -> Authority:
    name, root = world.root("EC-256", permitted_dns=("example.com",))
    containers = world.containers()

    def connect(**changes: Any) -> PrivateCa:
        return world.connector(name, issue_ca_certificates=True, **containers, **changes)

    def is_revoked(certificate: x509.Certificate) -> bool:
        if f"{name}.crl" not in world.blobs(containers["crl_container"]):
            return False
        crl = world.crl(containers, name)
        return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None

    closed = closed_port_url()
    return Authority(
        connect=connect,
        unreachable=lambda: connect(vault_url=closed),
        roots=[root],
        refused=SubjectNames("evil.example.net", ("evil.example.net",)),
        is_revoked=is_revoked,
        secrets=[world.vault.identity_header, "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"],
        key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
    )


class TestConformance(Conformance):
    undeclared = frozenset()
    abilities = frozenset({Revokes, ChecksHealth})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["EC-256", "EC-384", "EC-521", "RSA-2048", "RSA-4096"])
def test_openssl_trusts_what_is_issued_and_no_longer_once_it_is_revoked(
    world: World, tmp_path: Path, kind: str
) -> None:
    name, root = world.root(kind)
    containers = world.containers()
    connector = world.connector(
        name,
        crl_distribution_point=f"http://crl.example.com/{name}.crl",
        aia_issuer_url=f"http://crl.example.com/{name}.cer",
        **containers,
    )
    good, bad = (issued(connector.submit(signing_request(NAMES))) for _ in range(2))
    connector.revoke(der(bad), RevocationReason.KEY_COMPROMISE)
    crl = world.crl(containers, name)
    (tmp_path / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
    anchor = pem_file(tmp_path / "root.pem", root)
    check: list[str | Path] = [
        "verify",
        "-x509_strict",
        "-crl_check",
        "-CAfile",
        anchor,
        "-CRLfile",
        tmp_path / "crl.pem",
    ]
    openssl(*check, pem_file(tmp_path / "good.pem", good))
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*check, pem_file(tmp_path / "bad.pem", bad))
    assert "verify OK" in openssl("crl", "-in", tmp_path / "crl.pem", "-CAfile", anchor, "-noout")
    assert "Key Compromise" in openssl("crl", "-in", tmp_path / "crl.pem", "-noout", "-text")


def test_rsa_pss_signatures_are_accepted_by_openssl(world: World, tmp_path: Path) -> None:
    name, root = world.root("RSA-2048")
    leaf = issued(world.connector(name, rsa_padding="pss", **world.containers()).submit(signing_request(NAMES)))
    assert leaf.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
    openssl("verify", "-x509_strict", "-CAfile", pem_file(tmp_path / "r", root), pem_file(tmp_path / "l", leaf))


def test_the_padding_of_rsa_keys_is_nothing_to_a_key_on_a_curve(world: World, shared: Any) -> None:
    name, root, containers = shared
    leaf = issued(world.connector(name, rsa_padding="pss", **containers).submit(signing_request(NAMES)))
    leaf.verify_directly_issued_by(root)


def test_a_name_without_a_certificate_is_unavailable_and_says_what_key_vault_said(world: World) -> None:
    outcome = world.connector("no-such-ca", **world.containers()).submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "Key Vault answered 404 CertificateNotFound"


def test_a_vault_that_refuses_the_app_is_unavailable_and_the_missing_roles_are_named(world: World, shared: Any) -> None:
    world.vault.identities.permissions[SYSTEM_ASSIGNED] = {"certificates": [], "keys": []}
    try:
        outcome = world.connector(shared[0], **shared[2]).submit(signing_request(NAMES))
    finally:
        world.vault.identities.permissions[SYSTEM_ASSIGNED] = None
    assert isinstance(outcome, Unavailable)
    assert outcome.reason.endswith(
        "the app needs the roles Key Vault Reader and Key Vault Crypto User on the CA's vault"
    )
    assert "appid" not in outcome.reason


def test_a_missing_container_is_named(world: World, shared: Any) -> None:
    name, _, _ = shared
    connector = world.connector(name, records_container="none-such")
    with pytest.raises(ConnectorError, match="404 ContainerNotFound"):
        connector.check()
    outcome = connector.submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "storage answered 404 ContainerNotFound"
    with pytest.raises(ConnectorError, match="404 ContainerNotFound"):
        world.connector(name, **{**world.containers(), "crl_container": "none-such"}).check()


def test_storage_without_a_connection_string_is_asked_with_the_apps_own_identity(
    world: World, shared: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str | None]] = []

    def remember(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        asked.append((handler.path, handler.headers["Authorization"]))
        handler.send_error(403)

    with hostile_server(remember) as storage:
        roots = tmp_path / "roots.pem"
        roots.write_text(world.vault.ca_bundle.read_text() + storage.ca_certificates)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(roots))
        places = {"storage_connection_string": None, "storage_account_url": storage.url}
        outcome = world.connector(shared[0], **places).submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason.startswith("storage answered 403")
    [(path, authorization)] = asked
    token = world.credential.get_token("https://storage.azure.com/.default").token
    assert path.startswith(f"/private-ca/{shared[0]}/intents/")
    assert authorization == f"Bearer {token}"


@pytest.mark.parametrize(
    "change",
    [
        {"vault_url": "http://vault.example.com"},
        {"storage_connection_string": None},
        {"storage_account_url": "https://a.blob.core.windows.net"},
        {"crl_container": "private-ca"},
        {"extended_key_usages": ["serverAuth"]},
        {"chain_certificates": "no PEM"},
        {"crl_distribution_point": "ldap://x"},
        {"max_validity_days": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "vault_url": "https://v.vault.azure.net",
        "ca_certificate_name": "ca",
        "storage_connection_string": "UseDevelopmentStorage=true",
    }
    PrivateCaSettings.model_validate(good)
    with pytest.raises(ValidationError):
        PrivateCaSettings.model_validate({**good, **change})


def test_all_features_are_declared() -> None:
    assert PrivateCa.features == frozenset(Feature)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signature_whose_answer_is_lost_is_asked_for_again(world: World, shared: Any, when: str) -> None:
    name, root, _ = shared
    containers, request = world.containers(), signing_request(NAMES)
    connector = world.connector(name, **containers)
    world.vault.faults.add(kind="reset", operation="Sign", when=when, times=20)
    try:
        assert isinstance(connector.submit(request), Unavailable)
    finally:
        world.vault.faults.clear()
    leaf = issued(connector.submit(request))
    leaf.verify_directly_issued_by(root)
    assert len(world.blobs(containers["records_container"])) == 2


def test_a_throttled_order_waits_as_long_as_key_vault_asks_and_holds_up_nobody(world: World, shared: Any) -> None:
    name, _, containers = shared
    connector, request = world.connector(name, **containers), signing_request(NAMES)
    issued(connector.submit(signing_request(NAMES)))
    world.vault.faults.add(status=429, operation="Sign", retry_after=37)
    begin = time.monotonic()
    outcome = connector.submit(request)
    assert outcome == Unavailable("Key Vault answered 429 Throttled", 37.0)
    assert time.monotonic() - begin < 30
    issued(connector.submit(request))


def test_threads_do_not_wait_for_a_key_vault_that_hangs_one_after_the_other(
    world: World, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, containers = shared
    monkeypatch.setitem(CLIENT_OPTIONS, "read_timeout", 0.5)
    monkeypatch.setitem(CLIENT_OPTIONS, "retry_total", 0)
    connector = world.connector(name, **containers)
    world.vault.faults.add(kind="latency", seconds=1.0, times=None)
    begin = time.monotonic()
    try:
        with ThreadPoolExecutor(24) as pool:
            outcomes = list(pool.map(lambda _: connector.submit(signing_request(NAMES)), range(24)))
    finally:
        world.vault.faults.clear()
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 24
    assert time.monotonic() - begin < 24 * 0.5
