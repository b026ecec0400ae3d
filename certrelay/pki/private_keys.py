"""Read private keys in PKCS#8, PKCS#1 and SEC1, encrypted or not.

No error raised here contains a key, a password or a library's message.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from certrelay.errors import Invalid
from certrelay.pki.der import (
    CONTEXT_0,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    children,
    content,
    encoded,
    inside,
    octets,
    oid,
)
from certrelay.pki.encodings import Block, panics_as_errors
from certrelay.pki.password_encryption import Budget, Unsupported, decrypted_key, passwords, spend_for

MAX_KEY_BYTES, MAX_RSA_BITS = 5 * 1024, 4096  # an RSA key of 8192 bits has 4.7 KiB
_SHORTEST_MODULUS = 32  # bytes; no key is shorter
NO_PASSWORD = "it is encrypted, and no password was given; send its password too"  # noqa: S105 - a message
UNSUPPORTED = (
    "the private key is encrypted in a way that is not supported; encrypt it again: "
    "openssl pkcs8 -topk8 -in FILE -out NEW.pem -provider default -provider legacy"
)
WRONG_PASSWORD = "the password is wrong, or it is damaged; send its own password, and the whole file"  # noqa: S105
DAMAGED = "it is damaged or of an unknown kind; export it again: openssl pkcs8 -topk8 -in FILE -out NEW.pem"
RSA_STEP = "Key Vault takes 2048, 3072 and 4096: have the certificate issued for a new key"
_EC = oid("1.2.840.10045.2.1")
_SCALAR_BYTES = {oid("1.2.840.10045.3.1.7"): 32, oid("1.3.132.0.34"): 48, oid("1.3.132.0.35"): 66}  # by the curve
# cryptography says so with a ValueError, as it does of a wrong password.
_UNKNOWN = ("Unknown key encryption algorithm", "unknown cipher")


@dataclass(frozen=True, slots=True)
class Key:
    """A private key of any kind that cryptography supports, and whether it was encrypted in the file."""

    private_key: object = field(repr=False)
    was_encrypted: bool


def private_key_of(block: Block, der: bytes, password: str | None, budget: Budget) -> Key:
    """The key in `der`, an element of `block`. Raises Invalid if it is unreadable, or the password wrong or missing."""
    if "OPENSSH" in (block.label or ""):
        raise Invalid("the private key is in OpenSSH's format; convert it: ssh-keygen -p -m PKCS8 -f FILE")
    if (block.label or "").startswith("TSS2 "):
        raise Invalid("the private key is bound to a TPM, which it cannot leave; request a certificate with a new key")
    is_traditional = block.text is not None and "ENCRYPTED" in block.text.partition("\n\n")[0]
    was_encrypted = is_traditional or is_encrypted_pkcs8(der)
    if is_traditional and not password:
        raise Invalid(f"the private key cannot be read: {NO_PASSWORD}")
    if is_traditional:
        return Key(_loaded(der, _octets(password), (block.text or "").encode()), was_encrypted)
    if was_encrypted:
        return _decrypted_key(der, password, budget)
    return Key(_loaded(der, None), was_encrypted)


def _decrypted_key(der: bytes, password: str | None, budget: Budget) -> Key:
    """Errors after the decryption do not blame the password, which was right then. Without one, tries the empty one."""
    refusal = f"the private key cannot be read: {WRONG_PASSWORD if password else NO_PASSWORD}"
    try:
        algorithm, ciphertext = inside(der)
        try:
            plain = _plain(algorithm, octets(ciphertext), password, budget)
        except Unsupported:  # cryptography knows more schemes
            if not password:
                raise Invalid(refusal) from None
            spend_for(algorithm, budget)
            return Key(_loaded(der, _octets(password)), was_encrypted=True)
    except Invalid:
        raise
    except Unsupported:
        raise Invalid(UNSUPPORTED) from None
    except Exception:  # a parser on hostile bytes
        raise Invalid(refusal) from None
    return Key(_loaded(plain, None), was_encrypted=True)


def _plain(algorithm: Element, ciphertext: bytes, password: str | None, budget: Budget) -> bytes:
    """With the first encoding of the password that fits."""
    *others, last = passwords(password)
    for attempt in others:
        with suppress(ValueError):
            return decrypted_key(algorithm, ciphertext, attempt, budget)
    return decrypted_key(algorithm, ciphertext, last, budget)


def unencrypted_key(der: bytes) -> Key:
    """The key in unencrypted PKCS#8 from a PFX. Raises Invalid."""
    return Key(_loaded(der, None), was_encrypted=True)


def is_encrypted_pkcs8(der: bytes) -> bool:
    """Whether it is an EncryptedPrivateKeyInfo (RFC 5958, section 3): a SEQUENCE, and an OCTET STRING."""
    with suppress(ValueError):
        return [part.tag for part in children(content(der))] == [SEQUENCE, OCTET_STRING]
    return False


