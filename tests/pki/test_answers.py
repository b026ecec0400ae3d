"""Answers of authorities as they come: what is right is taken, what is dispensable left out, the rest refused once."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certrelay.errors import Unverified
from certrelay.pki.certificate import identified
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected, Limits, VerifiedAnswer, verify_answer, verify_csr
from tests.pki import files
from tests.pki.builders import CLIENT_AUTH, NOW, SERVER_AUTH, Authority, csr, der, dns, ec_key, pem, rsa_key, subject

KEY = ec_key()
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
NAMES = SubjectNames("www.contoso.example", ("www.contoso.example",))
EXPECTED = Expected(NAMES, "EC", None, "P-256")
SANS = dns("www.contoso.example")
SUBJECT = subject("www.contoso.example")
CSR = csr(KEY, SUBJECT, [SANS])
LONG_AGO = NOW - timedelta(days=4000)
OLD: dict[str, Any] = {"begins": LONG_AGO, "days": 3900}
CA: dict[str, Any] = {"ca": True, "usages": ("key_cert_sign",), "ekus": ()}


def leaf(signer: Authority = ISSUING, *names: str, **options: Any) -> x509.Certificate:
    sans = dns(*(names or ("www.contoso.example",)))
    return signer.sign(KEY.public_key(), SUBJECT, extensions=[sans, *options.pop("extensions", ())], **options)


def verified(
    *certificates: x509.Certificate, limits: Limits | None = None, expected: Expected = EXPECTED
) -> VerifiedAnswer:
    return verify_answer(pem(*certificates), CSR, expected, limits or Limits(), NOW)


def refusal(*certificates: x509.Certificate, limits: Limits | None = None, expected: Expected = EXPECTED) -> str:
    with pytest.raises(Unverified) as caught:
        verified(*certificates, limits=limits, expected=expected)
    text = str(caught.value)
    assert len(text) <= 2100
    assert len(caught.value.faults) <= 11
    return text


def chain(*certificates: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(map(der, certificates))


@pytest.mark.parametrize("with_old_root", [True, False])
def test_an_expired_cross_signed_root_on_top_is_dropped_with_what_is_above_it(with_old_root: bool) -> None:
    """Let's Encrypt's chain of 2021: DST Root CA X3 had expired."""
    old_root = Authority.root("Old Root X3", **OLD)
    cross = old_root.sign(ROOT.key.public_key(), ROOT.certificate.subject, **CA, **OLD)
    made = leaf()
    answer = verified(made, ISSUING.certificate, cross, *([old_root.certificate] if with_old_root else []))
    assert answer.chain == chain(made, ISSUING.certificate)
    assert len(answer.left_out) == 1 + with_old_root
    assert answer.left_out[0].startswith("'CN=Contoso Root CA' (serial ")
    assert answer.left_out[0].endswith("valid 2015-12-11 to 2026-08-15) was left out: it has expired")


def test_of_many_certificates_that_nobody_needs_ten_at_most_are_named() -> None:
    strangers = [Authority.root(f"Stranger {number}").certificate for number in range(14)]
    answer = verified(leaf(), ISSUING.certificate, ROOT.certificate, *strangers)
    assert answer.left_out[-1].startswith("… and ")
    assert len(answer.left_out) <= 11
    assert len(answer.left_out) - 1 + int(answer.left_out[-1].split()[2]) == len(strangers)


def test_the_valid_root_is_kept_beside_its_expired_cross_certificate() -> None:
    old_root = Authority.root("Old Root X3", **OLD)
    cross = old_root.sign(ROOT.key.public_key(), ROOT.certificate.subject, **CA, **OLD)
    made = leaf()
    answer = verified(made, ISSUING.certificate, cross, old_root.certificate, ROOT.certificate)
    assert answer.chain == chain(made, ISSUING.certificate, ROOT.certificate)


def test_the_valid_intermediate_wins_over_its_expired_twin_that_has_a_root() -> None:
    other_root = Authority.root("Other Root")
    twin = other_root.sign(ISSUING.key.public_key(), ISSUING.certificate.subject, **CA, **OLD)
    made = leaf()
    assert verified(made, twin, other_root.certificate, ISSUING.certificate).chain == chain(made, ISSUING.certificate)


@pytest.mark.parametrize(
    "changes",
    [
        {"ca": False, "usages": ("digital_signature",)},
        {"usages": ("crl_sign",)},
        {"critical": [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")]},
    ],
)
def test_a_twin_that_may_not_issue_refuses_nothing_while_another_may(changes: dict[str, Any]) -> None:
    """Though it is the one that has a root."""
    other_root, made = Authority.root("Other Root"), leaf()
    twin = other_root.sign(ISSUING.key.public_key(), ISSUING.certificate.subject, **{**CA, **changes})
    for answer in ((made, twin, other_root.certificate, ISSUING.certificate),
                   (made, ISSUING.certificate, other_root.certificate, twin)):  # fmt: skip
        assert verified(*answer).chain == chain(made, ISSUING.certificate)
    assert "'CN=Contoso Issuing CA'" in refusal(made, twin, other_root.certificate), "alone it is refused"


def test_an_expired_issuer_without_another_is_refused_not_dropped() -> None:
    expired = ROOT.intermediate("Old CA", **OLD)
    assert f"the issuer {identified(expired.certificate)} expired on 2026-08-15" in refusal(
        leaf(expired), expired.certificate, ROOT.certificate
    )


def test_an_unreadable_certificate_that_nobody_needs_refuses_nothing() -> None:
    odd = files.critical_false(Authority.root("Odd CA", extensions=[dns("odd.example")]).certificate, ec_key())
    made = leaf()
    data = files.pem_block("CERTIFICATE", odd) + pem(made, ISSUING.certificate)
    answer = verify_answer(data, CSR, EXPECTED, Limits(), NOW)
    assert answer.chain == chain(made, ISSUING.certificate)
    assert "certificate 1, 'Odd CA'" in answer.left_out[0]


def test_an_unreadable_leaf_or_issuer_is_named() -> None:
    made = leaf()
    broken = files.pem_block("CERTIFICATE", files.critical_false(made, ISSUING.key))
    with pytest.raises(
        Unverified, match=r"certificate 2, 'www\.contoso\.example' \(serial .*which DER forbids; have it"
    ):
        verify_answer(pem(ISSUING.certificate) + broken, CSR, EXPECTED, Limits(), NOW)
    issuing = ROOT.intermediate(key=ISSUING.key, extensions=[dns("a.example")]).certificate
    broken = files.pem_block("CERTIFICATE", files.critical_false(issuing, ROOT.key))
    with pytest.raises(Unverified, match="certificate 2, 'Contoso Issuing CA'"):
        verify_answer(pem(made) + broken, CSR, EXPECTED, Limits(), NOW)


def test_a_signature_that_is_not_the_issuers_is_refused_whatever_else_is_there() -> None:
    made = leaf()
    forged = ec_key()
    impostor = Authority(forged, ROOT.certificate).sign(forged.public_key(), ISSUING.certificate.subject, **CA)
    assert "is not by the key of 'CN=Contoso Issuing CA'" in refusal(made, impostor)
    false_issuing = Authority(forged, ROOT.certificate).sign(
        ISSUING.key.public_key(), ISSUING.certificate.subject, **CA
    )
    assert "is not by the key of 'CN=Contoso Root CA'" in refusal(made, false_issuing, ROOT.certificate)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("www.contoso.example", ("www.contoso.example", "contoso.example")),
        ("contoso.example", ("contoso.example", "www.contoso.example")),
        ("*.contoso.example", ("*.contoso.example", "contoso.example")),
    ],
)
def test_the_name_besides_is_a_rule_and_the_refusal_says_so(asked: str, answered: tuple[str, ...]) -> None:
    expected = Expected(SubjectNames(None, (asked,)), "EC", None, "P-256")
    made = ISSUING.sign(KEY.public_key(), subject(), extensions=[dns(*answered)])
    text = refusal(made, ISSUING.certificate, expected=expected)
    assert text == (
        f"the certificate has the DNS name {answered[1]!r}, not requested; "
        "ask for both names, or allow `extra_names` in the rules of the authority; "
        f"have 'serial number {made.serial_number:x}' issued again, as the request asks"
    )
    assert verified(made, ISSUING.certificate, expected=expected, limits=Limits(extra_names=True)).chain


@pytest.mark.parametrize(
    "strange", ["evil.example", "api.contoso.example", "*.contoso.example", "www.www.contoso.example"]
)
def test_the_rule_for_extra_names_allows_no_other_name(strange: str) -> None:
    made = leaf(ISSUING, "www.contoso.example", "contoso.example", strange)
    expected = Expected(SubjectNames(None, ("contoso.example", "www.contoso.example")), "EC", None, "P-256")
    besides = strange == "www.www.contoso.example"
    limits = Limits(extra_names=True)
    if besides:
        assert verified(made, ISSUING.certificate, expected=expected, limits=limits).chain
    else:
        text = f"the certificate has the DNS name {strange!r}, not requested; have 'CN=www.contoso.example' (serial "
        assert refusal(made, expected=expected, limits=limits).startswith(text)


def test_no_extended_key_usage_at_all_is_no_restriction_and_a_rule_may_demand_it() -> None:
    """RFC 5280, section 4.2.1.12; `keytool -gencert` answers so."""
    assert verified(leaf(ekus=())).chain
    demanding = Limits(requires_extended_key_usage=True)
    assert "has no extended key usages, which the rule requires_extended_key_usage demands" in refusal(
        leaf(ekus=()), limits=demanding
    )
    assert verified(leaf(ekus=(SERVER_AUTH,)), limits=demanding).chain
    exact = Expected(NAMES, "EC", None, "P-256", extended_key_usage={"1.3.6.1.5.5.7.3.1"})
    assert "has the extended key usages none instead of serverAuth" in refusal(leaf(ekus=()), expected=exact)
    assert "serverAuth, which publicly trusted" in refusal(leaf(ekus=()), limits=Limits(public_trust=True))


def test_usages_are_told_by_their_names() -> None:
    text = refusal(leaf(ekus=(x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4"), x509.ObjectIdentifier("2.5.29.37.0"))))
    assert "has the extended key usage anyExtendedKeyUsage, not requested" in text
    assert "usages anyExtendedKeyUsage, emailProtection; the request has clientAuth, serverAuth" in text
    assert "2.5.29" not in text


def test_usages_given_are_met_exactly_but_for_what_an_ec_key_cannot_have() -> None:
    """RFC 8813, section 3."""
    asked = frozenset({"digitalSignature", "keyEncipherment"})
    exact = Expected(NAMES, "EC", None, "P-256", key_usage=asked, extended_key_usage={"1.3.6.1.5.5.7.3.1"})
    for usages in (("digital_signature", "key_encipherment"), ("digital_signature",)):
        assert verified(leaf(usages=usages, ekus=(SERVER_AUTH,)), expected=exact).chain
    text = refusal(leaf(usages=("digital_signature", "key_agreement"), ekus=(SERVER_AUTH, CLIENT_AUTH)), expected=exact)
    assert "key usages digitalSignature, keyAgreement instead of digitalSignature, keyEncipherment" in text
    assert "extended key usages clientAuth, serverAuth instead of serverAuth" in text
    only_signature = Expected(NAMES, "EC", None, "P-256", key_usage=frozenset({"digitalSignature"}))
    assert "keyEncipherment instead of digitalSignature" in refusal(leaf(), expected=only_signature)
    rsa = rsa_key()
    request = csr(rsa, SUBJECT, [SANS])
    made = ISSUING.sign(rsa.public_key(), SUBJECT, extensions=[SANS], usages=("digital_signature",))
    with pytest.raises(Unverified, match="instead of digitalSignature, keyEncipherment"):
        verify_answer(pem(made), request, Expected(NAMES, "RSA", 2048, None, key_usage=asked), Limits(), NOW)
    verify_csr(request, Expected(NAMES, "RSA", 2048, None, key_usage=asked))
    anything = Expected(NAMES, "EC", None, "P-256", extended_key_usage={"2.5.29.37.0"})
    assert verified(leaf(ekus=(x509.ObjectIdentifier("2.5.29.37.0"),)), expected=anything).chain


def test_a_self_issued_authority_does_not_count_in_a_path_length() -> None:
    """AD CS, its root renewed with a new key: RFC 5280, section 4.2.1.9."""
    old = Authority.root("Estate Root", path_length=1)
    renewed = Authority(key := ec_key(), old.sign(key.public_key(), old.certificate.subject, **CA))
    issuing = renewed.intermediate("Estate Issuing", path_length=0)
    made = leaf(issuing)
    path = (made, issuing.certificate, renewed.certificate, old.certificate)
    assert verified(*path).chain == chain(*path)
    further = issuing.intermediate("Too Deep")
    text = refusal(leaf(further), further.certificate, *path[1:])
    assert f"the issuer {identified(issuing.certificate)} allows 0 intermediates below it and has 1" in text
    assert f"the issuer {identified(old.certificate)} allows 1 intermediate below it and has 2" in text


def test_a_hundred_names_that_two_issuers_may_not_certify_are_one_bounded_reason() -> None:
    elsewhere = x509.NameConstraints([x509.DNSName("elsewhere.example")], None)
    root = Authority.root("Far Root", critical=[elsewhere])
    issuing = root.intermediate("Far Issuing", critical=[elsewhere])
    names = tuple(f"host-{number}.contoso.example" for number in range(99))
    expected = Expected(SubjectNames("www.contoso.example", ("www.contoso.example", *names)), "EC", None, "P-256")
    text = refusal(
        leaf(issuing, "www.contoso.example", *names), issuing.certificate, root.certificate, expected=expected
    )
    assert text.count("… and 90 more, by its name constraints") == 2
    strange = refusal(leaf(ISSUING, "www.contoso.example", *names))
    assert "… and 89 more, not requested" in strange


def test_a_chain_of_57_kib_passes() -> None:
    trees = [x509.DNSName(f"domain-{number}.of.many.contoso.example") for number in range(1600)]
    issuing = ROOT.intermediate(critical=[x509.NameConstraints([*trees, x509.DNSName("contoso.example")], None)])
    made = leaf(issuing)
    answer = verified(made, issuing.certificate, ROOT.certificate)
    assert sum(map(len, answer.chain)) > 57 * 1024


def test_whatever_is_wrong_the_reason_is_bounded() -> None:
    issuers = [Authority.root("C" * 64)]
    for _ in range(8):
        issuers.append(issuers[-1].intermediate("N" * 64, ca=False, usages=("digital_signature",), days=0.01))
    made = issuers[-1].sign(
        KEY.public_key(), subject("e" * 60, email_address="x@y.example"), ca=True, days=4000,
        extensions=[dns(*("l" * 60 + f".{number}.example" for number in range(900)))],
    )  # fmt: skip
    text = refusal(made, *(one.certificate for one in issuers))
    assert "more faults" in text


def test_the_limits_of_authority_and_vault_are_held_in_one_verification() -> None:
    pin, other = ("0" * 64, "1" * 64)
    one = Limits(90, True, (pin,), False, extra_names=True)
    two = Limits(None, False, (), True, extra_names=False, requires_extended_key_usage=True)
    merged = Limits(90, False, (pin,), True, False, True)
    assert Limits(extra_names=True).merged(Limits()) == Limits(extra_names=True)
    assert one.merged(two) == merged
    assert two.merged(one).max_validity_days == 90
    assert Limits(90).merged(Limits(47)).max_validity_days == 47
    assert Limits().merged(Limits()) == Limits()
    both = Limits(issuer_pins=(pin,)).merged(Limits(issuer_pins=(other,)))
    ours = ISSUING.certificate.fingerprint(hashes.SHA256()).hex()
    assert "none of the pinned" in refusal(leaf(), ISSUING.certificate, limits=both)
    half = Limits(issuer_pins=(ours,)).merged(Limits(issuer_pins=(other,)))
    assert "none of the pinned" in refusal(leaf(), ISSUING.certificate, limits=half)
    three = [Limits(issuer_pins=(each * 64,)) for each in "012"]
    for merged_three in (three[0].merged(three[1]).merged(three[2]), three[0].merged(three[1].merged(three[2]))):
        assert merged_three.more_pins == (("1" * 64,), ("2" * 64,))
    made = leaf()
    own = Limits(issuer_pins=(made.fingerprint(hashes.SHA256()).hex(),))
    assert "none of the pinned" in refusal(made, ISSUING.certificate, limits=own), "a pin is of a CA"
    whole = Limits(issuer_pins=(ours,)).merged(Limits(issuer_pins=(other, ours)))
    assert verified(leaf(), ISSUING.certificate, limits=whole).chain


def test_public_trust_forbids_names_that_private_authorities_certify() -> None:
    names = ("my_host.contoso.example", "intranet", "www.contoso.example")
    expected = Expected(SubjectNames("www.contoso.example", names), "EC", None, "P-256")
    made = leaf(ISSUING, *names)
    assert verified(made, expected=expected).chain
    text = refusal(made, expected=expected, limits=Limits(public_trust=True))
    assert "public trust forbids names that are not below a top-level domain: intranet" in text
    assert "public trust forbids names that have an underscore: my_host.contoso.example" in text
