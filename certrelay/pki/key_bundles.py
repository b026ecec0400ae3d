"""A certificate with its private key, read from whatever people have, and written as Key Vault takes it.

https://learn.microsoft.com/azure/key-vault/certificates/tutorial-import-certificate: Key Vault takes a PFX, or PEM with
an unencrypted PKCS#8 key, and nothing else.
"""

from collections.abc import Iterator
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
from certrelay.pki.chains import certificates_in, ordered_chain
from certrelay.pki.encodings import Block, blocks, content, elements, has_text_outside_pem
from certrelay.pki.private_keys import SEVERAL_KEYS, Key, is_encrypted_pkcs8, pfx_contents, private_key_of
from certrelay.pki.weak_keys import verify_public_key

MAX_BYTES = 256 * 1024
MAX_KEYS = 3
RSA_SIZES = (2048, 3072, 4096)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A private key and its chain, leaf first; `changes` says what reading it put right, a sentence each."""

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


@dataclass(slots=True)
class _Found:
    keys: list[Key] = field(default_factory=list)
    certificates: list[x509.Certificate] = field(default_factory=list)
    changes: dict[str, None] = field(default_factory=dict)
    is_pfx: bool = False


def read_bundle(data: bytes, password: str | None, strict: bool = False) -> Bundle:
    """The one key in `data` and the chain of its certificate.

    PFX; PEM in any order, with any text around it; DER, also several one after another; PKCS#7; base64 of these. Keys
    in PKCS#8, PKCS#1 or SEC1, encrypted or not. `strict` refuses what Key Vault would not take as is. Raises
    Invalid and nothing else, without key or password in its text."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"the file is too large: more than {MAX_BYTES // 1024} KiB")
    found = _Found()
    for block in blocks(data):
        _collect(block, password, found)
    if not found.is_pfx and has_text_outside_pem(data):
        found.changes["the text around the PEM blocks was left out"] = None
    key = _the_only(found.keys)
    chain = _chain(found, key)
    if strict and found.changes:
        raise Invalid([Fault("", f"Key Vault does not take the file as it is: {change}") for change in found.changes])
    return Bundle(key, chain, tuple(found.changes))


def verify_bundle(bundle: Bundle, now: datetime) -> None:
    """Key Vault takes it, and its key is sound; not valid yet is fine. Raises Unverified with every fault."""
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


def _collect(block: Block, password: str | None, found: _Found) -> None:
    parts = list(elements(block.der)) if block.text is None else [block.der]
    if not parts:
        parts = [block.der]
    for part in parts:
        inner = content(part)
        if inner.startswith(b"\x02\x01\x03"):
            _collect_pfx(part, block, password, found)
        elif "PRIVATE KEY" in (block.label or "") or inner.startswith(b"\x02") or is_encrypted_pkcs8(part):
            if len(found.keys) == MAX_KEYS:  # each may cost a key derivation
                raise Invalid(SEVERAL_KEYS)
            found.keys.append(private_key_of(block, part, password))
            found.changes |= dict.fromkeys(_key_changes(block, part, found.keys[-1]))
        else:
            found.certificates += certificates_in(Block(block.label, part))
            if block.label is None:
                found.changes["a certificate was converted to PEM"] = None
            elif block.label != "CERTIFICATE" or inner.startswith(b"\x06"):
                found.changes[f"certificates were taken out of the {block.label[:40]} block"] = None


def _collect_pfx(der: bytes, block: Block, password: str | None, found: _Found) -> None:
    if found.is_pfx:
        raise Invalid("there are several PFX files; one is allowed")
    keys, certificates = pfx_contents(der, password)
    found.is_pfx = True
    found.keys += keys
    found.certificates += certificates
    if block.label:
        found.changes["the PFX was taken out of its PEM block"] = None


def _key_changes(block: Block, der: bytes, key: Key) -> Iterator[str]:
    if key.was_encrypted:
        yield "the private key was decrypted"
    elif block.label is None:
        yield "the private key was converted to PEM"
    if block.label not in (None, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"):
        yield f"the private key was converted from {block.label} to PKCS#8"


def _the_only(keys: list[Key]) -> PrivateKeyTypes:
    private_keys = [cast(PrivateKeyTypes, key.private_key) for key in keys]
    if not private_keys:
        raise Invalid("there is no private key in the file")
    if any(key.public_key() != private_keys[0].public_key() for key in private_keys[1:]):
        raise Invalid(SEVERAL_KEYS)
    return private_keys[0]


def _chain(found: _Found, key: PrivateKeyTypes) -> tuple[x509.Certificate, ...]:
    given = list(dict.fromkeys(found.certificates))
    if not given:
        raise Invalid("there is no certificate in the file")
    if all(certificate.public_key() != key.public_key() for certificate in given):
        raise Invalid("the private key does not belong to any certificate in the file")
    chain = ordered_chain(given, key.public_key(), drop_strangers=True)
    if len(given) < len(found.certificates):
        found.changes["certificates that were there twice were left out"] = None
    if len(chain) < len(given):
        found.changes["certificates that are not part of the chain were left out"] = None
    if not found.is_pfx and [certificate for certificate in given if certificate in chain] != list(chain):
        found.changes["the certificates were put in order, leaf first"] = None
    return chain
