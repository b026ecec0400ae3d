"""X.500 strings as Key Vault takes them: RFC 4514 with blanks after the separators, and quoted values as in .NET.

https://learn.microsoft.com/dotnet/api/system.security.cryptography.x509certificates.x500distinguishedname
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from certrelay.errors import Fault, Invalid

MAX_LENGTH = 2000
MAX_VALUE = 200  # characters, https://learn.microsoft.com/azure/key-vault/certificates/faq
COUNTRY = 2

# Possessive throughout: no input makes it backtrack.
_ATTRIBUTE = re.compile(
    r"""\s*+(?:OID\.)?(?P<kind>[A-Za-z][A-Za-z0-9-]*+|[0-2](?:\.[0-9]+)++)\s*+=\s*+
        (?:"(?P<quoted>(?:[^"]|"")*+)"\s*+|(?P<plain>(?:[^",;+<>\\]|\\.)*+))
        (?P<separator>[,;+]|$)""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_TYPES = {
    "S": "ST",
    "SERIALNUMBER": "2.5.4.5",
    **dict.fromkeys(("E", "EMAIL", "EMAILADDRESS"), "1.2.840.113549.1.9.1"),
}
_KNOWN = frozenset((
    "CN", "O", "OU", "L", "S", "ST", "C", "E", "EMAIL", "EMAILADDRESS", "DC", "SERIALNUMBER", "STREET", "STREETADDRESS",
    "G", "GN", "GIVENNAME", "SN", "SURNAME", "T", "TITLE", "I", "INITIALS", "DESCRIPTION", "POSTALCODE", "UID",
))  # fmt: skip
_ASCII = frozenset(("E", "EMAIL", "EMAILADDRESS", "1.2.840.113549.1.9.1", "DC", "0.9.2342.19200300.100.1.25"))
_SPECIAL = re.compile(r'[,+="<>#;\\]')
_HEX = re.compile(r"#(?:[0-9A-Fa-f]{2})+")
# RFC 4514, section 2.4. Any other backslash stands for itself, as Key Vault writes it.
_ESCAPE = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\([ \"#+,;<=>\\])")


def attributes(subject: str) -> list[tuple[str, str]]:
    """The attributes as they are written, types in upper case: `[("CN", "www.contoso.example"), ("O", "Contoso")]`.

    Raises Invalid, pointer `/subject`, when it is no X.500 string or longer than 2000 characters."""
    return [(part.kind, part.value) for part in _parts(subject)]


def as_key_vault_takes_it(subject: str) -> str:
    """The X.500 string with quoted values instead of RFC 4514's escapes, which Key Vault does not know.

    A string without escapes stays as it is. Raises Invalid, pointer `/subject`, naming every attribute that Key Vault
    cannot put into a certificate."""
    parts = list(_parts(subject))
    faults = [fault for part in parts if (fault := _fault(part))]
    if faults:
        raise Invalid([Fault("/subject", fault) for fault in faults])
    if "\\" not in subject and not any(part.value.startswith("#") for part in parts):
        return subject
    separators = {",": ", ", ";": ", ", "+": " + ", "": ""}
    return "".join(f"{_label(part.kind)}={_quoted(part.value)}{separators[part.separator]}" for part in parts)


class _Part(NamedTuple):
    """One attribute, and the separator after it. `is_hex`: its value is BER in hex (RFC 4514, section 2.4)."""

    kind: str
    value: str
    separator: str
    is_hex: bool


def _parts(subject: str) -> Iterator[_Part]:
    place = 0
    while place < len(subject) <= MAX_LENGTH:
        match = _ATTRIBUTE.match(subject, place)
        if not match:
            break
        quoted, plain = match["quoted"], match["plain"]
        value = quoted.replace('""', '"') if quoted is not None else _ESCAPE.sub(_unescaped, _trimmed(plain))
        is_hex = quoted is None and _HEX.fullmatch(plain.strip()) is not None
        yield _Part(match["kind"].upper(), value, match["separator"], is_hex)
        place = match.end()
        if not match["separator"]:
            return
    raise Invalid([Fault("/subject", "the subject is not an X.500 name such as CN=www.contoso.example, O=Contoso")])


def _fault(part: _Part) -> str:
    """What keeps the attribute out of a certificate of Key Vault; empty if nothing does."""
    kind, value = part.kind, part.value
    shown = f"{kind} in the subject"
    if kind not in _KNOWN and not kind[0].isdigit():
        return f"{kind} is not an attribute that Key Vault knows; write its object identifier, such as 2.5.4.15"
    if not value.strip():
        return f"{shown} is empty"
    if not value.isprintable():
        return f"{shown} has unprintable characters"
    if len(value) > MAX_VALUE:
        return f"{shown} has more than {MAX_VALUE} characters"
    if part.is_hex:
        return f"{shown} is in hex, which Key Vault does not know; write it as text"
    if kind in _ASCII and not value.isascii():
        return f"{shown} may have ASCII characters only"
    if kind in ("C", "2.5.4.6") and len(value) != COUNTRY:
        return f"{shown} must be a country code of {COUNTRY} letters (ISO 3166)"
    return ""


def _label(kind: str) -> str:
    return f"OID.{kind}" if kind[0].isdigit() else kind


def _quoted(value: str) -> str:
    if not _SPECIAL.search(value) and value == value.strip():
        return value
    return '"' + value.replace('"', '""') + '"'


def comparable(name: str) -> list[tuple[str, str]]:
    """A form that is equal for two spellings of one name. Raises Invalid.

    Order (RFC 4514 begins at the end), blanks, case, and the short types of Windows and OpenSSL do not matter."""
    found = [(_TYPES.get(kind, kind), " ".join(value.lower().split())) for kind, value in attributes(name)]
    return sorted(found)


def _trimmed(plain: str) -> str:
    stripped = plain.strip()
    return f"{stripped} " if stripped.endswith("\\") and plain.endswith(f"{stripped} ") else stripped


def _unescaped(match: re.Match[str]) -> str:
    if not match[1]:
        return match[2]
    try:
        return bytes.fromhex(match[1].replace("\\", "")).decode()
    except UnicodeDecodeError:
        return match[0]
