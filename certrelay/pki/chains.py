"""Certificates in whatever form an authority answers with, and the chain in them (RFC 5280, RFC 5652, RFC 7468)."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from certrelay.errors import Invalid, Unverified
from certrelay.pki.encodings import Block, blocks, children, content, elements, panics_as_errors

MAX_BYTES, MAX_CERTIFICATES, MAX_CHAIN = 1024 * 1024, 100, 10

_CMS = bytes.fromhex("06092a864886f70d0107")  # the OIDs 1.2.840.113549.1.7.*
_SIGNED_DATA = _CMS + b"\x02"
_IGNORED = ("PUBLIC KEY", "PARAMETERS", "X509 CRL", "ATTRIBUTE CERTIFICATE")


def parse_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate in `data`, in its order, without duplicates; at least one.

    PEM of any label, DER, PKCS#7 certs-only (RFC 5652, section 5) and bare base64 of both, also BER and UTF-16.
    Raises Invalid, and nothing else, for anything else, for a private key and for more than 1 MiB."""
    if len(data) > MAX_BYTES:
        raise Invalid("the certificates are too large: more than 1 MiB")
    found: dict[x509.Certificate, None] = {}
    for block in blocks(data):
        for certificate in certificates_in(block):
            found[certificate] = None
            if len(found) > MAX_CERTIFICATES:
                raise Invalid(f"there are more than {MAX_CERTIFICATES} certificates")
    if not found:
        raise Invalid("there is no certificate in the data")
    return tuple(found)


def certificates_in(block: Block) -> Iterable[x509.Certificate]:
    """The certificates of one block; none where its label says something else. Raises Invalid."""
    label = block.label or ""
    if "PRIVATE KEY" in label:
        raise Invalid("there is a private key among the certificates; it does not belong here")
    if "CERTIFICATE REQUEST" in label:
        raise Invalid("this is a certificate signing request, not a certificate")
    if label.endswith(_IGNORED):
        return
    parts = list(elements(block.der))
    if not parts:
        raise Invalid("the data is neither PEM, DER, base64 nor PKCS#7 of certificates")
    for part in parts[:1] if label.startswith("TRUSTED") else parts[: MAX_CERTIFICATES + 1]:
        inner = content(part)
        if inner.startswith(_CMS):
            yield from _pkcs7(part)
        elif inner.startswith(b"\x02"):
            is_pfx = inner.startswith(b"\x02\x01\x03")
            what = "a PFX file" if is_pfx else "a private key"
            raise Invalid(f"this is {what}, not a certificate")
        else:
            yield certificate_of(part)


def certificate_of(der: bytes) -> x509.Certificate:
    """The certificate, all parts of which can be read from here on. Raises Invalid."""
    try:
        with panics_as_errors():
            certificate = x509.load_der_x509_certificate(der)
        for part in ("subject", "issuer", "extensions", "not_valid_before_utc", "not_valid_after_utc"):
            getattr(certificate, part)
        certificate.public_key()
        has_broken_hash(certificate)
    except UnsupportedAlgorithm:
        raise Invalid("a certificate has a kind of public key that is not supported") from None
    except Exception:  # a parser on hostile bytes: ValueError, TypeError, DuplicateExtension, InvalidVersion …
        raise Invalid("a certificate cannot be read") from None
    return certificate


def ordered_chain(
    certificates: Iterable[x509.Certificate],
    public_key: PublicKeyTypes,
    *,
    keep_root: bool = True,
    drop_strangers: bool = False,
) -> tuple[x509.Certificate, ...]:
    """The chain from the certificate of `public_key`, leaf first, each signed by the next; at most 10.

    Where authorities are cross-signed it is the shortest way to a self-signed root, else the longest way up, and of
    several certificates of one authority it is the one that ends last; the other ways are left out. Without
    `keep_root` a root that is not the leaf is left out. Raises Unverified for a missing leaf and, without
    `drop_strangers`, for a certificate that is not connected to the leaf: a stranger, or one beyond a gap."""
    known = list(dict.fromkeys(certificates))
    leaves = sorted((c for c in known if c.public_key() == public_key), key=_not_before, reverse=True)
    if not leaves:
        raise Unverified("no certificate has this public key")
    came_from, top = _ways_up(known, leaves[0])
    connected = _reached(known, [leaf for leaf in leaves if leaf.subject == leaves[0].subject])
    strangers = [certificate for certificate in known if certificate not in connected]
    if strangers and not drop_strangers:
        raise Unverified(_why_not_connected(strangers[0], list(connected)))
    chain = [top]
    while (below := came_from[chain[-1]]) is not None:
        chain.append(below)
    chain.reverse()
    if len(chain) > MAX_CHAIN:
        raise Unverified(f"the chain is longer than {MAX_CHAIN} certificates")
    return tuple(chain) if keep_root else without_root(chain)


