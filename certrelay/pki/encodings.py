"""Split what people and authorities send into blocks of DER: PEM, base64 or binary, in UTF-8, UTF-16 or Latin-1.

Every function takes time linear in the size of its input.
"""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from certrelay.errors import Invalid
from certrelay.pki.der import element_size
from certrelay.pki.foreign import what_it_is

_LONGEST_HEADER, _SHORTEST_BASE64 = 128, 64
_BEGIN = "-----BEGIN "
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]+")
_MARK = b"\xef\xbb\xbf"
# What text tools put before a binary file; and base64 as a string in a program or in JSON.
_BEFORE_DER = re.compile(rb"(?:\xef\xbb\xbf)?\s*0[\x80-\x84][\x00-\xff]")
_QUOTED_BASE64 = re.compile(rb"[\"']?((?:[A-Za-z0-9+/_=\s-]|\\+(?:[rn/\s]|u00[023][abdf])){64,}+)[\"']?", re.I)
# Each is read once, however many backslashes stand in a row.
_ESCAPE = re.compile(r"(?<!\\)\\+([rn/\n]|u000[ad]|u002[bf]|u003d)", re.IGNORECASE)
_ESCAPED = {"n": "\n", "\n": "\n", "u000a": "\n", "/": "/", "u002f": "/", "u002b": "+", "u003d": "="}
_HEADER = re.compile(r"[A-Za-z-]+:.*")
# Labels of blocks that may hold a certificate or its key. What else is no base64 (a signature of PGP, say) is left out.
_MAY_MATTER = re.compile(r"^(?!PGP |SSH2 |AGE ).*(CERTIFICATE(?! REQUEST)|PRIVATE KEY|PKCS|CMS)|^$")


@dataclass(frozen=True, slots=True)
class Block:
    """`label` of the PEM block, None for what had none; `der` is its content, which may hold a private key.

    `text` is the whole PEM block where it has headers (RFC 1421: an encrypted key of OpenSSL's traditional kind)."""

    label: str | None
    der: bytes = field(repr=False)
    text: str | None = field(default=None, repr=False)


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise ValueError for a panic in cryptography's Rust code, which is a BaseException.

    A short IV in the DEK-Info of a PEM key causes one (cryptography 50)."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("panic") from None


def octets_of(value: str) -> bytes:
    """The bytes of a file in a JSON field: PEM text, or base64. Other text is returned as it is, so that `blocks` can
    say what is wrong with it."""
    if _BEGIN not in value:
        with suppress(ValueError):
            return _decoded(value.translate(_URL_SAFE))
    return value.encode("utf-8", "replace")


def blocks(data: bytes) -> list[Block]:
    """The PEM blocks of `data`, whatever their label and the text around them, or one block without a label for base64
    or binary data. Raises Invalid."""
    if not data.strip():
        raise Invalid("the data is empty; send the file itself")
    data = _bare(data)
    if sentence := what_it_is(data):
        raise Invalid(sentence)
    if (data[:1] == b"\x30" and not data[:64].isascii()) or (data[:2] == b"\x30\x80"):
        return [Block(None, data), *_pem_behind(data)]
    text = _text(data)
    if text is None:
        return [Block(None, data)]
    if _BEGIN in text:
        return [*_pem(text), *_der_behind(data)]
    decoded = _from_base64(text)
    if decoded is None:  # Short DER may be all ASCII, too, but not without control characters.
        return [Block(None, b"" if all(char.isprintable() or char.isspace() for char in text) else data)]
    if sentence := what_it_is(decoded):
        raise Invalid(sentence)
    inner = _text(decoded) or ""
    if _BEGIN in inner:
        return list(_pem(inner))
    if len(inner) >= _SHORTEST_BASE64 and _from_base64(inner) is not None:
        raise Invalid("this is base64 of base64; decode it once: base64 -d FILE")
    return [Block(None, decoded)]


def _bare(data: bytes) -> bytes:
    """DER without what stands before it, and base64 without quotation marks and escaped line ends."""
    if _BEFORE_DER.match(data):
        return data.removeprefix(_MARK).lstrip()
    if quoted := _QUOTED_BASE64.fullmatch(data.strip()):
        return _unescaped(quoted[1].decode()).encode()
    return data


def _pem_behind(data: bytes) -> list[Block]:
    """The PEM that was appended to DER: `cat www.cer www.key`."""
    rest = data[sum(map(len, elements(data))) :]
    return list(_pem(rest.decode("latin-1"))) if _BEGIN.encode() in rest else []


