"""Files that no library writes: certificates changed and signed again, and PFX files put together bag by bag."""

import base64
import hmac
from collections.abc import Callable
from hashlib import pbkdf2_hmac

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.pki.der import (
    CONTEXT_0,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    children,
    encoded,
    inside,
    oid,
)
from tests.pki.builders import Key

type Change = Callable[[Element], bytes | None]

DATA, ENCRYPTED = oid("1.2.840.113549.1.7.1"), oid("1.2.840.113549.1.7.6")


def sequence(*parts: bytes) -> bytes:
    return encoded(SEQUENCE, b"".join(parts))


def integer(number: int) -> bytes:
    return encoded(0x02, number.to_bytes(number.bit_length() // 8 + 1))


def identifier(content: bytes | str) -> bytes:
    return encoded(OBJECT_IDENTIFIER, oid(content) if isinstance(content, str) else content)


def of_version(number: int) -> Change:
    """A change of a certificate's version; cryptography reads 1 and 3 only."""
    return lambda each: encoded(0xA0, integer(number - 1)) if each.tag == 0xA0 else None


def octets(content: bytes) -> bytes:
    return encoded(OCTET_STRING, content)


def changed(data: bytes, change: Change) -> bytes:
    """`data` with every element replaced for which `change` has something; `b""` takes it out."""
    made = []
    for each in children(data):
        inner = changed(each.content, change) if each.tag & 0x20 else each.content
        new = change(each)
        made.append(encoded(each.tag, inner) if new is None else new)
    return b"".join(made)


def signed_again(certificate: x509.Certificate, key: Key, change: Change) -> bytes:
    """The certificate with its contents changed, in DER, with a signature that is right."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    contents = changed(certificate.tbs_certificate_bytes, change)
    signature = key.sign(contents, ec.ECDSA(hashes.SHA256()))
    algorithm = inside(certificate.public_bytes(Encoding.DER))[1].whole
    return sequence(contents, algorithm, encoded(0x03, b"\0" + signature))


def extension_changed(kind: str, make: Callable[[Element], bytes]) -> Change:
    """A change of the extension (dotted OID): `make` has its element and answers with what follows the OID."""

    def change(each: Element) -> bytes | None:
        if each.tag != SEQUENCE or not each.content.startswith(identifier(kind)):
            return None
        return sequence(identifier(kind), make(each))

    return change


def critical_false(certificate: x509.Certificate, key: Key) -> bytes:
    """With `critical FALSE` written out in its subject alternative name."""
    change = extension_changed("2.5.29.17", lambda each: b"\x01\x01\x00" + inside(each.whole)[-1].whole)
    return signed_again(certificate, key, change)


def with_path_length(certificate: x509.Certificate, key: Key) -> bytes:
    """With a path length that is not a CA's: `openssl … basicConstraints=critical,CA:FALSE,pathlen:0`."""
    change = extension_changed("2.5.29.19", lambda each: b"\x01\x01\xff" + octets(sequence(integer(0))))
    return signed_again(certificate, key, change)


def pkcs7(*certificates: bytes) -> bytes:
    """Certs-only: RFC 5652, section 5."""
    signed = sequence(
        integer(1), encoded(0x31, b""), sequence(identifier(DATA)), encoded(CONTEXT_0, b"".join(certificates)),
        encoded(0x31, b""),
    )  # fmt: skip
    return sequence(identifier("1.2.840.113549.1.7.2"), encoded(CONTEXT_0, signed))


def bag(number: int, value: bytes) -> bytes:
    """A SafeBag: 1 key, 2 encrypted key, 3 certificate, 4 CRL, 5 secret, 6 bags."""
    return sequence(identifier(f"1.2.840.113549.1.12.10.1.{number}"), encoded(CONTEXT_0, value))


def certificate_bag(der: bytes) -> bytes:
    return bag(3, sequence(identifier("1.2.840.113549.1.9.22.1"), encoded(CONTEXT_0, octets(der))))


def key_bag(key: Key) -> bytes:
    return bag(1, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def safe(*bags: bytes) -> bytes:
    return sequence(identifier(DATA), encoded(CONTEXT_0, octets(sequence(*bags))))


def encrypted_safe(password: str, *bags: bytes, iterations: int = 2048, claimed: int | None = None) -> bytes:
    algorithm, ciphertext = pbes2(sequence(*bags), password, iterations, claimed)
    content = sequence(identifier(DATA), algorithm, encoded(0x80, ciphertext))
    return sequence(identifier(ENCRYPTED), encoded(CONTEXT_0, sequence(integer(0), content)))


def encrypted_key_bag(key: Key, password: str, iterations: int, claimed: int) -> bytes:
    """Encrypted with so many iterations, and claiming others."""
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    algorithm, ciphertext = pbes2(plain, password, iterations, claimed)
    return bag(2, sequence(algorithm, octets(ciphertext)))


def pfx(*safes: bytes) -> bytes:
    """Without a MAC."""
    return sequence(integer(3), sequence(identifier(DATA), encoded(CONTEXT_0, octets(sequence(*safes)))))


def pbes2(plain: bytes, password: str, iterations: int, claimed: int | None = None) -> tuple[bytes, bytes]:
    """The AlgorithmIdentifier and the ciphertext: PBKDF2 with SHA-256, AES-256-CBC."""
    salt, iv = bytes(8), bytes(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(pbkdf2_hmac("sha256", password.encode(), salt, iterations, 32)), modes.CBC(iv))
    stream = encryptor.encryptor()
    ciphertext = stream.update(padder.update(plain) + padder.finalize()) + stream.finalize()
    prf = sequence(identifier("1.2.840.113549.2.9"), b"\x05\x00")
    kdf = sequence(identifier("1.2.840.113549.1.5.12"), sequence(octets(salt), integer(claimed or iterations), prf))
    cipher = sequence(identifier("2.16.840.1.101.3.4.1.42"), octets(iv))
    return sequence(identifier("1.2.840.113549.1.5.13"), sequence(kdf, cipher)), ciphertext


def pem_block(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(der) + f"-----END {label}-----\n".encode()


def with_pbmac1(plain: bytes, password: str, claimed: int | None = None, size: int | None = 32) -> bytes:
    """The PFX with a MAC as RFC 9579 has it, of 1,000 iterations, and claiming others; `size`: of the MAC's key."""
    version, auth_safe = inside(plain)
    [string] = children(inside(auth_safe.whole)[1].content)
    salt = bytes(8)
    digest = hmac.digest(pbkdf2_hmac("sha256", password.encode(), salt, 1000, size or 32), string.content, "sha256")
    prf = sequence(identifier("1.2.840.113549.2.9"), b"\x05\x00")
    stated = integer(size) if size else b""
    kdf = sequence(identifier("1.2.840.113549.1.5.12"), sequence(octets(salt), integer(claimed or 1000), stated, prf))
    algorithm = sequence(identifier("1.2.840.113549.1.5.14"), sequence(kdf, prf))
    mac = sequence(sequence(algorithm, octets(digest)), octets(b"unused"), integer(1))
    return sequence(version.whole, auth_safe.whole, mac)


def as_ber(data: bytes) -> bytes:
    """With indefinite lengths, and OCTET STRINGs in pieces of 1,000 octets."""
    made = []
    for each in children(data):
        if each.tag == OCTET_STRING:
            pieces = [each.content[place : place + 1000] for place in range(0, len(each.content), 1000)]
            made.append(b"\x24\x80" + b"".join(map(octets, pieces)) + b"\0\0")
        elif each.tag & 0x20:
            made.append(bytes([each.tag, 0x80]) + as_ber(each.content) + b"\0\0")
        else:
            made.append(each.whole)
    return b"".join(made)
