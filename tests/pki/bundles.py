"""Files with a certificate and its key, as people import them."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from certrelay.pki import key_bundles
from certrelay.pki.key_bundles import Bundle
from tests.pki.builders import NOW, Authority, dns, ec_key, rsa_key, subject

PASSWORD = "correct horse"
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
KEY, EC_KEY = rsa_key(), ec_key()
LEAF = ISSUING.sign(KEY.public_key(), subject("www.contoso.example"), extensions=[dns("www.contoso.example")])
EC_LEAF = ISSUING.sign(EC_KEY.public_key(), subject("ec.contoso.example"), extensions=[dns("ec.contoso.example")])
CHAIN = (LEAF, ISSUING.certificate, ROOT.certificate)


def read_bundle(data: bytes, password: str | None, strict: bool = False) -> Bundle:
    return key_bundles.read_bundle(data, password, NOW, strict=strict)


def key_as(
    format_: PrivateFormat = PrivateFormat.PKCS8,
    password: str | None = None,
    key: Any = KEY,
    encoding: Encoding = Encoding.PEM,
) -> bytes:
    encryption: KeySerializationEncryption = NoEncryption()
    if password:
        encryption = BestAvailableEncryption(password.encode())
    return key.private_bytes(encoding, format_, encryption)  # type: ignore[no-any-return]


def pfx(password: str | None = PASSWORD, key: Any = KEY, chain: tuple[x509.Certificate, ...] = CHAIN) -> bytes:
    encryption: KeySerializationEncryption = NoEncryption()
    if password:
        encryption = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"www", key, chain[0], chain[1:], encryption)
