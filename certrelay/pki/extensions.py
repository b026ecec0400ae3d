"""What a certificate may be used for: basic constraints, key usage, extended key usage (RFC 5280, section 4.2.1).

The functions answer with faults: sentences, none when all is well. Their input's extensions must be readable.
"""

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

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
_ANY, _SERVER_AUTH = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string, "1.3.6.1.5.5.7.3.1"


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
    """RFC 5280, section 4.2: what is critical and not understood; RFC 6962: a precertificate."""
    for found in certificate.extensions:
        if found.critical and isinstance(found.value, x509.UnrecognizedExtension | x509.PrecertPoison):
            yield f"has the critical extension {found.oid.dotted_string}, which is not known"


def issuer_faults(certificate: x509.Certificate, certificates_below: int) -> Iterator[str]:
    """What keeps a certificate from being an issuer with so many intermediates between it and the leaf."""
    constraints = extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield "signs another certificate and is no CA certificate"
    elif constraints.path_length is not None and constraints.path_length < certificates_below:
        yield f"allows {constraints.path_length} intermediates below it and has {certificates_below}"
    usages = key_usages(certificate)
    if usages is not None and "keyCertSign" not in usages:
        yield "signs another certificate and its key usage does not allow it"


def key_usage_faults(
    signed: Signed, asked: frozenset[str] | None, request: x509.CertificateSigningRequest, *, is_ec: bool
) -> Iterator[str]:
    """`asked` exactly, but for what an EC key cannot have; None: at least digitalSignature if the CSR has it."""
    found = key_usages(signed)
    if asked is not None:
        wanted = {usage.lower() for usage in asked}
        got = {usage.lower() for usage in found or ()}
        if (got ^ wanted) - (_RSA_ONLY if is_ec else set()):
            yield f"has the key usages {_listed(found)} instead of {_listed(asked)}"
    elif found is not None and "digitalSignature" in (key_usages(request) or ()) and "digitalSignature" not in found:
        yield "lacks the key usage digitalSignature"
    if found is not None and "keyCertSign" in found and not is_ca(request) and "keyCertSign" not in (asked or ()):
        yield "has the key usage keyCertSign, which was not asked"


def extended_key_usage_faults(
    signed: Signed, asked: tuple[str, ...] | None, request: x509.CertificateSigningRequest
) -> Iterator[str]:
    """`asked` exactly; None: at least one of the CSR's. anyExtendedKeyUsage is never right."""
    found = extended_key_usages(signed)
    if _ANY in (found or ()):
        yield "has anyExtendedKeyUsage"
    if asked is not None:
        if set(found or ()) != set(asked):
            yield f"has the extended key usages {_listed(found)} instead of {_listed(asked)}"
        return
    requested = extended_key_usages(request)
    if requested and not set(requested) & set(found or ()):
        yield f"has the extended key usages {_listed(found)}; the request has {_listed(requested)}"


def server_usage_faults(certificate: x509.Certificate) -> Iterator[str]:
    """Baseline Requirements 7.1.2.7.6."""
    if _SERVER_AUTH not in (extended_key_usages(certificate) or ()):
        yield "lacks the extended key usage serverAuth, which publicly trusted certificates need"


def _listed(usages: frozenset[str] | tuple[str, ...] | None) -> str:
    return ", ".join(sorted(usages)) if usages else "none"
