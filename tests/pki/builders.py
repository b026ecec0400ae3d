"""Certificate authorities and requests that the tests of verification make up, with every knob turnable."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import core as asn1_core
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.rsa_keys import rsa_key_of_known_primes

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

type Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@functools.cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same number: making RSA keys is slow."""
    return rsa_key_of_known_primes(bits, number)


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def subject(common_name: str | None = None, **others: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    return x509.Name(
        attributes + [x509.NameAttribute(getattr(NameOID, kind.upper()), value) for kind, value in others.items()]
    )


def usage(*names: str) -> x509.KeyUsage:
    kinds = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{kind: kind in names for kind in kinds})


def dns(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def csr(
    key: Key, name: x509.Name, extensions: Sequence[x509.ExtensionType] = (), algorithm: Any = None, ca: bool = False
) -> bytes:
    """As Key Vault makes it: critical key usage, extended key usage, alternative names, basic constraints."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(usage("digital_signature", "key_encipherment"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([SERVER_AUTH, CLIENT_AUTH]), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=False)
    return builder.sign(key, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Authority:
    """A CA with its key; `certificate` is what it signs with."""

    key: Key
    certificate: x509.Certificate

    @classmethod
    def root(cls, name: str = "Contoso Root CA", key: Key | None = None, **options: Any) -> "Authority":
        own = key or ec_key()
        made = sign(own, subject(name), own.public_key(), subject(name), **ca_options(options))
        return cls(own, made)

    def intermediate(self, name: str = "Contoso Issuing CA", key: Key | None = None, **options: Any) -> "Authority":
        own = key or ec_key()
        return Authority(own, self.sign(own.public_key(), subject(name), **ca_options(options)))

    def sign(self, public_key: Any, name: x509.Name, **options: Any) -> x509.Certificate:
        return sign(self.key, self.certificate.subject, public_key, name, **options)


def ca_options(options: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"ca": True, "usages": ("key_cert_sign", "crl_sign"), "ekus": (), "days": 3650}
    return defaults | options


def sign(
    key: Key,
    issuer: x509.Name,
    public_key: Any,
    name: x509.Name,
    *,
    extensions: Sequence[x509.ExtensionType] = (),
    critical: Sequence[x509.ExtensionType] = (),
    usages: Sequence[str] = ("digital_signature", "key_encipherment"),
    ekus: Sequence[x509.ObjectIdentifier] = (SERVER_AUTH, CLIENT_AUTH),
    ca: bool = False,
    path_length: int | None = None,
    begins: datetime | None = None,
    days: float = 90,
    algorithm: Any = None,
) -> x509.Certificate:
    begins = begins or NOW - timedelta(minutes=10)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usages:
        builder = builder.add_extension(usage(*usages), critical=True)
    if ekus:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(ekus)), critical=False)
    for extension in (*extensions, *critical):
        builder = builder.add_extension(extension, critical=extension in critical)
    return builder.sign(key, algorithm or hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def with_sha1(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The same certificate signed over SHA-1, which cryptography does not do any more."""
    parts = asn1_x509.Certificate.load(der(certificate))
    algorithm = asn1_x509.SignedDigestAlgorithm({"algorithm": "sha1_rsa"})
    parts["tbs_certificate"]["signature"] = parts["signature_algorithm"] = algorithm
    signed = parts["tbs_certificate"].dump(force=True)
    parts["signature_value"] = key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    return x509.load_der_x509_certificate(parts.dump(force=True))


def with_validity(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
) -> x509.Certificate:
    """The same certificate with these dates, signed again by its issuer's key; cryptography refuses reversed dates."""
    parts = asn1_x509.Certificate.load(der(certificate))
    times = [asn1_x509.Time({"utc_time": moment}) for moment in (begins, ends)]
    parts["tbs_certificate"]["validity"] = asn1_x509.Validity({"not_before": times[0], "not_after": times[1]})
    signed = parts["tbs_certificate"].dump(force=True)
    parts["signature_value"] = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return x509.load_der_x509_certificate(parts.dump(force=True))


def with_explicit_curve(certificate: x509.Certificate, key: Any) -> x509.Certificate:
    """The same certificate for a key on P-256 (SEC 2, section 2.4.2) that spells its curve out; signed by `key`."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"
    x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    domain = asn1_keys.SpecifiedECDomain(
        {
            "version": "ecdpVer1",
            "field_id": {"field_type": "prime_field", "parameters": asn1_core.Integer(prime)},
            "curve": {"a": (prime - 3).to_bytes(32), "b": bytes.fromhex(b)},
            "base": bytes.fromhex(f"04{x}{y}"),
            "order": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
            "cofactor": 1,
        }
    )
    parts = asn1_x509.Certificate.load(der(certificate))
    info = parts["tbs_certificate"]["subject_public_key_info"]
    info["algorithm"]["parameters"] = asn1_keys.ECDomainParameters(name="specified", value=domain)
    parts["signature_value"] = key.sign(parts["tbs_certificate"].dump(force=True), ec.ECDSA(hashes.SHA256()))
    return x509.load_der_x509_certificate(parts.dump(force=True))
