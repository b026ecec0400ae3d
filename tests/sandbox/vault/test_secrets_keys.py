"""The secret and the key that belong to a certificate."""

import base64
import datetime
import hashlib
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import SignatureAlgorithm
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from sandbox.vault import VaultServer
from sandbox.vault.render import base64url
from tests.sandbox.vault.support import (
    Authority,
    Rest,
    certify,
    der,
    openssl,
    pending,
    properties,
    self_signed,
    validity,
)


def test_openssl_reads_the_pfx_with_an_empty_password(
    client: CertificateClient, secrets: SecretClient, tmp_path: Path, name: str
) -> None:
    created = self_signed(client, name)
    secret = secrets.get_secret(name)
    assert secret.properties.content_type == "application/x-pkcs12"
    assert secret.properties.key_id == created.key_id
    assert secret.id == created.secret_id
    file = tmp_path / "a.pfx"
    file.write_bytes(base64.b64decode(secret.value or ""))
    shown = openssl("pkcs12", "-in", str(file), "-passin", "pass:", "-info", "-nodes", "-legacy")
    assert "MAC: sha1, Iteration 2000" in shown
    assert shown.count("pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2000") == 2
    certificate = x509.load_der_x509_certificate(bytes(created.cer or b""))
    modulus = openssl("x509", "-inform", "der", "-noout", "-modulus", stdin=bytes(created.cer or b""))
    key = shown[shown.index("-----BEGIN PRIVATE KEY") :].encode()
    assert openssl("rsa", "-noout", "-modulus", stdin=key) == modulus
    parsed = pkcs12.load_pkcs12(file.read_bytes(), b"")
    assert parsed.cert is not None
    assert parsed.cert.certificate == certificate


def test_the_secret_of_an_elliptic_key_is_read_too(client: CertificateClient, secrets: SecretClient, name: str) -> None:
    created = self_signed(client, name, key_type="EC", key_curve_name="P-384")
    key, leaf, _ = pkcs12.load_key_and_certificates(base64.b64decode(secrets.get_secret(name).value or ""), None)
    assert leaf == x509.load_der_x509_certificate(bytes(created.cer or b""))
    assert key is not None
    assert key.public_key() == leaf.public_key()


def test_the_same_secret_reads_the_same_twice(client: CertificateClient, secrets: SecretClient, name: str) -> None:
    version = properties(self_signed(client, name)).version
    assert secrets.get_secret(name).value == secrets.get_secret(name, version).value


@pytest.mark.parametrize("content_type", ["application/x-pkcs12", "application/x-pem-file"])
def test_a_key_that_is_not_exportable_stays_out_of_the_secret(
    client: CertificateClient, secrets: SecretClient, name: str, content_type: str
) -> None:
    created = self_signed(client, name, exportable=False, key_type="RSA", content_type=content_type)
    value = secrets.get_secret(name).value or ""
    if content_type == "application/x-pem-file":
        assert "PRIVATE KEY" not in value
        certificates = x509.load_pem_x509_certificates(value.encode())
    else:
        key, leaf, others = pkcs12.load_key_and_certificates(base64.b64decode(value), None)
        assert key is None
        certificates = [*others, *([leaf] if leaf else [])]
    assert certificates == [x509.load_der_x509_certificate(bytes(created.cer or b""))]


def test_a_managed_secret_cannot_be_written(client: CertificateClient, secrets: SecretClient, name: str) -> None:
    self_signed(client, name)
    with pytest.raises(HttpResponseError, match="lifetime is managed by Key Vault") as refused:
        secrets.set_secret(name, "x")
    assert refused.value.status_code == 403
    assert refused.value.error is not None
    assert refused.value.error.innererror is not None


def test_the_key_shows_its_public_part_and_what_it_may_do(
    client: CertificateClient, keys: KeyClient, rest: Rest, name: str
) -> None:
    created = self_signed(client, name, key_usage=["digitalSignature", "keyEncipherment", "dataEncipherment"])
    key = keys.get_key(name)
    assert key.id == created.key_id
    assert key.properties.managed
    assert set(key.key_operations) == {"sign", "verify", "wrapKey", "unwrapKey", "encrypt", "decrypt"}
    numbers = x509.load_der_x509_certificate(bytes(created.cer or b"")).public_key().public_numbers()  # type: ignore[union-attr]
    assert int.from_bytes(key.key.n) == numbers.n  # type: ignore[attr-defined, union-attr]
    assert "d" not in rest("GET", f"/keys/{name}").json()["key"]


RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]


