"""Decrypt what a password protects: PBES2 (RFC 8018) and the schemes of PKCS#12 (RFC 7292, appendices B and C).

The cost of a key derivation is known from its parameters, and taken from a budget before the key is derived.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from certrelay.errors import Invalid
from certrelay.pki import rc2
from certrelay.pki.der import INTEGER, SEQUENCE, Element, children, element, integer, octets, oid

# GnuTLS and NSS write 600,000 iterations into every part of a PFX: 4,800,000 in all with the schemes of PKCS#12.
MAX_ITERATIONS, MAX_WORK = 1_000_000, 4_900_000
RC2_WORK = 4  # for a byte, in Python
MAX_SCRYPT_COST, MAX_RC2_BYTES = 2**19, 64 * 1024  # N·r·p: 128 bytes of memory each

DIGESTS = {
    oid("1.3.14.3.2.26"): "sha1",
    oid("2.16.840.1.101.3.4.2.4"): "sha224",
    oid("2.16.840.1.101.3.4.2.1"): "sha256",
    oid("2.16.840.1.101.3.4.2.2"): "sha384",
    oid("2.16.840.1.101.3.4.2.3"): "sha512",
}
HMACS = {
    oid(f"1.2.840.113549.2.{number}"): name
    for number, name in ((7, "sha1"), (8, "sha224"), (9, "sha256"), (10, "sha384"), (11, "sha512"))
}
PBKDF2 = oid("1.2.840.113549.1.5.12")
_PBES2, _SCRYPT = oid("1.2.840.113549.1.5.13"), oid("1.3.6.1.4.1.11591.4.11")
_DES_EDE3_CBC = oid("1.2.840.113549.3.7")
_CIPHERS: dict[bytes, tuple[Callable[[bytes], algorithms.AES | TripleDES], int]] = {
    oid("2.16.840.1.101.3.4.1.2"): (algorithms.AES, 16),
    oid("2.16.840.1.101.3.4.1.22"): (algorithms.AES, 24),
    oid("2.16.840.1.101.3.4.1.42"): (algorithms.AES, 32),
    _DES_EDE3_CBC: (TripleDES, 24),
}
# RFC 8018, appendix B.2.3: the size of the key in bytes by the version in the parameters.
_RC2_CBC, _RC2_SIZES = oid("1.2.840.113549.3.2"), {160: 5, 120: 8, 58: 16}
# Appendix C: the size of the key in bytes, and whether it is RC2 (else triple DES).
_PKCS12 = {
    oid(f"1.2.840.113549.1.12.1.{number}"): scheme
    for number, scheme in ((3, (24, False)), (4, (16, False)), (5, (16, True)), (6, (5, True)))
}


class Unsupported(ValueError):
    """The scheme, or one of its algorithms, is not implemented here."""


def known[T](table: Mapping[bytes, T], kind: bytes) -> T:
    """The table's entry for an object identifier. Raises Unsupported if it has none."""
    if kind not in table:
        raise Unsupported("unknown scheme")
    return table[kind]


@dataclass(slots=True)
class Budget:
    """What the key derivations of a file may cost in total. A unit is at most a microsecond on an idle machine."""

    left: int = MAX_WORK

    def spend(self, work: int) -> None:
        """Raises Invalid if the work exceeds what is left."""
        self.left -= work
        if self.left < 0:
            raise Invalid(
                "the file asks for too many iterations of its key derivation; write it again with the defaults. A PFX: "
                "openssl pkcs12 -legacy -in FILE -out FILE.pem, then openssl pkcs12 -export -in FILE.pem -out NEW.pfx; "
                "a key: openssl pkcs8 -topk8 -in FILE -out NEW.pem"
            )


@dataclass(frozen=True, slots=True)
class Password:
    """The password in UTF-8 for PBES2, and as a BMPString for PKCS#12 (RFC 7292, appendix B.1)."""

    utf8: bytes = field(repr=False)
    utf16: bytes = field(repr=False)


