"""What was asked is what is merged: each test is one way in which a CSR or an answer may differ."""

import base64
import ipaddress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from certrelay.pki.names import subject_names
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import MAX_NAMES, Expected, Limits, verify_answer, verify_csr
from tests.pki.builders import NOW, SERVER_AUTH, csr, der, dns, ec_key, pem, rsa_key, subject, with_validity
from tests.pki.verification import (
    CSR,
    EXPECTED,
    ISSUING,
    KEY,
    NAMES,
    ROOT,
    SANS,
    SUBJECT,
    answer,
    csr_refusal,
    leaf,
    refusal,
    verified,
)


def test_a_request_with_exactly_the_names_asked_passes() -> None:
    verify_csr(CSR, EXPECTED)


def test_a_request_with_the_names_in_another_order_and_case_passes() -> None:
    other = csr(KEY, subject("WWW.contoso.example"), [dns("API.contoso.example.", "www.contoso.example")])
    verify_csr(other, EXPECTED)


def test_a_request_of_other_names_is_refused_with_every_fault() -> None:
    text = csr_refusal(csr(KEY, subject("evil.example"), [dns("api.contoso.example", "evil.example")]))
    assert "lacks the DNS name 'www.contoso.example'" in text
    assert "has the DNS name 'evil.example', not requested" in text
    assert "has the common name 'evil.example', not requested" in text
    assert "lacks the common name 'www.contoso.example'" in text


def test_a_request_of_another_key_size_is_refused() -> None:
    assert "3072 bits instead of 2048" in csr_refusal(csr(rsa_key(0, 3072), SUBJECT, [SANS]))


def test_a_request_of_another_key_type_is_refused() -> None:
    assert "a key that is not RSA" in csr_refusal(csr(ec_key(), SUBJECT, [SANS]))
    assert "a key that is not EC" in csr_refusal(CSR, Expected(NAMES, "EC", None, None))
    builder = x509.CertificateSigningRequestBuilder().subject_name(SUBJECT)
    edwards = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)
    assert "a key that is not EC" in csr_refusal(edwards, Expected(NAMES, "EC", None, None))


def test_a_request_of_any_size_or_curve_passes_where_none_was_asked() -> None:
    verify_csr(CSR, Expected(NAMES, "RSA", None, None))
    verify_csr(csr(ec_key(ec.SECP384R1()), SUBJECT, [SANS]), Expected(NAMES, "EC", None, None))


def test_a_request_on_another_curve_is_refused() -> None:
    request = csr(ec_key(ec.SECP384R1()), SUBJECT, [SANS])
    verify_csr(request, Expected(NAMES, "EC", None, "P-384"))
    assert "P-384 instead of P-256" in csr_refusal(request, Expected(NAMES, "EC", None, "P-256"))


def test_a_request_with_a_weak_key_is_refused() -> None:
    assert "1024 bits" in csr_refusal(csr(rsa_key(0, 1024), SUBJECT, [SANS]), Expected(NAMES, "RSA", None, None))


def test_a_request_whose_signature_is_broken_is_refused() -> None:
    broken = CSR[:-4] + bytes(byte ^ 0xFF for byte in CSR[-4:])
    assert "signature" in csr_refusal(broken)


def test_a_request_for_a_ca_certificate_is_refused_unless_asked() -> None:
    request = csr(KEY, SUBJECT, [SANS], ca=True)
    assert "asks for a CA certificate" in csr_refusal(request)
    verify_csr(request, Expected(NAMES, "RSA", 2048, None, is_ca=True))
    assert "does not ask" in csr_refusal(CSR, Expected(NAMES, "RSA", 2048, None, is_ca=True))


def test_a_request_with_other_usages_is_refused() -> None:
    asked = Expected(NAMES, "RSA", 2048, None, False, frozenset({"digitalSignature"}), ("1.3.6.1.5.5.7.3.1",))
    text = csr_refusal(CSR, asked)
    assert "key usages digitalSignature, keyEncipherment instead of digitalSignature" in text
    assert "extended key usages" in text
    missing = replace(asked, key_usage=frozenset({"digitalSignature", "keyEncipherment", "dataEncipherment"}))
    assert "keyEncipherment instead of dataEncipherment" in csr_refusal(CSR, missing)  # an RSA key could have it


