"""`private_ca` against the sandbox vault (its key), Azurite (its records) and openssl (a verifier of others)."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from certrelay.connectors.base import (
    ChecksHealth,
    ConnectorError,
    Feature,
    Issued,
    Rejected,
    RevocationReason,
    Revokes,
    Unavailable,
)
from certrelay.connectors.private_ca.connector import PrivateCa, PrivateCaSettings
from certrelay.keyvault.remote_key import CLIENT_OPTIONS
from certrelay.pki.subject import SubjectNames
from sandbox.azurite import Azurite
from tests.connectors.answers import certificates
from tests.connectors.conformance import Authority, Conformance
from tests.connectors.hostile import HostileServer, closed_port_url, hostile_server
from tests.connectors.private_authority import World, openssl, pem_file, running_world
from tests.connectors.signing_requests import private_key, signing_request

NAMES = SubjectNames("a.example.com", ("a.example.com", "b.example.com"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("vault"), azurite) as running:
        yield running


@pytest.fixture(autouse=True)
def _present(world: World) -> Iterator[None]:
    yield
    world.offset = timedelta()


def issued(outcome: Any) -> x509.Certificate:
    assert isinstance(outcome, Issued), outcome
    return certificates(outcome.answer)[0]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


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


@pytest.fixture(scope="module")
def shared(world: World) -> tuple[str, x509.Certificate, dict[str, str]]:
    """A root and containers for tests that only issue."""
    return (*world.root("EC-256", validity=timedelta(days=100)), world.containers())


def test_a_leaf_follows_rfc_5280(world: World, shared: Any) -> None:
    name, root, containers = shared
    connector = world.connector(
        name, crl_distribution_point="http://x.test/a.crl", aia_issuer_url="http://x.test/a.cer", **containers
    )
    leaf = issued(connector.submit(signing_request(NAMES, private_key("rsa-2048"))))
    found = {type(one.value): one for one in leaf.extensions}
    assert found[x509.BasicConstraints].critical
    assert found[x509.KeyUsage].critical
    assert found[x509.KeyUsage].value.key_encipherment
    assert not found[x509.KeyUsage].value.key_cert_sign
    assert not found[x509.SubjectAlternativeName].critical
    root_key = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert found[x509.AuthorityKeyIdentifier].value.key_identifier == root_key
    expected = x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    assert found[x509.SubjectKeyIdentifier].value == expected
    assert found[x509.CRLDistributionPoints].value[0].full_name[0].value == "http://x.test/a.crl"
    assert found[x509.AuthorityInformationAccess].value[0].access_location.value == "http://x.test/a.cer"
    assert 0 < leaf.serial_number < 2**128


def test_alternative_names_are_critical_when_the_subject_is_empty(world: World, shared: Any) -> None:
    name, _, containers = shared
    leaf = issued(world.connector(name, **containers).submit(signing_request(SubjectNames(None, ("a.example.com",)))))
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert not leaf.subject.rdns


def test_no_certificate_outlives_the_authority_or_the_limit(world: World, shared: Any) -> None:
    name, root, containers = shared
    long = signing_request(NAMES, validity=timedelta(days=3000))
    assert issued(world.connector(name, **containers).submit(long)).not_valid_after_utc == root.not_valid_after_utc
    limited = issued(
        world.connector(name, max_validity_days=7, **containers).submit(replace(long, operation_id=uuid.uuid4().hex))
    )
    assert limited.not_valid_after_utc - world.now() <= timedelta(days=7)


def test_no_certificate_outlives_an_authority_above_its_own(world: World, shared: Any) -> None:
    name, _, containers = shared
    _, above = world.root(validity=timedelta(days=60))
    connector = world.connector(name, chain_certificates=above.public_bytes(Encoding.PEM).decode(), **containers)
    leaf = issued(connector.submit(signing_request(NAMES, validity=timedelta(days=300))))
    assert leaf.not_valid_after_utc == above.not_valid_after_utc


def test_an_expired_authority_signs_nothing(world: World, shared: Any) -> None:
    name, _, containers = shared
    world.offset = timedelta(days=101)
    connector = world.connector(name, **containers)
    outcome = connector.submit(signing_request(NAMES, validity=timedelta(days=300)))
    assert isinstance(outcome, Unavailable)
    assert "valid only until" in outcome.reason
    with pytest.raises(ConnectorError, match="valid only until"):
        connector.check()


def test_names_come_from_the_request_and_not_from_the_csr(world: World, shared: Any) -> None:
    name, _, containers = shared
    evil = signing_request(SubjectNames("evil.example.net", ("evil.example.net",)))
    leaf = issued(world.connector(name, **containers).submit(replace(evil, names=NAMES)))
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "a.example.com"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example.com", "b.example.com"]


def test_a_csr_that_asks_for_a_ca_gets_none(world: World, shared: Any) -> None:
    name, _, containers = shared
    request = replace(signing_request(NAMES, is_ca=True), is_ca=False)
    leaf = issued(world.connector(name, **containers).submit(request))
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_ca_certificates_are_issued_only_where_that_is_switched_on(world: World, shared: Any) -> None:
    name, _, containers = shared
    outcome = world.connector(name, **containers).submit(signing_request(SubjectNames("Sub"), is_ca=True))
    assert isinstance(outcome, Rejected)
    assert "issue_ca_certificates" in outcome.reason


def test_an_extended_key_usage_that_is_not_allowed_is_rejected(world: World, shared: Any) -> None:
    name, _, containers = shared
    only_servers = (ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,)
    connector = world.connector(name, extended_key_usages=only_servers, **containers)
    outcome = connector.submit(signing_request(NAMES))
    assert isinstance(outcome, Rejected)
    assert ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string in outcome.reason


def test_a_csr_that_its_key_did_not_sign_is_rejected(world: World, shared: Any) -> None:
    name, _, containers = shared
    request = signing_request(NAMES)
    broken = bytearray(request.csr)
    broken[-2] ^= 1
    outcome = world.connector(name, **containers).submit(replace(request, csr=bytes(broken)))
    assert isinstance(outcome, Rejected)


def test_a_weak_key_is_rejected(world: World, shared: Any) -> None:
    name, _, containers = shared
    outcome = world.connector(name, **containers).submit(signing_request(NAMES, private_key("rsa-1024")))
    assert isinstance(outcome, Rejected)
    assert "2048" in outcome.reason


def test_a_rejected_request_leaves_no_record(world: World) -> None:
    name, _ = world.root(permitted_dns=("example.com",))
    containers = world.containers()
    outcome = world.connector(name, **containers).submit(signing_request(SubjectNames(None, ("a.example.net",))))
    assert isinstance(outcome, Rejected)
    assert "a.example.net" in outcome.reason
    assert world.blobs(containers["records_container"]) == []


def test_an_operation_id_cannot_be_used_for_another_request(world: World, shared: Any) -> None:
    name, _, containers = shared
    connector, request = world.connector(name, **containers), signing_request(NAMES)
    issued(connector.submit(request))
    outcome = connector.submit(replace(request, names=SubjectNames(None, ("c.example.com",))))
    assert isinstance(outcome, Rejected)
    assert "another request" in outcome.reason


class Killed(BaseException):
    """Ends a submit as the end of its process would."""


@pytest.mark.parametrize("effect", range(5))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_around_any_effect_leaves_one_certificate(
    world: World, shared: Any, monkeypatch: pytest.MonkeyPatch, effect: int, moment: str
) -> None:
    name, root, _ = shared
    containers, request = world.containers(), signing_request(NAMES)
    connector = world.connector(name, **containers)
    with monkeypatch.context() as patch:
        count = count_effects(patch, kill_at=effect, moment=moment)
        with pytest.raises(Killed):
            connector.submit(request)
    assert count[0] == effect + 1
    first, second = (issued(world.connector(name, **containers).submit(request)) for _ in range(2))
    assert first == second
    first.verify_directly_issued_by(root)
    kinds = [blob.split("/")[1] for blob in world.blobs(containers["records_container"])]
    assert kinds == ["intents", "issued"]


def count_effects(patch: pytest.MonkeyPatch, kill_at: int, moment: str) -> list[int]:
    """Counts the reads, writes and signatures of a submit, and kills it at one of them."""
    from certrelay.connectors.private_ca.issuer import Issuer
    from certrelay.storage.blobs import BlobStore

    count = [0]

    def deadly(owner: type, method: str) -> None:
        original = getattr(owner, method)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            count[0] += 1
            if count[0] == kill_at + 1 and moment == "before":
                raise Killed
            result = original(*arguments, **named)
            if count[0] == kill_at + 1:
                raise Killed
            return result

        patch.setattr(owner, method, wrapped)

    deadly(BlobStore, "read")
    deadly(BlobStore, "create")
    deadly(Issuer, "sign")
    return count


def test_many_workers_on_one_order_answer_one_certificate(world: World, shared: Any) -> None:
    name, _, _ = shared
    containers, request = world.containers(), signing_request(NAMES)

    def one(_: int) -> bytes:
        return der(issued(world.connector(name, **containers).submit(request)))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(16)))) == 1
    assert len(world.blobs(containers["records_container"])) == 2


def test_an_order_that_was_decided_keeps_its_serial_and_times(
    world: World, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, containers = shared
    request, connector = signing_request(NAMES), world.connector(name, **containers)
    with monkeypatch.context() as patch:
        count_effects(patch, kill_at=3, moment="before")
        with pytest.raises(Killed):
            connector.submit(request)
    before = world.now()
    world.offset = timedelta(hours=5)
    leaf = issued(world.connector(name, **containers).submit(replace(request, not_after=world.now())))
    assert leaf.not_valid_before_utc < before
    assert leaf.not_valid_after_utc == request.not_after


def test_a_name_without_a_certificate_is_unavailable_and_says_what_key_vault_said(world: World) -> None:
    outcome = world.connector("no-such-ca", **world.containers()).submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "Key Vault answered 404 CertificateNotFound"


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
