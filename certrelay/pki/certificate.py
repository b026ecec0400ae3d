"""One certificate from a file or an answer: read completely, or described with the reason why it cannot be read."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import PublicKeyAlgorithmOID

from certrelay.pki.der import CONTEXT_0, OBJECT_IDENTIFIER, SEQUENCE, Element, children, encoded, inside, oid
from certrelay.pki.encodings import panics_as_errors

_LONGEST_NAME, _LONGEST_SERIAL = 120, 42  # 20 octets are usual
_COMMON_NAME = oid("2.5.4.3")
_EXTENSIONS = 0xA3
_EXPLICIT_CURVE = encoded(OBJECT_IDENTIFIER, oid("1.2.840.10045.2.1")) + bytes(
    [SEQUENCE]
)  # id-ecPublicKey, and no OID after it
_STRINGS = {0x0C: "utf-8", 0x1E: "utf-16-be"}
_CUT_OFF = "it is cut off, or a part of it is"
_NO_CERTIFICATE = "it is not an X.509 certificate in DER"
_TIMES = "its validity is malformed: times are in UTC with seconds and no fractions (RFC 5280, 4.1.2.5)"
# What the messages of cryptography contain, and what it means; the first that fits.
_MALFORMED = {
    "path_length must be None": "its basic constraints have a path length and are not a CA's (RFC 5280, 4.2.1.9)",
    "EncodedDefault": "it writes out a default value, such as critical FALSE, which DER forbids",
    "TbsCertificate::serial": "its serial number is malformed (X.690, 8.3.2)",
    "TbsCertificate::validity": _TIMES,
    "AttributeTypeValue::value": "its subject or issuer has characters that the type of the text does not allow",
    "is not a valid X509 version": "its version is neither 1 nor 3",
    "ExtraData": "it has more data than it says",
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A certificate that cannot be read.

    `who` names it by position, subject and serial number; `why` is the reason. `subject` is DER, empty if unknown."""

    who: str
    why: str
    subject: bytes = b""

    @property
    def is_something_else(self) -> bool:
        """Whether nothing in it looks like a certificate."""
        return not self.subject and self.why == _NO_CERTIFICATE

    @property
    def refusal(self) -> str:
        """The error message if the chain needs this certificate."""
        step = "send the whole file" if self.why == _CUT_OFF else "have it issued again"
        return f"{self.who} cannot be read: {self.why}; {step}"

    @property
    def left_out(self) -> str:
        """The message if the chain does not need it."""
        return f"{self.who} cannot be read and was left out: {self.why}"


def read_certificate(der: bytes, number: int) -> x509.Certificate | Unreadable:
    """Parse a certificate completely, so that reading a part of it later cannot fail.

    `number` is its position among the certificates of the file, from 1."""
    why = _NO_CERTIFICATE
    try:
        with panics_as_errors():
            certificate = _loaded(der)
        for reason, read in _PARTS:
            why = reason
            read(certificate)
        return certificate
    except UnsupportedAlgorithm:
        why = "its kind of public key is not supported"
    except _CutOff:
        why = _CUT_OFF
    except x509.DuplicateExtension:
        why = "it has the same extension twice"
    except x509.UnsupportedGeneralNameType:
        why = "it has an alternative name of a kind that is not supported (x400Address, ediPartyName)"
    except Exception as error:  # a parser on hostile bytes: ValueError, TypeError, InvalidVersion …
        why = next((text for sign, text in _MALFORMED.items() if sign in str(error)), why)
    who, subject = _identity(der)
    return Unreadable(f"certificate {number}{who}", why, subject)


def loaded(der: bytes) -> x509.Certificate:
    """A certificate whose parts are read when they are used. Raises ValueError, and nothing else: for cryptography, a
    version that is neither 1 nor 3 is none."""
    try:
        with panics_as_errors():
            return x509.load_der_x509_certificate(der)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from None


class _CutOff(Exception):
    pass


