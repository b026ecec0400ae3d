"""Files as people have them, after public reports: what is needed is imported, what is not is left out and named."""

import shutil
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certrelay.errors import Invalid
from certrelay.pki.alternative_names import other_names
from certrelay.pki.chains import ordered_chain
from certrelay.pki.contents import read_certificates
from certrelay.pki.der import Element, encoded
from certrelay.pki.key_bundles import Bundle, read_bundle, verify_bundle
from certrelay.pki.names import names_of
from tests.pki import files
from tests.pki.builders import NOW, Authority, csr, der, dns, ec_key, pem, sign, subject

KEY = ec_key()
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.sign(KEY.public_key(), subject("www.contoso.example"), extensions=[dns("www.contoso.example")])
CHAIN = (LEAF, ISSUING.certificate, ROOT.certificate)
PKCS8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
SEC1 = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

MALFORMED_NAMES = files.extension_changed("2.5.29.17", lambda each: files.octets(b"\x05\x00"))


def read(data: bytes, password: str | None = None, *, strict: bool = False) -> Bundle:
    bundle = read_bundle(data, password, NOW, strict=strict)
    verify_bundle(bundle, NOW)
    return bundle


def refusal(data: bytes, password: str | None = None) -> str:
    with pytest.raises(Invalid) as caught:
        read_bundle(data, password, NOW)
    return str(caught.value)


def test_dh_parameters_of_haproxy_are_left_out_and_named() -> None:
    parameters = files.sequence(files.integer(2**2047 + 1), files.integer(2))
    for label in ("DH PARAMETERS", "X9.42 DH PARAMETERS"):
        bundle = read(pem(LEAF) + PKCS8 + files.pem_block(label, parameters))
        assert bundle.changes == (f"the {label} block was left out",)


def test_a_trusted_certificate_is_read_by_import_and_merge_alike() -> None:
    block = files.pem_block("TRUSTED CERTIFICATE", der(LEAF) + files.sequence(files.sequence()))
    assert read(PKCS8 + block).chain == (LEAF,)
    assert read_certificates(block).certificates == [LEAF]


def test_a_request_beside_the_certificate_is_left_out_and_named() -> None:
    request = files.pem_block("CERTIFICATE REQUEST", csr(KEY, subject("www.contoso.example")))
    bundle = read(PKCS8 + request + pem(LEAF), strict=True)
    assert bundle.changes == ("a certificate signing request was left out",)
    assert read_certificates(request + pem(LEAF)).certificates == [LEAF]
    mislabeled = files.pem_block("CERTIFICATE", csr(KEY, subject("www.contoso.example")))
    assert read(PKCS8 + mislabeled + pem(LEAF)).changes == bundle.changes
    assert "this is a certificate signing request" in merge_refusal(request)


def merge_refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        read_certificates(data).require_certificates()
    return str(caught.value)


@pytest.mark.parametrize("label", ["EC PARAMETERS", "PUBLIC KEY", "X509 CRL"])
def test_blocks_that_nobody_needs_pass_strictly_and_are_named_by_what_they_are(label: str) -> None:
    block = files.pem_block(label, files.identifier("1.2.840.10045.3.1.7"))
    bundle = read(block + PKCS8 + pem(LEAF), strict=True)
    assert bundle.changes == (f"the {label} block was left out",)
    untrue = read(block + SEC1 + pem(LEAF), strict=True).changes
    assert untrue == (f"the {label} block was left out", "the private key was converted from EC PRIVATE KEY to PKCS#8")


def test_the_label_x509_certificate_is_no_change() -> None:
    data = PKCS8 + pem(LEAF).replace(b"CERTIFICATE", b"X509 CERTIFICATE")
    assert read(data, strict=True).changes == ()


def test_of_a_valid_and_an_expired_intermediate_the_valid_one_is_kept_and_the_other_named_with_its_dates() -> None:
    begins = NOW - timedelta(days=3000)
    old_root = Authority.root("Old Root X3", begins=begins, days=2900)
    expired = old_root.sign(
        ISSUING.key.public_key(), ISSUING.certificate.subject, ca=True, usages=("key_cert_sign",), ekus=(),
        begins=begins, days=2900,
    )  # fmt: skip
    everything = [LEAF, expired, old_root.certificate, ISSUING.certificate]
    data = files.pfx(files.safe(files.key_bag(KEY), *(files.certificate_bag(der(one)) for one in everything)))
    bundle = read(data, "x")
    assert bundle.chain == (LEAF, ISSUING.certificate)
    assert bundle.changes == tuple(
        f"'{one.subject.rfc4514_string()}' (serial {one.serial_number:x}, valid 2018-09-06 to 2026-08-15) "
        "was left out: it has expired"
        for one in (expired, old_root.certificate)
    )


