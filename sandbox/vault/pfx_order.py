"""The order of the certificates in a PFX. `cryptography` does not keep it: it returns the leaf separately."""

from collections.abc import Iterator
from typing import Any

from asn1crypto import algos, cms, core, keys, pkcs12
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from sandbox.vault.pfx import IV, KEY, derive

_MAX_ITERATIONS = 1_000_000
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def certificate_order(data: bytes, password: str) -> list[bytes]:
    """The certificates (DER) of a readable PFX, in its order.

    Raises ValueError unless its encryption is PBE-SHA1-3DES, or PBES2 with AES or 3DES.
    """
    safe = pkcs12.AuthenticatedSafe.load(pkcs12.Pfx.load(data)["auth_safe"]["content"].native)
    return [
        bag["bag_value"]["cert_value"].parsed.dump()
        for content in safe
        for bag in pkcs12.SafeContents.load(_plain(content, password))
        if bag["bag_id"].native == "cert_bag"
    ]


def too_many_iterations(data: bytes) -> bool:
    """Whether the PFX would take too long to read: its MAC or a content needs over a million iterations."""
    pfx = pkcs12.Pfx.load(data)
    counts = [pfx["mac_data"]["iterations"].native] if pfx["mac_data"].native else []
    for content in pkcs12.AuthenticatedSafe.load(pfx["auth_safe"]["content"].native):
        counts += [algorithm.kdf_iterations for algorithm in _algorithms(content)]
    return any(count and count > _MAX_ITERATIONS for count in counts)


def key_takes_too_long(encrypted: bytes) -> bool:
    """Whether an encrypted PKCS#8 key (DER) would take too long to decrypt: over a million iterations."""
    algorithm = keys.EncryptedPrivateKeyInfo.load(encrypted)["encryption_algorithm"]
    return bool(algorithm.kdf != "scrypt" and algorithm.kdf_iterations > _MAX_ITERATIONS)


def _algorithms(content: Any) -> Iterator[Any]:
    if content["content_type"].native == "encrypted_data":
        yield content["content"]["encrypted_content_info"]["content_encryption_algorithm"]
    else:
        for bag in pkcs12.SafeContents.load(content["content"].native):
            if bag["bag_id"].native == "pkcs8_shrouded_key_bag":
                yield bag["bag_value"]["encryption_algorithm"]


def _plain(content: cms.ContentInfo, password: str) -> bytes:
    if content["content_type"].native == "data":
        data: bytes = content["content"].native
        return data
    info = content["content"]["encrypted_content_info"]
    algorithm, encrypted = info["content_encryption_algorithm"], info["encrypted_content"].native
    forms = [password.encode("utf-16-be") + b"\0\0", *([] if password else [b""])]
    for form in forms:
        try:
            plain = _decrypt(algorithm, encrypted, _secret(algorithm, password, form))
            core.Sequence.load(plain, strict=True)
        except ValueError:
            continue
        return plain
    raise ValueError("the contents cannot be decrypted")


def _secret(algorithm: algos.EncryptionAlgorithm, password: str, form: bytes) -> tuple[bytes, bytes]:
    """Key and initialisation vector."""
    if algorithm.kdf == "pkcs12_kdf":
        salt, iterations = algorithm.kdf_salt, algorithm.kdf_iterations
        return derive(salt, KEY, 24, form, iterations), derive(salt, IV, 8, form, iterations)
    kdf = PBKDF2HMAC(_HASHES[algorithm.kdf_hmac], algorithm.key_length, algorithm.kdf_salt, algorithm.kdf_iterations)
    return kdf.derive(password.encode()), algorithm.encryption_iv


def _decrypt(algorithm: algos.EncryptionAlgorithm, encrypted: bytes, secret: tuple[bytes, bytes]) -> bytes:
    kinds: dict[str, type[AES | TripleDES]] = {"aes": AES, "tripledes": TripleDES}
    kind = kinds.get(algorithm.encryption_cipher)
    if kind is None:
        raise ValueError("an unsupported cipher")
    key, vector = secret
    decryptor = Cipher(kind(key), modes.CBC(vector)).decryptor()
    unpadder = padding.PKCS7(len(vector) * 8).unpadder()
    return unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
