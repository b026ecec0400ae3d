"""Blocks under wrong labels, and files that were put together: what is there is found, and what is said is true."""

import subprocess
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from certrelay.errors import Invalid
from certrelay.pki.contents import read_certificates
from certrelay.pki.key_bundles import read_bundle
from tests.pki import files
from tests.pki.builders import NOW, Authority, csr, der, dns, ec_key, pem, subject

KEY = ec_key()
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.sign(KEY.public_key(), subject("www.contoso.example"), extensions=[dns("www.contoso.example")])
PKCS8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
KEY_DER = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
REQUEST = csr(KEY, subject("www.contoso.example"))


def refusal(data: bytes, password: str | None = None) -> str:
    with pytest.raises(Invalid) as caught:
        read_bundle(data, password, NOW)
    return str(caught.value)


LABELS = ["CERTIFICATE REQUEST", "X509 CRL", "PUBLIC KEY", "EC PARAMETERS", "ATTRIBUTE CERTIFICATE", "PRIVATE KEY"]


@pytest.mark.parametrize("label", LABELS)
def test_a_certificate_is_found_under_the_label_of_something_else(label: str) -> None:
    block = files.pem_block(label, der(LEAF))
    bundle = read_bundle(PKCS8 + block, None, NOW)
    assert (bundle.chain, bundle.changes) == ((LEAF,), (f"a certificate was taken out of the {label} block",))
    assert read_certificates(block).certificates == [LEAF]


@pytest.mark.parametrize("label", ["CERTIFICATE", "PUBLIC KEY", "PARAMETERS", "CERTIFICATE REQUEST"])
def test_a_private_key_is_found_under_the_label_of_something_else(label: str) -> None:
    block = files.pem_block(label, KEY_DER)
    bundle = read_bundle(block + pem(LEAF), None, NOW)
    assert bundle.changes == (f"the private key was taken out of the {label} block",)
    with pytest.raises(Invalid, match="there is a private key among the certificates"):
        read_certificates(pem(LEAF) + block)


def test_a_block_without_a_label_is_called_so() -> None:
    bundle = read_bundle(files.pem_block("", KEY_DER) + files.pem_block("", der(LEAF)), None, NOW)
    assert bundle.changes == (
        "the private key was taken out of a block without a label",
        "a certificate was taken out of a block without a label",
    )


def test_der_and_pem_in_one_file_are_both_read() -> None:
    """`cat www.cer www.key`"""
    for data in (der(LEAF) + PKCS8, der(LEAF) + b"\r\n" + PKCS8, PKCS8 + der(LEAF), PKCS8 + b"\n" + der(LEAF)):
        assert read_bundle(data, None, NOW).chain == (LEAF,)
        assert read_bundle(data, None, NOW).changes == ("a certificate was converted to PEM",)
    assert read_certificates(der(LEAF) + pem(ISSUING.certificate)).certificates == [LEAF, ISSUING.certificate]
    assert read_certificates(pem(LEAF) + der(ISSUING.certificate)).certificates == [LEAF, ISSUING.certificate]


def test_text_behind_der_is_no_pem() -> None:
    assert read_certificates(der(LEAF) + b"\n# -----BEGIN").certificates == [LEAF]
    assert read_certificates(pem(LEAF) + b"# M\xfcller 0\x82").certificates == [LEAF]


@pytest.mark.parametrize(
    "damage", [(b"-----BEGIN C", b"----BEGIN C"), (b"BEGIN C", b"begin c"), (b"BEGIN C", b"BEGINC")]
)
def test_damaged_lines_of_one_block_are_told_though_another_one_is_well(damage: tuple[bytes, bytes]) -> None:
    text = refusal(PKCS8 + pem(LEAF).replace(*damage))
    assert text.startswith("its BEGIN lines are damaged")
    assert refusal(PKCS8 + pem(LEAF).replace(*damage) + pem(ISSUING.certificate)) == text
    about = b"# everything between begin certificate and end certificate\n"
    assert refusal(about + PKCS8).startswith("there is no certificate in the file")


