"""Names in a form that no client accepts, and extensions that the version does not allow, are never merged."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.errors import Unverified
from certrelay.pki.der import encoded
from certrelay.pki.key_bundles import read_bundle, verify_bundle
from certrelay.pki.names import subject_names
from certrelay.pki.verify import Expected
from tests.pki.builders import NOW, dns, ec_key, pem, subject
from tests.pki.files import extension_changed, octets, pem_block, sequence, signed_again
from tests.pki.verification import EXPECTED, ISSUING, ROOT, answer, leaf, refusal, verified

DNS, MAIL = 0x82, 0x81


def with_name(tag: int, raw: bytes) -> bytes:
    """An answer whose only alternative name has these octets."""
    change = extension_changed("2.5.29.17", lambda each: octets(sequence(encoded(tag, raw))))
    made = signed_again(leaf(name=subject("www.contoso.example"), sans=dns("a.example")), ISSUING.key, change)
    return pem_block("CERTIFICATE", made) + pem(ISSUING.certificate, ROOT.certificate)


@pytest.mark.parametrize("raw", ["bücher.example", "BÜCHER.example", "*.bücher.example", "xn--bcher-kva.example."])
def test_a_dns_name_that_no_client_matches_is_refused_though_it_means_the_asked_one(raw: str) -> None:
    wildcard = "*." if raw.startswith("*.") else ""
    asked = subject_names("CN=www.contoso.example", [f"{wildcard}xn--bcher-kva.example"])
    text = refusal(with_name(DNS, raw.encode()), Expected(asked, "RSA", 2048, None))
    assert f"no client matches, since they are not A-labels or end in a dot: '{raw}'" in text


def test_a_mail_address_with_a_domain_in_unicode_is_refused() -> None:
    asked = subject_names("CN=www.contoso.example", email_addresses=["ops@bücher.example"])
    expected = Expected(asked, "RSA", 2048, None)
    text = refusal(with_name(MAIL, "ops@bücher.example".encode()), expected)
    assert "not A-labels or end in a dot: 'ops@bücher.example'" in text
    assert verified(with_name(MAIL, b"ops@xn--bcher-kva.example"), expected)


@pytest.mark.parametrize(
    ("tag", "raw"), [(DNS, "bücher.example"), (MAIL, "ops@bücher.example"), (0x86, "https://bücher.example/")]
)
def test_an_import_names_what_is_not_in_ascii_and_leaves_nothing_to_key_vault(tag: int, raw: str) -> None:
    key = ec_key()
    made = ISSUING.sign(key.public_key(), subject("www.contoso.example"), extensions=[dns("www.contoso.example")])
    change = extension_changed("2.5.29.17", lambda each: octets(sequence(encoded(tag, raw.encode()))))
    file = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file += pem_block("CERTIFICATE", signed_again(made, ISSUING.key, change))
    with pytest.raises(Unverified) as caught:
        verify_bundle(read_bundle(file, None, NOW), NOW)
    assert f"which no client matches (RFC 5280, 4.2.1.6): '{raw}'; have it issued again with A-labels" in str(
        caught.value
    )


def test_a_certificate_of_version_1_is_refused_for_its_extensions_only() -> None:
    made = signed_again(leaf(), ISSUING.key, lambda each: b"" if each.tag == 0xA0 else None)
    text = refusal(pem_block("CERTIFICATE", made) + pem(ISSUING.certificate, ROOT.certificate))
    assert "the certificate has extensions and is of version 1, which has none (RFC 5280, 4.1.2.1)" in text
    bare = signed_again(leaf(sans=None), ISSUING.key, lambda each: b"" if each.tag in (0xA0, 0xA3) else None)
    only_common_name = Expected(subject_names("CN=www.contoso.example"), "RSA", 2048, None)
    assert verified(pem_block("CERTIFICATE", bare) + pem(ISSUING.certificate, ROOT.certificate), only_common_name)


def test_names_in_upper_case_are_matched_and_merged() -> None:
    sans = x509.SubjectAlternativeName([x509.DNSName("WWW.Contoso.example"), x509.DNSName("api.contoso.example")])
    assert verified(answer(leaf(sans=sans)), EXPECTED)
