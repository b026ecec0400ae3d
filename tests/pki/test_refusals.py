"""Every refusal of a file or an answer says which thing it is about, what is wrong with it, and the next step."""

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
)

from certrelay.errors import Invalid
from certrelay.pki.certificate import Unreadable, read_certificate
from certrelay.pki.der import CONTEXT_0, Element, children, encoded, inside
from certrelay.pki.key_bundles import read_bundle, verify_bundle
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected, Limits, verify_answer
from tests.pki import files
from tests.pki.builders import NOW, Authority, Key, csr, der, dns, ec_key, pem, sign, subject, with_validity

KEY = ec_key()
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
NAME = subject("www.contoso.example")
LEAF = ISSUING.sign(KEY.public_key(), NAME, extensions=[dns("www.contoso.example")])
CSR = csr(KEY, NAME, [dns("www.contoso.example")])
EXPECTED = Expected(SubjectNames("www.contoso.example", ("www.contoso.example",)), "EC", None, "P-256")
REQUEST = files.pem_block("CERTIFICATE REQUEST", CSR)
CRL = (
    x509.CertificateRevocationListBuilder()
    .issuer_name(ROOT.certificate.subject)
    .last_update(NOW)
    .next_update(NOW + timedelta(days=7))
    .sign(ROOT.key, hashes.SHA256())
)
PUBLIC = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
QUERY = files.sequence(files.integer(1), files.sequence(files.sequence(files.identifier("2.16.840.1.101.3.4.2.1"))))


