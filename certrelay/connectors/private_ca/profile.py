"""The certificates that a private CA issues: RFC 5280, sections 4.1 and 4.2.

Only two things are copied from a CSR: its public key, and those of its usages that the authority allows.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from certrelay.connectors.base import SigningRequest
from certrelay.pki.name_constraints import names_not_allowed
from certrelay.pki.subject import SubjectNames

USER_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_RSA_USAGES = {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment"}
_EC_USAGES = {"digital_signature", "content_commitment", "key_agreement"}  # RFC 8813, section 3


class Refused(Exception):
    """The authority does not sign this; the text says why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`issuers`: the CA certificate, then those above it. The name constraints of all of them apply."""

    issuers: tuple[x509.Certificate, ...]
    extended_key_usages: tuple[str, ...]
    issue_ca_certificates: bool
    crl_distribution_point: str | None
    aia_issuer_url: str | None


@dataclass(frozen=True, slots=True)
class Decided:
    """What is decided once for an order, and stored before anything is signed. Times in UTC, whole seconds."""

    serial: int
    not_before: datetime
    not_after: datetime


def general_names(names: SubjectNames) -> list[x509.GeneralName]:
    """The subject alternative names (RFC 5280, section 4.2.1.6). Raises ValueError for one that cannot be encoded."""
    return [
        *(x509.DNSName(name) for name in names.dns_names),
        *(x509.RFC822Name(name) for name in names.email_addresses),
        *(x509.IPAddress(ipaddress.ip_address(name)) for name in names.ip_addresses),
        *(x509.UniformResourceIdentifier(name) for name in names.uris),
        *(x509.OtherName(USER_PRINCIPAL_NAME, _utf8_string(name)) for name in names.user_principal_names),
    ]


def _utf8_string(text: str) -> bytes:
    """A UTF8String in DER: the length in as few bytes as possible (X.690, section 10.1)."""
    value = text.encode()
    if len(value) < 0x80:
        return bytes([0x0C, len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8)
    return bytes([0x0C, 0x80 | len(size)]) + size + value


def certificate(request: SigningRequest, decided: Decided, profile: Profile) -> x509.CertificateBuilder:
    """The certificate of an order, ready to sign. Raises Refused."""
    public_key, csr = _checked(request)
    subject, alternatives = _names(request.names, profile)
    issuer = profile.issuers[0]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(decided.serial)
        .not_valid_before(decided.not_before)
        .not_valid_after(decided.not_after)
    )
    extensions = [*_usages(request, csr, public_key, profile), *_pointers(profile)]
    if alternatives:
        extensions.append((x509.SubjectAlternativeName(alternatives), not subject.rdns))
    extensions.append((x509.SubjectKeyIdentifier.from_public_key(public_key), False))
    extensions.append((authority_key_identifier(issuer), False))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """RFC 5280, section 4.2.1.1: the same key identifier as in the issuer's certificate."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _checked(
    request: SigningRequest,
) -> tuple[rsa.RSAPublicKey | ec.EllipticCurvePublicKey, x509.CertificateSigningRequest]:
    try:
        csr = x509.load_der_x509_csr(request.csr)
        key, is_signed = csr.public_key(), csr.is_signature_valid
        list(csr.extensions)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused("the CSR is malformed") from None
    if not is_signed:
        raise Refused("the CSR is not signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return key, csr
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key, csr
    raise Refused(f"the key is neither RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits nor EC on P-256, P-384 or P-521")


def _names(names: SubjectNames, profile: Profile) -> tuple[x509.Name, list[x509.GeneralName]]:
    try:
        alternatives = general_names(names)
        common = [x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)] if names.common_name else []
    except ValueError as error:
        raise Refused(f"a name cannot be encoded in a certificate: {error}") from None
    subject = x509.Name(common)
    if not common and not alternatives:
        raise Refused("the request has no name to certify")
    if barred := [name for one in profile.issuers for name in names_not_allowed(subject, alternatives, one)]:
        raise Refused(f"the authority's name constraints do not allow {', '.join(dict.fromkeys(barred))}")
    return subject, alternatives


def _usages(
    request: SigningRequest,
    csr: x509.CertificateSigningRequest,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    profile: Profile,
) -> list[tuple[x509.ExtensionType, bool]]:
    if request.is_ca:
        _check_may_issue_authorities(request, profile)
        usages = key_usage("digital_signature", "key_cert_sign", "crl_sign")
        return [(x509.BasicConstraints(ca=True, path_length=0), True), (usages, True)]
    purposes = _extended_key_usages(csr, profile)
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(*_key_usages(csr, key)), True),
        (x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in purposes]), False),
    ]


def key_usage(*usages: str) -> x509.KeyUsage:
    """The extension of RFC 5280, section 4.2.1.3, with these bits set (in cryptography's spelling)."""
    return x509.KeyUsage(**{usage: usage in usages for usage in _USAGES})


def _check_may_issue_authorities(request: SigningRequest, profile: Profile) -> None:
    if not profile.issue_ca_certificates:
        raise Refused("this authority issues no CA certificates (see its setting issue_ca_certificates)")
    if not request.names.common_name:
        raise Refused("a CA certificate needs a common name")
    for below, issuer in enumerate(profile.issuers):
        limit = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if limit is not None and limit <= below:
            raise Refused("the path length of this authority, or of one above it, allows no further CA below it")


def _key_usages(
    csr: x509.CertificateSigningRequest, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
) -> Sequence[str]:
    """The CSR's key usages that fit the key type and an end entity; digitalSignature if there are none."""
    fitting = _RSA_USAGES if isinstance(key, rsa.RSAPublicKey) else _EC_USAGES
    try:
        asked = csr.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ["digital_signature"]
    return [usage for usage in _USAGES if usage in fitting and getattr(asked, usage)] or ["digital_signature"]


def _extended_key_usages(csr: x509.CertificateSigningRequest, profile: Profile) -> Sequence[str]:
    """The CSR's extended key usages, all of which must be allowed; all allowed ones if it has none. Raises Refused."""
    try:
        asked = [oid.dotted_string for oid in csr.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
    except x509.ExtensionNotFound:
        return profile.extended_key_usages
    if refused := [oid for oid in asked if oid not in profile.extended_key_usages]:
        raise Refused(f"this authority does not certify the extended key usages {', '.join(refused)}")
    return asked


def _pointers(profile: Profile) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if url := profile.crl_distribution_point:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
        found.append((x509.CRLDistributionPoints([point]), False))
    if url := profile.aia_issuer_url:
        where = x509.UniformResourceIdentifier(url)
        described = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        found.append((x509.AuthorityInformationAccess([described]), False))
    return found
