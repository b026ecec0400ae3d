"""Reads and writes PKCS#12 and PEM, and reads the certificates of a merge."""

import base64
import binascii
import hashlib
import re
import warnings
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from sandbox.vault.crypto import PrivateKey, dump_public_key
from sandbox.vault.errors import KeyVaultError, bad_parameter
from sandbox.vault.pfx_order import certificate_order, key_takes_too_long, too_many_iterations

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def decode_base64(text: str) -> bytes:
    """Standard or URL-safe base64, with or without padding and line breaks. Raises ValueError."""
    compact = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def load_certificate(data: bytes) -> x509.Certificate:
    """An X.509 certificate (DER) with a public key that can be read. Raises ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Key Vault takes certificates that this parser warns of
        try:
            certificate = x509.load_der_x509_certificate(data)
            public_key(certificate)
            _ = (
                certificate.subject,
                certificate.issuer,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            )
        except ValueError:
            raise
        except Exception as error:  # the parser has exceptions of its own for unsupported contents
            raise ValueError(str(error)) from None
    return certificate


def public_key(certificate: x509.Certificate) -> bytes:
    """The certificate's SubjectPublicKeyInfo, DER."""
    return dump_public_key(certificate.public_key())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def thumbprint(certificate: bytes) -> bytes:
    """SHA-1 of the DER: Key Vault's x5t."""
    return hashlib.sha1(certificate, usedforsecurity=False).digest()


# -- reading an import --------------------------------------------------------------------------------------------


def unreadable_pfx() -> KeyVaultError:
    return bad_parameter(
        "The specified PKCS#12 X.509 certificate content can not be read. Please check if certificate is in valid "
        "PKCS#12 format."
    )


def unexpected_pem() -> KeyVaultError:
    return bad_parameter(
        "The specified PEM X.509 certificate content is in an unexpected format. Please check if certificate is in "
        "valid PEM format."
    )


def read_pfx(data: bytes, password: str | None) -> tuple[PrivateKey, list[x509.Certificate]]:
    """The key and all certificates of a PFX, in its order if its cipher is supported, else leaf first. Raises 400."""
    try:
        hopeless = too_many_iterations(data)
    except Exception:  # the parser below decides what is not a PFX
        hopeless = False
    if hopeless:
        raise unreadable_pfx()
    attempts: list[bytes | None] = [password.encode()] if password else [None, b""]
    for attempt in attempts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                key, leaf, others = pkcs12.load_key_and_certificates(data, attempt)
                certificates = [load_certificate(der(item)) for item in ([leaf] if leaf else []) + others]
        except Exception:  # noqa: S112 - Key Vault has one message for every failure
            continue
        if isinstance(key, PrivateKey):
            return key, _in_order(data, password or "", certificates)
    raise unreadable_pfx()


def _in_order(data: bytes, password: str, certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    try:
        order = certificate_order(data, password)
        return sorted(certificates, key=lambda item: order.index(der(item)))
    except Exception:  # an old cipher: only the order is lost
        return certificates


def read_pem(data: bytes, password: str | None = None) -> tuple[PrivateKey, list[x509.Certificate]]:
    """The PKCS#8 key, encrypted or not, and the certificates of one PEM file, in its order. Raises 400."""
    keys: list[PrivateKey] = []
    certificates: list[x509.Certificate] = []
    for label, body in _PEM_BLOCK.findall(data):
        try:
            block = decode_base64(body.decode("ascii"))
            if label == b"CERTIFICATE":
                certificates.append(load_certificate(block))
            elif label in (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"):
                key = _pkcs8_key(block, password if label.startswith(b"ENCRYPTED") else None)
                if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
                    keys.append(key)
            else:
                raise unexpected_pem()
        except KeyVaultError:
            raise
        except Exception:
            raise unexpected_pem() from None
    if len(keys) != 1 or not certificates:
        raise unexpected_pem()
    return keys[0], certificates


def _pkcs8_key(block: bytes, password: str | None) -> PrivateKeyTypes:
    """The key of a PKCS#8 block (DER). Raises ValueError and TypeError."""
    if password and key_takes_too_long(block):
        raise ValueError("too many iterations")
    return serialization.load_der_private_key(block, password.encode() if password else None)


# -- reading a merge ----------------------------------------------------------------------------------------------


def read_x5c(items: Sequence[str]) -> list[x509.Certificate]:
    """The certificates of `x5c`: each item base64 of a DER certificate, of its PEM or base64 text, PKCS#7 or PKCS#12.

    Key Vault's clients send all of these. Raises 400 if an item is none of them, or if there is no item.
    """
    certificates = [certificate for item in items for certificate in _sniff(item)]
    if not certificates:
        raise _no_valid_item()
    return certificates


def _no_valid_item() -> KeyVaultError:
    return bad_parameter("Property x5c has invalid value X5C must has at least one valid item\r\n")


def _sniff(item: str) -> list[x509.Certificate]:
    try:
        data = item.encode("ascii") if "-----BEGIN" in item else decode_base64(item)
        for reader in (_as_certificate, _as_pem, _as_text, _as_pkcs7, _as_pkcs12):
            found = reader(data)
            if found:
                return found
    except ValueError:
        pass
    raise bad_parameter("Unable to parse X5c certificate chain and locate leaf certificate")


def _as_certificate(data: bytes) -> list[x509.Certificate]:
    try:
        return [load_certificate(data)]
    except ValueError:
        return []


def _as_pem(data: bytes) -> list[x509.Certificate]:
    blocks = _PEM_BLOCK.findall(data)
    if any(label != b"CERTIFICATE" for label, _ in blocks):
        raise _no_valid_item()  # as the service answers to `BEGIN PKCS7`
    return [load_certificate(decode_base64(body.decode("ascii"))) for _, body in blocks]


def _as_text(data: bytes) -> list[x509.Certificate]:
    try:
        inner = decode_base64(data.decode("ascii"))
    except ValueError:
        return []
    return _as_certificate(inner) or _as_pkcs7(inner)


def _as_pkcs7(data: bytes) -> list[x509.Certificate]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [load_certificate(der(item)) for item in pkcs7.load_der_pkcs7_certificates(data)]
    except Exception:
        return []


def _as_pkcs12(data: bytes) -> list[x509.Certificate]:
    for password in (None, b""):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, leaf, others = pkcs12.load_key_and_certificates(data, password)
            return [load_certificate(der(item)) for item in ([leaf] if leaf else []) + others]
        except Exception:  # noqa: S112
            continue
    return []


def order_chain(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Leaf first, each certificate followed by its issuer; what is outside the chain comes last, as given."""
    remaining = [certificate for certificate in others if certificate != leaf]
    ordered = [leaf]
    while True:
        issuer = next((c for c in remaining if c.subject == ordered[-1].issuer), None)
        if issuer is None or ordered[-1].subject == ordered[-1].issuer:
            return ordered + remaining
        remaining.remove(issuer)
        ordered.append(issuer)


def write_pem(key: bytes | None, certificates: Iterable[bytes]) -> str:
    """PKCS#8 key (when given), then the certificates in this order."""
    blocks = [_armour("PRIVATE KEY", key)] if key else []
    return "".join(blocks + [_armour("CERTIFICATE", certificate) for certificate in certificates])


def _armour(label: str, data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"