def without_root(chain: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The chain up to its self-signed root; a self-signed leaf stays."""
    return tuple(chain[:-1] if len(chain) > 1 and is_self_signed(chain[-1]) else chain)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether its own key signed it. A root's SHA-1 or MD5 signature, which nobody relies on, is taken on trust."""
    return is_signed_by(certificate, certificate)


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """By name and signature. What cryptography does not verify any more (SHA-1, MD5) goes by name and key identifier:
    `verify_answer` refuses it, with the true reason."""
    if certificate.issuer != issuer.subject:
        return False
    if has_broken_hash(certificate):
        return _authority_key(certificate) in (None, _subject_key(issuer))
    with suppress(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        certificate.verify_directly_issued_by(issuer)
        return True
    return False


def has_broken_hash(certificate: x509.Certificate) -> bool:
    """Whether its signature is over SHA-1, MD5 or older."""
    try:
        return isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)
    except UnsupportedAlgorithm:
        return True


def named(certificate: x509.Certificate) -> str:
    """The subject for a message: short, and on one line."""
    text = certificate.subject.rfc4514_string() or f"serial number {certificate.serial_number:x}"
    return repr(text if len(text) <= 120 else f"{text[:117]}...")


def _pkcs7(der: bytes) -> Iterable[x509.Certificate]:
    """asn1crypto reads what cryptography refuses: BER, no SET order; attribute certificates are tagged, and skipped."""
    if not content(der).startswith(_SIGNED_DATA):
        raise Invalid("the PKCS#7 is not of the kind that carries certificates (signedData)")
    try:
        certificates = cms.ContentInfo.load(der)["content"]["certificates"]
        found = [whole for _, _, whole in children(certificates.contents or b"") if whole.startswith(b"\x30")]
    except Exception:  # a parser on hostile bytes
        raise Invalid("the PKCS#7 cannot be read") from None
    if not found:
        raise Invalid("the PKCS#7 holds no certificate")
    for certificate in found[: MAX_CERTIFICATES + 1]:
        yield certificate_of(certificate)


def _ways_up(
    known: list[x509.Certificate], leaf: x509.Certificate
) -> tuple[dict[x509.Certificate, x509.Certificate | None], x509.Certificate]:
    """Breadth first from the leaf: who led to whom, and the top that was chosen."""
    came_from: dict[x509.Certificate, x509.Certificate | None] = {leaf: None}
    level = [leaf]
    top = leaf
    while level:
        roots = [certificate for certificate in level if is_self_signed(certificate)]
        if roots:
            return came_from, max(roots, key=_not_after)
        level.sort(key=_not_after, reverse=True)
        top = level[0]
        above: dict[x509.Certificate, x509.Certificate] = {}
        for certificate in level:
            for issuer in filter(partial(is_signed_by, certificate), known):
                if issuer not in came_from:
                    above.setdefault(issuer, certificate)
        came_from |= above
        level = list(above)
    return came_from, top


def _reached(known: list[x509.Certificate], leaves: list[x509.Certificate]) -> dict[x509.Certificate, None]:
    reached = dict.fromkeys(leaves)
    waiting = list(leaves)
    while waiting:
        certificate = waiting.pop()
        for other in known:
            if other not in reached and is_signed_by(certificate, other):
                reached[other] = None
                waiting.append(other)
    return reached


def _why_not_connected(stranger: x509.Certificate, connected: list[x509.Certificate]) -> str:
    for certificate in connected:
        if certificate.issuer == stranger.subject and certificate is not stranger:
            return f"the signature on {named(certificate)} is not by the key of {named(stranger)}"
    return f"{named(stranger)} is not part of the leaf's chain: a stranger, or a certificate between them is missing"


def _not_before(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def _not_after(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _authority_key(certificate: x509.Certificate) -> bytes | None:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return None


def _subject_key(certificate: x509.Certificate) -> bytes | None:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return None
