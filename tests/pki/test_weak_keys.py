"""Every kind of weakness has a key made for it here; sound keys pass, and quickly."""

import secrets
import time
from collections.abc import Callable
from math import gcd, prod
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from certrelay.errors import Unverified
from certrelay.pki.weak_keys import verify_public_key
from tests.pki.builders import ec_key, rsa_key

PRIME, NEXT_PRIME = (3 << 1022) + 1037, (3 << 1022) + 2087  # primes


def modulus(n: int, e: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(e, n).public_key()


def is_probable_prime(n: int) -> bool:
    """Miller and Rabin, 8 rounds."""
    d, s = n - 1, 0
    while d % 2 == 0:
        d, s = d // 2, s + 1
    for _ in range(8):
        x = pow(secrets.randbelow(n - 3) + 2, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def next_prime(n: int) -> int:
    n |= 1
    while gcd(n, 3 * 5 * 7 * 11 * 13 * 17 * 19 * 23) != 1 or not is_probable_prime(n):
        n += 2
    return n


def roca_prime(near: int, number: int, exponent: int) -> int:
    """k·M + (65537^a mod M): the form of the flawed library's primes (Nemec and others, 2017).

    It is the one with this number above `near`, known to be prime: to find another one takes its time."""
    m = 2
    for p in range(3, 168, 2):
        if all(p % d for d in range(3, p, 2)):
            m *= p
    return (near // m + number) * m + pow(65537, exponent, m)


def weakness(key: object) -> str:
    with pytest.raises(Unverified) as caught:
        verify_public_key(key)
    return str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa_key(0, 2048),
        lambda: rsa_key(0, 3072),
        lambda: rsa_key(0, 4096),
        lambda: ec_key(ec.SECP256R1()),
        lambda: ec_key(ec.SECP384R1()),
        lambda: ec_key(ec.SECP521R1()),
    ],
)
def test_a_sound_key_passes_in_less_time_than_one_exponentiation(make: Callable[[], Any]) -> None:
    key, modulus = make().public_key(), 2**2048 - 1
    verify_public_key(key)
    durations = [(timed(lambda: verify_public_key(key)), timed(lambda: pow(3, modulus - 1, modulus))) for _ in range(3)]
    assert min(key for key, _ in durations) < min(power for _, power in durations)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_a_short_rsa_key_is_refused() -> None:
    assert "1024 bits; at least 2048" in weakness(rsa_key(0, 1024).public_key())


def test_a_size_that_is_no_multiple_of_8_is_refused() -> None:
    assert "2049 bits; it must be a multiple of 8" in weakness(modulus((1 << 2048) + 1))


def test_an_enormous_rsa_key_is_refused() -> None:
    assert "16384 bits; it must be a multiple of 8 up to 8192" in weakness(modulus((1 << 16383) + 1))


@pytest.mark.parametrize("exponent", [3, 17, 65535])
def test_a_small_exponent_is_refused(exponent: int) -> None:
    n = rsa_key().public_key().public_numbers().n
    assert f"public exponent is {exponent}" in weakness(modulus(n, exponent))


def test_a_small_private_exponent_is_refused() -> None:
    """It makes for a public one as long as the modulus, from which it can be computed (Wiener, 1990)."""
    numbers = rsa_key().private_numbers()
    e = pow(next_prime(secrets.randbits(256)), -1, (numbers.p - 1) * (numbers.q - 1))
    assert "at most 256 bits" in weakness(modulus(numbers.public_numbers.n, e))


@pytest.mark.parametrize("factor", [3, 7, 743, 751])
def test_a_small_factor_is_refused(factor: int) -> None:
    others = prod(n for n in range(2, 800) if n != factor)
    cofactor = (1 << 2048) // factor
    while gcd(cofactor, others) != 1 or cofactor % factor == 0:
        cofactor -= 1
    assert "small factor" in weakness(modulus(factor * cofactor))


def test_close_primes_are_refused() -> None:
    assert "too close" in weakness(modulus(PRIME * NEXT_PRIME))


def test_a_square_is_refused() -> None:
    assert "too close" in weakness(modulus(PRIME * PRIME))


def test_the_roca_flaw_is_found() -> None:
    p, q = roca_prime(3 << 1022, 21, 1), roca_prime(7 << 1021, 108, 5)
    assert is_probable_prime(p)
    assert is_probable_prime(q)
    assert "ROCA" in weakness(modulus(p * q))


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()])
def test_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    assert "P-256, P-384 and P-521 are" in weakness(ec_key(curve).public_key())


def test_another_kind_of_key_is_refused() -> None:
    assert "neither RSA nor elliptic" in weakness(ed25519.Ed25519PrivateKey.generate().public_key())
    assert "neither RSA nor elliptic" in weakness(dsa.generate_private_key(1024).public_key())
