"""Import takes what people have, says what it changed, and says in one sentence what is wrong."""

import base64
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from asn1crypto import core, keys
from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
    pkcs12,
)

from certrelay.errors import Invalid, Unverified
from certrelay.pki.key_bundles import Bundle, verify_bundle
from tests.pki import files
from tests.pki.builders import NOW, Authority, pem, rsa_key, subject
from tests.pki.bundles import CHAIN, EC_KEY, EC_LEAF, ISSUING, KEY, LEAF, PASSWORD, ROOT, key_as, pfx, read_bundle


def refusal(data: bytes, password: str | None = None, strict: bool = False) -> str:
    with pytest.raises(Invalid) as caught:
        read_bundle(data, password, strict)
    text = str(caught.value)
    assert PASSWORD not in text
    assert "\n" not in text
    return text


def unverified(bundle: Bundle) -> str:
    with pytest.raises(Unverified) as caught:
        verify_bundle(bundle, NOW)
    return str(caught.value)


def test_a_pfx_passes_unchanged() -> None:
    bundle = read_bundle(pfx(), PASSWORD, strict=True)
    assert (bundle.chain, bundle.changes) == (CHAIN, ())
    verify_bundle(bundle, NOW)


def test_a_pfx_without_password_passes_with_none_and_with_the_empty_one() -> None:
    assert read_bundle(pfx(None), None).chain == read_bundle(pfx(None), "").chain == CHAIN


def test_a_pem_with_pkcs8_key_passes_unchanged() -> None:
    bundle = read_bundle(key_as() + pem(*CHAIN), None, strict=True)
    assert (bundle.chain, bundle.changes) == (CHAIN, ())


@pytest.mark.parametrize(
    ("data", "password", "change"),
    [
        (key_as(PrivateFormat.TraditionalOpenSSL) + pem(*CHAIN), None, "from RSA PRIVATE KEY to PKCS#8"),
        (key_as(PrivateFormat.TraditionalOpenSSL, PASSWORD) + pem(LEAF), PASSWORD, "the private key was decrypted"),
        (pem(ROOT.certificate, ISSUING.certificate, LEAF) + key_as(), None, "put in order, leaf first"),
        (b"Bag Attributes\n  localKeyID: 01\n" + pem(*CHAIN) + key_as(), None, "text around the PEM blocks"),
        (key_as() + pkcs7.serialize_certificates(list(CHAIN), Encoding.PEM), None, "taken out of the PKCS7 block"),
        (key_as(encoding=Encoding.DER) + CHAIN[0].public_bytes(Encoding.DER), None, "converted to PEM"),
        (key_as(PrivateFormat.TraditionalOpenSSL, None, EC_KEY, Encoding.DER) + EC_LEAF.public_bytes(Encoding.DER),
         None, "converted to PEM"),
        (EC_LEAF.public_bytes(Encoding.DER) + key_as(PrivateFormat.PKCS8, PASSWORD, EC_KEY, Encoding.DER), PASSWORD,
         "decrypted"),
        ((key_as() + pem(*CHAIN)).replace(b"\n", b"\\n"), None, None),
        ((key_as() + pem(*CHAIN)).replace(b"\n", b"\r\n"), None, None),
        ((key_as() + pem(*CHAIN)).decode().encode("utf-16"), None, None),
        (base64.b64encode(pfx()), PASSWORD, None),
    ],
)  # fmt: skip
def test_what_key_vault_would_not_take_is_put_right_and_said(
    data: bytes, password: str | None, change: str | None
) -> None:
    bundle = read_bundle(data, password)
    assert bundle.chain[0].public_key() == bundle.private_key.public_key()
    verify_bundle(bundle, NOW)
    if change:
        assert change in "; ".join(bundle.changes)
        assert change in refusal(data, password, strict=True)


@pytest.mark.parametrize(
    ("data", "password", "change"),
    [
        (key_as(PrivateFormat.TraditionalOpenSSL, key=EC_KEY) + pem(EC_LEAF), None, "from EC PRIVATE KEY to PKCS#8"),
        (key_as(password=PASSWORD) + pem(*CHAIN), PASSWORD, "the private key was decrypted"),
        (key_as() + pem(LEAF, *CHAIN), None, "there twice were left out"),
        (key_as() + pem(*CHAIN, Authority.root("Other").certificate), None, "the chain does not need it"),
    ],
)
def test_what_key_vault_takes_too_is_said_and_passes_strictly(data: bytes, password: str | None, change: str) -> None:
    assert change in "; ".join(read_bundle(data, password, strict=True).changes)


