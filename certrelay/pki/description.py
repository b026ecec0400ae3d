"""Describe a certificate as far as it can be read: vaults also hold certificates that break RFC 5280."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certrelay.pki.encodings import panics_as_errors
from certrelay.pki.names import names_of

_NAMES = ("dns_names", "email_addresses", "ip_addresses", "uris")
_PARTS: dict[str, Callable[[x509.Certificate], Any]] = {
    "subject": lambda certificate: certificate.subject.rfc4514_string(),
    "issuer": lambda certificate: certificate.issuer.rfc4514_string(),
    "serial_number": lambda certificate: f"{certificate.serial_number:x}",
    "not_before": lambda certificate: certificate.not_valid_before_utc.isoformat(),
    "not_after": lambda certificate: certificate.not_valid_after_utc.isoformat(),
}


def what_it_says(der: bytes) -> dict[str, Any]:
    """Subject and issuer (RFC 4514), serial number and SHA-256 thumbprint (hex), validity (ISO 8601, UTC), the key's
    type and size (bits), and the alternative names by kind. A part that cannot be read is left out. Raises
    nothing."""
    found: dict[str, Any] = {"thumbprint_sha256": hashlib.sha256(der).hexdigest()}
    with suppress(Exception), panics_as_errors():  # a parser on bytes from elsewhere
        certificate = x509.load_der_x509_certificate(der)
        for part, read in _PARTS.items():
            with suppress(Exception):
                found[part] = read(certificate)
        with suppress(Exception):
            found |= _key(certificate)
        names = names_of(certificate)
        found |= {kind: list(getattr(names, kind)) for kind in _NAMES}
    return found


def _key(certificate: x509.Certificate) -> dict[str, Any]:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return {"key_type": "RSA" if isinstance(key, rsa.RSAPublicKey) else "EC", "key_size": key.key_size}
    return {}
