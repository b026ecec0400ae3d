"""RSA keys of known primes: to find two takes longer than most tests do."""

from cryptography.hazmat.primitives.asymmetric import rsa

# By the bits of the modulus: what is added to 3/4 of a power of two for each p, and to 7/8 for each q.
_PRIMES = {
    1024: ((761, 1505), (15, 87)),
    2048: ((1037, 1697, 1937, 2087, 2197, 3031), (309, 1487, 2295, 2517, 3309, 5703)),
    2560: ((797,), (2705,)),
    3072: ((1837, 2617), (3069, 4325)),
    4096: ((439, 469), (263, 377)),
}


def rsa_key_of_known_primes(bits: int, number: int = 0) -> rsa.RSAPrivateKey:
    """The same key for the same numbers. Raises LookupError where there is none of that size or number."""
    half, exponent = bits // 2, 65537
    small, large = (added[number] for added in _PRIMES[bits])
    p, q = (3 << (half - 2)) + small, (7 << (half - 3)) + large
    d = pow(exponent, -1, (p - 1) * (q - 1))
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    public = rsa.RSAPublicNumbers(exponent, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key(unsafe_skip_rsa_key_validation=True)
