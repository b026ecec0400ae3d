"""The pending certificate: get, cancel, delete, merge."""

import base64
import datetime
import time
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.certificates import CertificateClient, CertificateOperation, CertificatePolicy
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12

from sandbox.vault import VaultServer
from tests.sandbox.vault.support import Authority, Rest, certify, der, pending, properties, self_signed


def text(certificate: x509.Certificate) -> str:
    return base64.b64encode(der(certificate)).decode()


def in_progress_with_self(rest: Rest, server: VaultServer, name: str) -> None:
    """Create with issuer Self, which does not complete until it is cancelled."""
    server.settings.self_delay = 3600
    try:
        body = {"policy": {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a"}}}
        assert rest("POST", f"/certificates/{name}/create", json=body).status_code == 202
    finally:
        server.settings.self_delay = 0.05


def wait_for(client: CertificateClient, name: str, status: str) -> None:
    deadline = time.monotonic() + 300
    while client.get_certificate_operation(name).status != status:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- get, cancel, delete --------------------------------------------------------------------------------------------


def test_there_is_no_pending_operation_without_a_create(rest: Rest, name: str) -> None:
    answer = rest("GET", f"/certificates/{name}/pending")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "code": "PendingCertificateNotFound",
        "message": f"Pending certificate not found: {name}",
    }


def test_a_request_id_is_a_filter(client: CertificateClient, rest: Rest, name: str) -> None:
    operation = pending(client, name)
    for method in ("GET", "DELETE"):
        assert rest(method, f"/certificates/{name}/pending?request_id={'0' * 32}").status_code == 404
    assert rest("GET", f"/certificates/{name}/pending?request_id={operation.request_id}").status_code == 200


def test_retry_after_is_there_while_in_progress_only(client: CertificateClient, rest: Rest, name: str) -> None:
    pending(client, name)
    assert rest("GET", f"/certificates/{name}/pending").headers["Retry-After"] == "10"
    self_signed(client, f"{name}-self")
    assert "Retry-After" not in rest("GET", f"/certificates/{name}-self/pending").headers


def test_the_request_alone_is_answered_to_who_accepts_nothing_else(
    client: CertificateClient, rest: Rest, name: str
) -> None:
    operation = pending(client, name)
    answer = rest("GET", f"/certificates/{name}/pending", headers={"Accept": "application/pkcs10"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/pkcs10; charset=utf-8"
    assert "Retry-After" not in answer.headers
    assert base64.b64decode(answer.text, validate=True) == operation.csr
    missing = rest("GET", f"/certificates/{name}-2/pending", headers={"Accept": "application/pkcs10"})
    assert missing.json()["error"]["code"] == "PendingCertificateNotFound"


def test_a_cancellation_answers_in_progress_and_ends_as_cancelled(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    in_progress_with_self(rest, server, name)
    answer = rest("PATCH", f"/certificates/{name}/pending", json={"cancellation_requested": True})
    assert answer.status_code == 200
    assert (answer.json()["cancellation_requested"], answer.json()["status"]) == (True, "inProgress")
    assert "Retry-After" not in answer.headers
    wait_for(client, name, "cancelled")
    operation = rest("GET", f"/certificates/{name}/pending").json()
    assert operation["cancellation_requested"] is True
    assert "status_details" not in operation
    bundle = rest("GET", f"/certificates/{name}").json()
    assert bundle["attributes"]["enabled"] is False
    assert "cer" not in bundle


def test_what_is_not_in_progress_cannot_be_canceled(client: CertificateClient, name: str) -> None:
    self_signed(client, name)
    with pytest.raises(HttpResponseError, match="Pending status must be in progress to allow update") as refused:
        client.cancel_certificate_operation(name)
    assert refused.value.status_code == 403


def test_a_cancellation_without_an_issuer_is_taken_and_only_a_deletion_ends_the_operation(
    server: VaultServer, client: CertificateClient, name: str
) -> None:
    pending(client, name)
    asked = client.cancel_certificate_operation(name)
    assert (asked.cancellation_requested, asked.status) == (True, "inProgress")
    server.clock.advance(86400)
    assert client.get_certificate_operation(name).status == "inProgress"
    assert client.delete_certificate_operation(name).status == "inProgress"
    with pytest.raises(ResourceNotFoundError, match=r"(?i)not found"):
        client.delete_certificate_operation(name)
    assert properties(client.get_certificate(name)).enabled is False
    pending(client, name)


def test_deleting_the_operation_of_a_finished_certificate_leaves_the_certificate(
    client: CertificateClient, rest: Rest, name: str
) -> None:
    self_signed(client, name)
    assert client.delete_certificate_operation(name).status == "completed"
    assert "pending" not in rest("GET", f"/certificates/{name}").json()


def test_a_cancelled_certificate_can_be_created_again(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    in_progress_with_self(rest, server, name)
    client.cancel_certificate_operation(name)
    wait_for(client, name, "cancelled")
    assert properties(self_signed(client, name)).enabled is True


# -- merge ----------------------------------------------------------------------------------------------------------


def test_a_merge_completes_the_pending_version(
    client: CertificateClient, rest: Rest, server: VaultServer, authority: Authority, name: str
) -> None:
    operation = pending(client, name)
    version = rest("GET", f"/certificates/{name}").json()["id"]
    leaf = authority.sign(operation.csr or b"")
    body = {"x5c": [text(leaf), text(authority.intermediate), text(authority.root)], "tags": {"a": "b"}}
    answer = rest("POST", f"/certificates/{name}/pending/merge", json=body)
    bundle = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{server.url}/certificates/{name}?api-version=2026-04-01"
    assert bundle["id"] == version
    assert bundle["attributes"]["enabled"] is True
    assert bundle["attributes"]["exp"] == int(leaf.not_valid_after_utc.timestamp())
    assert bundle["cer"] == text(leaf)
    assert bundle["tags"] == {"a": "b"}
    assert {"policy", "pending"} <= bundle.keys()
    assert client.get_certificate_operation(name).status == "completed"


def test_tags_of_the_create_stay_when_the_merge_sends_none(
    client: CertificateClient, authority: Authority, name: str
) -> None:
    policy = CertificatePolicy(issuer_name="Unknown", subject="CN=a.example")
    operation = client.begin_create_certificate(name, policy, tags={"a": "b"}, _polling_interval=0.02).result()
    assert isinstance(operation, CertificateOperation)
    merged = client.merge_certificate(name, [der(authority.sign(operation.csr or b""))])
    assert properties(merged).tags == {"a": "b"}


def _pkcs7(leaf: x509.Certificate, authority: Authority) -> bytes:
    return pkcs7.serialize_certificates([authority.intermediate, leaf, authority.root], Encoding.DER)


def _pfx(leaf: x509.Certificate, authority: Authority) -> bytes:
    return pkcs12.serialize_key_and_certificates(None, None, None, [authority.root, leaf], NoEncryption())


def _pem(leaf: x509.Certificate, authority: Authority) -> bytes:
    return authority.intermediate.public_bytes(Encoding.PEM) + leaf.public_bytes(Encoding.PEM)


SHAPES = {
    "DER": lambda leaf, _: der(leaf),
    "base64 of DER": lambda leaf, _: base64.b64encode(der(leaf)),
    "PEM": _pem,
    "PKCS#7": _pkcs7,
    "base64 of PKCS#7": lambda leaf, authority: base64.b64encode(_pkcs7(leaf, authority)),
    "PKCS#12": _pfx,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_merge_takes_every_form_that_clients_send(
    client: CertificateClient, authority: Authority, name: str, shape: str
) -> None:
    operation = pending(client, name)
    leaf = authority.sign(operation.csr or b"")
    merged = client.merge_certificate(name, [SHAPES[shape](leaf, authority)])
    assert bytes(merged.cer or b"") == der(leaf)


def test_a_leaf_that_lives_a_minute_is_merged(client: CertificateClient, authority: Authority, name: str) -> None:
    leaf = authority.sign(pending(client, name).csr or b"", datetime.timedelta(minutes=2))
    assert properties(client.merge_certificate(name, [der(leaf)])).enabled


def test_an_expired_leaf_is_refused_only_if_the_operator_wants_so(
    client: CertificateClient, server: VaultServer, authority: Authority, name: str
) -> None:
    leaf = authority.sign(pending(client, name).csr or b"", datetime.timedelta(seconds=30))
    server.settings.merge_expired = False
    try:
        with pytest.raises(HttpResponseError, match="X509 Certificate is already expired"):
            client.merge_certificate(name, [der(leaf)])
    finally:
        server.settings.merge_expired = True
    assert properties(client.merge_certificate(name, [der(leaf)])).version


def test_a_merge_with_a_foreign_key_is_refused(client: CertificateClient, authority: Authority, name: str) -> None:
    pending(client, name)
    foreign = certify("a", ec.generate_private_key(ec.SECP256R1()).public_key(), "ca", authority.key)
    with pytest.raises(HttpResponseError, match="The public key of the end-entity certificate") as refused:
        client.merge_certificate(name, [der(foreign)])
    assert refused.value.status_code == 400
    assert client.get_certificate_operation(name).status == "inProgress"


def test_a_merge_without_a_usable_item_is_refused(rest: Rest, client: CertificateClient, name: str) -> None:
    pending(client, name)
    messages: dict[str, list[dict[str, Any]]] = {
        "Property x5c has invalid value X5C must has at least one valid item\r\n": [
            {},
            {"x5c": []},
            {"x5c": None},
            {"x5c": ["-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----"]},
        ],
        "Unable to parse X5c certificate chain and locate leaf certificate": [
            {"x5c": ["bm90IGEgY2VydGlmaWNhdGU="]},
            {"x5c": ["***"]},
            {"x5c": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]},
        ],
        "Property x5c has invalid value\r\n": [{"x5c": "text"}, {"x5c": [1]}],
    }
    for message, bodies in messages.items():
        for body in bodies:
            answer = rest("POST", f"/certificates/{name}/pending/merge", json=body)
            assert answer.status_code == 400
            assert answer.json()["error"] == {"code": "BadParameter", "message": message}


def test_a_merge_without_a_pending_operation_is_not_found_whatever_it_sends(rest: Rest, name: str) -> None:
    assert rest("POST", f"/certificates/{name}/pending/merge", json={"x5c": 1}).status_code == 404


def test_a_second_merge_is_refused(client: CertificateClient, authority: Authority, name: str) -> None:
    leaf = der(authority.sign(pending(client, name).csr or b""))
    client.merge_certificate(name, [leaf])
    with pytest.raises(HttpResponseError) as refused:
        client.merge_certificate(name, [leaf])
    assert refused.value.status_code == 403


def test_a_merge_into_an_issuers_operation_waits_for_its_end(
    client: CertificateClient, rest: Rest, server: VaultServer, authority: Authority, name: str
) -> None:
    in_progress_with_self(rest, server, name)
    operation = client.get_certificate_operation(name)
    leaf = der(authority.sign(operation.csr or b""))
    with pytest.raises(HttpResponseError, match="issuer : Self while it is in progess") as refused:
        client.merge_certificate(name, [leaf])
    assert refused.value.status_code == 403
    client.cancel_certificate_operation(name)
    wait_for(client, name, "cancelled")
    assert properties(client.merge_certificate(name, [leaf])).enabled


def test_the_pfx_after_a_merge_lists_the_chain_root_first(
    client: CertificateClient, secrets: SecretClient, authority: Authority, name: str
) -> None:
    leaf = authority.sign(pending(client, name).csr or b"")
    client.merge_certificate(name, [der(authority.root), der(leaf), der(authority.intermediate)])
    value = secrets.get_secret(name).value or ""
    parsed = pkcs12.load_pkcs12(base64.b64decode(value), None)
    assert parsed.cert is not None
    assert parsed.cert.certificate == leaf
    assert [item.certificate for item in parsed.additional_certs] == [authority.root, authority.intermediate]
    assert parsed.key is not None
    assert parsed.key.public_key() == leaf.public_key()


def test_the_pem_after_a_merge_lists_the_leaf_first(
    client: CertificateClient, secrets: SecretClient, authority: Authority, name: str
) -> None:
    leaf = authority.sign(pending(client, name, content_type="application/x-pem-file").csr or b"")
    client.merge_certificate(name, [der(authority.root), der(leaf), der(authority.intermediate)])
    value = secrets.get_secret(name).value or ""
    assert value.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert value.endswith("-----END CERTIFICATE-----\n")
    assert x509.load_pem_x509_certificates(value.encode()) == [leaf, authority.intermediate, authority.root]


def test_preserve_cert_order_shows_in_the_operation_and_the_bundle(rest: Rest, name: str) -> None:
    body = {"policy": {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=a"}}, "preserveCertOrder": True}
    operation = rest("POST", f"/certificates/{name}/create", json=body).json()
    assert operation["preserveCertOrder"] is True
    assert list(operation)[-2:] == ["preserveCertOrder", "request_id"]
    assert rest("GET", f"/certificates/{name}").json()["preserveCertOrder"] is True