def passwords(password: str | None) -> tuple[Password, ...]:
    """The encodings of the password to try, the usual one first.

    Programs encode an empty and an absent password differently. OpenSSL takes the octets that it gets: before version
    1.1.0 each as a character, and in a shell that is not UTF-8 those of its code page (man passphrase-encoding)."""
    if not password:
        return (Password(b"", b"\0\0"), Password(b"", b""))
    utf8 = password.encode("utf-8", "surrogatepass")
    found = [Password(utf8, _bmp(password))]
    if not password.isascii():
        found.append(Password(utf8, _bmp(utf8.decode("latin-1"))))
        with suppress(UnicodeEncodeError):
            found.append(Password(password.encode("cp1252"), _bmp(password)))
    return tuple(found)


def _bmp(password: str) -> bytes:
    return f"{password}\0".encode("utf-16-be", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Derivation:
    """Derives a key from a password (bytes); `work` is its cost in units of the budget."""

    derive: Callable[[bytes], bytes]
    work: int


def pbkdf2(parameters: Element, size: int | None) -> Derivation:
    """PBKDF2 (RFC 8018, appendix A.2) for a key of `size` bytes. None: the size in the parameters, or 32.

    Raises ValueError, and Unsupported for an unknown pseudorandom function."""
    salt, count, *others = children(parameters.content)
    stated = next((integer(each) for each in others if each.tag == INTEGER), None)
    prf = next((next(children(each.content)).content for each in others if each.tag == SEQUENCE), None)
    digest = "sha1" if prf is None else known(HMACS, prf)
    if stated and size and stated != size:
        raise Unsupported("another size")
    size = size or stated or 32
    rounds = iterations(count)
    blocks = ceil(size / hashlib.new(digest).digest_size)
    derive = partial(_pbkdf2_derived, digest, octets(salt), rounds, size)
    return Derivation(derive, rounds * blocks * _slowness(digest))


def pkcs12_key(digest: str, salt: bytes, rounds: int, purpose: int, size: int | None = None) -> Derivation:
    """RFC 7292, appendix B.2. `purpose` is 1 for a key, 2 for an IV, 3 for a MAC; `size` is the digest's by default."""
    own = hashlib.new(digest).digest_size
    size = size or own
    derive = partial(_pkcs12_derived, digest, salt, rounds, purpose, size)
    return Derivation(derive, rounds * ceil(size / own) * _slowness(digest))


def decrypted(algorithm: Element, ciphertext: bytes, password: Password, budget: Budget) -> bytes:
    """The plaintext. `algorithm` is an AlgorithmIdentifier.

    Raises Invalid if the cost exceeds the budget, Unsupported for an unknown scheme, and ValueError for a wrong
    password or damaged data."""
    kind, parameters = list(children(algorithm.content))[:2]
    if kind.content == _PBES2:
        return _pbes2(parameters, ciphertext, password, budget)
    size, is_rc2 = known(_PKCS12, kind.content)
    salt, count = list(children(parameters.content))[:2]
    rounds = iterations(count)
    key, iv = (pkcs12_key("sha1", octets(salt), rounds, *wanted) for wanted in ((1, size), (2, 8)))
    if is_rc2 and len(ciphertext) > MAX_RC2_BYTES:
        raise Unsupported("RC2")
    budget.spend(key.work + iv.work + (RC2_WORK * len(ciphertext) if is_rc2 else 0))
    secret, vector = key.derive(password.utf16), iv.derive(password.utf16)
    if is_rc2:
        return _unpadded(rc2.decrypt_cbc(secret, vector, ciphertext), 8)
    return _cbc(TripleDES(secret if size == 24 else secret + secret[:8]), vector, ciphertext)


def decrypted_key(algorithm: Element, ciphertext: bytes, password: Password, budget: Budget) -> bytes:
    """Like `decrypted`, for a private key in PKCS#8. Raises ValueError also if the plaintext is none."""
    plain = decrypted(algorithm, ciphertext, password, budget)
    found = element(plain)
    if found.whole != plain or found.tag != SEQUENCE or not found.content.startswith(bytes([INTEGER, 1])):
        raise ValueError("no PrivateKeyInfo")
    return plain


def spend_for(algorithm: Element, budget: Budget) -> None:
    """Take the cost of a decryption by cryptography from the budget.

    Raises Invalid if it exceeds the budget, ValueError if the parameters cannot be read."""
    kind, *parameters = children(algorithm.content)
    if kind.content == _PBES2:
        budget.spend(_derivation(next(children(parameters[0].content)), None).work)
    elif parameters:  # salt and iterations, in every scheme before
        budget.spend(3 * sum(iterations(each) for each in children(parameters[0].content) if each.tag == INTEGER))


def _pbes2(parameters: Element, ciphertext: bytes, password: Password, budget: Budget) -> bytes:
    kdf, encryption = children(parameters.content)
    cipher, iv = children(encryption.content)
    if cipher.content == _RC2_CBC:
        return _pbes2_rc2(kdf, iv, ciphertext, password, budget)
    make, size = known(_CIPHERS, cipher.content)
    derivation = _derivation(kdf, size)
    budget.spend(derivation.work)
    return _cbc(make(derivation.derive(password.utf8)), octets(iv), ciphertext)


def _pbes2_rc2(kdf: Element, parameters: Element, ciphertext: bytes, password: Password, budget: Budget) -> bytes:
    version, iv = children(parameters.content)
    size = _RC2_SIZES.get(integer(version))
    if size is None or len(ciphertext) > MAX_RC2_BYTES:
        raise Unsupported("RC2")
    derivation = _derivation(kdf, size)
    budget.spend(derivation.work + RC2_WORK * len(ciphertext))
    return _unpadded(rc2.decrypt_cbc(derivation.derive(password.utf8), octets(iv), ciphertext), 8)


def _derivation(kdf: Element, size: int | None) -> Derivation:
    kind, parameters = children(kdf.content)
    if kind.content == PBKDF2:
        return pbkdf2(parameters, size)
    if kind.content != _SCRYPT:
        raise Unsupported("key derivation")
    salt, *costs = list(children(parameters.content))[:4]
    n, r, p = map(integer, costs)
    if not (n > 1 and r > 0 and p > 0):
        raise ValueError("scrypt")
    work = n * r * p * MAX_WORK // MAX_SCRYPT_COST  # it is the memory that limits
    return Derivation(lambda password: Scrypt(octets(salt), size or 32, n, r, p).derive(password), work)


def _slowness(digest: str) -> int:
    return 2 if digest in ("sha384", "sha512") else 1


def iterations(count: Element) -> int:
    """The iteration count; one that exceeds every budget if it is above a million. Raises ValueError."""
    found = integer(count)
    if found < 1:
        raise ValueError("iterations")
    return found if found <= MAX_ITERATIONS else MAX_WORK + 1


def _cbc(algorithm: algorithms.AES | TripleDES, iv: bytes, ciphertext: bytes) -> bytes:
    decryptor = Cipher(algorithm, modes.CBC(iv)).decryptor()
    return _unpadded(decryptor.update(ciphertext) + decryptor.finalize(), len(iv))


def _unpadded(padded: bytes, size: int) -> bytes:
    unpadder = padding.PKCS7(8 * size).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def _pbkdf2_derived(digest: str, salt: bytes, rounds: int, size: int, password: bytes) -> bytes:
    return hashlib.pbkdf2_hmac(digest, password, salt, rounds, size)


def _pkcs12_derived(digest: str, salt: bytes, rounds: int, purpose: int, size: int, password: bytes) -> bytes:
    make = getattr(hashlib, digest)
    block = make().block_size
    mixed = _filled(salt, block) + _filled(password, block)
    found = b""
    while len(found) < size:
        value = make(bytes([purpose]) * block + mixed).digest()
        for _ in range(rounds - 1):
            value = make(value).digest()
        found += value
        added = int.from_bytes(_filled(value, block)[:block]) + 1
        parts = (mixed[place : place + block] for place in range(0, len(mixed), block))
        mixed = b"".join(((int.from_bytes(part) + added) % 2 ** (8 * block)).to_bytes(block) for part in parts)
    return found[:size]


def _filled(data: bytes, block: int) -> bytes:
    """Repeated up to a multiple of the block."""
    size = block * ceil(len(data) / block)
    return (data * (size // len(data) + 1))[:size] if data else b""
