"""The key that belongs to a certificate: get and sign."""

from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from sandbox.vault.call import Answer, Call
from sandbox.vault.crypto import CURVE_NAMES, PrivateKey, load_key
from sandbox.vault.errors import KeyVaultError, bad_parameter, forbidden, invalid_property
from sandbox.vault.model import Certificate, Version
from sandbox.vault.pkcs import decode_base64
from sandbox.vault.render import attributes, base64url, recovery, tags
from sandbox.vault.secrets import facet, page_of_current, page_of_versions

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_EC_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "P-256K"}
_OPERATIONS = {
    "digitalSignature": ("sign", "verify"),
    "keyCertSign": ("sign", "verify"),
    "nonRepudiation": ("sign", "verify"),
    "cRLSign": ("sign", "verify"),
    "keyEncipherment": ("wrapKey", "unwrapKey"),
    "dataEncipherment": ("encrypt", "decrypt"),
    "decipherOnly": ("decrypt",),
    "encipherOnly": ("encrypt",),
}


def key_operations(version: Version) -> list[str]:
    """The operations that the certificate's key usage grants its key; without a key usage, all of them.

    An EC key can only sign and verify.
    """
    usages = version.key_usage or ("digitalSignature", "keyEncipherment", "dataEncipherment")
    possible = ("sign", "verify") if version.elliptic else tuple(sum(_OPERATIONS.values(), ()))
    granted = [operation for usage in usages for operation in _OPERATIONS.get(usage, ()) if operation in possible]
    return list(dict.fromkeys(granted))


def get(call: Call) -> Answer:
    """GetKey."""
    certificate, version = facet(call, "Key")
    key = {
        "kid": f"{call.base}/keys/{certificate.name}/{version.id}",
        "kty": "",
        "key_ops": key_operations(version),
        **public(load_key(version.key)),
    }
    if version.hsm:
        key["kty"] += "-HSM"
    return Answer(
        {
            "key": key,
            "attributes": attributes(version) | recovery(call) | {"hsmPlatform": "0"},
            **tags(version),
            "managed": True,
        }
    )


def public(key: PrivateKey) -> dict[str, Any]:
    """The public members of the JSON Web Key (RFC 7518, section 6)."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
    point = key.public_key().public_numbers()
    size = (key.key_size + 7) // 8
    curve = CURVE_NAMES[key.curve.name]
    return {"kty": "EC", "crv": curve, "x": base64url(point.x.to_bytes(size)), "y": base64url(point.y.to_bytes(size))}


def _integer(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8))


def _item(call: Call, certificate: Certificate, version: Version, *, versioned: bool) -> dict[str, Any]:
    path = f"{call.base}/keys/{certificate.name}" + (f"/{version.id}" if versioned else "")
    return {"kid": path, "attributes": attributes(version) | recovery(call), **tags(version), "managed": True}


def list_all(call: Call) -> Answer:
    """GetKeys: those of completed certificates."""
    return page_of_current(call, "/keys", _item)


def list_versions(call: Call) -> Answer:
    """GetKeyVersions."""
    return page_of_versions(call, "Key", "/keys", _item)


def sign(call: Call) -> Answer:
    """Sign a digest (RFC 7518, section 3): RS256…512, PS256…512, ES256, ES384, ES512, ES256K."""
    certificate, version = facet(call, "Key")
    _check_dates(call, version)
    signature = signed(call, load_key(version.key), key_operations(version))
    return Answer({"kid": f"{call.base}/keys/{certificate.name}/{version.id}", "value": signature})


def _check_dates(call: Call, version: Version) -> None:
    """Outside of its dates, a key only verifies, decrypts and unwraps
    (https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#date-time-controlled-operations)."""
    now = call.vault.now()
    if now < version.not_before:
        raise forbidden("Operation sign is not allowed on a not yet valid key.", "KeyNotYetValid")
    if now >= version.expires:
        raise forbidden("Operation sign is not allowed on an expired key.", "KeyExpired")


def signed(call: Call, key: PrivateKey, operations: list[str]) -> str:
    """The signature (base64url) of the digest in the call. Raises 400 and 403."""
    algorithm, value = call.text("alg"), call.text("value")
    if algorithm is None:
        raise invalid_property("alg")
    if value is None:
        raise invalid_property("value")
    if "sign" not in operations:
        raise forbidden("Operation sign is not permitted on this key.", "KeyOperationForbidden")
    try:
        digest = decode_base64(value)
    except ValueError:
        raise invalid_property("value") from None
    return base64url(_signature(key, algorithm, digest))


def _signature(key: PrivateKey, algorithm: str, digest: bytes) -> bytes:
    chosen = _HASHES.get(algorithm.removesuffix("K")[2:])
    if chosen is None or algorithm[:2] not in ("RS", "PS", "ES"):
        raise bad_parameter(f"Key and signing algorithm are incompatible. Key algorithm: {algorithm[:20]}")
    if len(digest) != chosen.digest_size:
        raise bad_parameter(
            f"Invalid length of 'value': {len(digest)} bytes. Append a {chosen.digest_size} byte digest."
        )
    if isinstance(key, rsa.RSAPrivateKey) and algorithm in ("RS256", "RS384", "RS512"):
        return key.sign(digest, padding.PKCS1v15(), Prehashed(chosen))
    if isinstance(key, rsa.RSAPrivateKey) and algorithm in ("PS256", "PS384", "PS512"):
        return key.sign(digest, padding.PSS(padding.MGF1(chosen), chosen.digest_size), Prehashed(chosen))
    if isinstance(key, ec.EllipticCurvePrivateKey) and _EC_CURVES.get(algorithm) == CURVE_NAMES[key.curve.name]:
        size = (key.key_size + 7) // 8
        pair = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(chosen))))
        return b"".join(part.to_bytes(size) for part in pair)
    raise bad_parameter(f"Key and signing algorithm are incompatible. Key algorithm: {algorithm}")


def managed(call: Call) -> Answer:
    """Any write to the key of a certificate. Raises 403, and 400 for other keys."""
    if call.live():
        raise forbidden(
            "Operation is not allowed as this object's lifetime is managed by Key Vault.", "KeyManagedByKeyVault"
        )
    raise KeyVaultError(400, "NotSupported", "The sandbox does not support this operation on keys.")