def _der_behind(data: bytes) -> list[Block]:
    """The DER that was appended to PEM."""
    _, _, line = data.rpartition(b"-----END ")
    rest = line.partition(b"-----")[2].lstrip(b"\r\n")
    return [Block(None, rest)] if rest[:1] == b"\x30" and not rest[:64].isascii() else []


def has_text_outside_pem(data: bytes) -> bool:
    """Whether PEM, or the PEM in a base64 file, has text outside its blocks, such as comments or bag attributes."""
    text = _text(data) or ""
    if _BEGIN not in text:
        text = _text(_from_base64(text) or b"") or ""
    before, *parts = _unescaped(text).split(_BEGIN)
    if not parts:
        return False
    return bool(before.strip()) or any(part.partition("-----END ")[2].partition("-----")[2].strip() for part in parts)


def elements(der: bytes) -> Iterator[bytes]:
    """The consecutive SEQUENCEs in `der`, up to the first thing that is none, such as padding or a newline."""
    place = 0
    while der[place : place + 1] == b"\x30":
        size = element_size(der[place : place + _LONGEST_HEADER])
        end = len(der) if size is None else min(place + size, len(der))
        yield der[place:end]
        place = end


_URL_SAFE = str.maketrans("-_", "+/")


def _text(data: bytes) -> str | None:
    """`data` as text; None if it is binary. UTF-16 without a byte order mark has a zero in every other byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        if _BEGIN.encode() in data:  # PowerShell appended to a file in another encoding
            return _trimmed(data.replace(b"\0", b"").decode("latin-1").replace("\xff\xfe", ""))
        encoding = "utf-16"
    elif data[1:2] == b"\0" and data[3:4] == b"\0":
        encoding = "utf-16-le"
    elif data[:1] == b"\0" and data[2:3] == b"\0":
        encoding = "utf-16-be"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if b"-----BEGIN " not in data:
            return None
        text = data.decode("latin-1")
    return _trimmed(text)


def _trimmed(text: str) -> str:
    """Without byte order marks, which are left between files that were put together, and padding at the ends."""
    return text.replace("\ufeff", "").strip("\x00\x1a \t\r\n")


def _pem(text: str) -> Iterator[Block]:
    for part in _unescaped(text).split(_BEGIN)[1:]:
        label, dashes, rest = part.partition("-----")
        body, end, _ = rest.partition("-----END ")
        if not dashes or "\n" in label:
            label, end = label.partition("\n")[0], ""
        label = "".join(char if char.isprintable() else "?" for char in label.strip())  # it is told and logged
        if not end:
            if not _MAY_MATTER.search(label):
                continue
            raise Invalid(
                f"a PEM block is cut off: {label[:60]!r} has a BEGIN line and no END line; send the whole file"
            )
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        headers = [line for line in lines if _HEADER.fullmatch(line)]
        inside = "".join(line for line in lines if not _HEADER.fullmatch(line))
        try:
            der = _decoded(inside)
        except ValueError:
            if _MAY_MATTER.search(label):
                raise Invalid(f"the PEM block {label[:60]!r} is not base64{_why_not(inside)}") from None
            yield Block(label, b"")
            continue
        whole = f"{_BEGIN}{label}-----\n{_with_blank_line(lines, headers)}\n-----END {label}-----\n"
        yield Block(label, der, whole if headers else None)


def _unescaped(text: str) -> str:
    """Text that was pasted out of JSON (perhaps in JSON), a program or an environment variable, as it was before.

    PHP escapes each slash, and .NET each plus sign; in properties a line that goes on ends in a backslash."""
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1].lower(), ""), text)


def _why_not(text: str) -> str:
    """The first character that does not belong into base64, and what to do."""
    strange = next((char for char in text if not _BASE64.fullmatch(char)), None)
    shown = "" if strange is None else f": it has the character {strange!a} in it"
    return f"{shown}; send the original file, not what a mail, a web page or an editor made of it"


def _with_blank_line(lines: list[str], headers: list[str]) -> str:
    return "\n".join([*headers, "", *(line for line in lines if line not in headers)])


def _from_base64(text: str) -> bytes | None:
    """None if the text is no base64."""
    if _BASE64.fullmatch(text):
        with suppress(ValueError):
            return _decoded(text.translate(_URL_SAFE))
    return None


def _decoded(text: str) -> bytes:
    compact = "".join(text.split())
    return base64.b64decode(compact.rstrip("=") + "=" * (-len(compact.rstrip("=")) % 4), validate=True)