def test_a_certificate_that_is_not_on_the_path_is_left_out_readable_or_not() -> None:
    stranger = files.critical_false(Authority.root("Odd CA", extensions=[dns("odd.example")]).certificate, ec_key())
    data = files.pfx(files.safe(files.key_bag(KEY), *map(files.certificate_bag, (stranger, *map(der, CHAIN)))))
    bundle = read(data, "x")
    assert bundle.chain == CHAIN
    [sentence] = bundle.changes
    assert sentence.startswith("certificate 1, 'Odd CA' (serial ")
    assert sentence.endswith(
        "cannot be read and was left out: it writes out a default value, such as critical FALSE, which DER forbids"
    )
    assert read(PKCS8 + pem(*CHAIN) + files.pem_block("CERTIFICATE", stranger)).chain == CHAIN


def test_an_unreadable_certificate_that_is_the_issuer_refuses_the_file() -> None:
    broken = files.critical_false(
        ROOT.intermediate(key=ISSUING.key, extensions=[dns("a.example")]).certificate, ROOT.key
    )
    text = refusal(PKCS8 + pem(LEAF) + files.pem_block("CERTIFICATE", broken))
    assert text.startswith("certificate 2, 'Contoso Issuing CA' (serial ")


def test_a_leaf_that_cannot_be_read_is_named_with_what_is_wrong_and_what_to_do() -> None:
    for broken, why in (
        (files.critical_false(LEAF, ISSUING.key), "it writes out a default value, such as critical FALSE"),
        (files.with_path_length(LEAF, ISSUING.key), "its basic constraints have a path length and are not a CA's"),
        (files.signed_again(LEAF, ISSUING.key, MALFORMED_NAMES), "one of its extensions is malformed"),
    ):  # fmt: skip
        text = refusal(PKCS8 + files.pem_block("CERTIFICATE", broken) + pem(ISSUING.certificate))
        assert text.startswith(
            f"certificate 1, 'www.contoso.example' (serial {LEAF.serial_number:x}) cannot be read: {why}"
        )
        assert text.endswith("; have it issued again")
        assert merge_refusal(files.pem_block("CERTIFICATE", broken)) == text


def test_a_subject_in_another_character_set_than_it_says_is_shown_all_the_same() -> None:
    made = ISSUING.sign(KEY.public_key(), subject("Muller GmbH"))

    def t61_string(each: Element) -> bytes | None:
        return encoded(0x14, b"M\xfcller GmbH") if each.content == b"Muller GmbH" else None

    text = refusal(PKCS8 + files.pem_block("CERTIFICATE", files.signed_again(made, ISSUING.key, t61_string)))
    assert f"'Müller GmbH' (serial {made.serial_number:x})" in text
    assert "its subject has a text in another character set than it says" in text


def test_the_names_of_a_leaf_with_a_path_length_are_read_all_the_same() -> None:
    """It is in vaults, and can be looked at and adopted: `openssl … basicConstraints=critical,CA:FALSE,pathlen:0`."""
    odd = x509.load_der_x509_certificate(files.with_path_length(LEAF, ISSUING.key))
    with pytest.raises(ValueError, match="path_length"):
        _ = odd.extensions
    assert names_of(odd) == names_of(LEAF)
    assert other_names(odd) == ()


def test_names_that_key_vault_cannot_express_are_told() -> None:
    names = [
        x509.DNSName("dir.corp.example"),
        x509.DirectoryName(subject("foo")),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.2.2"), b"\x05\x00"),
    ]
    made = ISSUING.sign(KEY.public_key(), subject("dir.corp.example"), extensions=[x509.SubjectAlternativeName(names)])
    assert other_names(made) == ("directoryName CN=foo", "otherName Kerberos principal")


def test_a_secret_key_in_a_keystore_is_no_private_key() -> None:
    """As keytool stores an AES key: a secretBag that holds an encrypted key bag."""
    secret = files.sequence(identifier_of_a_key_bag(), encoded(0xA0, files.octets(b"\0" * 64)))
    data = files.pfx(files.safe(files.key_bag(KEY), files.bag(5, secret), *map(files.certificate_bag, map(der, CHAIN))))
    bundle = read(data, "x", strict=True)
    assert bundle.chain == CHAIN
    assert bundle.changes == ("a secret key in the PFX was left out",)


def identifier_of_a_key_bag() -> bytes:
    return files.identifier("1.2.840.113549.1.12.10.1.2")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("keytool"), reason="needs Java's keytool")
