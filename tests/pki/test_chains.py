"""Certificates in every form that authorities answer with, and the one chain that is in them."""

import base64
import itertools
import time
from collections.abc import Callable

import pytest
from asn1crypto import cms, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7, pkcs12

from certrelay.errors import Invalid, Unverified
from certrelay.pki.chains import without_root
from tests.pki.answers import (
    CHAIN,
    CMS_SIGNED_DATA,
    ISSUING,
    KEY,
    LEAF,
    P7B,
    P7B_PEM,
    ROOT,
    indefinite,
    ordered_chain,
    parse_certificates,
    signed_data,
)
from tests.pki.builders import Authority, csr, der, ec_key, pem, rsa_key, sign, subject, with_sha1


def refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        parse_certificates(data)
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        pem(*CHAIN),
        pem(*CHAIN).replace(b"\n", b"\r\n"),
        pem(*CHAIN).replace(b"\n", b"\r"),
        pem(*CHAIN).replace(b"\n", b"\\n"),
        pem(*CHAIN).replace(b"\n", b"\n  "),
        b"\xef\xbb\xbf" + pem(*CHAIN),
        pem(*CHAIN).decode().encode("utf-16"),
        pem(*CHAIN).decode().encode("utf-16-le"),
        pem(*CHAIN).decode().encode("utf-16-be"),
        b"subject=CN = www\nissuer=M\xfcnchen\n\n" + pem(*CHAIN) + b"\nthe end\n",
        pem(*CHAIN).replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
        b"".join(der(each) for each in CHAIN),
        b"".join(der(each) for each in CHAIN) + b"\r\n",
        P7B_PEM,
        P7B_PEM.replace(b"PKCS7", b"CERTIFICATE"),
        P7B_PEM.replace(b"PKCS7", b"PKCS #7 SIGNED DATA"),
        P7B_PEM.replace(b"PKCS7", b"CMS"),
        P7B_PEM.decode().encode("utf-16"),
        b"-----BEGIN PKCS7-----\n" + base64.b64encode(P7B) + b"\n-----END PKCS7-----",
        P7B,
        P7B + b"\n",
        P7B + b"\0\0\0\0",
        indefinite(P7B),
        indefinite(P7B) + b"\n",
        base64.b64encode(P7B),
        base64.encodebytes(P7B),
        base64.urlsafe_b64encode(P7B).rstrip(b"="),
        base64.b64encode(P7B).decode().encode("utf-16-le"),
        signed_data(*CHAIN),
        signed_data(*reversed(CHAIN)),
        signed_data(*CHAIN, *CHAIN),
        pkcs7.serialize_certificates([LEAF], Encoding.PEM)
        + pkcs7.serialize_certificates(list(CHAIN[1:]), Encoding.PEM),
        pem(*CHAIN, *CHAIN),
        pem(*CHAIN) + b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    ],
)
def test_all_certificates_are_found_in_every_form(data: bytes) -> None:
    found = parse_certificates(data)
    assert set(found) == set(CHAIN)
    assert len(found) == 3
    assert ordered_chain(found, KEY.public_key()) == CHAIN


def test_a_single_certificate_is_found_in_every_form() -> None:
    forms = [der(LEAF), pem(LEAF), base64.b64encode(der(LEAF)), base64.encodebytes(der(LEAF)), signed_data(LEAF)]
    assert {parse_certificates(form) for form in forms} == {(LEAF,)}


def test_the_trust_settings_of_an_openssl_trusted_certificate_are_left_out() -> None:
    body = base64.b64encode(der(ROOT.certificate) + b"\x30\x00")
    trusted = b"-----BEGIN TRUSTED CERTIFICATE-----\n" + body + b"\n-----END TRUSTED CERTIFICATE-----\n"
    assert parse_certificates(trusted) == (ROOT.certificate,)


def test_a_pkcs7_that_cryptography_refuses_is_read() -> None:
    parts = cms.ContentInfo.load(P7B)
    attribute_certificate = bytes.fromhex("a102 3000".replace(" ", ""))
    certificates = parts["content"]["certificates"].contents + attribute_certificate
    signed = b"\x02\x01\x01\x31\x00\x30\x0b" + bytes.fromhex("06092a864886f70d010701")
    signed += core.Sequence(contents=certificates).dump().replace(b"\x30", b"\xa0", 1) + b"\x31\x00"
    inner = core.Sequence(contents=signed).dump()
    explicit = core.Sequence(contents=inner).dump().replace(b"\x30", b"\xa0", 1)
    data = core.Sequence(contents=CMS_SIGNED_DATA + explicit).dump()
    assert set(parse_certificates(data)) == set(CHAIN)


