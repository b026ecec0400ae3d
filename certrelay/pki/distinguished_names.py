"""X.500 strings as Key Vault takes them: RFC 4514 with blanks after the separators, and quoted values as in .NET.

https://learn.microsoft.com/dotnet/api/system.security.cryptography.x509certificates.x500distinguishedname
"""

import re

from certrelay.errors import Fault, Invalid

MAX_LENGTH = 2000

# Possessive throughout: no input makes it backtrack.
_ATTRIBUTE = re.compile(
    r"""\s*+(?:OID\.)?(?P<kind>[A-Za-z][A-Za-z0-9-]*+|[0-2](?:\.[0-9]+)++)\s*+=\s*+
        (?:"(?P<quoted>(?:[^"\\]|\\.|"")*+)"\s*+|(?P<plain>(?:[^",;+<>\\]|\\.)*+))
        (?P<separator>[,;+]|$)""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_TYPES = {
    "S": "ST",
    "SERIALNUMBER": "2.5.4.5",
    **dict.fromkeys(("E", "EMAIL", "EMAILADDRESS"), "1.2.840.113549.1.9.1"),
}
_ESCAPE = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)


def attributes(subject: str) -> list[tuple[str, str]]:
    """The attributes as they are written, types in upper case: `[("CN", "www.contoso.example"), ("O", "Contoso")]`.

    Raises Invalid, pointer `/subject`, when it is no X.500 string or longer than 2000 characters."""
    found = []
    place = 0
    while place < len(subject) <= MAX_LENGTH:
        match = _ATTRIBUTE.match(subject, place)
        if not match:
            break
        quoted, plain = match["quoted"], match["plain"]
        value = quoted.replace('""', '"') if quoted is not None else _trimmed(plain)
        found.append((match["kind"].upper(), _ESCAPE.sub(_unescaped, value)))
        place = match.end()
        if not match["separator"]:
            return found
    raise Invalid([Fault("/subject", "the subject is not an X.500 name such as CN=www.contoso.example, O=Contoso")])


def comparable(name: str) -> list[tuple[str, str]]:
    """A form that is equal for two spellings of one name. Raises Invalid.

    Order (RFC 4514 begins at the end), blanks, case, and the short types of Windows and OpenSSL do not matter."""
    found = [(_TYPES.get(kind, kind), " ".join(value.lower().split())) for kind, value in attributes(name)]
    return sorted(found)


def _trimmed(plain: str) -> str:
    stripped = plain.strip()
    return f"{stripped} " if stripped.endswith("\\") and plain.endswith(f"{stripped} ") else stripped


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return bytes.fromhex(match[1].replace("\\", "")).decode("utf-8", "replace")
    return match[2]