OF_AN_UNKNOWN_KEY = CSR.replace(bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01017f"))


@pytest.mark.parametrize("junk", [b"", b"\x30\x00", b"junk", CSR[:-10], CSR[:40] + b"\xff" * 40, OF_AN_UNKNOWN_KEY])
def test_what_is_no_request_is_refused(junk: bytes) -> None:
    assert "cannot be read" in csr_refusal(junk)


def test_the_answer_comes_out_leaf_first() -> None:
    made = leaf()
    shuffled = pem(ROOT.certificate, made, ISSUING.certificate)
    assert verified(shuffled) == (der(made), der(ISSUING.certificate), der(ROOT.certificate))


def test_the_root_is_left_out_where_the_authority_says_so() -> None:
    made = leaf()
    assert verified(answer(made), limits=Limits(keep_root=False)) == (der(made), der(ISSUING.certificate))


def test_a_pkcs7_answer_in_base64_is_verified_too() -> None:
    made = leaf()
    p7b = pkcs7.serialize_certificates([made, ISSUING.certificate], Encoding.DER)
    assert verified(base64.b64encode(p7b)) == (der(made), der(ISSUING.certificate))


def test_a_leaf_alone_passes() -> None:
    made = leaf()
    assert verified(der(made)) == (der(made),)


def test_an_answer_for_another_key_is_refused() -> None:
    assert "public key of the request" in refusal(answer(leaf(public_key=rsa_key(1).public_key())))


def test_an_answer_without_certificates_is_refused() -> None:
    text = "there is no certificate in the data"
    assert text in refusal(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert "this is a certificate signing request, not a certificate" in refusal(CSR)


def test_a_thousand_names_pass_and_one_more_is_refused() -> None:
    hosts = tuple(f"{number}.contoso.example" for number in range(MAX_NAMES + 1))
    for count in (MAX_NAMES, MAX_NAMES + 1):
        names = SubjectNames(hosts[0], hosts[:count])
        data = answer(leaf(name=subject(hosts[0]), sans=dns(*names.dns_names)))
        if count == 1000:
            assert verified(data, Expected(names, "RSA", 2048, None))
        else:
            assert "has 1001 names; at most 1000" in refusal(data, Expected(names, "RSA", 2048, None))


@pytest.mark.parametrize(
    ("sans", "fault"),
    [
        (dns("www.contoso.example"), "lacks the DNS name 'api.contoso.example'"),
        (dns("www.contoso.example", "api.contoso.example", "b.example"), "has the DNS name 'b.example', not requested"),
        (dns("*.contoso.example", "www.contoso.example"), "'*.contoso.example', not requested"),
        (None, "lacks the DNS names 'api.contoso.example', 'www.contoso.example'"),
    ],
)
def test_names_missing_or_added_are_refused(sans: x509.SubjectAlternativeName | None, fault: str) -> None:
    assert fault in refusal(answer(leaf(sans=sans)))


def test_a_kind_of_name_that_cannot_be_asked_for_is_refused() -> None:
    strange = x509.SubjectAlternativeName([*SANS, x509.DirectoryName(subject("Somebody"))])
    assert "other kinds, not requested: directoryName CN=Somebody" in refusal(answer(leaf(sans=strange)))


def test_an_ip_address_that_became_a_dns_name_is_refused() -> None:
    expected = Expected(subject_names(None, ip_addresses=["192.0.2.7"]), "RSA", 2048, None)
    text = refusal(answer(leaf(name=subject(), sans=dns("192.0.2.7"))), expected)
    assert "lacks the IP address '192.0.2.7'" in text
    assert "has the DNS name '192.0.2.7', not requested" in text


def test_every_kind_of_name_is_compared_in_its_normal_form() -> None:
    asked = subject_names(
        "CN=Münch.example",
        ["MÜNCH.example.", "*.Contoso.example"],
        ["ops@Münch.example"],
        ["2001:DB8::0:1"],
        ["HTTPS://Contoso.example/A"],
        ["Ada@Contoso.example"],
    )
    upn = b"Ada@contoso.EXAMPLE"
    sans = x509.SubjectAlternativeName(
        [
            x509.DNSName("*.contoso.example"),
            x509.DNSName("xn--mnch-0ra.example"),
            x509.RFC822Name("ops@XN--MNCH-0RA.example"),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.UniformResourceIdentifier("https://contoso.EXAMPLE/A"),
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), bytes([12, len(upn)]) + upn),
        ]
    )
    made = leaf(name=subject("xn--mnch-0ra.example"), sans=sans)
    assert verified(answer(made), Expected(asked, "RSA", 2048, None))[0] == der(made)


