"""Read a certificate with its private key from the files that people have, and write it as Key Vault takes it.

Key Vault takes a PFX, or PEM with a PKCS#8 key:
https://learn.microsoft.com/azure/key-vault/certificates/tutorial-import-certificate
"""

from collections.abc import Iterator, Sequence
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
from certrelay.pki import extensions
from certrelay.pki.alternative_names import general_names
from certrelay.pki.certificate import dated, identified, key_type_faults, named
from certrelay.pki.chains import left_out, ordered_chain
from certrelay.pki.contents import A_REQUEST, Contents, read_key_file
from certrelay.pki.private_keys import RSA_STEP
from certrelay.pki.weak_keys import verify_public_key
from certrelay.pki.wording import bounded, listed

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
        raise Invalid(f"the file is too large: more than {MAX_BYTES // 1024} KiB; send only the key and the chain")
    contents = read_key_file(data, password)
    key = _the_only(contents)
    chain = _chain(contents, key, now)
    beyond = [change for change, is_beyond in contents.changes.items() if is_beyond]
    if strict and beyond:
        raise Invalid([Fault("", f"Key Vault does not take the file as it is: {change}") for change in bounded(beyond)])
    return Bundle(key, chain, tuple(bounded(list(contents.changes), "more changes")))


def verify_bundle(bundle: Bundle, now: datetime) -> None:
    """Check that Key Vault takes it and that its key is strong; it may become valid later.

    Raises Unverified with every fault."""
    faults = list(_faults(bundle, now))
    if faults:
        raise Unverified([Fault("", fault) for fault in faults])


def _faults(bundle: Bundle, now: datetime) -> Iterator[str]:
    leaf, key = bundle.chain[0], bundle.private_key
    if leaf.public_key() != key.public_key():
        yield f"the private key does not belong to the certificate {identified(leaf)}; send its own key"
    if leaf.not_valid_after_utc <= now:
        ended = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
        yield f"the certificate {identified(leaf)} expired on {ended}; import the one that replaces it"
    if leaf.not_valid_before_utc > leaf.not_valid_after_utc:
        yield f"the certificate {identified(leaf)} ends before it begins; have it issued again"
    if hidden := [name for name in map(str, _names(leaf)) if not name.isprintable()]:
        shown = listed(map(repr, hidden))
        yield f"the certificate {identified(leaf)} has names with unprintable characters: {shown}; have it issued again"
    if foreign := [name for name in map(str, _names(leaf)) if name.isprintable() and not name.isascii()]:
        yield (
            f"the certificate {identified(leaf)} has names in other characters than ASCII, which no client matches "
            f"(RFC 5280, 4.2.1.6): {listed(map(repr, foreign))}; have it issued again with A-labels (xn--…)"
        )
    try:
        verify_public_key(leaf.public_key())
        if isinstance(key, RSAPrivateKey) and key.key_size not in RSA_SIZES:
            yield f"the RSA key has {key.key_size} bits; {RSA_STEP}"
    except Unverified as error:
        yield f"the certificate {identified(leaf)} is refused: {error}; have it issued for a new key"
    for fault in key_type_faults(leaf):
        yield f"the certificate {identified(leaf)} {fault}; have it issued again"


def _names(leaf: x509.Certificate) -> Iterator[object]:
    for name in general_names(leaf):
        if isinstance(name, x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier):
            yield name.value


def _the_only(contents: Contents) -> PrivateKeyTypes:
    keys = [cast(PrivateKeyTypes, key.private_key) for key in contents.keys]
    if not keys:
        raise Invalid(_why_there_is_no_key(contents))
    if any(key.public_key() != keys[0].public_key() for key in keys[1:]):
        public = [key.public_key() for key in keys]
        owners = [named(one) for one in contents.certificates if one.public_key() in public]
        of = f", of {listed(owners)}" if owners else ""
        raise Invalid(
            f"there are several private keys{of}; one is allowed: export the one certificate alone, with its key"
        )
    return keys[0]


def _why_there_is_no_key(contents: Contents) -> str:
    """What the file is instead, and what to do with it."""
    holder = "PFX" if contents.is_pfx else "file"
    if contents.certificates:
        shown = listed(named(one) for one in contents.certificates)
        if contents.is_pfx:
            return f"there is no private key in the PFX, only {shown}; export it again, with the private key"
        return (
            f"there is no private key in the file, only {shown}; merge it, if Key Vault made its key (then the "
            "certificate has a pending operation), or send the key too, in one PFX or PEM file"
        )
    if contents.unreadable:
        return f"there is no private key in the file; {contents.unreadable[0].refusal}"
    if A_REQUEST in contents.others:
        return (
            f"this is {A_REQUEST}, with neither a certificate nor a private key; have an authority sign it, and merge "
            "its answer, if Key Vault made the key, or import the answer with the key"
        )
    what = f"there is neither a private key nor a certificate in the {holder}{contents.but_others}"
    return f"{what}; send a PFX or PEM file that has both"


def _chain(contents: Contents, key: PrivateKeyTypes, now: datetime) -> tuple[x509.Certificate, ...]:
    contents.require_certificates()
    if all(certificate.public_key() != key.public_key() for certificate in contents.certificates):
        contents.blame_unreadable_parts()
        shown = listed(named(one) for one in contents.certificates)
        raise Invalid(
            f"the private key does not belong to any certificate in the file, which has {shown}; send the key and the "
            "certificate that belong together"
        )
    chain = ordered_chain(contents.certificates, key.public_key(), now, tolerate_gap=True)
    for sentence in left_out(contents.certificates, chain, contents.unreadable, now):
        contents.changes[sentence] = False
    for told in _faults_of_issuers(chain[1:], now):
        contents.changes[told] = False
    if not contents.is_pfx and [one for one in contents.certificates if one in chain] != list(chain):
        contents.changes["the certificates were put in order, leaf first"] = True
    return chain


def _faults_of_issuers(issuers: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    """Key Vault takes the chain all the same."""
    for place, issuer in enumerate(issuers):
        if issuer.not_valid_after_utc <= now:
            yield f"{dated(issuer)} has expired; get the authority's new one, or clients refuse the chain"
        if issuer.subject == issuer.issuer:
            continue
        below = sum(one.subject != one.issuer for one in issuers[:place])
        for fault in extensions.issuer_faults(issuer, below):
            yield f"{dated(issuer)} {fault}; get another chain from the authority, or clients refuse this one"
