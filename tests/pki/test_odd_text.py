"""PEM as terminals, mails, editors and programs leave it: read, or refused with what stands in the way."""

import base64
import contextlib
import json
import time
from collections.abc import Callable

import pytest

from certrelay.errors import Invalid
from certrelay.pki.contents import read_certificates
from tests.pki.builders import pem
from tests.pki.bundles import EC_KEY, EC_LEAF, ISSUING, key_as, read_bundle

CHAIN = pem(EC_LEAF, ISSUING.certificate)
FILE = key_as(key=EC_KEY) + CHAIN
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\nVersion: GnuPG v2\n\niQEzBAEB\n=abcd\n-----END PGP SIGNATURE-----\n"
PGP_KEY = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----\n"


def refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        read_bundle(data, None)
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        base64.b64encode(FILE),
        base64.encodebytes(FILE.replace(b"\n", b"\r\n")),
        base64.b64encode(FILE.decode().encode("utf-16")),
        json.dumps({"file": FILE.decode().replace("\n", "\r\n")}, indent=2).encode(),
        b'KEY="' + key_as(key=EC_KEY).replace(b"\n", b"\\n") + b'"\nCERT="' + CHAIN.replace(b"\n", b"\\n") + b'"\n',
        b"# -----BEGIN is what each of these starts with\n" + FILE,
        b'"' + base64.b64encode(FILE) + b'"\n',
        base64.encodebytes(FILE).replace(b"\n", b"\\r\\n"),
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + FILE + SIGNATURE,
        FILE + SIGNATURE,
        FILE + PGP_KEY,
        b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n" + FILE,
    ],
    ids=[
        *("base64", "CRLF", "UTF-16", "JSON", "shell", "comment", "quotes", "escaped", "PGP message", "signature"),
        *("PGP key", "SSH2"),
    ],
)
def test_a_certificate_with_its_key_is_found_in_odd_text(data: bytes) -> None:
    assert read_bundle(data, None).chain == (EC_LEAF, ISSUING.certificate)


def in_php(text: str) -> str:
    return json.dumps(text).replace("/", "\\/")


def in_dotnet(text: str) -> str:
    return json.dumps(text).replace("+", "\\u002B").replace("=", "\\u003d")


@pytest.mark.parametrize("write", [json.dumps, in_php, in_dotnet])
def test_what_writers_of_json_escape_is_read(write: Callable[[str], str]) -> None:
    once = write(FILE.decode())
    for escaped in (once, once[1:-1], json.dumps(once), json.dumps({"file": once})):
        assert read_bundle(escaped.encode(), None).chain == (EC_LEAF, ISSUING.certificate)
    for text in (base64.b64encode(FILE), base64.encodebytes(FILE)):
        for escaped in (write(text.decode()), write(text.decode())[1:-1]):
            assert read_bundle(escaped.encode(), None).chain == (EC_LEAF, ISSUING.certificate)


def test_properties_whose_lines_go_on_are_read() -> None:
    assert read_bundle(b"file=" + FILE.replace(b"\n", b"\\n\\\n"), None).chain == (EC_LEAF, ISSUING.certificate)


def test_backslashes_are_read_once() -> None:
    started = time.process_time()
    for data in (b"\\" * 200_000, FILE + b"\\" * 200_000, b"A" * 64 + b"\\" * 200_000 + b"!"):
        with contextlib.suppress(Invalid):
            read_bundle(data, None)
    assert time.process_time() - started < 8


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + key_as(key=EC_KEY) + b"\xef\xbb\xbf" + CHAIN,
        key_as(key=EC_KEY).decode().encode("utf-16") + CHAIN,
    ],
)
def test_byte_order_marks_between_files_that_were_put_together_are_no_text(data: bytes) -> None:
    assert read_bundle(data, None, strict=True).changes == ()


@pytest.mark.parametrize(
    ("data", "character"),
    [
        (b"".join(b"> " + line + b"\n" for line in FILE.splitlines()), "'>'"),
        (b"<html>" + FILE.replace(b"\n", b"<br>\n"), "'<'"),
        (FILE.decode().replace("\n", "\u200b\n").encode(), "'\\u200b'"),
        (FILE.decode().replace("\n", " \u2026\n").encode(), "'\\u2026'"),
        (b"-----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----\n" + CHAIN, "'*'"),
    ],
)
def test_a_character_that_does_not_belong_is_named_with_what_to_do(data: bytes, character: str) -> None:
    text = refusal(data)
    assert f"is not base64: it has the character {character} in it; send the original file" in text


@pytest.mark.parametrize("label", ["PRIVATE KEY", "CERTIFICATE"])
def test_a_block_that_is_cut_off_is_named(label: str) -> None:
    text = refusal(FILE.replace(f"-----END {label}-----\n".encode(), b""))
    assert text == f"a PEM block is cut off: '{label}' has a BEGIN line and no END line; send the whole file"


@pytest.mark.parametrize("data", [FILE.replace(b"-----", b"----"), FILE.replace(b"-----BEGIN", b"----- BEGIN")])
def test_begin_lines_that_an_editor_changed_are_told(data: bytes) -> None:
    assert refusal(data).startswith("its BEGIN lines are damaged: PEM has five hyphens before and after BEGIN")


def test_what_is_nothing_known_is_told_how_pem_begins() -> None:
    assert refusal(b"hello").endswith(
        "send the original file, or as PEM, which begins with -----BEGIN CERTIFICATE-----"
    )


@pytest.mark.parametrize("message", [CHAIN + SIGNATURE, base64.b64encode(CHAIN), json.dumps([CHAIN.decode()]).encode()])
def test_an_answer_is_read_as_a_file_is(message: bytes) -> None:
    assert read_certificates(message).certificates == [EC_LEAF, ISSUING.certificate]


@pytest.mark.parametrize("odd", ["\0", "\x1b[31m", "\u202e"])
@pytest.mark.parametrize("label", ["PRIVATE KEY", "CERTIFICATE", "X509 CRL"])
def test_a_label_cannot_bring_control_characters_into_a_sentence(odd: str, label: str) -> None:
    changed = (
        FILE
        + f"-----BEGIN {label[:4]}{odd}{label[4:]}-----\nMAA=\n-----END {label[:4]}{odd}{label[4:]}-----\n".encode()
    )
    changes = read_bundle(changed, None).changes
    assert changes
    assert all(sentence.isprintable() for sentence in changes)
    alone = refusal(changed[len(FILE) :])
    assert alone.isprintable()
