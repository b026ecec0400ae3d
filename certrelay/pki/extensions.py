"""What a certificate may be used for: basic constraints, key usage, extended key usage (RFC 5280, section 4.2.1).

The functions yield faults, which are sentences without a subject. The extensions of their input must be readable.
"""

from collections.abc import Collection, Iterator, Sequence

from cryptography import x509

from certrelay.pki.certificate import identified
from certrelay.pki.purposes import ANY, SERVER_AUTH, purposes, usages

type Signed = x509.Certificate | x509.CertificateSigningRequest

_KEY_USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
# RFC 8813, section 3: usages that an elliptic curve key cannot have, and that authorities therefore leave out.
_RSA_ONLY = {"keyencipherment", "dataencipherment"}


def extension[T: x509.ExtensionType](signed: Signed, kind: type[T]) -> T | None:
    try:
        return signed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def key_usages(signed: Signed) -> frozenset[str] | None:
    """In Key Vault's spelling (`keyCertSign`); None without the extension."""
    value = extension(signed, x509.KeyUsage)
    if value is None:
        return None
    agreement_only = {"encipher_only", "decipher_only"}
    return frozenset(
        name
        for name, attribute in _KEY_USAGES.items()
        if (value.key_agreement or attribute not in agreement_only) and getattr(value, attribute)
    )


def extended_key_usages(signed: Signed) -> tuple[str, ...] | None:
    """Dotted OIDs; None without the extension."""
    value = extension(signed, x509.ExtendedKeyUsage)
    return None if value is None else tuple(oid.dotted_string for oid in value)


def is_ca(signed: Signed) -> bool:
    constraints = extension(signed, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def extension_faults(certificate: x509.Certificate) -> Iterator[str]:
    """Unknown critical extensions (RFC 5280, section 4.2), the poison of precertificates (RFC 6962), and extensions in
    a certificate of version 1, which clients ignore or refuse."""
    if certificate.version is x509.Version.v1 and len(certificate.extensions):
        yield "has extensions and is of version 1, which has none (RFC 5280, 4.1.2.1)"
    for found in certificate.extensions:
        if isinstance(found.value, x509.PrecertPoison):
            yield "is a precertificate (it has the critical extension of RFC 6962)"
        elif found.critical and isinstance(found.value, x509.UnrecognizedExtension):
            yield f"has the critical extension {found.oid.dotted_string}, which is not known"


def issuer_faults(certificate: x509.Certificate, certificates_below: int) -> Iterator[str]:
    """Why a certificate may not be an issuer with so many intermediates between it and the leaf.

    Self-issued intermediates do not count (RFC 5280, section 4.2.1.9)."""
    constraints = extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield "signs another certificate and is no CA certificate"
    elif constraints.path_length is not None and constraints.path_length < certificates_below:
        allowed = f"{constraints.path_length} intermediate{'' if constraints.path_length == 1 else 's'}"
        yield f"allows {allowed} below it and has {certificates_below}"
    usages = key_usages(certificate)
    if usages is not None and "keyCertSign" not in usages:
        yield "signs another certificate and its key usage does not allow it"


def key_usage_faults(
    signed: Signed, asked: frozenset[str] | None, request: x509.CertificateSigningRequest, *, is_ec: bool
) -> Iterator[str]:
    """The key usages must be `asked`, regardless of case. None: digitalSignature must not be missing if the CSR has it.

    With an EC key, keyEncipherment and dataEncipherment may be missing (RFC 8813, section 3). A certificate without the
    extension has no key usages where some were asked, else it is not restricted."""
    found = key_usages(signed)
    if asked is not None:
        wanted, got = ({usage.lower() for usage in usages} for usages in (asked, found or ()))
        if got - wanted or wanted - got - (_RSA_ONLY if is_ec else set()):
            yield f"has the key usages {usages(found)} instead of {usages(asked)}"
    elif found is not None and "digitalSignature" in (key_usages(request) or ()) and "digitalSignature" not in found:
        yield "lacks the key usage digitalSignature"
    if found is not None and "keyCertSign" in found and not is_ca(request) and asked is None:
        yield "has the key usage keyCertSign, not requested"


def extended_key_usage_faults(
    signed: Signed, asked: Collection[str] | None, request: x509.CertificateSigningRequest, *, must_exist: bool = False
) -> Iterator[str]:
    """The extended key usages must be `asked` (dotted OIDs). None: at least one of the CSR's must be among them.

    A certificate without the extension is good for every purpose (RFC 5280, section 4.2.1.12). That is a fault only if
    usages were asked, or with `must_exist`. anyExtendedKeyUsage is a fault unless it was asked."""
    found = extended_key_usages(signed)
    if ANY in (found or ()) and ANY not in (asked or ()):
        yield "has the extended key usage anyExtendedKeyUsage, not requested"
    if asked is not None:
        if set(found or ()) != set(asked):
            yield f"has the extended key usages {purposes(found)} instead of {purposes(asked)}"
        return
    requested = extended_key_usages(request)
    if found is None and must_exist:
        yield "has no extended key usages, which the rule requires_extended_key_usage demands"
    if found is not None and requested and not set(requested) & set(found):
        yield f"has the extended key usages {purposes(found)}; the request has {purposes(requested)}"


def purpose_left_faults(leaf: x509.Certificate, issuers: Sequence[x509.Certificate]) -> Iterator[str]:
    """The certificate must be good for at least one purpose that every issuer allows; a root allows all.

    RFC 5280 leaves open what the extension means in an issuer. Windows, OpenSSL, Go and the browsers take it as a bound
    on all below, as the Baseline Requirements do (7.1.2.2.3). Without a purpose left, nobody accepts it.
    """
    left = frozenset(extended_key_usages(leaf) or (ANY,))
    for issuer in issuers:
        allowed = frozenset(extended_key_usages(issuer) or (ANY,))
        if ANY in allowed or issuer.subject == issuer.issuer:
            continue
        if ANY not in left and not left & allowed:
            own, below = purposes(allowed), purposes(left)
            yield f"the issuer {identified(issuer)} allows only {own}, and what is below it only {below}"
            return
        left = allowed if ANY in left else left & allowed


def server_usage_faults(certificate: x509.Certificate) -> Iterator[str]:
    """Baseline Requirements 7.1.2.7.6."""
    if SERVER_AUTH not in (extended_key_usages(certificate) or ()):
        yield "lacks the extended key usage serverAuth, which publicly trusted certificates need"