def test_what_is_text_is_not_called_cut_off() -> None:
    assert refusal(b"0123 is my certificate, thanks").startswith("the data is neither PEM, DER, base64 nor PKCS#7")
    changes = read_bundle(PKCS8 + pem(LEAF) + files.pem_block("CERTIFICATE", b"hello"), None, NOW).changes
    assert changes == ("certificate 2 cannot be read and was left out: it is not an X.509 certificate in DER",)


def test_a_key_with_its_request_is_told_to_have_it_signed() -> None:
    text = refusal(PKCS8 + files.pem_block("CERTIFICATE REQUEST", REQUEST))
    assert text == (
        "there is no certificate in the file, only a certificate signing request and a private key; have an authority "
        "sign the request, and send its answer together with its key"
    )


def test_a_key_of_a_tpm_is_told_that_it_stays_there() -> None:
    block = files.pem_block("TSS2 PRIVATE KEY", files.sequence(files.identifier("2.23.133.10.1.3"), files.integer(1)))
    assert refusal(block + pem(LEAF)).startswith("the private key is bound to a TPM, which it cannot leave")


def test_an_issuer_that_may_not_issue_is_told_and_imported_as_key_vault_would() -> None:
    other = Authority(ISSUING.key, ROOT.sign(ISSUING.key.public_key(), ISSUING.certificate.subject))
    bundle = read_bundle(PKCS8 + pem(LEAF, other.certificate, ROOT.certificate), None, NOW)
    assert bundle.chain == (LEAF, other.certificate, ROOT.certificate)
    assert all(other.certificate.subject.rfc4514_string() in change for change in bundle.changes)
    assert "signs another certificate and is no CA certificate; get another chain" in bundle.changes[0]
    below = ROOT.intermediate("Below", path_length=0, begins=NOW - timedelta(days=1))
    deep = below.intermediate("Too deep", begins=NOW - timedelta(days=1))
    leaf = deep.sign(KEY.public_key(), subject("www.contoso.example"))
    changes = read_bundle(PKCS8 + pem(leaf, deep.certificate, below.certificate, ROOT.certificate), None, NOW).changes
    assert ["allows 0 intermediates below it and has 1" in change for change in changes] == [True]


def openssl(*arguments: str, data: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, check=True, capture_output=True, timeout=120).stdout


@pytest.mark.parametrize("cipher", ["rc2", "rc2-40-cbc", "rc2-64-cbc"])
def test_rc2_of_every_size_is_decrypted_and_the_password_not_blamed(cipher: str) -> None:
    providers = ["-provider", "default", "-provider", "legacy"]
    block = openssl("pkcs8", "-topk8", "-v2", cipher, "-passout", "pass:x", *providers, data=PKCS8)
    assert read_bundle(block + pem(LEAF), "x", NOW).chain == (LEAF,)
    assert "the password is wrong" in refusal(block + pem(LEAF), "y")


def test_the_command_that_a_refusal_names_makes_the_key_readable() -> None:
    providers = ["-provider", "default", "-provider", "legacy"]
    block = openssl("pkcs8", "-topk8", "-v1", "PBE-SHA1-DES", "-passout", "pass:x", *providers, data=PKCS8)
    text = refusal(block + pem(LEAF), "x")
    command = text.rpartition("openssl ")[2].replace("-in FILE -out NEW.pem ", "").split()
    made = openssl(*command, "-passin", "pass:x", "-passout", "pass:x", data=block)
    assert read_bundle(made + pem(LEAF), "x", NOW).chain == (LEAF,)


def test_an_encrypted_key_under_another_label_needs_its_password() -> None:
    encrypted = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    block = files.pem_block("PUBLIC KEY", encrypted)
    assert read_bundle(block + pem(LEAF), "x", NOW).chain == (LEAF,)
    assert "it is encrypted, and no password was given" in refusal(block + pem(LEAF))
