"""Read a certificate with its private key from the files that people have, and write it as Key Vault takes it.

Key Vault takes a PFX, or PEM with a PKCS#8 key:
https://learn.microsoft.com/azure/key-vault/certificates/tutorial-import-certificate
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from certrelay.errors import Fault, Invalid, Unverified
from certrelay.pki.certificate import dated
from certrelay.pki.chains import left_out, ordered_chain
from certrelay.pki.contents import Contents, read_key_file
from certrelay.pki.pfx import SEVERAL_KEYS
from certrelay.pki.private_keys import Key
from certrelay.pki.weak_keys import verify_public_key
from certrelay.pki.wording import bounded

MAX_BYTES = 256 * 1024
RSA_SIZES = (2048, 3072, 4096)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A private key and its chain, leaf first. `changes` has a sentence for what was converted or left out."""

    private_key: PrivateKeyTypes = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    changes: tuple[str, ...] = ()

    def pfx(self, password: str) -> bytes:
        """As PKCS#12 (RFC 7292), encrypted with the password."""
        key = cast(pkcs12.PKCS12PrivateKeyTypes, self.private_key)
        encryption = BestAvailableEncryption(password.encode())
        return pkcs12.serialize_key_and_certificates(None, key, self.chain[0], self.chain[1:], encryption)

    def pem(self) -> bytes:
        """As PEM: the unencrypted PKCS#8 key, then the chain."""
        key = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)


def read_bundle(data: bytes, password: str | None, now: datetime, *, strict: bool = False) -> Bundle:
    """Read the private key in `data` and the chain of its certificate; see `ordered_chain` for `now` (UTC).

    Reads PFX, PEM in any order and with any text around it, consecutive DER, PKCS#7, and base64 of these; keys in
    PKCS#8, PKCS#1 or SEC1, encrypted or not. `strict` refuses a file that Key Vault would refuse. Raises Invalid and
    nothing else; its text holds neither key nor password."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"the file is too large: more than {MAX_BYTES // 1024} KiB")
    contents = read_key_file(data, password)
    key = _the_only(contents.keys)
    chain = _chain(contents, key, now)
    beyond = [change for change, is_beyond in contents.changes.items() if is_beyond]
    if strict and beyond:
        raise Invalid([Fault("", f"Key Vault does not take the file as it is: {change}") for change in bounded(beyond)])
    return Bundle(key, chain, tuple(bounded(list(contents.changes), "more changes")))


def verify_bundle(bundle: Bundle, now: datetime) -> None:
    """Check that Key Vault takes it and that its key is strong; it may become valid later.

    Raises Unverified with every fault."""
    leaf, key = bundle.chain[0], bundle.private_key
    faults = []
    if leaf.public_key() != key.public_key():
        faults.append("the private key does not belong to the certificate")
    if leaf.not_valid_after_utc <= now:
        faults.append(f"the certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    try:
        verify_public_key(leaf.public_key())
        if isinstance(key, RSAPrivateKey) and key.key_size not in RSA_SIZES:
            faults.append(f"the RSA key has {key.key_size} bits; Key Vault takes 2048, 3072 and 4096")
    except Unverified as error:
        faults.append(str(error))
    if faults:
        raise Unverified([Fault("", fault) for fault in faults])


def _the_only(keys: list[Key]) -> PrivateKeyTypes:
    private_keys = [cast(PrivateKeyTypes, key.private_key) for key in keys]
    if not private_keys:
        raise Invalid("there is no private key in the file")
    if any(key.public_key() != private_keys[0].public_key() for key in private_keys[1:]):
        raise Invalid(SEVERAL_KEYS)
    return private_keys[0]


def _chain(contents: Contents, key: PrivateKeyTypes, now: datetime) -> tuple[x509.Certificate, ...]:
    contents.require_certificates("file")
    if all(certificate.public_key() != key.public_key() for certificate in contents.certificates):
        if contents.unreadable:
            raise Invalid(contents.unreadable[0].refusal)
        raise Invalid("the private key does not belong to any certificate in the file")
    chain = ordered_chain(contents.certificates, key.public_key(), now, tolerate_gap=True)
    for sentence in left_out(contents.certificates, chain, contents.unreadable, now):
        contents.changes[sentence] = False
    for issuer in chain[1:]:
        if issuer.not_valid_after_utc <= now:
            contents.changes[
                f"{dated(issuer)} has expired; get the authority's new one, or clients refuse the chain"
            ] = False
    if not contents.is_pfx and [one for one in contents.certificates if one in chain] != list(chain):
        contents.changes["the certificates were put in order, leaf first"] = True
    return chain
