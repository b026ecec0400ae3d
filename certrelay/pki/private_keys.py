"""Private keys as people keep them: PKCS#8, PKCS#1, SEC1, encrypted or not, and what is in a PFX.

Nothing raised here holds a key, a password or a library's text. What a hostile file could cost is bounded before it
is opened.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod

from asn1crypto import parser
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, load_pem_private_key, pkcs12

from certrelay.errors import Invalid
from certrelay.pki.chains import certificate_of
from certrelay.pki.encodings import Block, children, content, panics_as_errors

MAX_ITERATIONS, MAX_ALL_ITERATIONS, MAX_SCRYPT_COST = 1_000_000, 5_000_000, 2**20
MAX_KEY_BYTES, MAX_DEPTH = 5 * 1024, 40  # an RSA key of 8192 bits has 4.7 KiB

SEVERAL_KEYS = "there are several private keys; one is allowed"
WRONG_PASSWORD = "the password is wrong"  # noqa: S105 - a message
MISSING_PASSWORD = "it is encrypted, and no password was given"  # noqa: S105

_DATA = bytes.fromhex("06092a864886f70d010701")
_KEY_BAGS = tuple(bytes.fromhex(f"060b2a864886f70d010c0a010{number}") for number in (1, 2))
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_INTEGER, _OCTET_STRING, _SEQUENCE = 2, 4, 16


@dataclass(frozen=True, slots=True)
class Key:
    """A private key (any kind that cryptography has), and whether it was encrypted in its file."""

    private_key: object = field(repr=False)
    was_encrypted: bool


def private_key_of(block: Block, der: bytes, password: str | None) -> Key:
    """The key in `der`, an element of `block`. Raises Invalid: unreadable, or wrong or missing password."""
    if "OPENSSH" in (block.label or ""):
        raise Invalid("the private key is in OpenSSH's format; Key Vault has no use for it")
    if len(der) > MAX_KEY_BYTES:
        raise Invalid("the private key is too large")
    is_traditional = block.text is not None and "ENCRYPTED" in block.text.partition("\n\n")[0]
    was_encrypted = is_traditional or is_encrypted_pkcs8(der)
    if was_encrypted and not password:
        raise Invalid(f"the private key cannot be read: {MISSING_PASSWORD}")
    if was_encrypted and not is_traditional:
        check_cost(der)
    secret = password.encode() if password and was_encrypted else None
    try:
        with panics_as_errors():
            if is_traditional:
                return Key(load_pem_private_key((block.text or "").encode(), secret), was_encrypted)
            return Key(load_der_private_key(der, secret), was_encrypted)
    except UnsupportedAlgorithm:
        raise Invalid("the private key, or its encryption, is of a kind that is not supported") from None
    except Exception:  # a parser on hostile bytes: ValueError, TypeError
        reason = f"{WRONG_PASSWORD}, or it is damaged" if was_encrypted else "it is damaged or of an unknown kind"
        raise Invalid(f"the private key cannot be read: {reason}") from None


def is_encrypted_pkcs8(der: bytes) -> bool:
    """SEQUENCE { SEQUENCE { OID … }, OCTET STRING }: RFC 5958, section 3."""
    with suppress(ValueError):
        return [tag for tag, _, _ in children(content(der))] == [_SEQUENCE, _OCTET_STRING]
    return False


def pfx_contents(der: bytes, password: str | None) -> tuple[list[Key], list[x509.Certificate]]:
    """The keys and certificates of a PFX (RFC 7292). Raises Invalid."""
    check_cost(der)
    if key_bags(der) > 1:
        raise Invalid(SEVERAL_KEYS)
    attempts = (password.encode(),) if password else (None, b"")
    for attempt in attempts:
        try:
            with panics_as_errors():
                found = pkcs12.load_pkcs12(der, attempt)
        except UnsupportedAlgorithm:
            raise Invalid("the PFX is encrypted in a way that is not supported") from None
        except Exception:  # a parser on hostile bytes; ValueError for the password  # noqa: S112
            continue
        stored = [found.cert, *found.additional_certs] if found.cert else found.additional_certs
        keys = [Key(found.key, was_encrypted=True)] if found.key else []
        return keys, [certificate_of(each.certificate.public_bytes(Encoding.DER)) for each in stored if each]
    if password:
        raise Invalid("the PFX cannot be opened: the password is wrong, or the file is damaged")
    raise Invalid("the PFX cannot be opened: it needs a password, or the file is damaged")


def check_cost(der: bytes) -> None:
    """Raises Invalid when the key derivations that `der` asks for would take too long, or it cannot be read.

    RFC 8018, appendix A: outside of the OCTET STRINGs every large INTEGER is an iteration count."""
    try:
        numbers = [int.from_bytes(inner, signed=True) for tag, inner, _ in _walk(der) if tag == _INTEGER]
        scrypt_costs = [_scrypt_cost(inner) for _, inner, before in _walk(der) if before == _SCRYPT]
    except Exception:  # ValueError, RecursionError
        raise Invalid("the file is damaged or of an unknown kind") from None
    iterations_are_sane = max(numbers, default=0) <= MAX_ITERATIONS and sum(numbers) <= MAX_ALL_ITERATIONS
    if not iterations_are_sane or sum(scrypt_costs) > MAX_SCRYPT_COST:
        raise Invalid("the file asks for too many iterations of its key derivation")


def key_bags(der: bytes) -> int:
    """How many keys a PFX has outside of its encrypted parts. Raises Invalid for one that is too large."""
    found = [inner for tag, inner, _ in _walk(der) if tag == _SEQUENCE and inner.startswith(_KEY_BAGS)]
    if max(map(len, found), default=0) > MAX_KEY_BYTES:
        raise Invalid("the private key is too large")
    return len(found)


def _scrypt_cost(parameters: bytes) -> int:
    """RFC 7914, section 7.1: salt, N, r, p; the work and the memory grow with their product."""
    return prod(int.from_bytes(parser.parse(whole)[4]) for _, _, whole in list(children(parameters))[1:4])


def _walk(der: bytes, depth: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """Every element (tag, content, the element before it), down to but not into OCTET STRINGs, except those of data.

    BER's constructed strings are descended into, which is what an indefinite length needs."""
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    before = b""
    for tag, is_constructed, whole in children(der):
        inner = parser.parse(whole)[4]
        yield tag, inner, before
        if is_constructed:
            yield from _walk(inner, depth + 1)
            if before == _DATA and tag == 0:
                yield from _walk(_joined(inner), depth + 1)
        before = whole


def _joined(explicit: bytes) -> bytes:
    """The bytes of the OCTET STRING within [0] EXPLICIT, be it in pieces."""
    tag, is_constructed, whole = next(children(explicit))
    inner: bytes = parser.parse(whole)[4]
    if tag != _OCTET_STRING or not is_constructed:
        return inner
    return b"".join(parser.parse(piece)[4] for _, _, piece in children(inner))
