"""A private key that stays in Key Vault, in the shape that cryptography's builders take.

Each signature is one request: `keys/{name}/{version}/sign` with a digest that is made here
(https://learn.microsoft.com/rest/api/keyvault/keys/sign/sign). The public key is given, so it costs none.
`public_key()` returns cryptography's own kind, which the OCSP builder insists on.
"""

import copy
from collections.abc import Callable
from typing import Any, NoReturn, Self

from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric

type Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
type Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
type PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
# An algorithm of RFC 7518, section 3.1, and a digest; answers the signature (of ECDSA: r and s, RFC 7518, section 3.4).
type SignDigest = Callable[[str, bytes], bytes]

CLIENT_OPTIONS: dict[str, Any] = {
    "connection_timeout": 5,
    "read_timeout": 20,
    "retry_total": 2,
    "retry_status": 0,  # waiting as long as a throttling vault asks is the reconciler's
    "retry_backoff_factor": 0.1,
    "retry_backoff_max": 5,
}
_CURVES: dict[str, tuple[str, type[Hash]]] = {
    "secp256r1": ("ES256", hashes.SHA256),
    "secp384r1": ("ES384", hashes.SHA384),
    "secp521r1": ("ES512", hashes.SHA512),
}
_LARGE_RSA = 4096


def vault_key(key_id: str, public_key: PublicKey, credential: Any, **client: Any) -> Key:
    """The key behind `key_id` (a `kid` with its version); needs the permission keys/sign.

    `client` goes to the SDK's CryptographyClient. Its errors (azure.core.exceptions) come through when it signs.
    """
    remote = CryptographyClient(key_id, credential, **client)

    def sign_digest(algorithm: str, digest: bytes) -> bytes:
        return remote.sign(SignatureAlgorithm(algorithm), digest).signature

    return remote_key(public_key, sign_digest)


def remote_key(public_key: object, sign_digest: SignDigest) -> Key:
    """A private key that signs by `sign_digest`. Raises ValueError for a kind of key that none of them has."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return RemoteRsaKey(public_key, sign_digest)
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _CURVES:
        return RemoteEcKey(public_key, sign_digest)
    raise ValueError("the key is neither RSA nor EC on P-256, P-384 or P-521")


def signature_hash(public_key: PublicKey) -> Hash:
    """The hash that fits the strength of the key (RFC 5480, section 4; SHA-384 from RSA 4096 on)."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _CURVES[public_key.curve.name][1]()
    return hashes.SHA384() if public_key.key_size >= _LARGE_RSA else hashes.SHA256()


class _Remote:
    """Always raises: private keys do not leave Key Vault."""

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError("the private key does not leave Key Vault")

    def private_bytes(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotImplementedError("the private key does not leave Key Vault")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class RemoteRsaKey(_Remote, rsa.RSAPrivateKey):
    """Signs PKCS #1 v1.5 and PSS with a salt as long as the hash."""

    def __init__(self, public_key: rsa.RSAPublicKey, sign_digest: SignDigest) -> None:
        self._public_key, self._sign_digest = public_key, sign_digest

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return copy.copy(self._public_key)

    def decrypt(self, ciphertext: Any, padding: object) -> NoReturn:
        raise NotImplementedError("this key only signs")

    def sign(self, data: Any, padding: object, algorithm: Any) -> bytes:
        bits, digest = _digest(data, algorithm)
        return self._sign_digest(f"{_scheme(padding, bits // 8)}{bits}", digest)


class RemoteEcKey(_Remote, ec.EllipticCurvePrivateKey):
    """Signs ECDSA with the one hash that Key Vault allows for its curve."""

    def __init__(self, public_key: ec.EllipticCurvePublicKey, sign_digest: SignDigest) -> None:
        self._public_key, self._sign_digest = public_key, sign_digest

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return copy.copy(self._public_key)

    def exchange(self, algorithm: Any, peer_public_key: Any) -> NoReturn:
        raise NotImplementedError("this key only signs")

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        name, expected = _CURVES[self.curve.name]
        bits, digest = _digest(data, signature_algorithm.algorithm)
        if bits != expected().digest_size * 8:
            raise ValueError(f"a key on {self.curve.name} signs with {expected.name}")
        signature = self._sign_digest(name, digest)
        middle = (self.key_size + 7) // 8
        if len(signature) != 2 * middle:
            raise ValueError("Key Vault returned a signature of the wrong length")
        r, s = int.from_bytes(signature[:middle]), int.from_bytes(signature[middle:])
        return asymmetric.encode_dss_signature(r, s)


def _digest(data: Any, algorithm: Any) -> tuple[int, bytes]:
    """The number of bits of the hash, and the digest."""
    prehashed = isinstance(algorithm, asymmetric.Prehashed)
    size: int = algorithm.digest_size
    if size not in (32, 48, 64) or not (
        prehashed or isinstance(algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)
    ):
        raise ValueError("Key Vault signs with SHA-256, SHA-384 and SHA-512")
    if prehashed:
        return size * 8, bytes(data)
    made = hashes.Hash(algorithm)
    made.update(data)
    return size * 8, made.finalize()


def _scheme(chosen: object, hash_size: int) -> str:
    """RS or PS, RFC 7518, sections 3.3 and 3.5."""
    if isinstance(chosen, padding.PKCS1v15):
        return "RS"
    if isinstance(chosen, padding.PSS) and chosen._salt_length in (hash_size, padding.PSS.DIGEST_LENGTH):
        return "PS"
    raise ValueError("Key Vault signs with PKCS #1 v1.5, or PSS with a salt as long as the hash")
