"""Detect weak public keys: CA/Browser Forum Baseline Requirements 6.1.1.3, 6.1.5 and 6.1.6."""

from functools import lru_cache
from math import gcd, isqrt, prod
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certrelay.errors import Unverified

CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
MIN_RSA_BITS, MAX_RSA_BITS, MIN_EXPONENT, MAX_EXPONENT_BITS = 2048, 8192, 65537, 256
FERMAT_ROUNDS = 100
KEYS_KNOWN = 64  # the issuers of all authorities


def _primes(limit: int) -> list[int]:
    return [n for n in range(3, limit, 2) if all(n % d for d in range(3, isqrt(n) + 1, 2))]


_SMALL_PRIMES = 2 * prod(_primes(752))
_SQUARE_ENDS = {n * n & 63 for n in range(64)}  # the last six bits of a square: 12 of 64, and roots take long
# CVE-2017-15361: the primes of an affected key, and so its modulus, are powers of 65537 modulo every prime up to 167.
_ROCA = {p: {pow(65537, exponent, p) for exponent in range(p)} for p in _primes(168)}


def verify_public_key(key: Any) -> None:
    """Raises Unverified for the first weakness of an RSA key (size, exponent, small factors, close primes, ROCA), and
    for any other key that is not on P-256, P-384 or P-521.

    It does not detect Debian's keys of 2008, nor primes that two keys share."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise Unverified(f"the curve {key.curve.name} is not allowed; P-256, P-384 and P-521 are")
    elif isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        _verify_rsa(numbers.n, numbers.e)
    else:
        raise Unverified("the public key is neither RSA nor elliptic curve")


@lru_cache(KEYS_KNOWN)  # of a key that is weak, nothing is kept
def _verify_rsa(n: int, e: int) -> None:
    size = n.bit_length()
    if size < MIN_RSA_BITS:
        raise Unverified(f"the RSA key has {size} bits; at least {MIN_RSA_BITS} are needed")
    if size % 8 or size > MAX_RSA_BITS:
        raise Unverified(f"the RSA key has {size} bits; it must be a multiple of 8 up to {MAX_RSA_BITS}")
    if e % 2 == 0 or e < MIN_EXPONENT:
        raise Unverified(f"the RSA key's public exponent is {e}; it must be odd and at least {MIN_EXPONENT}")
    if e.bit_length() > MAX_EXPONENT_BITS:  # a longer one may hide a private exponent that is small (Wiener)
        raise Unverified(f"the RSA key's public exponent is too long; it may have at most {MAX_EXPONENT_BITS} bits")
    if gcd(n, _SMALL_PRIMES) != 1:
        raise Unverified("the RSA key is weak: its modulus has a small factor")
    if all(n % p in residues for p, residues in _ROCA.items()):
        raise Unverified("the RSA key is weak: it was made by a library with the ROCA flaw (CVE-2017-15361)")
    if _primes_are_close(n):
        raise Unverified("the RSA key is weak: its primes are too close to one another (Fermat)")


def _primes_are_close(n: int) -> bool:
    a = isqrt(n - 1) + 1
    for _ in range(FERMAT_ROUNDS):
        square = a * a - n
        if square & 63 in _SQUARE_ENDS and isqrt(square) ** 2 == square:
            return True
        a += 1
    return False
