"""A CSR and an authority's answer are what was asked, or Unverified says everything that is wrong with them.

What is checked: RFC 5280, section 6.1 without revocation (the relying party's business), name constraints for the
certificate only, and for public trust the CA/Browser Forum Baseline Requirements.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from certrelay.errors import Fault, Invalid, Unverified
from certrelay.pki import extensions, names
from certrelay.pki.chains import has_broken_hash, is_self_signed, named, ordered_chain, parse_certificates, without_root
from certrelay.pki.encodings import panics_as_errors
from certrelay.pki.name_constraints import names_not_allowed
from certrelay.pki.subject import SubjectNames
from certrelay.pki.weak_keys import CURVES, verify_public_key

MAX_CLOCK_SKEW, MIN_TIME_LEFT = timedelta(hours=48), timedelta(hours=1)

# Baseline Requirements 6.3.2: certificates issued from this day on are valid for at most so many days.
_PUBLIC_VALIDITY = (
    (datetime(2029, 3, 15, tzinfo=UTC), 47),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
    (datetime.min.replace(tzinfo=UTC), 398),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What was asked. `key_type` is RSA or EC, `key_size` in bits, `curve` P-256, P-384 or P-521; None: any.

    `key_usage` in Key Vault's spelling and `extended_key_usage` as OIDs are met exactly where they are given; else a
    certificate needs the digitalSignature and one of the extended key usages that the CSR has."""

    names: SubjectNames
    key_type: str
    key_size: int | None
    curve: str | None
    is_ca: bool = False
    key_usage: frozenset[str] | None = None
    extended_key_usage: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an authority may answer with. `max_validity_days` counts from now, with a day's grace.

    `issuer_pins`: SHA-256 in hex of the certificate or the SubjectPublicKeyInfo of a CA, one of which must be in the
    chain. `keep_root`: whether a self-signed root at the chain's end is kept. `public_trust`: the Baseline
    Requirements' rules for TLS server certificates."""

    max_validity_days: int | None = None
    keep_root: bool = True
    issuer_pins: tuple[str, ...] = ()
    public_trust: bool = False


def verify_csr(csr: bytes, expected: Expected) -> None:
    """Key Vault's PKCS#10 (DER) has exactly the expected names, key and usages, and is signed by its key.

    Raises Unverified with every fault."""
    request = _request(csr)
    faults = list(_name_faults(request, expected.names))
    if names.common_names(request)[-1:] != (expected.names.common_name,) and expected.names.common_name is not None:
        faults.append(f"lacks the common name {expected.names.common_name!r}")
    if not request.is_signature_valid:
        faults.append("has a signature that is not by its key, or over a hash that is not safe")
    faults += _key_faults(request.public_key(), expected)
    if extensions.is_ca(request) != expected.is_ca:
        faults.append("asks for a CA certificate" if not expected.is_ca else "does not ask for a CA certificate")
    if expected.key_usage is not None:
        faults += extensions.key_usage_faults(request, expected.key_usage, request, is_ec=expected.key_type == "EC")
    if expected.extended_key_usage is not None:
        faults += extensions.extended_key_usage_faults(request, expected.extended_key_usage, request)
    _raise_unless_none([f"the request {fault}" for fault in faults])


def verify_answer(answer: bytes, csr: bytes, expected: Expected, limits: Limits, now: datetime) -> tuple[bytes, ...]:
    """The chain (DER, leaf first) in an authority's answer in any encoding, all of it verified.

    `csr` is the DER PKCS#10 that was sent, `now` is in UTC. Raises Unverified with every fault."""
    request = _request(csr)
    try:
        found = parse_certificates(answer)
        if all(certificate.public_key() != request.public_key() for certificate in found):
            raise Unverified("no certificate in the answer has the public key of the request")
        chain = ordered_chain(found, request.public_key())
    except Invalid as error:
        raise Unverified(error.faults) from None
    leaf, issuers = chain[0], chain[1:]
    faults = [f"the certificate {fault}" for fault in _leaf_faults(leaf, request, expected, limits, now)]
    for place, issuer in enumerate(issuers):
        is_root = place == len(issuers) - 1 and is_self_signed(issuer)
        own = (*_issuer_faults(issuer, place, is_root, now), *_constraint_faults(issuer, leaf))
        faults += [f"the issuer {named(issuer)} {fault}" for fault in own]
    if limits.issuer_pins and not _pins(issuers) & {_hex(pin) for pin in limits.issuer_pins}:
        faults.append("none of the pinned issuers is in the chain")
    _raise_unless_none(faults)
    kept = chain if limits.keep_root else without_root(chain)
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in kept)


