"""Patterns of names, as rules and criteria have them: which names a pattern covers, and to which kinds it applies.

`www.contoso.example` is that name, `*.contoso.example` every host name below it; everything else is matched as text,
with `*` for any.
"""

import re
from functools import lru_cache

from certrelay.pki.names import dns_name, is_ip_address
from certrelay.pki.subject import SubjectNames

_HOST_NAME = re.compile(r"[a-z0-9*_.-]+")


def name_allowed(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns matches the name; without patterns every name is allowed.

    `name` is normalised: a host name as an A-label."""
    return not patterns or any(_matches(form, name.lower()) for pattern in patterns for form in _forms(pattern))


def names_not_allowed(patterns: tuple[str, ...], names: SubjectNames, other_names: tuple[str, ...] = ()) -> list[str]:
    """The names that no pattern allows; none without patterns. `other_names` are of kinds that have no patterns."""
    if not patterns or "*" in patterns:
        return []
    return [name for name in _all(names) if not _is_allowed(patterns, name, names)] + list(other_names)


def _is_allowed(patterns: tuple[str, ...], name: str, names: SubjectNames) -> bool:
    applicable = tuple(pattern for pattern in patterns if _applies(pattern, name, names))
    return bool(applicable) and name_allowed(applicable, name)


def _applies(pattern: str, name: str, names: SubjectNames) -> bool:
    """Whether the pattern applies to this kind of name.

    A caller chooses the end of a URI, the beginning of a host name and the user of an address freely, so these say
    nothing about the owner: a pattern for hosts must allow neither a URI nor `administrator@corp.contoso.example`, and
    a host name must not be allowed by its beginning."""
    if is_ip_address(name):
        return True
    if name in names.uris or "://" in name:
        return ":" in pattern
    if "@" in name or name in names.email_addresses:
        return "@" in pattern and ":" not in pattern
    return not pattern.endswith("*")


@lru_cache(maxsize=1024)
def _forms(pattern: str) -> tuple[str, ...]:
    """The pattern in the forms in which names are compared; a host may be written in Unicode."""
    user, at, host = pattern.rpartition("@")
    try:
        return (pattern.lower(), f"{user.lower()}{at}{dns_name(host)}")
    except ValueError:
        return (pattern.lower(),)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*.") and "*" not in pattern[1:]:
        is_below = name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
        return is_below and _HOST_NAME.fullmatch(name) is not None
    has_host = "://" in pattern  # the hosts are compared, too, so that a `*` in the host does not reach into the path
    return _covers(pattern, name) and (not has_host or _covers(_host_of(pattern), _host_of(name)))


def _covers(pattern: str, text: str) -> bool:
    """Whether the pattern matches; `*` stands for any text. Takes linear time, unlike a regular expression."""
    first, *others = pattern.split("*")
    if not others or not text.startswith(first):
        return pattern == text
    position, last = len(first), others.pop()
    for part in others:
        start = text.find(part, position)
        if start < 0:
            return False
        position = start + len(part)
    return len(text) - len(last) >= position and text.endswith(last)


def _host_of(uri: str) -> str:
    return re.split(r"[/?#]", uri.partition("://")[2], maxsplit=1)[0]


def _all(names: SubjectNames) -> list[str]:
    """All names, each once, the common name first."""
    common = (names.common_name,) if names.common_name else ()
    hosts = names.dns_names + names.ip_addresses
    return list(dict.fromkeys(common + hosts + names.email_addresses + names.uris + names.user_principal_names))