def test_the_common_name_may_be_dropped_or_be_another_of_the_names() -> None:
    assert verified(answer(leaf(name=subject(organization_name="Contoso"))))
    assert verified(answer(leaf(name=subject("api.contoso.example"))))


def test_a_foreign_common_name_is_refused() -> None:
    assert "the common name 'evil.example', not requested" in refusal(answer(leaf(name=subject("evil.example"))))


def test_an_e_mail_address_in_the_subject_that_was_not_asked_is_refused() -> None:
    """It names somebody there as well (RFC 5280, section 4.1.2.6)."""
    name = subject("www.contoso.example", email_address="ceo@bank.example")
    assert "in its subject the e-mail address 'ceo@bank.example', not requested" in refusal(answer(leaf(name=name)))
    request = csr(KEY, name, [SANS])
    assert verify_answer(answer(leaf(name=name)), request, EXPECTED, Limits(), NOW)
    among_the_names = Expected(SubjectNames(None, NAMES.dns_names, ("ceo@bank.example",)), "RSA", 2048, None)
    sans = x509.SubjectAlternativeName([*SANS, x509.RFC822Name("ceo@bank.example")])
    assert verified(answer(leaf(name=subject(email_address="CEO@bank.example"), sans=sans)), among_the_names)


def test_several_common_names_are_refused() -> None:
    double = x509.Name([*subject("www.contoso.example"), *subject("evil.example")])
    assert "several common names" in refusal(answer(leaf(name=double)))


def test_the_common_name_may_be_repeated_among_the_alternative_names() -> None:
    expected = Expected(SubjectNames("www.contoso.example", ("api.contoso.example",)), "RSA", 2048, None)
    assert verified(answer(leaf()), expected)


def test_a_host_asked_for_as_common_name_only_may_not_get_lost() -> None:
    expected = Expected(SubjectNames("www.contoso.example", ("api.contoso.example",)), "RSA", 2048, None)
    text = refusal(answer(leaf(name=subject("api.contoso.example"), sans=dns("api.contoso.example"))), expected)
    assert "lacks the common name 'www.contoso.example'" in text


def test_a_person_asked_for_as_common_name_may_not_get_lost_where_there_is_no_other_name() -> None:
    expected = Expected(SubjectNames("Ada Lovelace"), "RSA", 2048, None)
    assert verified(answer(leaf(name=subject("Ada Lovelace"), sans=None)), expected)
    assert verified(answer(leaf(name=subject("ADA LOVELACE"), sans=None)), expected)
    text = refusal(answer(leaf(name=subject(organization_name="Contoso"), sans=None)), expected)
    assert "lacks the common name 'Ada Lovelace'" in text


@pytest.mark.parametrize(
    ("begins", "days", "fault"),
    [
        (NOW - timedelta(days=100), 90, "expired on 2026-11-13"),
        (NOW - timedelta(days=1), 1 + 0.03, "in less than an hour"),
        (NOW + timedelta(hours=49), 90, "more than 48 hours from now"),
    ],
)
def test_a_validity_that_is_not_sane_is_refused(begins: datetime, days: float, fault: str) -> None:
    assert fault in refusal(answer(leaf(begins=begins, days=days)))