def _loaded(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        if "ShortData" in str(error) and der[:1] == bytes([SEQUENCE]):
            raise _CutOff from None
        raise


def named(certificate: x509.Certificate) -> str:
    """The subject, quoted and shortened for a message; the serial number where there is no subject."""
    return quoted(certificate.subject) if certificate.subject else repr(f"serial number {_serial(certificate)}")


def quoted(name: x509.Name) -> str:
    """The name as RFC 4514 writes it, quoted and shortened for a message."""
    return repr(_short(name.rfc4514_string()))


def identified(certificate: x509.Certificate) -> str:
    """`'CN=a' (serial 1f)`; without a subject only the serial number."""
    return f"{named(certificate)} (serial {_serial(certificate)})" if certificate.subject else named(certificate)


def dated(certificate: x509.Certificate) -> str:
    """Subject, serial number and days of validity, to distinguish certificates that have the same subject."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"{named(certificate)} (serial {_serial(certificate)}, valid {begins:%Y-%m-%d} to {ends:%Y-%m-%d})"


def with_one_extension(certificate: x509.Certificate, kind: str) -> x509.Certificate:
    """A copy that has only the extension `kind` (dotted OID), to read it where others are malformed.

    The copy's signature is void. Raises ValueError or IndexError."""
    tbs, *signature = inside(certificate.public_bytes(Encoding.DER))
    fields = list(children(tbs.content))
    extensions = inside(fields[-1].content) if fields[-1].tag == _EXTENSIONS else []
    kept = [one.whole for one in extensions if inside(one.whole)[0].content == oid(kind)]
    rest = [each.whole for each in fields if each.tag != _EXTENSIONS]
    made = encoded(
        SEQUENCE, b"".join([*rest, encoded(_EXTENSIONS, encoded(SEQUENCE, b"".join(kept)))] if kept else rest)
    )
    return x509.load_der_x509_certificate(encoded(SEQUENCE, made + b"".join(part.whole for part in signature)))


def has_broken_hash(certificate: x509.Certificate) -> bool:
    """Whether it is signed with SHA-1, MD5 or an unknown hash."""
    try:
        return isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)
    except UnsupportedAlgorithm:
        return True


def curve_faults(certificate: x509.Certificate) -> Iterator[str]:
    """Libraries that recognise the curve read such a key like any other; others refuse the certificate."""
    if _EXPLICIT_CURVE in certificate.tbs_certificate_bytes:
        yield "has a key on a curve that it spells out instead of naming it (RFC 5480, section 2.1.1)"


def key_type_faults(certificate: x509.Certificate) -> Iterator[str]:
    """What a certificate says about its key that reading it as an ordinary RSA or EC key would lose."""
    yield from curve_faults(certificate)
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        yield "has an RSA key that is for RSASSA-PSS only (RFC 4055), and no such key can be made in Key Vault"


_PARTS: tuple[tuple[str, Callable[[x509.Certificate], object]], ...] = (
    ("its subject has a text in another character set than it says", lambda certificate: certificate.subject),
    ("its issuer has a text in another character set than it says", lambda certificate: certificate.issuer),
    ("one of its extensions is malformed", lambda certificate: certificate.extensions),
    (_TIMES, lambda certificate: certificate.not_valid_before_utc),
    (_TIMES, lambda certificate: certificate.not_valid_after_utc),
    ("its public key is malformed", lambda certificate: certificate.public_key()),
    ("its signature algorithm is malformed", has_broken_hash),
)


def _identity(der: bytes) -> tuple[str, bytes]:
    """Common name and serial number for a message, and the subject in DER; both empty if they cannot be read."""
    with suppress(ValueError, IndexError, UnicodeError):
        fields = list(children(inside(der)[0].content))
        serial, _, _, _, subject = fields[1:6] if fields[0].tag == CONTEXT_0 else fields[:5]
        common = [value for kind, value in _attributes(subject) if kind == _COMMON_NAME]
        shown = f", {_short(common[-1])!r}" if common else ""
        return f"{shown} (serial {serial.content.hex().lstrip('0')[:_LONGEST_SERIAL] or '0'})", subject.whole
    return "", b""


def _attributes(name: Element) -> list[tuple[bytes, str]]:
    found = []
    for relative in children(name.content):
        for attribute in children(relative.content):
            kind, value = children(attribute.content)
            found.append((kind.content, value.content.decode(_STRINGS.get(value.tag, "latin-1"), "replace")))
    return found


def _serial(certificate: x509.Certificate) -> str:
    digits = f"{certificate.serial_number:x}"
    return digits if len(digits) <= _LONGEST_SERIAL else f"{digits[:_LONGEST_SERIAL]}…"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