def test_a_keystore_of_keytool_with_a_secret_key_is_imported(tmp_path: Path) -> None:
    store, password = tmp_path / "store.p12", "changeit"
    # The compiler for what runs long takes as much of a processor as all the rest.
    common = ["-J-XX:TieredStopAtLevel=1", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", password]
    key = [
        "-genkeypair",
        "-alias",
        "www",
        "-keyalg",
        "EC",
        "-groupname",
        "secp256r1",
        "-dname",
        "CN=www.contoso.example",
    ]
    for command in (key, ["-genseckey", "-alias", "secret", "-keyalg", "AES", "-keysize", "256"]):
        subprocess.run(["keytool", *command, *common], check=True, capture_output=True, timeout=120)
    bundle = read_bundle(store.read_bytes(), password, NOW)
    assert names_of(bundle.chain[0]).common_name == "www.contoso.example"
    assert bundle.changes == ("a secret key in the PFX was left out",)


def test_iterations_hidden_in_an_encrypted_part_are_refused_before_they_are_done() -> None:
    hidden = files.encrypted_key_bag(KEY, "x", 1, claimed=120_000_000)
    data = files.pfx(files.encrypted_safe("x", hidden, files.certificate_bag(der(LEAF)), iterations=1))
    started = time.process_time()
    assert "too many iterations" in refusal(data, "x")
    assert time.process_time() - started < 1
    honest = files.encrypted_key_bag(KEY, "x", 2048, claimed=2048)
    assert read(files.pfx(files.encrypted_safe("x", honest, files.certificate_bag(der(LEAF)))), "x").chain == (LEAF,)


def test_a_heap_of_leaves_and_strangers_of_one_name_is_bounded_before_signatures_are_checked() -> None:
    name = subject("a")
    leaves = [sign(ec_key(), name, KEY.public_key(), name) for _ in range(50)]
    strangers = [sign(ec_key(), name, ec_key().public_key(), name) for _ in range(50)]
    started = time.process_time()
    chain = read(PKCS8 + pem(*leaves, *strangers)).chain
    assert len(chain) == 1
    with pytest.raises(Invalid, match="there are more than 100 certificates; send only those of the chain"):
        read(PKCS8 + pem(*leaves, *strangers, LEAF))
    assert time.process_time() - started < 5
    one, other = ec_key(), ec_key()
    crossed = [sign(other, subject("b"), one.public_key(), name) for _ in range(40)]
    crossed += [sign(one, name, other.public_key(), subject("b")) for _ in range(40)]
    with pytest.raises(Invalid, match="more than 200 signatures would have to be checked"):
        ordered_chain([sign(one, name, KEY.public_key(), subject("leaf")), *crossed], KEY.public_key(), NOW)


def test_the_password_is_not_blamed_for_a_key_that_it_decrypts() -> None:
    algorithm, ciphertext = files.pbes2(files.sequence(files.integer(0), files.sequence()), "x", 10)
    block = files.pem_block("ENCRYPTED PRIVATE KEY", files.sequence(algorithm, files.octets(ciphertext)))
    assert "the private key cannot be read: it is damaged or of an unknown kind" in refusal(block + pem(LEAF), "x")
    assert "the password is wrong" in refusal(block + pem(LEAF), "y")


def test_an_unreadable_certificate_in_a_pkcs7_file_refuses_nothing_either() -> None:
    broken = files.critical_false(Authority.root("Odd CA", extensions=[dns("odd.example")]).certificate, ec_key())
    bundle = read(PKCS8 + files.pem_block("PKCS7", files.pkcs7(broken, *map(der, CHAIN))))
    assert bundle.chain == CHAIN
    assert bundle.changes[0] == "certificates were taken out of the PKCS7 block"
    assert bundle.changes[1].startswith("certificate 1, 'Odd CA' (serial ")


FOREIGN = {
    "OCSP RESPONSE": bytes.fromhex("30030a0106"),
    "TIMESTAMP": bytes.fromhex("30053003020100"),
    "SOME NUMBERS": bytes.fromhex("3009020101020102020103"),
    "PGP SIGNATURE": bytes.fromhex("3003020105"),
    "RANDOM": b"\x8f\x00 not DER at all",
}


@pytest.mark.parametrize("label", FOREIGN)
def test_a_block_that_holds_neither_key_nor_certificate_is_left_out_by_import_and_merge(label: str) -> None:
    """It may begin like a key (with a number), or like a certificate (with a sequence)."""
    block = files.pem_block(label, FOREIGN[label])
    for data in (PKCS8 + pem(LEAF) + block, block + PKCS8 + pem(LEAF)):
        assert read(data).chain == (LEAF,)
        assert read(data).changes == (f"the {label} block was left out",)
    answered = read_certificates(pem(LEAF) + block)
    assert (answered.certificates, list(answered.changes)) == ([LEAF], [f"the {label} block was left out"])


def test_numbers_in_a_certificate_block_are_an_unreadable_certificate_and_no_key() -> None:
    data = PKCS8 + pem(LEAF) + files.pem_block("CERTIFICATE", FOREIGN["SOME NUMBERS"])
    text = "certificate 2 cannot be read and was left out: it is not an X.509 certificate in DER"
    assert read(data).changes == (text,)


def test_a_key_and_a_certificate_under_wrong_labels_are_found_by_their_contents() -> None:
    key = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    data = files.pem_block("MY KEY", key) + files.pem_block("MY LEAF", der(LEAF))
    assert read(data).chain == (LEAF,)
    assert "there is a private key among the certificates" in answer_refusal(data)


def answer_refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        read_certificates(data)
    return str(caught.value)