@pytest.mark.parametrize(
    "encode", [bytes, base64.b64encode, base64.encodebytes, lambda data: data.replace(b"\n", b"\\n")]
)
def test_text_outside_the_blocks_is_told_where_there_is_some(encode: Callable[[bytes], bytes]) -> None:
    told = "the text around the PEM blocks was left out"
    assert read_bundle(encode(key_as() + pem(*CHAIN)), None, strict=True).changes == ()
    assert told in read_bundle(encode(b"Bag Attributes\n" + key_as() + pem(*CHAIN)), None).changes
    assert told in read_bundle(encode(key_as() + b"subject=CN=www\n" + pem(*CHAIN)), None).changes
    everything = key_as(encoding=Encoding.DER) + CHAIN[0].public_bytes(Encoding.DER)
    assert told not in read_bundle(base64.encodebytes(everything), None).changes


def test_key_and_certificate_of_a_pfx_come_back_from_both_outputs() -> None:
    bundle = read_bundle(key_as(PrivateFormat.TraditionalOpenSSL) + pem(*CHAIN), None)
    again = pkcs12.load_pkcs12(bundle.pfx("s3cret"), b"s3cret")
    assert again.cert is not None
    assert again.cert.certificate == LEAF
    assert {each.certificate for each in again.additional_certs} == set(CHAIN[1:])
    assert bundle.pem().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert load_pem_private_key(bundle.pem(), None).public_key() == KEY.public_key()
    assert read_bundle(bundle.pem(), None, strict=True).chain == CHAIN
    assert read_bundle(bundle.pfx("s3cret"), "s3cret", strict=True).chain == CHAIN


def test_the_repr_hides_the_key() -> None:
    assert "private" not in repr(read_bundle(pfx(), PASSWORD)).lower()


@pytest.mark.parametrize(
    ("data", "password", "sentence"),
    [
        (b"", None, "the data is empty"),
        (b"\x00" * 300_000, None, "the file is too large: more than 256 KiB"),
        (b"hello, world", None, "neither PEM, DER, base64 nor PKCS#7"),
        (pfx(), "wrong", "the PFX cannot be opened: the password is wrong, or the file is damaged"),
        (pfx(), None, "the PFX cannot be opened: it needs a password, or the file is damaged"),
        (pfx()[:-200], PASSWORD, "damaged"),
        (key_as(password=PASSWORD) + pem(LEAF), "wrong", "the private key cannot be read: the password is wrong"),
        (key_as(password=PASSWORD) + pem(LEAF), None, "it is encrypted, and no password was given"),
        (key_as(PrivateFormat.TraditionalOpenSSL, PASSWORD) + pem(LEAF), None, "and no password was given"),
        (key_as(PrivateFormat.TraditionalOpenSSL, PASSWORD) + pem(LEAF), "wrong", "the password is wrong"),
        (pem(*CHAIN), None, "there is no private key in the file"),
        (key_as(), None, "there is no certificate in the file"),
        (
            key_as() + key_as(key=EC_KEY) + pem(LEAF),
            None,
            "there are several private keys, of 'CN=www.contoso.example'",
        ),
        (pfx() + pfx(), PASSWORD, "there are several PFX files; send one of them"),
        (key_as(key=EC_KEY) + pem(LEAF), None, "the private key does not belong to any certificate in the file"),
        (key_as() + pem(LEAF)[:-30], None, "a PEM block is cut off"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + pem(LEAF), None, "the private key cannot"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", None, "OpenSSH"),
    ],
)
def test_each_fault_of_a_file_is_one_sentence(data: bytes, password: str | None, sentence: str) -> None:
    assert sentence in refusal(data, password)


def test_a_pfx_without_key_is_refused() -> None:
    keyless = pkcs12.serialize_key_and_certificates(None, None, None, list(CHAIN), NoEncryption())
    assert refusal(keyless) == (
        "there is no private key in the PFX, only 'CN=www.contoso.example', 'CN=Contoso Issuing CA', "
        "'CN=Contoso Root CA'; export it again, with the private key"
    )


def test_a_pfx_whose_key_fits_no_certificate_is_refused() -> None:
    assert "does not belong" in refusal(rebuilt(pfx(None, EC_KEY, (EC_LEAF,)), certificate=LEAF))


def test_a_pfx_with_two_keys_is_refused() -> None:
    assert refusal(rebuilt(pfx(None), second_key=True)) == (
        "there are several private keys, of 'CN=www.contoso.example'; one is allowed: export the one certificate "
        "alone, with its key"
    )


def test_the_same_key_several_times_is_one_key() -> None:
    for keys_ in (key_as() * 5, key_as() + key_as(PrivateFormat.TraditionalOpenSSL), key_as() * 100):
        assert read_bundle(keys_ + pem(*CHAIN), None).chain == CHAIN
    encrypted = b"".join(key_as(password=PASSWORD) for _ in range(3))  # with another salt each
    assert read_bundle(encrypted + pem(*CHAIN), PASSWORD).chain == CHAIN
    certificate = files.certificate_bag(EC_LEAF.public_bytes(Encoding.DER))
    for count in (5, 20):
        bags = files.safe(*[files.key_bag(EC_KEY)] * count, certificate)
        assert read_bundle(files.pfx(bags), None).chain == (EC_LEAF,)
    many = files.safe(*[files.key_bag(EC_KEY)] * 21, certificate)
    assert refusal(files.pfx(many)).startswith("there are more than 20 private keys; export the one certificate alone")


def test_a_pfx_that_would_take_minutes_to_open_is_refused_at_once() -> None:
    started = time.process_time()
    assert "too many iterations" in refusal(rebuilt(pfx(), iterations=2_000_000_000), PASSWORD)
    assert time.process_time() - started < 10


def test_an_encrypted_key_that_would_take_minutes_to_open_is_refused_at_once() -> None:
    der = key_as(PrivateFormat.PKCS8, PASSWORD, encoding=Encoding.DER)
    parts = keys.EncryptedPrivateKeyInfo.load(der)
    parts["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"]["iteration_count"] = 2_000_000_000
    started = time.process_time()
    assert "too many iterations" in refusal(parts.dump(force=True), PASSWORD)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "hostile",
    [b"0\x80\x02\x01\x03" + b"\x05\x00" * 125_000, b"0\x80" * 130_000, b"0\x80\x02\x01\x03" + b"0\x80" * 130_000,
     b"0\x80\x02\x01\x03" + b"0\x80\0\0" * 65_000, b"0\x01\xff" * 87_000, b"0\x03\x02\x01\x00" * 52_000,
     b"-----BEGIN A PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nA: b\n" * 4_000],
)  # fmt: skip
def test_no_file_takes_long(hostile: bytes) -> None:
    started = time.process_time()
    assert refusal(hostile, PASSWORD)
    assert time.process_time() - started < 30