def pkcs8(key: Key = KEY) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def imported(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        verify_bundle(read_bundle(data, None, NOW), NOW)
    return str(caught.value)


def merged(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        verify_answer(data, CSR, EXPECTED, Limits(), NOW)
    return str(caught.value)


def p7b(encoding: Encoding) -> bytes:
    return pkcs7.serialize_certificates([LEAF], encoding)


def content_info(kind: int) -> bytes:
    return files.sequence(
        files.identifier(f"1.2.840.113549.1.7.{kind}"), encoded(CONTEXT_0, files.octets(b"hello" * 9))
    )


SIGN, KEY_TOO, BOTH = "have an authority sign it, and merge its answer", "or send the key too", "send a PFX or PEM file"
KEYLESS: dict[str, tuple[bytes, str, str]] = {
    "CSR": (REQUEST, "this is a certificate signing request, with neither a certificate nor a private key", SIGN),
    "old CSR": (REQUEST.replace(b"CERTIFICATE R", b"NEW CERTIFICATE R"), "this is a certificate signing request", SIGN),
    "CSR in DER": (CSR, "this is a certificate signing request, with neither", SIGN),
    "certificate": (pem(LEAF), "there is no private key in the file, only 'CN=www.contoso.example'; merge it", KEY_TOO),
    "certificate in DER": (der(LEAF), "there is no private key in the file, only 'CN=www.contoso.example'", KEY_TOO),
    "chain": (pem(LEAF, ISSUING.certificate), "only 'CN=www.contoso.example', 'CN=Contoso Issuing CA'; merge", KEY_TOO),
    "P7B": (p7b(Encoding.PEM), "there is no private key in the file, only 'CN=www.contoso.example'", KEY_TOO),
    "P7B in DER": (p7b(Encoding.DER), "there is no private key in the file, only 'CN=www.contoso.example'", KEY_TOO),
    "CRL": (CRL.public_bytes(Encoding.PEM), "neither a private key nor a certificate in the file, only the X509", BOTH),
    "CRL in DER": (CRL.public_bytes(Encoding.DER), "in the file, only a certificate revocation list", BOTH),
    "public key": (files.pem_block("PUBLIC KEY", PUBLIC), "in the file, only the PUBLIC KEY block", BOTH),
    "public key in DER": (PUBLIC, "in the file, only a public key", BOTH),
    "empty PFX": (files.pfx(files.safe()), "neither a private key nor a certificate in the PFX", BOTH),
    "PFX with a secret": (files.pfx(files.safe(files.bag(5, files.sequence()))), "PFX, only a secret key", BOTH),
    "PFX without key": (
        files.pfx(files.safe(files.certificate_bag(der(LEAF)))),
        "there is no private key in the PFX, only 'CN=www.contoso.example'", "export it again, with the private key",
    ),
    "key": (pkcs8(), "there is no certificate in the file", "send it together with its key"),
    "key and CSR": (pkcs8() + REQUEST, "in the file, only a certificate signing request", "together with its key"),
    "another's key": (
        pkcs8(ec_key()) + pem(LEAF), "to any certificate in the file, which has 'CN=www.contoso.example'",
        "send the key and the certificate that belong together",
    ),
    "two keys": (
        pkcs8() + pkcs8(ISSUING.key) + pem(LEAF, ISSUING.certificate),
        "several private keys, of 'CN=www.contoso.example', 'CN=Contoso Issuing CA'", "export the one",
    ),
    "time-stamp query": (QUERY, "neither PEM, DER, base64 nor PKCS#7", "send the original file"),
    "mail": (content_info(3), "but of encrypted data", "send the certificates as PEM"),
    "data": (content_info(1), "but of other data", "send the certificates as PEM"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYLESS)
def test_an_import_says_what_the_file_is_and_what_to_do(kind: str) -> None:
    data, what, step = KEYLESS[kind]
    for text in (imported(data), imported(base64.encodebytes(data))):
        assert what in text
        assert step in text
        assert len(text) < 300


ANSWERS: dict[str, tuple[bytes, str, str]] = {
    "CSR": (REQUEST, "this is a certificate signing request, not a certificate", "send what the authority made of it"),
    "CRL": (CRL.public_bytes(Encoding.DER), "data, only a certificate revocation list", "what the authority made"),
    "public key": (PUBLIC, "there is no certificate in the data, only a public key", "what the authority made"),
    "key": (pkcs8() + pem(LEAF), "there is a private key among the certificates", "send the certificates without it"),
    "PFX": (files.pfx(files.safe()), "this is a PFX file", "openssl pkcs12 -nokeys -in FILE"),
    "time-stamp query": (QUERY, "neither PEM, DER, base64 nor PKCS#7", "send the original file"),
    "another's": (
        pem(ISSUING.certificate), "has the public key of the request: it has 'CN=Contoso Issuing CA'",
        "have the authority sign the CSR of this request",
    ),
    "without its issuer": (
        pem(LEAF, ROOT.certificate), "'CN=Contoso Root CA' is not part of the leaf's chain",
        "which is named 'CN=Contoso Issuing CA'",
    ),
    "with a false issuer": (
        pem(LEAF, ROOT.intermediate().certificate), "is not by the key of 'CN=Contoso Issuing CA' (serial ",
        "send the issuer that signed it",
    ),
    "with a name too many": (
        pem(ISSUING.sign(KEY.public_key(), NAME, extensions=[dns("www.contoso.example", "a.example")])),
        "has the DNS name 'a.example', not requested", "issued again, as the request asks",
    ),
    "by no authority": (
        pem(LEAF, ROOT.intermediate(key=ISSUING.key, ca=False).certificate), "is no CA certificate",
        "issued again, by another issuer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_merge_says_what_the_answer_is_and_what_to_do(kind: str) -> None:
    data, what, step = ANSWERS[kind]
    text = merged(data)
    assert what in text
    assert step in text
    assert len(text) < 400


def field(number: int, value: bytes) -> bytes:
    """The leaf with another field of its TBSCertificate, signed again."""
    assert isinstance(ISSUING.key, ec.EllipticCurvePrivateKey)
    parts = [each.whole for each in children(inside(der(LEAF))[0].content)]
    parts[number] = value
    made = files.sequence(*parts)
    signature = ISSUING.key.sign(made, ec.ECDSA(hashes.SHA256()))
    return files.sequence(made, inside(der(LEAF))[1].whole, encoded(0x03, b"\0" + signature))


def until(tag: int, text: str) -> bytes:
    return field(4, files.sequence(encoded(0x17, b"261101000000Z"), encoded(tag, text.encode())))


def extension(kind: str, value: bytes) -> bytes:
    parts = [each.whole for each in inside(list(children(inside(der(LEAF))[0].content))[7].content)]
    added = files.sequence(files.identifier(kind), files.octets(value))
    return field(7, encoded(0xA3, files.sequence(*parts, added)))


def common_name(tag: int, value: bytes) -> bytes:
    attribute = files.sequence(files.identifier("2.5.4.3"), encoded(tag, value))
    return field(5, files.sequence(encoded(0x31, attribute)))


UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "serial number with a needless zero": (lambda: field(1, b"\x02\x02\0\1"), "its serial number is malformed"),
    "no serial number": (lambda: field(1, b"\x02\0"), "its serial number is malformed"),
    "time with fractions": (lambda: until(0x18, "20270301000000.5Z"), "its validity is malformed: times are in UTC"),
    "time without seconds": (lambda: until(0x17, "2703010000Z"), "its validity is malformed"),
    "time in another zone": (lambda: until(0x17, "270301000000+0100"), "its validity is malformed"),
    "30th of February": (lambda: until(0x17, "270230000000Z"), "its validity is malformed"),
    "version 2": (lambda: field(0, b"\xa0\x03\x02\x01\x01"), "its version is neither 1 nor 3"),
    "version 4": (lambda: field(0, b"\xa0\x03\x02\x01\x03"), "its version is neither 1 nor 3"),
    "odd BMPString": (lambda: common_name(0x1E, b"abc"), "has characters that the type of the text does not allow"),
    "PrintableString with @": (lambda: common_name(0x13, b"a@b"), "has characters that the type of the text does"),
    "malformed access": (lambda: extension("1.3.6.1.5.5.7.1.1", b"\x30\x05ab"), "one of its extensions is malformed"),
    "malformed CRL address": (lambda: extension("2.5.29.31", b"xxx"), "one of its extensions is malformed"),
    "cut off": (lambda: der(LEAF)[:-10], "it is cut off"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_certificate_that_cannot_be_read_is_told_which_and_why(kind: str) -> None:
    make, why = UNREADABLE[kind]
    found = read_certificate(make(), 1)
    assert isinstance(found, Unreadable)
    assert why in found.refusal
    data = files.pem_block("CERTIFICATE", make())
    for text in (imported(pkcs8() + data), merged(data)):
        assert text.startswith("certificate 1")
        assert text.endswith("; send the whole file" if kind == "cut off" else "; have it issued again")
        if kind != "cut off":
            assert "(serial " in text


def test_an_issuer_that_did_not_sign_is_not_called_needless() -> None:
    bundle = read_bundle(pkcs8() + pem(LEAF, ROOT.intermediate().certificate), None, NOW)
    [sentence] = bundle.changes
    assert sentence.endswith("it has the name of the issuer of 'CN=www.contoso.example', and did not sign it")
    expired = ROOT.intermediate(key=ISSUING.key, begins=NOW - timedelta(days=9), days=8).certificate
    both = read_bundle(pkcs8() + pem(LEAF, ISSUING.certificate, expired), None, NOW)
    assert [text.rpartition(": ")[2] for text in both.changes] == ["it has expired"]


def test_a_root_of_version_1_is_left_out_and_not_called_a_stranger() -> None:
    """It has no basic constraints, so it may not issue; relying parties that trust it have it."""
    root = sign(ROOT.key, ROOT.certificate.subject, ROOT.key.public_key(), ROOT.certificate.subject, usages=(), ekus=())
    bundle = read_bundle(pkcs8() + pem(LEAF, ISSUING.certificate, root), None, NOW)
    assert bundle.chain == (LEAF, ISSUING.certificate)
    [sentence] = bundle.changes
    assert sentence.endswith(
        "it is no certificate of an authority that may issue, or has restrictions that are not known"
    )


def test_a_serial_number_of_any_length_is_shown_in_a_line() -> None:
    made = field(1, encoded(0x02, b"\x01" + b"\x55" * 50_000))
    bundle = read_bundle(pkcs8() + pem(LEAF) + files.pem_block("CERTIFICATE", made), None, NOW)
    assert all(len(change) < 200 and "was left out: the chain does not" in change for change in bundle.changes)
    assert merged(files.pem_block("CERTIFICATE", made) + pem(ROOT.certificate)).count("5") < 50


def test_a_validity_that_ends_before_it_begins_is_refused_though_it_lies_ahead() -> None:
    assert isinstance(ISSUING.key, ec.EllipticCurvePrivateKey)
    made = with_validity(LEAF, ISSUING.key, NOW + timedelta(days=90), NOW + timedelta(days=30))
    assert "ends before it begins; have it issued again" in imported(pkcs8() + pem(made))
    assert "the certificate ends before it begins" in merged(pem(made))


def test_a_key_for_rsassa_pss_only_is_refused_by_import_and_merge() -> None:
    """Read as an ordinary RSA key it would be stored as one, and the certificate would not fit it."""
    key = rsa.generate_private_key(65537, 2048)
    ordinary = sign(ISSUING.key, ISSUING.certificate.subject, key.public_key(), NAME, extensions=[dns("a.example")])
    rsa_encryption, pss = (files.identifier(f"1.2.840.113549.1.1.{number}") for number in (1, 10))

    def restricted(each: Element) -> bytes | None:
        return files.sequence(pss) if each.content.startswith(rsa_encryption) else None

    made = x509.load_der_x509_certificate(files.signed_again(ordinary, ISSUING.key, restricted))
    assert made.public_key() == key.public_key()
    assert "is for RSASSA-PSS only (RFC 4055)" in imported(pkcs8(key) + pem(made))
    request = csr(key, NAME, [dns("a.example")])
    expected = Expected(SubjectNames(NAME.rfc4514_string()[3:], ("a.example",)), "RSA", 2048, None)
    verify_answer(pem(ordinary), request, expected, Limits(), NOW)
    with pytest.raises(Invalid, match="is for RSASSA-PSS only"):
        verify_answer(pem(made), request, expected, Limits(), NOW)