def test_a_certificate_that_ends_before_it_begins_is_refused() -> None:
    assert isinstance(ISSUING.key, ec.EllipticCurvePrivateKey)
    reversed_dates = with_validity(leaf(), ISSUING.key, NOW + timedelta(hours=24), NOW + timedelta(hours=12))
    assert "ends before it begins" in refusal(answer(reversed_dates))


@pytest.mark.parametrize(
    ("begins", "ends", "fault"),
    [
        (-1, 0, "expired on 2026-11-23 12:00 UTC"),
        (-1, 3599, "in less than an hour"),
        (-1, 3600, ""),
        (48 * 3600, 50 * 3600, ""),
        (48 * 3600 + 1, 50 * 3600, "more than 48 hours from now"),
        (7200, 7200, ""),
        (7201, 7200, "ends before it begins"),
    ],
)
def test_the_validity_is_sane_up_to_the_second(begins: int, ends: int, fault: str) -> None:
    """Seconds from now."""
    assert isinstance(ISSUING.key, ec.EllipticCurvePrivateKey)
    dates = NOW + timedelta(seconds=begins), NOW + timedelta(seconds=ends)
    data = answer(with_validity(leaf(), ISSUING.key, *dates))
    assert fault in refusal(data) if fault else verified(data)


def test_a_longer_validity_than_the_authority_allows_is_refused() -> None:
    assert verified(answer(leaf(begins=NOW, days=91)), limits=Limits(max_validity_days=90))
    assert "longer than the 90 days" in refusal(answer(leaf(begins=NOW, days=91.1)), limits=Limits(90))
    assert verified(answer(leaf(begins=NOW - timedelta(days=30), days=120)), limits=Limits(90)), "it counts from now"


def test_a_ca_certificate_is_refused_unless_asked() -> None:
    assert "is a CA certificate" in refusal(answer(leaf(ca=True)))
    asked = Expected(NAMES, "RSA", 2048, None, is_ca=True)
    assert verified(answer(leaf(ca=True)), asked)
    assert "is not a CA certificate" in refusal(answer(leaf()), asked)


def test_the_right_to_sign_certificates_is_refused() -> None:
    assert "keyCertSign" in refusal(answer(leaf(usages=("digital_signature", "key_cert_sign"))))


def test_a_missing_digital_signature_is_refused() -> None:
    assert "digitalSignature" in refusal(answer(leaf(usages=("key_encipherment",))))


def test_extended_key_usages_that_were_not_requested_are_refused() -> None:
    text = refusal(answer(leaf(ekus=(x509.ObjectIdentifier("1.3.6.1.5.5.7.3.3"),))))
    assert "has the extended key usages codeSigning; the request has clientAuth, serverAuth" in text


def test_an_authority_may_leave_out_client_authentication() -> None:
    assert verified(answer(leaf(ekus=(SERVER_AUTH,))))
    exact = Expected(NAMES, "RSA", 2048, None, extended_key_usage=("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"))
    assert verified(answer(leaf()), exact)
    assert "instead of" in refusal(answer(leaf(ekus=(SERVER_AUTH,))), exact)


def test_a_usage_for_anything_is_refused() -> None:
    anything = x509.ObjectIdentifier("2.5.29.37.0")
    assert "anyExtendedKeyUsage" in refusal(answer(leaf(ekus=(SERVER_AUTH, anything))))


def test_exact_key_usages_ignore_what_an_ec_key_cannot_have() -> None:
    key = ec_key()
    request = csr(key, SUBJECT, [SANS])
    usages = frozenset({"digitalSignature", "keyEncipherment"})
    expected = Expected(NAMES, "EC", None, "P-256", key_usage=usages)
    made = leaf(public_key=key.public_key(), usages=("digital_signature",))
    assert verify_answer(answer(made), request, expected, Limits(), NOW)
    rsa_expected = Expected(NAMES, "RSA", 2048, None, key_usage=usages)
    assert "instead of" in refusal(answer(leaf(usages=("digital_signature",))), rsa_expected)
