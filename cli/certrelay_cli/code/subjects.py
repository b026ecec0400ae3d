"""Compare X.500 strings, which say the same in several spellings. Pure."""

import re

# As the app reads it: types and values, quoted as in .NET or with the escapes of RFC 4514. Possessive: no backtracking.
_ATTRIBUTE = re.compile(
    r"""\s*+(?:OID\.)?(?P<kind>[^=,;+"]*+)=\s*+
        (?:"(?P<quoted>(?:[^"]|"")*+)"\s*+|(?P<plain>(?:[^",;+\\]|\\.)*+))
        (?P<separator>[,;+]|$)""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ESCAPE = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\([ \"#+,;<=>\\])")


def comparable(subject: str) -> list[tuple[str, str, str]]:
    """Equal for two spellings of one subject: the type, the value, and whether another one of the same part follows.

    Types are in upper case. What is no X.500 string is only equal to itself."""
    found: list[tuple[str, str, str]] = []
    place = 0
    while match := _ATTRIBUTE.match(subject, place):
        quoted, plain = match["quoted"], match["plain"]
        value = quoted.replace('""', '"') if quoted is not None else _ESCAPE.sub(_unescaped, _trimmed(plain))
        found.append((match["kind"].strip().upper(), value, "+" if match["separator"] == "+" else ""))
        place = match.end()
        if not match["separator"]:
            return found
    return [("", subject, "")]


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