def _leaf_faults(
    leaf: x509.Certificate,
    request: x509.CertificateSigningRequest,
    expected: Expected,
    limits: Limits,
    now: datetime,
) -> Iterator[str]:
    yield from _name_faults(leaf, expected.names)
    yield from _common_name_faults(leaf, expected.names)
    known = _subject_addresses(request) | {address.lower() for address in expected.names.email_addresses}
    strange = sorted(_subject_addresses(leaf) - known)
    yield from (f"has in its subject the e-mail address {address!r}, not asked" for address in strange)
    yield from _key_faults(leaf.public_key(), expected)
    yield from _validity_faults(leaf, now)
    days = limits.max_validity_days
    if days is not None and leaf.not_valid_after_utc - now > timedelta(days=days + 1):
        yield f"is valid until {leaf.not_valid_after_utc:%Y-%m-%d}, longer than the {days} days allowed"
    if has_broken_hash(leaf):
        yield "is signed over a hash that is not safe (SHA-1, MD5) or not known"
    if extensions.is_ca(leaf) != expected.is_ca:
        yield "is a CA certificate, which was not asked" if not expected.is_ca else "is not a CA certificate"
    yield from extensions.extension_faults(leaf)
    yield from extensions.key_usage_faults(leaf, expected.key_usage, request, is_ec=expected.key_type == "EC")
    yield from extensions.extended_key_usage_faults(leaf, expected.extended_key_usage, request)
    if limits.public_trust:
        yield from _public_trust_faults(leaf)


def _issuer_faults(issuer: x509.Certificate, below: int, is_root: bool, now: datetime) -> Iterator[str]:
    yield from _validity_faults(issuer, now)
    yield from extensions.issuer_faults(issuer, below)
    yield from extensions.extension_faults(issuer)
    if is_root:  # trusted as it stands, not for its signature
        return
    if has_broken_hash(issuer):
        yield "is signed over a hash that is not safe (SHA-1, MD5) or not known"
    key = issuer.public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        yield from _weakness(key)


def _constraint_faults(issuer: x509.Certificate, leaf: x509.Certificate) -> Iterator[str]:
    for name in names_not_allowed(leaf.subject, names.general_names(leaf), issuer):
        yield f"may not certify {name}, by its name constraints"


def _name_faults(signed: x509.Certificate | x509.CertificateSigningRequest, asked: SubjectNames) -> Iterator[str]:
    """Missing and added alternative names. The common name may be repeated among them: most authorities do it."""
    found = names.names_of(signed)
    for kind in (field.name for field in fields(SubjectNames) if field.name != "common_name"):
        got, wanted = set(getattr(found, kind)), set(getattr(asked, kind))
        label = kind.replace("_", " ").removesuffix("es" if kind.endswith("sses") else "s")
        yield from (f"lacks the {label} {name!r}" for name in sorted(wanted - got))
        yield from (f"has the {label} {name!r}, not asked" for name in sorted(got - wanted - {asked.common_name}))
    yield from (f"has an alternative name of the kind {kind}, not asked" for kind in names.other_names(signed))
    common = names.common_names(signed)
    if len(common) > 1:
        yield "has several common names"
    if common and not _is_asked(common[-1], asked):
        yield f"has the common name {common[-1]!r}, not asked"


def _subject_addresses(signed: x509.Certificate | x509.CertificateSigningRequest) -> set[str]:
    """They name somebody as well (RFC 5280, section 4.1.2.6)."""
    return {str(one.value).lower() for one in signed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)}


