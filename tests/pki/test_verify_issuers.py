"""What was asked is what is merged: extensions, issuers and public trust."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certrelay.errors import Unverified
from certrelay.pki.certificate import identified
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected, Limits, verify_answer
from tests.pki.builders import (
    CLIENT_AUTH,
    NOW,
    SERVER_AUTH,
    Authority,
    csr,
    der,
    dns,
    ec_key,
    pem,
    rsa_key,
    subject,
    with_explicit_curve,
    with_sha1,
)
from tests.pki.verification import (
    CSR,
    EXPECTED,
    ISSUING,
    KEY,
    NAMES,
    PRECERT_POISON,
    ROOT,
    SANS,
    SUBJECT,
    answer,
    leaf,
    refusal,
    verified,
)


def test_an_unknown_critical_extension_is_refused() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    assert verified(answer(leaf(extensions=[strange])))
    assert "1.3.6.1.4.1.55555.1, which is not known" in refusal(answer(leaf(critical=[strange])))


def test_an_unknown_critical_extension_of_an_issuer_is_refused() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    issuing = ROOT.intermediate("Odd CA", critical=[strange])
    text = refusal(pem(leaf(signer=issuing), issuing.certificate, ROOT.certificate))
    assert f"the issuer {identified(issuing.certificate)} has the critical extension 1.3.6.1.4.1.55555.1" in text


def test_a_key_whose_curve_is_spelled_out_is_refused_but_on_a_root() -> None:
    """RFC 5480, section 2.1.1; CVE-2020-0601. OpenSSL reads such a key like any other, Go and rustls do not."""
    root, key = Authority.root(), ec_key()
    issuing = root.intermediate()
    made = leaf(signer=issuing, public_key=key.public_key())
    odd_leaf, odd_issuing = with_explicit_curve(made, issuing.key), with_explicit_curve(issuing.certificate, root.key)
    assert odd_leaf.public_key() == made.public_key()
    request, expected = csr(key, SUBJECT, [SANS]), Expected(NAMES, "EC", None, "P-256")

    def outcome(*certificates: x509.Certificate) -> str:
        try:
            verify_answer(pem(*certificates), request, expected, Limits(), NOW)
        except Unverified as error:
            return str(error)
        return ""

    text = "has a key on a curve that it spells out instead of naming it"
    assert f"the certificate {text}" in outcome(odd_leaf, issuing.certificate, root.certificate)
    assert f"the issuer {identified(odd_issuing)} {text}" in outcome(made, odd_issuing, root.certificate)
    assert outcome(made, issuing.certificate, with_explicit_curve(root.certificate, root.key)) == ""


def test_a_precertificate_is_refused() -> None:
    assert "critical extension" in refusal(answer(leaf(critical=[PRECERT_POISON])))


def test_sha1_is_refused_but_on_a_root() -> None:
    root = Authority.root(key=rsa_key(2))
    old_root = with_sha1(root.certificate, rsa_key(2))
    issuing = root.intermediate(key=rsa_key(3))
    made = leaf(signer=issuing)
    assert verified(pem(made, issuing.certificate, old_root))[-1] == der(old_root)
    weak_leaf = with_sha1(made, rsa_key(3))
    assert "the certificate is signed over a hash that is not safe" in refusal(pem(weak_leaf, issuing.certificate))
    weak_issuing = with_sha1(issuing.certificate, rsa_key(2))
    text = refusal(pem(made, weak_issuing, old_root))
    assert f"the issuer {identified(weak_issuing)} is signed over a hash" in text


def test_a_weak_issuer_is_refused() -> None:
    issuing = ROOT.intermediate("Weak CA", key=rsa_key(0, 1024))
    assert "1024 bits" in refusal(pem(leaf(signer=issuing), issuing.certificate, ROOT.certificate))
    assert "1024 bits" in refusal(pem(leaf(signer=issuing), issuing.certificate)), "it is no root for being the last"


def test_only_the_last_of_a_chain_is_a_root_that_is_trusted_whatever_its_key() -> None:
    """An authority that was made anew with the same weak key: the older one is self-signed, and points to the other."""
    key = rsa_key(0, 1024)
    older, newer = (x509.SubjectKeyIdentifier(letter * 20) for letter in (b"o", b"n"))
    names_newer, names_older = (x509.AuthorityKeyIdentifier(one.digest, None, None) for one in (newer, older))
    root = Authority.root(key=key, extensions=[newer])
    below = Authority.root(key=key, extensions=[older, names_newer])
    made = leaf(signer=below, extensions=[names_older])
    text = refusal(pem(made, below.certificate, root.certificate))
    assert f"the issuer {identified(below.certificate)} is refused: " in text
    made = leaf(signer=root)
    assert verified(pem(made, root.certificate)) == (der(made), der(root.certificate))


def test_an_issuer_with_an_ed25519_key_passes() -> None:
    key: Any = ed25519.Ed25519PrivateKey.generate()
    issuing = ROOT.sign(key.public_key(), subject("Ed CA"), ca=True, usages=("key_cert_sign",), ekus=())
    builder = x509.CertificateBuilder().issuer_name(issuing.subject).subject_name(SUBJECT).public_key(KEY.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9))
    builder = builder.add_extension(SANS, critical=False)
    made = builder.add_extension(x509.ExtendedKeyUsage([SERVER_AUTH, CLIENT_AUTH]), critical=False).sign(key, None)
    assert verified(pem(made, issuing, ROOT.certificate))


def test_an_issuer_that_is_no_ca_is_refused() -> None:
    issuing = ROOT.intermediate("No CA", ca=False, usages=("digital_signature",))
    text = refusal(pem(leaf(signer=issuing), issuing.certificate))
    assert "is no CA certificate" in text
    assert "its key usage does not allow it" in text


def test_an_expired_issuer_is_refused() -> None:
    issuing = ROOT.intermediate("Old CA", begins=NOW - timedelta(days=20), days=10)
    assert f"the issuer {identified(issuing.certificate)} expired" in refusal(
        pem(leaf(signer=issuing), issuing.certificate)
    )


def test_a_path_longer_than_an_issuer_allows_is_refused() -> None:
    upper = ROOT.intermediate("Upper CA", path_length=0)
    lower = upper.intermediate("Lower CA")
    text = refusal(pem(leaf(signer=lower), lower.certificate, upper.certificate))
    assert "allows 0 intermediates below it and has 1" in text


def test_a_stranger_in_the_answer_is_left_out_and_named_but_never_takes_the_issuers_place() -> None:
    stranger, made = Authority.root("Somebody Else").certificate, leaf()
    verified_answer = verify_answer(answer(made, stranger), CSR, EXPECTED, Limits(), NOW)
    assert verified_answer.chain == (der(made), der(ISSUING.certificate), der(ROOT.certificate))
    [sentence] = verified_answer.left_out
    assert sentence.startswith("'CN=Somebody Else' (serial ")
    assert "'CN=Somebody Else' is not part of" in refusal(pem(made, stranger))


def test_a_name_outside_the_name_constraints_above_it_is_refused() -> None:
    inside, outside = ([x509.DNSName(name)] for name in ("contoso.example", "fabrikam.example"))
    for permitted, excluded, passes in ((inside, None, True), (outside, None, False), (None, inside, False)):
        root = Authority.root(critical=[x509.NameConstraints(permitted, excluded)])
        issuing = root.intermediate()
        data = pem(leaf(signer=issuing), issuing.certificate, root.certificate)
        if passes:
            assert verified(data)
        else:
            text = "may not certify www.contoso.example, api.contoso.example, by its name constraints"
            assert f"the issuer {identified(root.certificate)} {text}" in refusal(data)


def test_an_issuer_pin_of_certificate_or_key_is_held() -> None:
    made = leaf()
    key = ISSUING.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    by_key = hashlib.sha256(key).hexdigest()
    by_certificate = ISSUING.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert verified(answer(made), limits=Limits(issuer_pins=(by_key,)))
    assert verified(answer(made), limits=Limits(issuer_pins=("0" * 64, by_certificate)))
    assert "none of the pinned issuers" in refusal(answer(made), limits=Limits(issuer_pins=("0" * 64,)))
    assert "none of the pinned issuers" in refusal(pem(made), limits=Limits(issuer_pins=(by_key,)))


@pytest.mark.parametrize(
    ("day", "allowed"),
    [
        (datetime(2026, 3, 14, tzinfo=UTC), 398),
        (datetime(2026, 3, 15, tzinfo=UTC), 200),
        (datetime(2027, 3, 15, tzinfo=UTC), 100),
        (datetime(2029, 3, 15, tzinfo=UTC), 47),
    ],
)
def test_public_trust_shortens_the_validity_by_the_day_of_issuance(day: datetime, allowed: int) -> None:
    limits = Limits(public_trust=True)
    fine = leaf(begins=day, days=allowed - 1 / 86400)
    assert verify_answer(pem(fine), CSR, EXPECTED, limits, day)
    with pytest.raises(Unverified, match=f"more than {allowed} days"):
        verify_answer(pem(leaf(begins=day, days=allowed)), CSR, EXPECTED, limits, day)


def test_public_trust_needs_server_authentication_and_names_among_the_alternatives() -> None:
    limits = Limits(public_trust=True)
    assert "serverAuth" in refusal(answer(leaf(ekus=(CLIENT_AUTH,))), limits=limits)
    nameless = Expected(SubjectNames("www.contoso.example"), "RSA", 2048, None)
    text = refusal(answer(leaf(sans=None)), nameless, limits)
    assert "no DNS name or IP address" in text
    assert "not among its alternative names" in text


def test_every_fault_is_named_at_once() -> None:
    made = leaf(name=subject("evil.example"), sans=dns("evil.example"), ca=True, days=400)
    with pytest.raises(Unverified) as caught:
        verified(answer(made), limits=Limits(90))
    assert len(caught.value.faults) >= 5


def test_an_rsa_key_of_another_size_is_refused() -> None:
    assert isinstance(KEY, rsa.RSAPrivateKey)
    assert "instead of 4096" in refusal(answer(leaf()), Expected(NAMES, "RSA", 4096, None))


@pytest.mark.parametrize(
    ("above", "of_leaf", "good"),
    [
        ([[CLIENT_AUTH]], [SERVER_AUTH], False),
        ([[CLIENT_AUTH]], [SERVER_AUTH, CLIENT_AUTH], True),
        ([[SERVER_AUTH]], [SERVER_AUTH], True),
        ([[x509.ObjectIdentifier("2.5.29.37.0")]], [SERVER_AUTH], True),
        ([[]], [SERVER_AUTH], True),
        ([[CLIENT_AUTH], [SERVER_AUTH]], [SERVER_AUTH, CLIENT_AUTH], False),
        ([[CLIENT_AUTH], [SERVER_AUTH]], [], False),
        ([[CLIENT_AUTH]], [], True),
    ],
)
def test_issuers_must_leave_the_certificate_a_purpose(above: list[Any], of_leaf: list[Any], good: bool) -> None:
    issuers = [ROOT]
    for number, usages in enumerate(above):
        issuers.append(issuers[-1].intermediate(f"CA {number}", ekus=usages))
    chain = [issuer.certificate for issuer in reversed(issuers)]
    data = pem(leaf(signer=issuers[-1], ekus=of_leaf), *chain)
    if good:
        assert verified(data)
    else:
        assert "allows only" in refusal(data)


def test_the_usages_of_a_root_bound_nothing() -> None:
    root = Authority.root(ekus=[CLIENT_AUTH])
    issuing = root.intermediate()
    assert verified(pem(leaf(signer=issuing, ekus=[SERVER_AUTH]), issuing.certificate, root.certificate))
