"""PFX files of every make are read as cryptography reads them, and the rest of each is told."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs12,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES

from certrelay.errors import Invalid
from certrelay.pki import password_encryption, rc2
from certrelay.pki.der import CONTEXT_0, encoded, oid
from certrelay.pki.key_bundles import read_bundle
from certrelay.pki.password_encryption import MAX_ITERATIONS, MAX_WORK, Budget
from certrelay.pki.pfx import PfxContents, read_pfx
from tests.pki import files
from tests.pki.builders import NOW, Authority, der, ec_key, subject

VECTORS = Path(cryptography_vectors.__file__).parent
KEY = ec_key()
ROOT = Authority.root()
LEAF = ROOT.sign(KEY.public_key(), subject("www.contoso.example"))
CHAIN = (LEAF, ROOT.certificate)
PASSWORD = "correct horse Zoë 🐴"


def read(data: bytes, password: str | None = PASSWORD) -> PfxContents:
    return read_pfx(data, password, Budget())


def refusal(data: bytes, password: str | None = PASSWORD) -> str:
    with pytest.raises(Invalid) as caught:
        read(data, password)
    return str(caught.value)


def is_ours(found: PfxContents) -> bool:
    [key] = found.keys
    loaded = load_der_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded.private_numbers() == KEY.private_numbers() and set(found.certificates) == set(map(der, CHAIN))


def written(scheme: PBES | None, digest: SHA1 | SHA256 | SHA512 | None, password: str = PASSWORD) -> bytes:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(10)
    builder = builder.key_cert_algorithm(scheme) if scheme else builder
    builder = builder.hmac_hash(digest) if digest else builder
    return pkcs12.serialize_key_and_certificates(
        b"www", KEY, LEAF, [ROOT.certificate], builder.build(password.encode())
    )


@pytest.mark.parametrize("digest", [None, SHA1(), SHA256(), SHA512()])
@pytest.mark.parametrize("scheme", [None, PBES.PBESv2SHA256AndAES256CBC, PBES.PBESv1SHA1And3KeyTripleDESCBC])
def test_what_cryptography_writes_is_read(scheme: PBES | None, digest: SHA1 | SHA256 | SHA512 | None) -> None:
    data = written(scheme, digest)
    assert is_ours(read(data))
    step = "or the file is damaged; give the password that it was exported with, or send the whole, original file"
    assert refusal(data, "other") == f"the PFX cannot be opened: the password is wrong, {step}"
    assert refusal(data, None) == f"the PFX cannot be opened: it needs a password, {step}"


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize(
    "options",
    [
        ["-keypbe", "aes-128-cbc", "-certpbe", "aes-192-cbc", "-macalg", "sha384"],
        ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-2DES", "-macalg", "sha1"],
        ["-keypbe", "des-ede3-cbc", "-certpbe", "NONE", "-macalg", "sha224"],
        ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
        ["-legacy", "-keypbe", "PBE-SHA1-RC2-128", "-certpbe", "PBE-SHA1-RC2-40"],
        ["-legacy"],
    ],
    ids=" ".join,
)
def test_what_openssl_writes_is_read(options: list[str], tmp_path: Path) -> None:
    pem = tmp_path / "all.pem"
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(key + b"".join(one.public_bytes(Encoding.PEM) for one in CHAIN))
    command = ["openssl", "pkcs12", "-export", "-in", str(pem), "-out", str(tmp_path / "out"), "-passout", "pass:x"]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=60)
    assert is_ours(read((tmp_path / "out").read_bytes(), "x"))


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_the_iterations_that_gnutls_and_nss_write_are_within_the_budget(tmp_path: Path) -> None:
    """certtool --pkcs-cipher 3des-pkcs12, pk12util -c …: 600,000 iterations in the MAC, and for each key and IV.

    Here a tenth of them has to do with a tenth of the budget."""
    assert MAX_ITERATIONS >= 600_000
    pem = tmp_path / "all.pem"
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(key + b"".join(one.public_bytes(Encoding.PEM) for one in CHAIN))
    command = ["openssl", "pkcs12", "-export", "-in", str(pem), "-out", str(tmp_path / "out"), "-passout", "pass:x"]
    command += ["-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40", "-iter", "60000"]
    for options in (["-macalg", "sha256"], ["-macalg", "sha512"]):
        subprocess.run([*command, *options], check=True, capture_output=True, timeout=60)
        assert is_ours(read_pfx((tmp_path / "out").read_bytes(), "x", Budget(MAX_WORK // 10)))


def vectors() -> Iterator[tuple[bytes, str]]:
    for path in sorted((VECTORS / "pkcs12").rglob("*.p12")):
        yield from ((path.read_bytes(), password) for password in ("", "password", "cryptography"))
    for path in sorted((VECTORS / "x509/PKITS_data/pkcs12").glob("*.p12"))[::20]:
        yield path.read_bytes(), "password"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_vectors_are_read_as_cryptography_reads_them() -> None:
    opened = 0
    for data, password in vectors():
        try:
            theirs = pkcs12.load_pkcs12(data, password.encode() or None)
        except ValueError:
            assert refusal(data, password)
            continue
        ours = read(data, password)
        certificates = [*([theirs.cert] if theirs.cert else []), *theirs.additional_certs]
        assert set(ours.certificates) == {der(one.certificate) for one in certificates}
        assert len(ours.keys) == bool(theirs.key)
        opened += 1
    assert opened > 40


def test_pbmac1_is_verified() -> None:
    """RFC 9579, appendix A.1: two of its parts, made anew."""
    plain = files.pfx(files.safe(files.key_bag(KEY), *map(files.certificate_bag, map(der, CHAIN))))
    assert is_ours(read(files.with_pbmac1(plain, PASSWORD)))
    assert "the password is wrong" in refusal(files.with_pbmac1(plain, PASSWORD), "other")
    weak = files.with_pbmac1(plain, PASSWORD, claimed=2_000_000)
    assert "too many iterations" in refusal(weak)


@pytest.mark.parametrize("size", [1, 19, 65, None])
def test_a_mac_whose_key_is_short_is_refused_since_other_passwords_fit_as_well(size: int | None) -> None:
    """RFC 9579; CVE-2026-34181. 256 passwords are enough to find one that fits a key of one octet."""
    plain = files.pfx(files.safe(files.key_bag(KEY), *map(files.certificate_bag, map(der, CHAIN))))
    assert "not supported" in refusal(files.with_pbmac1(plain, PASSWORD, size=size))
    assert is_ours(read(files.with_pbmac1(plain, PASSWORD, size=20)))


def test_ber_with_indefinite_lengths_and_strings_in_pieces_is_read() -> None:
    plain = files.pfx(files.safe(files.key_bag(KEY), *map(files.certificate_bag, map(der, CHAIN))))
    assert is_ours(read(files.as_ber(plain)))
    assert is_ours(read(files.as_ber(files.with_pbmac1(plain, PASSWORD))))


def test_bags_in_bags_are_read_and_everything_else_is_named() -> None:
    inner = files.sequence(files.key_bag(KEY), *map(files.certificate_bag, map(der, CHAIN)))
    data = files.pfx(files.safe(files.bag(6, inner), files.bag(4, files.sequence()), files.bag(5, files.sequence())))
    found = read(data)
    assert is_ours(found)
    assert list(found.left_out) == ["a certificate revocation list", "a secret key"]


def test_a_pfx_without_a_password_is_imported_though_one_was_given() -> None:
    plain = pkcs12.serialize_key_and_certificates(b"www", KEY, LEAF, [ROOT.certificate], NoEncryption())
    bundle = read_bundle(plain, "needless", NOW)
    assert bundle.chain[0] == LEAF
    assert bundle.changes[0] == "the PFX has no password, and the one given was not used"
    with pytest.raises(Invalid, match="Key Vault does not take the file as it is: the PFX has no password"):
        read_bundle(plain, "needless", NOW, strict=True)


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n", b"\xef\xbb\xbf\n "])
def test_what_text_tools_put_before_a_pfx_does_not_matter(before: bytes) -> None:
    assert read_bundle(before + written(None, SHA256()), PASSWORD, NOW).chain[0] == LEAF


def test_a_key_with_a_password_of_its_own_is_told_and_not_called_a_wrong_password() -> None:
    own = files.encrypted_key_bag(KEY, "another", 10, claimed=10)
    data = files.with_pbmac1(files.pfx(files.safe(own, files.certificate_bag(der(LEAF)))), PASSWORD)
    assert "the private key in the PFX is damaged, or has another password than the PFX" in refusal(data)


def test_damage_is_no_wrong_password() -> None:
    data = written(None, None)
    for place in (3, 40, len(data) - 200):
        assert refusal(data[:place]).startswith("the PFX is damaged")
    inside = files.pfx(files.safe(files.key_bag(KEY)), files.sequence(files.identifier("1.2.3")))
    assert refusal(files.with_pbmac1(inside, PASSWORD)).startswith("the PFX is damaged")


def test_what_no_password_opens_is_told() -> None:
    enveloped = files.sequence(files.identifier("1.2.840.113549.1.7.3"), encoded(CONTEXT_0, files.sequence()))
    assert "Active Directory" in refusal(files.pfx(enveloped))
    signed = files.sequence(files.identifier("1.2.840.113549.1.7.2"), encoded(CONTEXT_0, files.sequence()))
    assert "not supported" in refusal(files.sequence(files.integer(3), signed))
    data = files.encrypted_safe(PASSWORD, files.key_bag(KEY)).replace(
        oid("1.2.840.113549.1.5.13"), oid("1.2.840.113549.1.5.77")
    )
    assert "not supported" in refusal(files.pfx(data))


def test_no_iterations_beyond_the_budget_are_done_wherever_they_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    derived = password_encryption._pbkdf2_derived

    def counted(digest: str, salt: bytes, rounds: int, size: int, password: bytes) -> bytes:
        done.append(rounds)
        return derived(digest, salt, 1, size, password)  # which it is encrypted with here

    monkeypatch.setattr(password_encryption, "_pbkdf2_derived", counted)
    for data in (
        files.pfx(files.safe(files.encrypted_key_bag(KEY, PASSWORD, 1, claimed=1_000_001))),
        files.pfx(*[files.encrypted_safe(PASSWORD, iterations=1, claimed=1_000_000)] * 100),
        files.with_pbmac1(files.pfx(files.safe(files.key_bag(KEY))), PASSWORD, claimed=10**9),
    ):
        assert "too many iterations" in refusal(data)
    assert done == [1_000_000] * 4
    assert MAX_WORK < 5_000_000


@pytest.mark.parametrize(
    ("key", "plain", "cipher"),
    [
        ("ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
        ("88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_rc2_agrees_with_its_rfc(key: str, plain: str, cipher: str) -> None:
    """RFC 2268, section 5."""
    assert rc2.decrypt_cbc(bytes.fromhex(key), bytes(8), bytes.fromhex(cipher)) == bytes.fromhex(plain)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize("options", [[], ["-nomac"], ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"]])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_password_with_umlauts_opens_whatever_the_shell_made_of_it(
    encoding: str, options: list[str], tmp_path: Path
) -> None:
    pem = tmp_path / "all.pem"
    pem.write_bytes(
        KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + b"".join(one.public_bytes(Encoding.PEM) for one in CHAIN)
    )
    (tmp_path / "password").write_bytes("schön".encode(encoding))
    command = ["openssl", "pkcs12", "-export", "-in", str(pem), "-out", str(tmp_path / "out")]
    command += ["-passout", f"file:{tmp_path / 'password'}", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    data = (tmp_path / "out").read_bytes()
    assert is_ours(read(data, "schön"))
    assert refusal(data, "schon").startswith("the PFX cannot be opened: the password is wrong")


def test_a_password_that_an_old_openssl_took_octet_by_octet_opens() -> None:
    assert is_ours(
        read(written(PBES.PBESv1SHA1And3KeyTripleDESCBC, SHA1(), "schön".encode().decode("latin-1")), "schön")
    )


def test_a_pfx_of_an_unknown_encryption_says_how_to_write_it_again() -> None:
    unknown = files.sequence(files.identifier("1.2.840.113549.1.12.1.1"), files.sequence())  # RC4
    text = refusal(files.pfx(files.safe(files.bag(2, files.sequence(unknown, files.octets(bytes(16)))))), "x")
    assert "not supported; write it again: openssl pkcs12 -legacy" in text
    assert "password" not in text


def test_a_certificate_that_is_not_x509_is_named() -> None:
    sdsi = files.sequence(files.identifier("1.2.840.113549.1.9.22.2"), encoded(CONTEXT_0, files.octets(b"x")))
    data = files.pfx(files.safe(files.key_bag(KEY), files.bag(3, sdsi), files.certificate_bag(der(LEAF))))
    assert list(read_pfx(data, None, Budget()).left_out) == ["a certificate that is not X.509"]
