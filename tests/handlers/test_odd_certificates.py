"""Large chains and certificates that break RFC 5280, over the HTTP API."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.keyvault.client import connect
from tests.app import App, until
from tests.pki import files
from tests.pki.builders import Authority, dns, ec_key, pem, subject

HOST = "hand.contoso.example"
EC = {"key_props": {"kty": "EC", "crv": "P-256"}}


def issuing(size: int = 0, permitted: int = 0) -> Authority:
    """A CA whose certificate is as large as it is asked to be."""
    more: list[x509.ExtensionType] = []
    if permitted:
        trees = [x509.DNSName(f"domain-{number}.of.many.contoso.example") for number in range(permitted)]
        more.append(x509.NameConstraints([x509.DNSName("contoso.example"), *trees], None))
    if size:
        more.append(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04\x00" + b"x" * size))
    return Authority.root(extensions=more, begins=datetime.now(UTC) - timedelta(days=1))


def waiting(app: App) -> tuple[str, Any]:
    """The name of a certificate that waits for one, and the key of its request."""
    name = app.name()
    body = {"authority": "by-hand", "dns_names": [HOST], "policy": EC}
    app.certificate(name, "/create", "POST", body).raise_for_status()
    until(lambda: app.certificate(name, "/pending").json()["step"] == "submitted")
    return name, x509.load_der_x509_csr(app.certificate(name, "/pending/csr").content).public_key()


def merged(app: App, name: str, *chain: x509.Certificate, as_x5c: bool = False) -> Any:
    body: dict[str, Any] = {"certificate": pem(*chain).decode()}
    if as_x5c:
        body = {"x5c": [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]}
    return app.certificate(name, "/pending/merge", "POST", body)


def signed(ca: Authority, key: Any) -> x509.Certificate:
    return ca.sign(key, subject(HOST), extensions=[dns(HOST)], begins=datetime.now(UTC), days=30)


@pytest.mark.parametrize(("size", "permitted", "as_x5c"), [(0, 1600, False), (0, 1600, True), (290_000, 0, True)])
def test_a_large_chain_is_merged_and_shown(app: App, size: int, permitted: int, as_x5c: bool) -> None:
    name, key = waiting(app)
    ca = issuing(size, permitted)
    answer = merged(app, name, signed(ca, key), ca.certificate, as_x5c=as_x5c)
    assert answer.status_code == 200, answer.text
    assert app.ended(name)["status"] == "completed"
    assert app.certificate(name).json()["chain"][1].encode() == pem(ca.certificate)


def test_a_chain_that_is_too_large_is_refused_and_a_smaller_one_still_taken(app: App) -> None:
    name, key = waiting(app)
    large, small = issuing(300_000), issuing()
    refused = merged(app, name, signed(large, key), large.certificate)
    assert (refused.status_code, refused.json()["code"]) == (400, "Unverified")
    assert "at most 300000 are allowed" in refused.json()["detail"]
    assert merged(app, name, signed(small, key), small.certificate).status_code == 200


def test_a_heap_of_leaves_and_strangers_of_one_name_is_refused_and_nothing_is_lost(app: App) -> None:
    name, key = waiting(app)
    ca, names = issuing(), [issuing() for _ in range(12)]
    strangers = [one.certificate for one in names]
    leaves = [signed(one, key) for one in names for _ in range(8)]
    answer = merged(app, name, *leaves[1:], *strangers[1:])
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert merged(app, name, signed(ca, key), ca.certificate).status_code == 200
    assert app.ended(name)["status"] == "completed"


def test_a_leaf_with_a_path_length_is_shown_and_adopted(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """`openssl … basicConstraints=critical,CA:FALSE,pathlen:0`. Others put it into the vault."""
    key, ca, name = ec_key(), issuing(), app.name()
    odd = files.with_path_length(signed(ca, key.public_key()), ca.key)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    value = (private + files.pem_block("CERTIFICATE", odd)).decode()
    policy = {"secret_props": {"contentType": "application/x-pem-file"}}
    for variable, setting in {"REQUESTS_CA_BUNDLE": "CA_BUNDLE", "SSL_CERT_FILE": "CA_BUNDLE"}.items():
        monkeypatch.setenv(variable, app.settings[setting])
    for variable in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(variable, app.settings[variable])
    vault = connect(app.settings["VAULT_URL"], ManagedIdentityCredential())
    vault.import_certificate(name, {"value": value, "policy": policy})
    shown = app.certificate(name)
    assert (shown.status_code, shown.json()["dns_names"]) == (200, [HOST])
    assert name in [one["name"] for one in app.call("GET", "/api/vaults/main/certificates?max=100").json()["value"]]
    adopted = app.certificate(name, "/adopt", "POST", {"authority": "by-hand"})
    assert adopted.status_code == 200, adopted.text
    assert adopted.json()["policy"]["issuer"]["name"] == "Unknown"
    assert json.loads(app.certificate(name).text)["renewal"]["due"] is not None
