"""Keys, CSRs and requests as connectors get them."""

import functools
import ipaddress
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from certrelay.connectors.base import SigningRequest
from certrelay.pki.subject import SubjectNames
from tests.rsa_keys import rsa_key_of_known_primes

RSA_OWNERS = ("subscriber", "CA", "server", "AD CS", "cfssl")
USER_PRINCIPAL_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@functools.cache
def private_key(kind: str = "ec-256", owner: str = "subscriber") -> PrivateKey:
    """A key of the tests: `rsa-BITS` or `ec-BITS`; an owner's is the same for the whole run, for speed."""
    algorithm, bits = kind.split("-")
    if algorithm == "rsa":
        return rsa_key_of_known_primes(int(bits), RSA_OWNERS.index(owner))
    curves: dict[str, ec.EllipticCurve] = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "521": ec.SECP521R1()}
    return ec.generate_private_key(curves[bits])


def general_names(names: SubjectNames) -> list[x509.GeneralName]:
    def utf8(text: str) -> bytes:
        value = text.encode()
        assert len(value) < 128
        return bytes([0x0C, len(value)]) + value

    return [
        *(x509.DNSName(name) for name in names.dns_names),
        *(x509.RFC822Name(name) for name in names.email_addresses),
        *(x509.IPAddress(ipaddress.ip_address(name)) for name in names.ip_addresses),
        *(x509.UniformResourceIdentifier(name) for name in names.uris),
        *(x509.OtherName(USER_PRINCIPAL_NAME, utf8(name)) for name in names.user_principal_names),
    ]


def csr_of(names: SubjectNames, key: PrivateKey, is_ca: bool = False) -> bytes:
    """A DER CSR as Key Vault makes them: subject, key usage, extended key usage, alternative names."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)] if names.common_name else []
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=isinstance(key, rsa.RSAPrivateKey) and not is_ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).add_extension(usage, True)
    if not is_ca:
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if alternatives := general_names(names):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def signing_request(
    names: SubjectNames, key: PrivateKey | None = None, validity: timedelta = timedelta(days=30), **changes: Any
) -> SigningRequest:
    """A request for `names`, with an operation id of its own."""
    not_after = (datetime.now(UTC) + validity).replace(microsecond=0)
    csr = csr_of(names, key or private_key(), changes.get("is_ca", False))
    return replace(SigningRequest(uuid.uuid4().hex, csr, names, not_after), **changes)


def self_signed(names: SubjectNames, key: PrivateKey | None = None) -> x509.Certificate:
    """A certificate that no authority made."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.common_name or "stranger")])
    key, now = key or private_key(), datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def malformed(names: SubjectNames) -> x509.Certificate:
    """A certificate as old software made them: one extension's content cannot be read."""
    now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.common_name or "stranger")])
    builder = x509.CertificateBuilder(name, name, private_key().public_key(), x509.random_serial_number())
    odd = x509.UnrecognizedExtension(x509.AuthorityKeyIdentifier.oid, b"\x04\x02odd")
    dated = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).add_extension(odd, critical=False)
    return dated.sign(private_key(), hashes.SHA256())
