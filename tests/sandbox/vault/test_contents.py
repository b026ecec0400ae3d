"""What Key Vault writes into certificate requests and self-signed certificates."""

import datetime
from typing import Any

import pytest
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateOperation,
    CertificatePolicy,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from tests.sandbox.vault.support import Rest, openssl, properties, self_signed

UNKNOWN = {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=a.example"}}


KEYS: list[tuple[dict[str, Any], type, int]] = [
    ({"kty": "RSA", "key_size": 2048}, rsa.RSAPublicKey, 2048),
    ({"kty": "RSA", "key_size": 3072}, rsa.RSAPublicKey, 3072),
    ({"kty": "RSA", "key_size": 4096}, rsa.RSAPublicKey, 4096),
    ({"kty": "EC", "crv": "P-256"}, ec.EllipticCurvePublicKey, 256),
    ({"kty": "EC", "crv": "P-384", "key_size": 384}, ec.EllipticCurvePublicKey, 384),
    ({"kty": "EC", "crv": "P-521"}, ec.EllipticCurvePublicKey, 521),
    ({"kty": "EC", "crv": "P-256K"}, ec.EllipticCurvePublicKey, 256),
    ({"kty": "EC", "key_size": 384}, ec.EllipticCurvePublicKey, 384),
    ({"kty": "EC-HSM", "crv": "P-256"}, ec.EllipticCurvePublicKey, 256),
]


@pytest.mark.parametrize(
    ("key_props", "kind", "size"), KEYS, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_openssl_verifies_the_request_for_every_kind_of_key(
    rest: Rest, name: str, key_props: dict[str, Any], kind: type, size: int
) -> None:
    answer = rest("POST", f"/certificates/{name}/create", json={"policy": {**UNKNOWN, "key_props": key_props}})
    assert answer.status_code == 202, answer.text
    armoured = f"-----BEGIN CERTIFICATE REQUEST-----\n{answer.json()['csr']}\n-----END CERTIFICATE REQUEST-----\n"
    assert "verify OK" in openssl("req", "-noout", "-verify", "-text", stdin=_folded(armoured))
    key = x509.load_pem_x509_csr(_folded(armoured)).public_key()
    assert isinstance(key, kind)
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size == size


def _folded(pem: str) -> bytes:
    head, body, tail, _ = pem.split("\n")
    return "\n".join([head, *(body[at : at + 64] for at in range(0, len(body), 64)), tail, ""]).encode()


def test_the_request_asks_for_what_the_policy_says(client: CertificateClient, name: str) -> None:
    policy = CertificatePolicy(
        issuer_name="Unknown",
        subject='CN=*.contoso.example, O="Contoso, Ltd", C=DE',
        san_dns_names=["a.contoso.example"],
        san_emails=["a@contoso.example"],
        san_user_principal_names=["user@contoso.example"],
        san_uris=["https://contoso.example/x"],
        san_ip_addresses=["192.0.2.1", "2001:db8::1"],
        key_usage=["keyAgreement", "digitalSignature"],
        enhanced_key_usage=["1.3.6.1.5.5.7.3.2"],
    )
    operation = client.begin_create_certificate(name, policy, _polling_interval=0.02).result()
    assert isinstance(operation, CertificateOperation)
    request = x509.load_der_x509_csr(operation.csr or b"")
    # .NET writes names last first: the country is the first relative name in the encoding.
    assert [attribute.value for attribute in request.subject] == ["DE", "Contoso, Ltd", "*.contoso.example"]
    extensions = request.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical
    assert names.value.get_values_for_type(x509.DNSName) == ["a.contoso.example"]
    assert names.value.get_values_for_type(x509.RFC822Name) == ["a@contoso.example"]
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == ["https://contoso.example/x"]
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "2001:db8::1"]
    (upn,) = names.value.get_values_for_type(x509.OtherName)
    assert upn.type_id.dotted_string == "1.3.6.1.4.1.311.20.2.3"
    assert upn.value == b"\x0c\x14user@contoso.example"
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_agreement
    assert not usage.value.key_encipherment
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert client.get_certificate_policy(name).key_usage == ["digitalSignature", "keyAgreement"]


def test_without_a_subject_the_names_are_critical(client: CertificateClient, name: str) -> None:
    policy = CertificatePolicy(issuer_name="Unknown", san_dns_names=["a.example"])
    operation = client.begin_create_certificate(name, policy, _polling_interval=0.02).result()
    assert isinstance(operation, CertificateOperation)
    request = x509.load_der_x509_csr(operation.csr or b"")
    assert request.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert len(list(request.subject)) == 0


def test_a_self_signed_certificate_is_made_as_by_the_service(client: CertificateClient, name: str) -> None:
    created = self_signed(client, name, validity_in_months=24, san_dns_names=["a.example"])
    certificate = x509.load_der_x509_certificate(bytes(created.cer or b""))
    certificate.verify_directly_issued_by(certificate)
    assert [extension.oid for extension in certificate.extensions] == [
        ExtensionOID.KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    assert (end.year - begin.year, end.month - begin.month) in ((2, 0), (1, -11), (2, 1))
    issued = begin + datetime.timedelta(minutes=10)
    assert abs(issued - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=5)
    assert end.time() == issued.time()
    assert properties(created).expires_on == end
    assert 120 < certificate.serial_number.bit_length() <= 127
    common_name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0]
    assert common_name._type.name == "PrintableString"


def test_a_text_that_is_not_printable_is_utf8(client: CertificateClient, name: str) -> None:
    created = self_signed(client, name, subject="CN=*.contoso.example")
    certificate = x509.load_der_x509_certificate(bytes(created.cer or b""))
    assert next(iter(certificate.subject))._type.name == "UTF8String"


def test_the_usage_that_only_key_vault_accepts_is_accepted(client: CertificateClient, name: str) -> None:
    created = self_signed(client, name, key_usage=["decipherOnly"])
    assert "Decipher Only" in openssl("x509", "-inform", "der", "-noout", "-text", stdin=bytes(created.cer or b""))