@pytest.mark.parametrize(
    ("policy", "algorithms"),
    [
        ({"key_type": "RSA"}, RSA_ALGORITHMS),
        ({"key_type": "EC", "key_curve_name": "P-256"}, ["ES256"]),
        ({"key_type": "EC", "key_curve_name": "P-384"}, ["ES384"]),
        ({"key_type": "EC", "key_curve_name": "P-521"}, ["ES512"]),
        ({"key_type": "EC", "key_curve_name": "P-256K"}, ["ES256K"]),
    ],
    ids=str,
)
def test_the_vault_signs_and_the_client_verifies(
    server: VaultServer,
    client: CertificateClient,
    keys: KeyClient,
    name: str,
    policy: dict[str, str],
    algorithms: list[str],
) -> None:
    self_signed(client, name, key_usage=["digitalSignature"], **policy)
    with keys.get_cryptography_client(name) as crypto:
        for algorithm in algorithms:
            digest = hashlib.new("sha" + algorithm.removesuffix("K")[2:], b"text").digest()
            signed = crypto.sign(SignatureAlgorithm(algorithm), digest)
            assert crypto.verify(SignatureAlgorithm(algorithm), digest, signed.signature).is_valid
    assert server.requests.counts()["Sign"] >= len(algorithms)


def test_signing_is_refused_for_what_does_not_fit(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name, key_usage=["digitalSignature"])
    digest = base64.urlsafe_b64encode(b"0" * 32).decode()
    for body in (
        {"alg": "ES256", "value": digest},
        {"alg": "RS384", "value": digest},
        {"alg": "none", "value": digest},
        {"alg": "RS256", "value": "***"},
        {"alg": "RS256"},
        {"value": digest},
        {"alg": 5, "value": digest},
    ):
        answer = rest("POST", f"/keys/{name}/sign", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter"), body
    self_signed(client, f"{name}-wrap", key_usage=["keyEncipherment"])
    refused = rest("POST", f"/keys/{name}-wrap/sign", json={"alg": "RS256", "value": digest})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("begins", "days", "code"), [(-3, 1, "KeyExpired"), (1, 2, "KeyNotYetValid"), (-1, 2, None)], ids=str
)
def test_a_key_signs_only_between_the_dates_of_its_certificate(
    client: CertificateClient, rest: Rest, name: str, begins: int, days: int, code: str | None
) -> None:
    operation = pending(client, name, key_type="EC", key_curve_name="P-256")
    request, key = x509.load_der_x509_csr(operation.csr or b""), ec.generate_private_key(ec.SECP256R1())
    valid = validity(datetime.timedelta(days=days), ago=datetime.timedelta(days=-begins))
    merged = client.merge_certificate(name, [der(certify("a.example", request.public_key(), "ca", key, valid))])
    body = {"alg": "ES256", "value": base64url(b"0" * 32)}
    for path in (f"/keys/{name}/sign", f"/keys/{name}/{properties(merged).version}/sign"):
        answer = rest("POST", path, json=body)
        assert answer.status_code == (403 if code else 200)
        assert not code or answer.json()["error"]["innererror"]["code"] == code
    assert rest("GET", f"/keys/{name}").ok  # whoever only looks is not refused
    assert rest("GET", f"/secrets/{name}").ok


def test_keys_and_secrets_are_listed_with_their_versions(
    client: CertificateClient, secrets: SecretClient, keys: KeyClient, name: str
) -> None:
    first, second = (self_signed(client, name, key_type="EC", key_curve_name="P-256") for _ in range(2))
    versions = {properties(first).version, properties(second).version}
    (secret,) = [item for item in secrets.list_properties_of_secrets() if item.name == name]
    assert secret.managed
    assert secret.content_type == "application/x-pkcs12"
    assert {item.version for item in secrets.list_properties_of_secret_versions(name)} == versions
    (key,) = [item for item in keys.list_properties_of_keys() if item.name == name]
    assert key.managed
    assert {item.version for item in keys.list_properties_of_key_versions(name)} == versions


def test_an_elliptic_key_signs_and_verifies_only(client: CertificateClient, keys: KeyClient, name: str) -> None:
    self_signed(client, name, key_type="EC", key_curve_name="P-521")
    assert keys.get_key(name).key_operations == ["sign", "verify"]


def test_a_key_without_a_usage_may_do_everything(rest: Rest, authority: Authority, name: str) -> None:
    key = authority.root_key
    pfx = pkcs12.serialize_key_and_certificates(None, key, authority.root, None, NoEncryption())
    assert rest("POST", f"/certificates/{name}/import", json={"value": base64.b64encode(pfx).decode()}).ok
    signed = rest("POST", f"/keys/{name}/sign", json={"alg": "ES256", "value": base64url(b"0" * 32)}).json()
    raw = base64.urlsafe_b64decode(signed["value"] + "==")
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key.public_key().verify(signature, b"0" * 32, ec.ECDSA(Prehashed(hashes.SHA256())))
