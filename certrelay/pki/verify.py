"""Verify that a CSR, and the authority's answer to it, are what was asked; Unverified says everything that is wrong.

Checks RFC 5280, section 6.1 without revocation, which is for relying parties, and for public trust the CA/Browser
Forum's Baseline Requirements. docs/what-is-refused.md lists what comes of it.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certrelay.errors import Fault, Invalid, Unverified
from certrelay.pki import extensions, name_faults, public_trust
from certrelay.pki.alternative_names import general_names
from certrelay.pki.certificate import curve_faults, has_broken_hash, identified, key_type_faults, named
from certrelay.pki.chains import (
    MAX_CLOCK_SKEW,
    MIN_TIME_LEFT,
    is_self_signed,
    left_out,
    ordered_chain,
    without_root,
)
from certrelay.pki.contents import read_certificates
from certrelay.pki.encodings import panics_as_errors
from certrelay.pki.name_constraints import MAX_COMPARISONS, comparisons, names_not_allowed
from certrelay.pki.subject import SubjectNames
from certrelay.pki.weak_keys import CURVES, verify_public_key
from certrelay.pki.wording import bounded, listed

MAX_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Expected:
    """What was asked. `key_type` is RSA or EC, `key_size` in bits, `curve` P-256, P-384 or P-521; None: any.

    `key_usage` (in Key Vault's spelling) and `extended_key_usage` (dotted OIDs) must match exactly if they are given,
    except that an EC key may lack keyEncipherment and dataEncipherment (RFC 8813, section 3). If they are None, a
    certificate that has the extensions needs digitalSignature and one of the extended key usages, as far as the CSR has
    them."""

    names: SubjectNames
    key_type: str
    key_size: int | None
    curve: str | None
    is_ca: bool = False
    key_usage: frozenset[str] | None = None
    extended_key_usage: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an authority may answer with.

    - `max_validity_days` counts from now, with a day's grace.
    - `keep_root`: whether a self-signed root at the end of the chain is kept.
    - `issuer_pins`: SHA-256 in hex of certificates or SubjectPublicKeyInfos of CAs. One of them must be in the chain,
      and one of each set in `more_pins`.
    - `public_trust`: whether the Baseline Requirements for TLS servers apply.
    - `extra_names`: whether the authority may add a DNS name that is an asked name with `www.` in front, or without its
      `www.` or `*.`. None means no, but leaves the decision to the limits that these are merged with.
    - `requires_extended_key_usage`: whether a certificate without the extension is refused."""

    max_validity_days: int | None = None
    keep_root: bool = True
    issuer_pins: tuple[str, ...] = ()
    public_trust: bool = False
    extra_names: bool | None = None
    requires_extended_key_usage: bool = False
    more_pins: tuple[tuple[str, ...], ...] = ()

    def merged(self, other: "Limits") -> "Limits":
        """The strictest of both."""
        days = [limits.max_validity_days for limits in (self, other) if limits.max_validity_days is not None]
        opinions = [limits.extra_names for limits in (self, other) if limits.extra_names is not None]
        return Limits(
            max_validity_days=min(days, default=None),
            keep_root=self.keep_root and other.keep_root,
            issuer_pins=self.issuer_pins,
            public_trust=self.public_trust or other.public_trust,
            extra_names=all(opinions) if opinions else None,
            requires_extended_key_usage=self.requires_extended_key_usage or other.requires_extended_key_usage,
            more_pins=tuple(pins for pins in (*self.more_pins, other.issuer_pins, *other.more_pins) if pins),
        )


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """The chain (DER, leaf first), and a sentence for each certificate of the answer that is not part of it."""

    chain: tuple[bytes, ...]
    left_out: tuple[str, ...] = ()


def verify_csr(csr: bytes, expected: Expected) -> None:
    """Check that Key Vault's PKCS#10 (DER) has the expected names, key and usages, and is signed by its key.

    Raises Unverified with at most ten faults, and the number of the others."""
    request, is_signed = _request(csr)
    faults = list(name_faults.csr_faults(request, expected.names))
    if not is_signed:
        faults.append("has a signature that is not by its key, or over a hash that is not safe")
    faults += _key_faults(request.public_key(), expected)
    if extensions.is_ca(request) != expected.is_ca:
        faults.append("asks for a CA certificate" if not expected.is_ca else "does not ask for a CA certificate")
    if expected.key_usage is not None:
        faults += extensions.key_usage_faults(request, expected.key_usage, request, is_ec=expected.key_type == "EC")
    if expected.extended_key_usage is not None:
        faults += extensions.extended_key_usage_faults(request, expected.extended_key_usage, request)
    _raise_unless_none([f"the request {fault}" for fault in faults], "request the certificate again")


def verify_answer(answer: bytes, csr: bytes, expected: Expected, limits: Limits, now: datetime) -> VerifiedAnswer:
    """Verify the certificate and its chain in an authority's answer (see `read_certificates` for its encodings).

    `csr` is the PKCS#10 (DER) that was sent, `now` is in UTC. Raises Unverified with at most ten faults and 2,000
    characters, and the number of the other faults."""
    request, _ = _request(csr)
    chain, unneeded = _chain(answer, request, now)
    leaf, issuers = chain[0], chain[1:]
    count = len(general_names(leaf))
    if count > MAX_NAMES:
        raise Unverified(f"the certificate has {count} names; at most {MAX_NAMES} are allowed: ask for fewer names")
    of_leaf = [f"the certificate {fault}" for fault in _leaf_faults(leaf, request, expected, limits, now)]
    of_chain = list(_chain_faults(leaf, issuers, limits, now))
    step = f"have {identified(leaf)} issued again, {'as the request asks' if of_leaf else 'by another issuer'}"
    _raise_unless_none(of_leaf + of_chain, step)
    kept = chain if limits.keep_root else without_root(chain)
    return VerifiedAnswer(tuple(one.public_bytes(Encoding.DER) for one in kept), tuple(bounded(unneeded, "more")))


def _chain_faults(
    leaf: x509.Certificate, issuers: Sequence[x509.Certificate], limits: Limits, now: datetime
) -> Iterator[str]:
    for place, issuer in enumerate(issuers):
        below = sum(one.subject != one.issuer for one in issuers[:place])
        is_root = place == len(issuers) - 1 and is_self_signed(issuer)
        for fault in _issuer_faults(issuer, below, is_root, now):
            yield f"the issuer {identified(issuer)} {fault}"
    yield from _constraint_faults(issuers, leaf)
    yield from extensions.purpose_left_faults(leaf, issuers)
    if not all(has_pin(issuers, pins) for pins in (limits.issuer_pins, *limits.more_pins)):
        yield "none of the pinned issuers is in the chain (rule issuer_pins)"


def has_pin(issuers: Sequence[x509.Certificate], pins: Collection[str]) -> bool:
    """Whether one of the pins (see `Limits`) is of one of the issuers; True without pins."""
    return not pins or not _pins(issuers).isdisjoint(map(_hex, pins))


def _chain(
    answer: bytes, request: x509.CertificateSigningRequest, now: datetime
) -> tuple[tuple[x509.Certificate, ...], list[str]]:
    """The chain, leaf first, and a sentence for each certificate that is not part of it."""
    try:
        contents = read_certificates(answer)
        contents.require_certificates()
        key = request.public_key()
        if all(certificate.public_key() != key for certificate in contents.certificates):
            contents.blame_unreadable_parts()
            shown = listed(named(certificate) for certificate in contents.certificates)
            raise Invalid(
                f"no certificate in the answer has the public key of the request: it has {shown}; have the authority "
                "sign the CSR of this request"
            )
        chain = ordered_chain(contents.certificates, key, now)
        return chain, left_out(contents.certificates, chain, contents.unreadable, now)
    except Invalid as error:
        raise Unverified(error.faults) from None


def _leaf_faults(
    leaf: x509.Certificate,
    request: x509.CertificateSigningRequest,
    expected: Expected,
    limits: Limits,
    now: datetime,
) -> Iterator[str]:
    yield from name_faults.leaf_faults(leaf, request, expected.names, extra_names=limits.extra_names is True)
    yield from _key_faults(leaf.public_key(), expected)
    yield from _validity_faults(leaf, now)
    days = limits.max_validity_days
    if days is not None and leaf.not_valid_after_utc - now > timedelta(days=days + 1):
        end = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
        yield f"is valid until {end}, longer than the {days} days allowed (rule max_validity_days)"
    yield from key_type_faults(leaf)
    if has_broken_hash(leaf):
        yield "is signed over a hash that is not safe (SHA-1, MD5) or not known"
    if extensions.is_ca(leaf) != expected.is_ca:
        yield "is a CA certificate, which was not requested" if not expected.is_ca else "is not a CA certificate"
    yield from extensions.extension_faults(leaf)
    yield from extensions.key_usage_faults(leaf, expected.key_usage, request, is_ec=expected.key_type == "EC")
    yield from extensions.extended_key_usage_faults(
        leaf, expected.extended_key_usage, request, must_exist=limits.requires_extended_key_usage
    )
    if limits.public_trust:
        yield from (f"{fault} (rule public_trust)" for fault in public_trust.certificate_faults(leaf))


def _issuer_faults(issuer: x509.Certificate, below: int, is_root: bool, now: datetime) -> Iterator[str]:
    yield from _validity_faults(issuer, now)
    yield from extensions.issuer_faults(issuer, below)
    yield from extensions.extension_faults(issuer)
    if is_root:  # trusted as it stands, not for its signature
        return
    yield from curve_faults(issuer)
    if has_broken_hash(issuer):
        yield "is signed over a hash that is not safe (SHA-1, MD5) or not known"
    key = issuer.public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        yield from _weakness(key)


def _constraint_faults(issuers: Sequence[x509.Certificate], leaf: x509.Certificate) -> Iterator[str]:
    """RFC 5280, section 6.1.3, (b) and (c): they bind the issuers below as well, unless these are self-issued."""
    below = [(place, one) for place, one in enumerate((leaf, *issuers)) if not place or one.subject != one.issuer]
    pairs = [(one, general_names(one), issuer, place) for place, one in below for issuer in issuers[place:]]
    needed = sum(comparisons(one.subject, names, issuer) for one, names, issuer, _ in pairs)
    if needed > MAX_COMPARISONS:
        yield (
            f"the names and the name constraints above them are too many to compare: {needed} times, and "
            f"{MAX_COMPARISONS} are allowed; ask for fewer names"
        )
        return
    for one, names, issuer, place in pairs:
        if forbidden := names_not_allowed(one.subject, names, issuer, is_ca=place > 0):
            yield f"the issuer {identified(issuer)} may not certify {listed(forbidden)}, by its name constraints"


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


@lru_cache(64)  # it is read before each step that asks the authority, and with the answer
def _request(csr: bytes) -> tuple[x509.CertificateSigningRequest, bool]:
    """Parse a CSR completely, so that reading a part of it later cannot fail; and whether its signature is valid."""
    try:
        with panics_as_errors():
            request = x509.load_der_x509_csr(csr)
        for part in ("subject", "extensions", "attributes"):
            getattr(request, part)
        return request, request.is_signature_valid  # which reads the key as well
    except Exception:  # a parser on bytes from elsewhere: ValueError, DuplicateExtension, InvalidVersion …
        raise Unverified("the certificate signing request cannot be read; request the certificate again") from None


def _pins(issuers: Sequence[x509.Certificate]) -> set[str]:
    found = set()
    for issuer in issuers:
        found.add(issuer.fingerprint(hashes.SHA256()).hex())
        key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        found.add(hashlib.sha256(key).hexdigest())
    return found


def _hex(pin: str) -> str:
    return pin.replace(":", "").strip().lower()


def _raise_unless_none(faults: Sequence[str], step: str) -> None:
    """The next step is at the end of the last fault."""
    if faults:
        *others, last = bounded(faults)
        raise Unverified([Fault("", fault) for fault in (*others, f"{last}; {step}")])