def test_a_key_whose_scrypt_would_take_gigabytes_is_refused() -> None:
    assert "too many iterations" in refusal(scrypt_key(n=2**18), PASSWORD)
    assert "the password is wrong" in refusal(scrypt_key(n=2**14), PASSWORD)


def test_a_short_iv_that_makes_the_library_panic_is_a_refusal(capfd: pytest.CaptureFixture[str]) -> None:
    key = key_as(PrivateFormat.TraditionalOpenSSL, PASSWORD)
    headers, blank, body = key.partition(b"\n\n")
    assert "the private key cannot be read" in refusal(headers[:-14] + blank + body, PASSWORD)
    capfd.readouterr()  # the panic's own report


def test_an_expired_certificate_is_refused() -> None:
    old = ISSUING.sign(KEY.public_key(), subject("x"), begins=NOW - timedelta(days=9), days=8)
    assert unverified(read_bundle(key_as() + pem(old), None)) == (
        f"the certificate 'CN=x' (serial {old.serial_number:x}) expired on 2026-11-22; import the one that replaces it"
    )


def test_a_certificate_that_begins_later_passes() -> None:
    future = ISSUING.sign(KEY.public_key(), subject("x"), begins=NOW + timedelta(days=9))
    verify_bundle(read_bundle(key_as() + pem(future), None), NOW)


def test_a_weak_key_is_refused() -> None:
    weak = rsa_key(0, 1024)
    bundle = read_bundle(key_as(key=weak) + pem(ISSUING.sign(weak.public_key(), subject("x"))), None)
    assert "1024 bits" in unverified(bundle)


def test_a_key_size_that_key_vault_lacks_is_refused() -> None:
    odd = rsa_key(0, 2560)
    bundle = read_bundle(key_as(key=odd) + pem(ISSUING.sign(odd.public_key(), subject("x"))), None)
    assert "Key Vault takes 2048, 3072 and 4096" in unverified(bundle)


def test_a_kind_of_key_that_key_vault_lacks_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    bundle = read_bundle(key_as(key=key) + pem(ISSUING.sign(key.public_key(), subject("x"))), None)
    assert "neither RSA nor elliptic curve" in unverified(bundle)


def test_a_bundle_of_a_foreign_key_is_refused() -> None:
    assert "does not belong to the certificate" in unverified(Bundle(EC_KEY, CHAIN))


