"""What people take for a certificate is called what it is, with the command that makes it right."""

import base64
import io
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs7, pkcs12
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from certrelay.errors import Invalid
from certrelay.pki.contents import read_certificates
from certrelay.pki.encodings import octets_of
from certrelay.pki.key_bundles import read_bundle
from tests.pki.builders import NOW, Authority, der, dns, ec_key, pem, subject

KEY = ec_key()
ISSUING = Authority.root()
LEAF = ISSUING.sign(KEY.public_key(), subject("www.contoso.example"), extensions=[dns("www.contoso.example")])
PFX = pkcs12.serialize_key_and_certificates(b"www", KEY, LEAF, None, BestAvailableEncryption(b"x"))


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("www.pem", pem(LEAF))
    return made.getvalue()


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("www.pfx")
        entry.size = len(PFX)
        archive.addfile(entry, io.BytesIO(PFX))
    return made.getvalue()


def mail() -> bytes:
    builder = PKCS7SignatureBuilder().set_data(b"hello").add_signer(LEAF, KEY, hashes.SHA256())
    return builder.sign(Encoding.SMIME, [PKCS7Options.DetachedSignature])


FOREIGN = [
    (zipped(), "this is a ZIP archive", "unzip FILE"),
    (b"\xfe\xed\xfe\xed\0\0\0\x02" + b"\0" * 200, "this is a Java keystore", "keytool -importkeystore"),
    (b"\xce\xce\xce\xce\0\0\0\x02" + b"\0" * 200, "this is a Java keystore", "-deststoretype PKCS12"),
    (
        b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>",
        "this is a web page (HTML)",
        "download the file itself",
    ),
    (b"<HTML><BODY>404</BODY></HTML>", "this is a web page (HTML)", "download the file itself"),
    (mail(), "this is an S/MIME mail", "openssl smime -pk7out -in FILE"),
    (b"\0\0\0\x02\0\0\0\x14" + b"\1" * 200, "this is a keystore of Bouncy Castle", "-srcstoretype BKS"),
    (
        bytes.fromhex("30820a0d3082094f30819506092a864886f70d01050d308187") + bytes(60),
        "this is a keystore of Bouncy Castle",
        "-srcstoretype BCFKS",
    ),
    (b"%PDF-1.7\n", "this is a PDF document", "the file that the authority made"),
    (b"7z\xbc\xaf\x27\x1c\0\4", "this is a 7-Zip archive", "7z x FILE"),
    (b"Rar!\x1a\7\1\0", "this is a RAR archive", "unrar x FILE"),
    (b"\x28\xb5\x2f\xfd" + bytes(20), "this is a Zstandard archive", "unzstd FILE"),
    (b"MSCF" + bytes(60), "this is a cabinet of Windows (CAB)", "expand FILE"),
    (b"\x1f\x8b\x08\0\0", "this is a gzip archive", "gunzip FILE"),
    (b"\xfd7zXZ\0", "this is an xz archive", "unxz FILE"),
    (b"BZh91AY", "this is a bzip2 archive", "bunzip2 FILE"),
    (b"SQLite format 3\0" + bytes(60), "this is a database of NSS", "pk12util -o FILE.p12"),
    (b"\0\x06\x15\x61" + bytes(60), "this is a database of NSS", "pk12util -o FILE.p12"),
    (b"kych\0\1\0\0" + bytes(60), "this is a keychain of macOS", "security export -k FILE"),
    (b"\x1e\xf1\xb5\xb0" + bytes(60), "this is a PVK file", "openssl rsa -inform PVK"),
    (b"\0\0\0\0CERT" + bytes(60), "this is a certificate store of Windows (SST)", "certutil -exportPFX"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "this is a file of Outlook or Office", "save the attachment"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "this is a pointer of Git LFS", "git lfs pull"),
    (b"$ANSIBLE_VAULT;1.1;AES256\n3132\n", "this file is encrypted by Ansible", "ansible-vault decrypt FILE"),
    (b"data:application/x-pkcs12;base64,MIIK", "this is a data URL", "after the comma"),
    (b'{"error": {"code": "Denied"}}', "this is JSON", "as PEM"),
    (b'\xef\xbb\xbf[\n  {"certificate": "MIIB"}]', "this is JSON", "as PEM"),
    (b"[]", "this is JSON", "as PEM"),
    (b"apiVersion: v1\nkind: Secret\ndata:\n  tls.crt: LS0t\n", "this is a secret of Kubernetes", "base64 -d"),
    (b'{\n  "apiVersion": "v1",\n\n  "kind": "Secret"}', "this is a secret of Kubernetes", "base64 -d"),
    (b'{"kind": "Secret", "data": {"tls.crt": "LS0t"}}', "this is a secret of Kubernetes", "base64 -d"),
    (b"<soap:Envelope><a/></soap:Envelope>", "this is XML", "as PEM or PKCS#7"),
    (b"<RSAKeyValue><Modulus>AQAB</Modulus></RSAKeyValue>", "this is XML", "as PEM or PKCS#7"),
    (b"<root>\n<certificate/></root>", "this is XML", "as PEM or PKCS#7"),
    (b"PK\x05\x06" + bytes(18), "this is a ZIP archive, and it is empty", "send the certificate itself"),
    (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host\n", "this is a public key of SSH", "with its private key"),
    (b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "this is a public key of SSH", "with its private key"),
    (der(LEAF).hex().encode(), "this is hexadecimal text", "xxd -r -p FILE"),
    (der(LEAF).hex(":").upper().encode(), "this is hexadecimal text", "xxd -r -p FILE"),
    (pem(LEAF).hex().encode(), "this is hexadecimal text", "xxd -r -p FILE"),
    (pem(LEAF).replace(b"-----BEGIN ", b"-----BEGIN"), "its BEGIN lines are damaged", "send the original file"),
    (quote(pem(LEAF).decode()).encode(), "this is text in URL encoding", "unquote_plus"),
    (quote_plus(pem(LEAF).decode()).encode(), "this is text in URL encoding", "unquote_plus"),
    (tar(), "this is a tar archive", "tar -xf FILE"),
    (b"00000000: 3082 0a0d 3082 094f  0...0..O\n", "this is a hex dump", "send the file itself"),
    (b"00000000  2d 2d 2d 2d 2d 42 45 47  |-----BEG|\n", "this is a hex dump", "send the file itself"),
    (pem(LEAF).replace(b"-----", b"----"), "its BEGIN lines are damaged", "send the original file"),
    (
        pem(LEAF).replace(b"-----", "\u2014\u2013\u2014".encode()),
        "its BEGIN lines are damaged",
        "send the original file",
    ),
    (pem(LEAF).lower(), "its BEGIN lines are damaged", "in capital letters"),
    (
        b"MIME-Version: 1.0\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nMIIB",
        "this is an encrypted mail",
        "openssl cms -decrypt",
    ),
    (b"<center><h1>502 Bad Gateway</h1></center>", "this is a web page (HTML)", "download the file itself"),
    (b"From: ca@example.com\nSubject: Your certificate\n\nattached", "this is an e-mail", "save its attachment"),
]


@pytest.mark.parametrize(("data", "what", "command"), FOREIGN)
def test_a_file_of_another_kind_is_named_with_what_to_do(data: bytes, what: str, command: str) -> None:
    for sent in (data, octets_of(base64.b64encode(data).decode()), base64.b64encode(data)):
        for text in (import_refusal(sent), merge_refusal(sent)):
            assert text.startswith(what)
            assert command in text
            assert "password" not in text


@pytest.mark.parametrize(
    "pasted",
    [
        PFX.decode("utf-8", "replace"),
        PFX.decode("latin-1"),
        PFX.decode("cp1252", "replace"),
        PFX.decode("cp437"),
        "\ufeff" + PFX.decode("latin-1"),
    ],
)
def test_a_pfx_that_went_through_a_text_editor_is_told(pasted: str) -> None:
    in_utf16 = [pasted.removeprefix("\ufeff").encode(form) for form in ("utf-16", "utf-16-le", "utf-16-be")]
    for sent in (octets_of(pasted), pasted.encode(), *in_utf16):
        text = import_refusal(sent)
        assert text.startswith("this is a binary file, such as a PFX, that went through a text editor")
        assert "base64 -w0 FILE" in text


def test_pem_in_a_web_page_or_in_a_mail_is_found_all_the_same() -> None:
    page = b"<html><pre>\n" + pem(LEAF) + b"</pre></html>"
    assert read_certificates(page).certificates == [LEAF]
    assert read_certificates(b"Content-Type: text/plain\r\n\r\n" + pem(LEAF)).certificates == [LEAF]


def test_the_field_of_a_request_is_pem_or_base64_in_any_alphabet() -> None:
    for text in (
        pem(LEAF).decode(),
        base64.b64encode(PFX).decode(),
        base64.urlsafe_b64encode(PFX).decode().rstrip("="),
    ):
        assert octets_of(text) in (pem(LEAF), PFX)
    assert "neither PEM" in import_refusal(octets_of("hello, world"))


def test_the_page_of_files_has_every_kind_that_is_named() -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    rows = page.partition("| what the refusal calls it |")[2].splitlines()[2:]
    named = [row.split("|")[1].strip() for row in rows if row.startswith("| ")]
    assert sorted(named) == sorted({what for _, what, _ in FOREIGN})


def test_base64_of_base64_is_told_as_such() -> None:
    for data in (PFX, pem(LEAF)):
        twice = base64.encodebytes(base64.encodebytes(data))
        for text in (import_refusal(twice), merge_refusal(twice)):
            assert text == "this is base64 of base64; decode it once: base64 -d FILE"


def test_a_pfx_where_certificates_belong_is_told() -> None:
    assert merge_refusal(PFX).startswith("this is a PFX file, not a certificate")
    assert pkcs7.serialize_certificates([LEAF], Encoding.DER) != PFX


def import_refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        read_bundle(data, "x", NOW)
    return str(caught.value)


def merge_refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        read_certificates(data)
    return str(caught.value)
