"""Keys, certificate requests and self-signed certificates, with the contents that Key Vault gives them."""

import calendar
import datetime
import queue
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from sandbox.vault.names import parse_name
from sandbox.vault.policy import alternative_names, subject_of

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
    "P-256K": ec.SECP256K1,
}
CURVE_NAMES: dict[str, str] = {str(curve.name): name for name, curve in _CURVES.items()}


class KeyPool:
    """Generates RSA-2048 keys in advance, because one takes longer than everything else in a create.

    None is generated before the first one is taken: many vaults never need one. What is left when a vault stops is
    there for the next one in this process.
    """

    _keys: ClassVar[queue.Queue[PrivateKey]] = queue.Queue()

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._missing = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._fill, name="vault-keys", daemon=True)

    def start(self) -> None:
        """From the first key that is taken on, others are generated."""
        self._thread.start()

    def stop(self) -> None:
        """Stop generating keys."""
        self._stopped = True
        self._missing.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self, key_props: Mapping[str, Any]) -> PrivateKey:
        """A new key as a policy's `key_props` describe it. Raises KeyError for an unknown curve."""
        if key_props["kty"].startswith("EC"):
            return ec.generate_private_key(_CURVES[key_props["crv"]]())
        if key_props["key_size"] == 2048:
            try:
                return self._keys.get_nowait()
            except queue.Empty:
                pass  # generated below
            finally:
                self._missing.set()
        return rsa.generate_private_key(65537, key_props["key_size"])

    def _fill(self) -> None:
        while self._missing.wait() and not self._stopped:
            self._missing.clear()
            while self._keys.qsize() < self._size and not self._stopped:
                self._keys.put(rsa.generate_private_key(65537, 2048))


def dump_key(key: PrivateKey) -> bytes:
    """PKCS#8 DER, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(data: bytes) -> PrivateKey:
    """The key that `dump_key` wrote."""
    key = serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, PrivateKey)
    return key


def dump_public_key(key: Any) -> bytes:
    """SubjectPublicKeyInfo (DER). It is the same for equal keys."""
    data: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data


_USAGE_BITS = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)


def key_usage(usages: list[str]) -> x509.ExtensionType:
    """The extension of the policy's `key_usage` (RFC 5280, 4.2.1.3).

    Encoded here, because Key Vault takes `decipherOnly` without `keyAgreement` and `x509.KeyUsage` does not.
    """
    positions = [position for position, name in enumerate(_USAGE_BITS) if name in usages]
    length = max(positions) + 1
    size = (length + 7) // 8
    bits = sum(1 << (size * 8 - 1 - position) for position in positions)
    content = bytes([size * 8 - length]) + bits.to_bytes(size)
    return x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\x03" + bytes([len(content)]) + content)


def _extensions(policy: Mapping[str, Any]) -> dict[str, tuple[x509.ExtensionType, bool]]:
    """Extensions and their criticality by short name, without those that the policy leaves empty."""
    x509_props = policy["x509_props"]
    extensions: dict[str, tuple[x509.ExtensionType, bool]] = {
        "bc": (x509.BasicConstraints(ca=False, path_length=None), False)
    }
    if x509_props["key_usage"]:
        extensions["ku"] = (key_usage(x509_props["key_usage"]), True)
    if x509_props["ekus"]:
        extensions["eku"] = (x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in x509_props["ekus"]]), False)
    names = alternative_names(x509_props.get("sans", {}))
    if names:
        # RFC 5280, 4.2.1.6: critical when the subject is empty.
        extensions["san"] = (x509.SubjectAlternativeName(names), not subject_of(policy).strip())
    return extensions


def _hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    size = key.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    if size == 521:
        return hashes.SHA512()
    return hashes.SHA384() if size == 384 else hashes.SHA256()


def build_request(policy: Mapping[str, Any], key: PrivateKey) -> bytes:
    """The certificate request (RFC 2986), DER: subject, and as requested extensions KU, EKU, SAN, BC."""
    builder = x509.CertificateSigningRequestBuilder(parse_name(subject_of(policy)))
    extensions = _extensions(policy)
    for name in ("ku", "eku", "san", "bc"):
        if name in extensions:
            builder = builder.add_extension(*extensions[name])
    return builder.sign(key, _hash_for(key)).public_bytes(serialization.Encoding.DER)


def self_sign(policy: Mapping[str, Any], key: PrivateKey, now: float) -> bytes:
    """The certificate of issuer `Self`, DER: valid from ten minutes ago for the policy's calendar months."""
    name = parse_name(subject_of(policy))
    return issue(policy, key.public_key(), name, key, now)


def issue(
    policy: Mapping[str, Any], public_key: PublicKey, issuer: x509.Name, issuer_key: PrivateKey, now: float
) -> bytes:
    """A certificate (DER) with the policy's contents for this public key, signed by the issuer's key."""
    issued = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(parse_name(subject_of(policy)))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number() >> 33 | 1 << 126)  # 16 bytes
        .not_valid_before(issued - datetime.timedelta(minutes=10))
        .not_valid_after(add_months(issued, policy["x509_props"]["validity_months"]))
    )
    extensions = _extensions(policy)
    for short in ("ku", "bc", "eku", "san"):
        if short in extensions:
            builder = builder.add_extension(*extensions[short])
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
    return builder.sign(issuer_key, _hash_for(issuer_key)).public_bytes(serialization.Encoding.DER)


def add_months(moment: datetime.datetime, months: int) -> datetime.datetime:
    """The same day and hour this many calendar months later, or that month's last day."""
    month = moment.month - 1 + months
    year, month = min(moment.year + month // 12, 9999), month % 12 + 1
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))