def test_every_fault_of_a_bundle_is_named_at_once() -> None:
    weak = rsa_key(0, 1024)
    old = ISSUING.sign(weak.public_key(), subject("x"), begins=NOW - timedelta(days=9), days=8)
    with pytest.raises(Unverified) as caught:
        verify_bundle(Bundle(EC_KEY, (old,)), NOW)
    assert len(caught.value.faults) == 3


def rebuilt(
    data: bytes, *, certificate: x509.Certificate | None = None, second_key: bool = False, iterations: int | None = None
) -> bytes:
    """The PFX with a part of it exchanged; its integrity check is dropped where there is no password."""
    parts = asn1_pkcs12.Pfx.load(data)
    if iterations:
        parts["mac_data"]["iterations"] = iterations
        return parts.dump(force=True)  # type: ignore[no-any-return]
    safes = asn1_pkcs12.AuthenticatedSafe.load(parts["auth_safe"]["content"].native)
    for safe in safes:
        bags = asn1_pkcs12.SafeContents.load(safe["content"].native)
        for bag in list(bags):
            if bag["bag_id"].native == "cert_bag" and certificate:
                bag["bag_value"]["cert_value"] = core.ParsableOctetString(certificate.public_bytes(Encoding.DER))
            if bag["bag_id"].native == "key_bag" and second_key:
                other = key_as(PrivateFormat.PKCS8, None, EC_KEY, Encoding.DER)
                value = keys.PrivateKeyInfo.load(other)
                bags.append(asn1_pkcs12.SafeBag({"bag_id": "key_bag", "bag_value": value}))
        safe["content"] = core.OctetString(bags.dump(force=True))
    parts["auth_safe"]["content"] = core.OctetString(safes.dump(force=True))
    parts["mac_data"] = None
    return parts.dump(force=True)  # type: ignore[no-any-return]


def scrypt_key(n: int) -> bytes:
    """An EncryptedPrivateKeyInfo with scrypt (RFC 7914, section 7), the ciphertext being junk."""

    def sequence(*parts: bytes) -> bytes:
        inner = b"".join(parts)
        assert len(inner) < 128
        return bytes([0x30, len(inner)]) + inner

    costs = [core.Integer(number).dump() for number in (n, 8, 1, 32)]
    scrypt = sequence(bytes.fromhex("06092b06010401da47040b"), sequence(core.OctetString(b"saltsalt").dump(), *costs))
    aes = sequence(bytes.fromhex("060960864801650304012a"), core.OctetString(bytes(16)).dump())
    pbes2 = sequence(bytes.fromhex("06092a864886f70d01050d"), sequence(scrypt, aes))
    return sequence(pbes2, core.OctetString(bytes(8)).dump())


def test_the_hash_of_a_mac_is_no_iteration_count() -> None:
    encryption = (
        PrivateFormat.PKCS12.encryption_builder().kdf_rounds(600_000).hmac_hash(hashes.SHA256()).build(b"secret")
    )
    data = pkcs12.serialize_key_and_certificates(None, EC_KEY, EC_LEAF, None, encryption)
    assert read_bundle(data, "secret").chain == (EC_LEAF,)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize(
    "options",
    [
        "pkcs8 -topk8 -v2 camellia128",
        "pkcs8 -topk8 -v2 aria256",
        "pkcs8 -topk8 -v2 aes-128-ofb",
        "pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA512-256",
        "pkey -traditional -camellia128",
        "pkey -traditional -aes192",
    ],
)
def test_the_password_is_not_blamed_for_an_encryption_that_is_not_known(options: str) -> None:
    command = ["openssl", *options.split(), "-passout", "pass:correct"]
    encrypted = subprocess.run(command, input=key_as(), capture_output=True, check=True, timeout=60).stdout
    for password in ("correct", "wrong"):
        text = refusal(encrypted + pem(LEAF), password)
        assert text.startswith("the private key is encrypted in a way that is not supported; encrypt it again: openssl")
        assert "password" not in text


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize("password", [None, ""])
def test_a_key_that_is_encrypted_with_the_empty_password_is_read(password: str | None) -> None:
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:"]
    encrypted = subprocess.run(command, input=key_as(), capture_output=True, check=True, timeout=60).stdout
    assert read_bundle(encrypted + pem(LEAF), password).chain == (LEAF,)


def test_a_path_that_has_only_an_expired_issuer_says_so() -> None:
    old = ROOT.intermediate(key=ISSUING.key, begins=NOW - timedelta(days=99), days=98)
    [change] = read_bundle(key_as() + pem(LEAF, old.certificate), None).changes
    assert "'CN=Contoso Issuing CA' (serial" in change
    assert change.endswith("has expired; get the authority's new one, or clients refuse the chain")