def is_shaped_like_a_key(der: bytes) -> bool:
    """Whether it begins as an unencrypted PKCS#8 key (RFC 5958), an RSA key of PKCS#1 (RFC 8017, A.1.2) or an EC key
    (RFC 5915): other structures begin with a number, too. What follows may be cut off."""
    rest = content(der)
    if rest[:3] not in (b"\x02\x01\x00", b"\x02\x01\x01") or len(rest) < _SHORTEST_MODULUS:
        return False
    if rest[3] == SEQUENCE:
        return content(rest[3:])[:1] == bytes([OBJECT_IDENTIFIER])
    return rest[3] == OCTET_STRING or (rest[3] == INTEGER and rest[4] >= _SHORTEST_MODULUS)


def _loaded(der: bytes, secret: bytes | None, pem: bytes | None = None) -> object:
    if len(der) > MAX_KEY_BYTES:
        raise Invalid(
            f"the private key is too large: more than {MAX_KEY_BYTES // 1024} KiB; Key Vault takes RSA keys of 2048, "
            "3072 and 4096 bits, and EC keys"
        )
    load, written = (load_pem_private_key, pem) if pem else (load_der_private_key, _with_whole_scalar(der))
    try:
        with panics_as_errors():
            # cryptography's own check of an RSA key takes up to 4 s, in a call that no other thread can interrupt.
            key = load(written, secret, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, RSAPrivateKey) and key.key_size <= MAX_RSA_BITS:
            _require_consistent(key)
    except UnsupportedAlgorithm:
        raise Invalid(
            "the private key, or its encryption, is of a kind that is not supported; Key Vault takes RSA and EC keys, "
            "and a key is encrypted again with: openssl pkcs8 -topk8 -in FILE -out NEW.pem"
        ) from None
    except Exception as error:  # a parser on hostile bytes: ValueError, TypeError
        if any(sign in str(error) for sign in _UNKNOWN):
            raise Invalid(UNSUPPORTED) from None
        reason = WRONG_PASSWORD if secret else DAMAGED
        raise Invalid(f"the private key cannot be read: {reason}") from None
    if isinstance(key, RSAPrivateKey) and key.key_size > MAX_RSA_BITS:
        raise Invalid(f"the RSA key has {key.key_size} bits; {RSA_STEP}")
    return key


def _with_whole_scalar(der: bytes) -> bytes:
    """An EC key (PKCS#8 or SEC1) whose number has the size of its curve, as RFC 5915, section 3, has it; other data is
    returned as it is.

    GnuTLS puts a zero before half of all keys, and old versions of Java and Bouncy Castle left zeros out. cryptography
    takes neither; OpenSSL, GnuTLS and Java take both."""
    with suppress(ValueError, IndexError):
        version, second, *rest = inside(der)
        if second.tag == OCTET_STRING:
            [parameters] = [part for part in rest if part.tag == CONTEXT_0]
            [curve] = children(parameters.content)
            return _padded_scalar([version, second, *rest], curve)
        kind, curve = children(second.content)
        if kind.content == _EC:
            private = encoded(OCTET_STRING, _padded_scalar(inside(octets(rest[0])), curve))
            return _sequence([version.whole, second.whole, private, *(part.whole for part in rest[1:])])
    return der


def _padded_scalar(parts: list[Element], curve: Element) -> bytes:
    """The ECPrivateKey (RFC 5915) of these `parts`. Raises ValueError for another curve, or too large a number."""
    size = _SCALAR_BYTES.get(curve.content, 0)
    scalar = octets(parts[1]).lstrip(b"\0").rjust(size, b"\0")
    if len(scalar) != size:
        raise ValueError("another curve, or too large a number")
    return _sequence([parts[0].whole, encoded(OCTET_STRING, scalar), *(part.whole for part in parts[2:])])


def _sequence(parts: Iterable[bytes]) -> bytes:
    return encoded(SEQUENCE, b"".join(parts))


def _require_consistent(key: RSAPrivateKey) -> None:
    """Raise ValueError unless the numbers of the key belong together (RFC 8017, section 3.2)."""
    private = key.private_numbers()
    n, e, d, p, q = private.public_numbers.n, private.public_numbers.e, private.d, private.p, private.q
    is_product = min(p, q) > 2 and p * q == n
    if not is_product or any(e * d % (prime - 1) != 1 or pow(2, prime - 1, prime) != 1 for prime in (p, q)):
        raise ValueError("exponents or primes")
    if (private.dmp1, private.dmq1, private.iqmp * q % p) != (d % (p - 1), d % (q - 1), 1):
        raise ValueError("Chinese remainders")


def _octets(password: str | None) -> bytes:
    return (password or "").encode("utf-8", "surrogatepass")
