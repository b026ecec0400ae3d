"""Read what is in a file or in an authority's answer: certificates, private keys, and blocks that are left out.

Import and merge use the same reader, which goes by the labels and contents of blocks (RFC 5652, RFC 7292, RFC 7468).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from certrelay.errors import Invalid
from certrelay.pki.certificate import Unreadable, read_certificate
from certrelay.pki.der import CONTEXT_0, SEQUENCE, children, content, inside, oid
from certrelay.pki.encodings import Block, blocks, elements, has_text_outside_pem
from certrelay.pki.foreign import DAMAGED_LINES, has_damaged_lines
from certrelay.pki.password_encryption import Budget
from certrelay.pki.pfx import MAX_KEYS, TOO_MANY_KEYS, open_pfx
from certrelay.pki.private_keys import (
    Key,
    is_encrypted_pkcs8,
    is_shaped_like_a_key,
    private_key_of,
    unencrypted_key,
)
from certrelay.pki.wording import listed

MAX_BYTES, MAX_CERTIFICATES = 1024 * 1024, 100
A_REQUEST = "a certificate signing request"

_CMS = b"\x06\x09" + oid("1.2.840.113549.1.7")  # the OIDs 1.2.840.113549.1.7.*
_SIGNED_DATA, _ENCRYPTED_DATA = _CMS + b"\x02", (b"\x03", b"\x04", b"\x06")
_UNKNOWN = (
    "the data is neither PEM, DER, base64 nor PKCS#7 of certificates; send the original file, or as PEM, "
    "which begins with -----BEGIN CERTIFICATE-----"
)
_OTHER_KINDS: dict[str, Callable[[bytes], object]] = {
    A_REQUEST: x509.load_der_x509_csr,
    "a certificate revocation list": x509.load_der_x509_crl,
    "a public key": load_der_public_key,
}
_IGNORED = ("PARAMETERS", "PUBLIC KEY", "CRL", "ATTRIBUTE CERTIFICATE", "CERTIFICATE REQUEST", "KEY BLOCK")  # of PGP
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE")
# Key Vault refuses PKCS#1 (azure-cli#19017) and takes PKCS#8, encrypted or not. No refusal of SEC1 is known.
_TAKEN_KEYS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY")
_LONGEST_LABEL = 40


@dataclass(slots=True)
class Contents:
    """The certificates (without duplicates) and keys, each in the order of the file.

    `changes` has a sentence for everything that was converted or left out, and whether Key Vault would have refused the
    file for it. `others` names what is neither a certificate nor a key."""

    certificates: list[x509.Certificate] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list, repr=False)
    changes: dict[str, bool] = field(default_factory=dict)
    others: dict[str, None] = field(default_factory=dict)
    is_pfx: bool = False
    has_damaged_lines: bool = False

    def blame_unreadable_parts(self) -> None:
        """What is missing may be in a PEM block whose BEGIN line is damaged, or in an unreadable certificate. Raises
        Invalid."""
        if self.has_damaged_lines:
            raise Invalid(DAMAGED_LINES)
        if self.unreadable:
            raise Invalid(self.unreadable[0].refusal)

    def require_certificates(self) -> None:
        """Raises Invalid if no certificate could be read, and says why."""
        if self.certificates:
            return
        if self.unreadable:
            raise Invalid(self.unreadable[0].refusal)
        if A_REQUEST in self.others and not self.keys:
            raise Invalid(f"this is {A_REQUEST}, not a certificate; send what the authority made of it")
        if self.keys and A_REQUEST in self.others:
            raise Invalid(
                f"there is no certificate in the file, only {A_REQUEST} and a private key; have an authority sign the "
                "request, and send its answer together with its key"
            )
        if self.keys:
            raise Invalid(f"there is no certificate in the file{self.but_others}; send it together with its key")
        raise Invalid(f"there is no certificate in the data{self.but_others}; send what the authority made")

    @property
    def but_others(self) -> str:
        """`, only a certificate revocation list`; empty if there is nothing else."""
        return f", only {listed(self.others)}" if self.others else ""


def read_certificates(data: bytes) -> Contents:
    """Read an authority's answer: PEM, DER, PKCS#7 certs-only, or base64 of these; also BER and UTF-16.

    Raises Invalid, and nothing else: for a private key, for more than 1 MiB or 100 certificates, and for what cannot be
    read. An answer without certificates raises only in `require_certificates`."""
    if len(data) > MAX_BYTES:
        raise Invalid("the certificates are too large: more than 1 MiB; send only those of the chain")
    return _Reader(None, for_keys=False).read(data)


def read_key_file(data: bytes, password: str | None) -> Contents:
    """Read a file that may also be a PFX or hold keys (PKCS#8, PKCS#1, SEC1; encrypted or not).

    Raises Invalid, and nothing else."""
    return _Reader(password, for_keys=True).read(data)


class _Reader:
    def __init__(self, password: str | None, *, for_keys: bool) -> None:
        self._password, self._for_keys, self._budget = password, for_keys, Budget()
        self._found = Contents()
        self._seen: set[bytes] = set()
        self._seen_keys: set[bytes] = set()
        self._count = 0

    def read(self, data: bytes) -> Contents:
        found = blocks(data)
        for block in found:
            self._read_block(block)
        self._found.has_damaged_lines = has_damaged_lines(data)
        is_incomplete = not self._found.certificates or (self._for_keys and not self._found.keys)
        if is_incomplete and self._found.has_damaged_lines:
            raise Invalid(DAMAGED_LINES)
        if not self._found.is_pfx and None not in [block.label for block in found] and has_text_outside_pem(data):
            self._change("the text around the PEM blocks was left out", beyond=True)
        return self._found

    def _read_block(self, block: Block) -> None:
        label = block.label or ""
        parts = [block.der] if block.text is not None else list(elements(block.der))
        if label.endswith(_IGNORED) and not any(self._is_key(block, part) or _is_certificate(part) for part in parts):
            self._leave_out(A_REQUEST if "REQUEST" in label else _described(block))
            return
        if not parts and "PRIVATE KEY" in label:
            parts = [block.der]
        elif not parts:
            self._not_der(label, block.der)
        for part in parts[:1] if label.startswith("TRUSTED") else parts:
            self._read_part(block, part)

    def _not_der(self, label: str, der: bytes) -> None:
        if not label:
            raise Invalid(_UNKNOWN)
        if label in _CERTIFICATES:
            self._add(der)
        else:
            self._leave_out(f"the {label[:_LONGEST_LABEL]} block")

    def _read_part(self, block: Block, part: bytes) -> None:
        inner = content(part)
        if inner.startswith(b"\x02\x01\x03\x30"):
            self._read_pfx(block, part)
        elif self._is_key(block, part):
            self._read_key(block, part)
        elif inner.startswith(_CMS):
            self._add_all(_pkcs7(part))
            self._change(f"certificates were taken out of {_described(block)}", beyond=True)
        elif block.label and "CERTIFICATE" not in block.label and _is_no_certificate(part):
            self._leave_out(_described(block))
        elif self._add(part):
            if block.label is None:
                self._change("a certificate was converted to PEM", beyond=True)
            elif block.label not in _CERTIFICATES:
                self._change(f"a certificate was taken out of {_described(block)}", beyond=True)
        elif block.label is None and self._found.unreadable and self._found.unreadable[-1].is_something_else:
            raise Invalid(_UNKNOWN)

    def _is_key(self, block: Block, part: bytes) -> bool:
        """By its label, or by its contents: much else than a key begins with a number."""
        if "PRIVATE KEY" in (block.label or "") or is_encrypted_pkcs8(part):
            return not _is_certificate(part)
        if not is_shaped_like_a_key(part):
            return False
        try:
            return block.label is None or bool(private_key_of(block, part, None, self._budget))
        except Invalid:
            return False

    def _read_pfx(self, block: Block, der: bytes) -> None:
        if not self._for_keys:
            raise Invalid(
                "this is a PFX file, not a certificate; import it, or take the certificates out of it: "
                "openssl pkcs12 -nokeys -in FILE -out FILE.pem"
            )
        if self._found.is_pfx:
            raise Invalid("there are several PFX files; send one of them, and import the others by other names")
        self._found.is_pfx = True
        stored, was_needed = open_pfx(der, self._password, self._budget)
        self._found.keys += map(unencrypted_key, stored.keys)
        self._add_all(stored.certificates)
        if not was_needed:
            self._change("the PFX has no password, and the one given was not used", beyond=True)
        for what in stored.left_out:
            self._found.others[what] = None
            self._change(f"{what} in the PFX was left out")
        if block.label:
            self._change("the PFX was taken out of its PEM block", beyond=True)

    def _read_key(self, block: Block, der: bytes) -> None:
        if not self._for_keys:
            if block.label:
                raise Invalid("there is a private key among the certificates; send the certificates without it")
            raise Invalid("this is a private key, not a certificate; send what the authority made of the request")
        if der in self._seen_keys:
            return
        self._seen_keys.add(der)
        if len(self._seen_keys) > MAX_KEYS:  # each may cost a key derivation
            raise Invalid(TOO_MANY_KEYS)
        key = private_key_of(block, der, self._password, self._budget)
        self._found.keys.append(key)
        if key.was_encrypted:
            self._change("the private key was decrypted", beyond=block.label not in _TAKEN_KEYS)
        if block.label is None:
            self._change("the private key was converted to PEM", beyond=True)
        elif "PRIVATE KEY" not in block.label:
            self._change(f"the private key was taken out of {_described(block)}", beyond=True)
        elif block.label not in _TAKEN_KEYS[:2]:
            beyond = block.label not in _TAKEN_KEYS or key.was_encrypted
            self._change(f"the private key was converted from {block.label[:_LONGEST_LABEL]} to PKCS#8", beyond=beyond)

    def _add_all(self, certificates: Iterable[bytes]) -> None:
        for certificate in certificates:
            self._add(certificate)

    def _add(self, der: bytes) -> bool:
        """Add a certificate unless it is a duplicate. Returns whether it is one."""
        self._count += 1
        if der in self._seen:
            self._change("certificates that were there twice were left out")
            return True
        self._seen.add(der)
        if len(self._seen) > MAX_CERTIFICATES:
            raise Invalid(f"there are more than {MAX_CERTIFICATES} certificates; send only those of the chain")
        read = read_certificate(der, self._count)
        if isinstance(read, x509.Certificate):
            self._found.certificates.append(read)
            return True
        if other := _other_kind(der):
            self._leave_out(other)
        else:
            self._found.unreadable.append(read)
        return False

    def _leave_out(self, what: str) -> None:
        self._found.others[what] = None
        self._change(f"{what} was left out")

    def _change(self, sentence: str, *, beyond: bool = False) -> None:
        self._found.changes[sentence] = beyond


def _described(block: Block) -> str:
    if block.label is None:
        return "the PKCS#7 file"
    return f"the {block.label[:_LONGEST_LABEL]} block" if block.label else "a block without a label"


def _is_certificate(der: bytes) -> bool:
    return content(der)[:1] == bytes([SEQUENCE]) and isinstance(read_certificate(der, 0), x509.Certificate)


def _is_no_certificate(der: bytes) -> bool:
    return isinstance(read_certificate(der, 0), Unreadable) and _other_kind(der) is None


def _other_kind(der: bytes) -> str | None:
    """What an unreadable certificate is instead, if it is a CSR, a CRL or a public key."""
    for what, load in _OTHER_KINDS.items():
        try:
            load(der)
        except Exception:  # noqa: S112 - a parser on hostile bytes
            continue
        return what
    return None


def _pkcs7(der: bytes) -> Iterator[bytes]:
    """The certificates of a SignedData (RFC 5652, section 5.1). Attribute certificates have a tag, and are skipped."""
    if not content(der).startswith(_SIGNED_DATA):
        what = "encrypted data" if content(der)[len(_CMS) :][:1] in _ENCRYPTED_DATA else "other data"
        raise Invalid(
            f"the PKCS#7 is not of the kind that carries certificates (signedData), but of {what}; send the "
            "certificates as PEM, or as P7B: openssl crl2pkcs7 -nocrl -certfile FILE.pem -out FILE.p7b"
        )
    try:
        [signed] = children(inside(der)[1].content)
        found = next((part for part in list(children(signed.content))[3:] if part.tag == CONTEXT_0), None)
        certificates = [part.whole for part in children(found.content) if part.tag == SEQUENCE] if found else []
    except (ValueError, IndexError):
        raise Invalid("the PKCS#7 cannot be read: it is cut off or damaged; send the whole, original file") from None
    if not certificates:
        raise Invalid("the PKCS#7 holds no certificate; have it made again with its certificates, or send these as PEM")
    yield from certificates
