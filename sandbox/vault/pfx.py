"""Writing PKCS#12 (RFC 7292) as Key Vault does: empty password, PBE-SHA1-3DES, 2000 iterations, SHA-1 MAC.

`cryptography` can neither use an empty password nor choose the order of the certificates, so this module builds the
container and asn1crypto encodes it. Salts are derived from the content: a secret that is read twice is the same.
"""

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

from asn1crypto import algos, cms, core, keys, pkcs12, x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_ITERATIONS = 2000
_EMPTY = b"\0\0"  # the empty BMPString with its terminator
KEY, IV, _MAC = 1, 2, 3  # RFC 7292, B.3


@lru_cache(maxsize=512)
def write_pfx(key: bytes | None, leaf: bytes, certificates: Sequence[bytes]) -> bytes:
    """A PFX of the PKCS#8 key (None: certificates only) and the certificates (DER, a tuple) in this order."""
    local_key_id = pkcs12.Attribute({"type": "local_key_id", "values": [hashlib.sha1(leaf).digest()]})  # noqa: S324
    bags = []
    for certificate in certificates:
        bag = {
            "bag_id": "cert_bag",
            "bag_value": pkcs12.CertBag({"cert_id": "x509", "cert_value": x509.Certificate.load(certificate)}),
        }
        if key and certificate == leaf:
            bag["bag_attributes"] = pkcs12.Attributes([local_key_id])
        bags.append(pkcs12.SafeBag(bag))
    contents = [_encrypted(pkcs12.SafeContents(bags).dump(), leaf)]
    if key:
        contents.insert(0, _key_content(key, leaf, local_key_id))
    return _authenticated(pkcs12.AuthenticatedSafe(contents).dump(), leaf)


def _key_content(key: bytes, leaf: bytes, local_key_id: pkcs12.Attribute) -> cms.ContentInfo:
    salt = _salt(leaf, b"key")
    shrouded = keys.EncryptedPrivateKeyInfo(
        {"encryption_algorithm": _algorithm(salt), "encrypted_data": _encrypt(key, salt)}
    )
    bag = {
        "bag_id": "pkcs8_shrouded_key_bag",
        "bag_value": shrouded,
        "bag_attributes": pkcs12.Attributes([local_key_id]),
    }
    return cms.ContentInfo(
        {
            "content_type": "data",
            "content": core.OctetString(pkcs12.SafeContents([pkcs12.SafeBag(bag)]).dump()),
        }
    )


def _encrypted(content: bytes, leaf: bytes) -> cms.ContentInfo:
    salt = _salt(leaf, b"certificates")
    info = cms.EncryptedContentInfo(
        {
            "content_type": "data",
            "content_encryption_algorithm": _algorithm(salt),
            "encrypted_content": _encrypt(content, salt),
        }
    )
    data = cms.EncryptedData({"version": "v0", "encrypted_content_info": info})
    return cms.ContentInfo({"content_type": "encrypted_data", "content": data})


def _authenticated(content: bytes, leaf: bytes) -> bytes:
    salt = _salt(leaf, b"mac")
    digest = hmac.new(derive(salt, _MAC, 20), content, hashlib.sha1).digest()
    mac = pkcs12.MacData(
        {
            "mac": {"digest_algorithm": {"algorithm": "sha1", "parameters": core.Null()}, "digest": digest},
            "mac_salt": salt,
            "iterations": _ITERATIONS,
        }
    )
    safe = cms.ContentInfo({"content_type": "data", "content": core.OctetString(content)})
    data: bytes = pkcs12.Pfx({"version": "v3", "auth_safe": safe, "mac_data": mac}).dump()
    return data


def _salt(leaf: bytes, purpose: bytes) -> bytes:
    return hashlib.sha256(purpose + leaf).digest()[:8]


def _algorithm(salt: bytes) -> algos.EncryptionAlgorithm:
    return algos.EncryptionAlgorithm(
        {"algorithm": "pkcs12_sha1_tripledes_3key", "parameters": {"salt": salt, "iterations": _ITERATIONS}}
    )


def _encrypt(content: bytes, salt: bytes) -> bytes:
    padder = padding.PKCS7(64).padder()
    padded = padder.update(content) + padder.finalize()
    cipher = Cipher(TripleDES(derive(salt, KEY, 24)), modes.CBC(derive(salt, IV, 8))).encryptor()
    return cipher.update(padded) + cipher.finalize()


def derive(salt: bytes, purpose: int, length: int, password: bytes = _EMPTY, iterations: int = _ITERATIONS) -> bytes:
    """Key material by RFC 7292, B.2, with SHA-1. `password` is a BMPString with its terminator."""
    block = 64
    source = bytearray(_fill(salt, block) + _fill(password, block))
    derived = b""
    while len(derived) < length:
        digest = bytes([purpose]) * block + source
        for _ in range(iterations):
            digest = hashlib.sha1(digest).digest()  # noqa: S324
        derived += digest
        addend = int.from_bytes(_fill(digest, block)) + 1
        for start in range(0, len(source), block):
            total = int.from_bytes(source[start : start + block]) + addend
            source[start : start + block] = (total % (1 << block * 8)).to_bytes(block)
    return derived[:length]


def _fill(text: bytes, block: int) -> bytes:
    """The text repeated to fill whole blocks."""
    size = block * ((len(text) + block - 1) // block)
    return (text * (size // max(len(text), 1) + 1))[:size]