def private_key_pem() -> bytes:
    return KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: b"", "empty"),
        (lambda: b" \r\n", "empty"),
        (lambda: b"hello, world", "neither PEM, DER, base64 nor PKCS#7"),
        (lambda: b"QUJD", "neither PEM, DER, base64 nor PKCS#7"),
        (lambda: b"\x00" * (1024 * 1024 + 1), "too large"),
        (lambda: pem(*CHAIN) + private_key_pem(), "private key among the certificates"),
        (lambda: KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), "this is a private key"),
        (lambda: pkcs12.serialize_key_and_certificates(None, KEY, LEAF, None, NoEncryption()), "this is a PFX file"),
        (lambda: x509.load_der_x509_csr(csr(KEY, subject("a"))).public_bytes(Encoding.PEM), "signing request"),
        (lambda: pem(LEAF)[:-40], "cut off"),
        (lambda: der(LEAF)[:-1], "cannot be read"),
        (lambda: b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "not base64"),
        (lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 cannot be"),
        (lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no certificate in the data"),
        (lambda: signed_data(), "holds no certificate"),
        (lambda: P7B.replace(CMS_SIGNED_DATA, CMS_SIGNED_DATA[:-1] + b"\x03"), "not of the kind"),
        (lambda: P7B[:-900], "cannot be read"),
    ],
)
def test_what_holds_no_certificates_is_refused_with_a_sentence(make: Callable[[], bytes], sentence: str) -> None:
    assert sentence in refusal(make())


def test_too_many_certificates_are_refused() -> None:
    many = [ROOT.sign(KEY.public_key(), subject(f"{number}.example")) for number in range(101)]
    assert "more than 100" in refusal(pem(*many))
    assert "more than 100" in refusal(signed_data(*many))
    assert len(parse_certificates(pem(*many[:100]))) == 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile",
    [b"-----BEGIN " * 90_000, b"-----BEGIN A-----\n" * 50_000, b"0\x80" * 500_000, b"A" * 1_000_000, b"-" * 1_000_000,
     b"0\x00" * 500_000, b"0\x01\xff" * 340_000, indefinite(P7B)[:25] + b"\x05\x00" * 500_000,
     P7B[:4] + CMS_SIGNED_DATA + b"\xa0\x80\x30\x80\x02\x01\x01" + b"\x31\x00" * 500_000,
     b"-----BEGIN A-----\nAAAA\n-----END A-----\n" * 25_000],
)  # fmt: skip
def test_no_input_takes_long(hostile: bytes) -> None:
    started = time.process_time()
    assert refusal(hostile)
    assert time.process_time() - started < 30


def test_the_chain_is_put_in_order() -> None:
    assert ordered_chain(reversed(CHAIN), KEY.public_key()) == CHAIN


def test_the_root_is_left_out_on_demand_but_never_a_self_signed_leaf() -> None:
    assert without_root(CHAIN) == CHAIN[:2]
    alone = sign(KEY, subject("self.example"), KEY.public_key(), subject("self.example"))
    assert without_root(ordered_chain([alone], KEY.public_key())) == (alone,)
    assert without_root(CHAIN[:2]) == CHAIN[:2]


def test_a_chain_without_the_key_is_refused() -> None:
    with pytest.raises(Unverified, match="no certificate has this public key"):
        ordered_chain(CHAIN, ec_key().public_key())


def test_a_stranger_is_left_out_but_refused_where_the_leaf_has_no_issuer() -> None:
    stranger = Authority.root("Somebody Else").certificate
    assert ordered_chain([stranger, *CHAIN], KEY.public_key()) == CHAIN
    with pytest.raises(Unverified, match="'CN=Somebody Else' is not part of the leaf's chain"):
        ordered_chain([stranger, LEAF], KEY.public_key())
    assert ordered_chain([stranger, LEAF], KEY.public_key(), tolerate_gap=True) == (LEAF,)