def _common_name_faults(leaf: x509.Certificate, asked: SubjectNames) -> Iterator[str]:
    """An authority may drop a common name, but not a host's name or address that then stands nowhere."""
    wanted, found = asked.common_name, names.names_of(leaf)
    stands = wanted is None or _is_asked(wanted, found)
    if not stands and (_is_host(wanted) or found == SubjectNames(found.common_name)):
        yield f"lacks the common name {wanted!r}"


def _is_asked(common_name: str, asked: SubjectNames) -> bool:
    alternatives = (*asked.dns_names, *asked.ip_addresses, *asked.email_addresses, *asked.user_principal_names)
    known = {name.casefold() for name in (asked.common_name or "", *alternatives)}
    return common_name.casefold() in known


def _is_host(name: str | None) -> bool:
    try:
        return name is not None and ("." in name or ":" in name) and bool(names.host_name(name))
    except ValueError:
        return False


def _key_faults(key: Any, expected: Expected) -> Iterator[str]:
    if isinstance(key, rsa.RSAPublicKey) and expected.key_type == "RSA":
        if expected.key_size is not None and key.key_size != expected.key_size:
            yield f"has an RSA key of {key.key_size} bits instead of {expected.key_size}"
    elif isinstance(key, ec.EllipticCurvePublicKey) and expected.key_type == "EC":
        curve = CURVES.get(key.curve.name, key.curve.name)
        if expected.curve is not None and curve != expected.curve:
            yield f"has a key on {curve} instead of {expected.curve}"
    else:
        yield f"has a key that is not {expected.key_type}"
    yield from _weakness(key)


def _weakness(key: Any) -> Iterator[str]:
    try:
        verify_public_key(key)
    except Unverified as error:
        yield f"is refused: {error}"


def _validity_faults(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= now:
        yield f"expired on {ends:%Y-%m-%d %H:%M} UTC"
    elif ends - now < MIN_TIME_LEFT:
        yield f"expires at {ends:%Y-%m-%d %H:%M} UTC, in less than an hour"
    if begins - now > MAX_CLOCK_SKEW:
        yield f"is not valid before {begins:%Y-%m-%d %H:%M} UTC, more than 48 hours from now"
    if begins > ends:
        yield "ends before it begins"


def _public_trust_faults(leaf: x509.Certificate) -> Iterator[str]:
    """Baseline Requirements 6.3.2, 7.1.2.7 and 7.1.4.3. The validity includes its last second."""
    begins = leaf.not_valid_before_utc
    days = next(days for since, days in _PUBLIC_VALIDITY if begins >= since)
    if leaf.not_valid_after_utc - begins + timedelta(seconds=1) > timedelta(days=days):
        yield f"is valid for more than {days} days, the limit for publicly trusted certificates"
    yield from extensions.server_usage_faults(leaf)
    found = names.names_of(leaf)
    if not found.dns_names and not found.ip_addresses:
        yield "has no DNS name or IP address among its alternative names, which public trust needs"
    if found.common_name and found.common_name not in (*found.dns_names, *found.ip_addresses):
        yield f"has the common name {found.common_name!r}, which is not among its alternative names"


def _request(csr: bytes) -> x509.CertificateSigningRequest:
    """The request, all parts of which can be read from here on."""
    try:
        with panics_as_errors():
            request = x509.load_der_x509_csr(csr)
        request.public_key()
        for part in ("subject", "extensions", "attributes", "is_signature_valid"):
            getattr(request, part)
    except Exception:  # a parser on bytes from elsewhere: ValueError, DuplicateExtension, InvalidVersion …
        raise Unverified("the certificate signing request cannot be read") from None
    return request


def _pins(issuers: Sequence[x509.Certificate]) -> set[str]:
    found = set()
    for issuer in issuers:
        found.add(issuer.fingerprint(hashes.SHA256()).hex())
        key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(key)
        found.add(digest.finalize().hex())
    return found


def _hex(pin: str) -> str:
    return pin.replace(":", "").strip().lower()


def _raise_unless_none(faults: Sequence[str]) -> None:
    if faults:
        raise Unverified([Fault("", fault) for fault in faults])