def test_a_gap_is_refused() -> None:
    with pytest.raises(Unverified, match="a certificate between them is missing"):
        ordered_chain([LEAF, ROOT.certificate], KEY.public_key())


def test_an_issuer_of_the_same_name_and_another_key_is_refused() -> None:
    impostor = ROOT.intermediate()
    with pytest.raises(Unverified, match="is not by the key of 'CN=Contoso Issuing CA'"):
        ordered_chain([LEAF, impostor.certificate], KEY.public_key())


def test_a_certificate_with_a_broken_signature_is_refused() -> None:
    data = der(LEAF)
    broken = x509.load_der_x509_certificate(data[:-3] + bytes(byte ^ 1 for byte in data[-3:]))
    with pytest.raises(Unverified, match="is not by the key of"):
        ordered_chain([broken, ISSUING.certificate], KEY.public_key())


def test_of_two_ways_up_the_shorter_one_to_a_root_is_taken() -> None:
    old_root = Authority.root("Old Root CA")
    cross = old_root.sign(ROOT.key.public_key(), ROOT.certificate.subject, ca=True, usages=("key_cert_sign",), ekus=())
    everything = [old_root.certificate, cross, *CHAIN]
    assert ordered_chain(everything, KEY.public_key()) == CHAIN


def test_without_a_root_the_longest_way_up_is_taken() -> None:
    old_root = Authority.root("Old Root CA")
    cross = old_root.sign(ROOT.key.public_key(), ROOT.certificate.subject, ca=True, usages=("key_cert_sign",), ekus=())
    assert ordered_chain([cross, LEAF, ISSUING.certificate], KEY.public_key()) == (LEAF, ISSUING.certificate, cross)


def test_of_two_certificates_of_one_issuer_the_one_that_ends_later_is_taken() -> None:
    name, key = ISSUING.certificate.subject, ISSUING.key.public_key()
    begins = ISSUING.certificate.not_valid_before_utc.replace(year=2020)
    expired = ROOT.sign(key, name, ca=True, usages=("key_cert_sign",), ekus=(), begins=begins, days=365)
    for everything in itertools.permutations((*CHAIN, expired)):
        assert ordered_chain(everything, KEY.public_key()) == CHAIN


def test_of_two_leaves_with_one_key_the_newer_is_taken() -> None:
    older = ISSUING.sign(KEY.public_key(), LEAF.subject, begins=LEAF.not_valid_before_utc.replace(year=2025))
    assert ordered_chain([older, *CHAIN], KEY.public_key()) == CHAIN


def test_a_second_leaf_with_the_key_and_another_subject_is_left_out() -> None:
    older = LEAF.not_valid_before_utc.replace(year=2025)
    other = ISSUING.sign(KEY.public_key(), subject("other.example"), begins=older)
    assert ordered_chain([other, *CHAIN], KEY.public_key()) == CHAIN


def test_a_chain_of_more_than_10_is_refused() -> None:
    authorities = [ROOT]
    for number in range(9):
        authorities.append(authorities[-1].intermediate(f"CA {number}"))
    leaf = authorities[-1].sign(KEY.public_key(), subject("deep.example"))
    certificates = [each.certificate for each in authorities]
    assert len(ordered_chain([leaf, *certificates[1:]], KEY.public_key())) == 10
    with pytest.raises(Unverified, match="longer than 10"):
        ordered_chain([leaf, *certificates], KEY.public_key())


def test_a_loop_of_issuers_ends() -> None:
    one, other = ec_key(), ec_key()
    first = sign(other, subject("B"), one.public_key(), subject("A"), ca=True, usages=("key_cert_sign",))
    second = sign(one, subject("A"), other.public_key(), subject("B"), ca=True, usages=("key_cert_sign",))
    leaf = sign(one, subject("A"), KEY.public_key(), subject("leaf"))
    assert ordered_chain([first, second, leaf], KEY.public_key()) == (leaf, first, second)


def test_a_sha1_root_is_recognised_by_its_key_identifier() -> None:
    key = rsa_key(4)
    root = Authority.root("Old Root", key=key)
    old = with_sha1(root.certificate, key)
    assert isinstance(old.signature_hash_algorithm, hashes.SHA1)
    leaf = root.sign(KEY.public_key(), subject("leaf"))
    assert ordered_chain([old, leaf], KEY.public_key()) == (leaf, old)
    assert without_root((leaf, old)) == (leaf,)
