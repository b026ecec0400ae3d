"""Check what is wanted against the rules of the vault and the authorities, before anything is sent. Pure.

CertRelay checks everything again, and decides; what is refused here would be refused there.
"""

import contextlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from certrelay_cli import keys
from certrelay_cli.code import endpoints
from certrelay_cli.code.actual import OWN_TAGS
from certrelay_cli.code.names import normalised
from certrelay_cli.code.planner import Change
from certrelay_cli.code.wanted import ENDPOINT_TAG, Wanted

MAX_TAGS = 15  # Key Vault's


def problems(
    wanted: Wanted, vault: Mapping[str, Any], authorities: Mapping[str, Mapping[str, Any]], *, only_tags: bool = False
) -> Iterator[str]:
    """What the rules do not allow, in one clause each, with the rule's owner.

    `vault` and `authorities` (by name) are as `list_vaults` and `list_authorities` answer. `only_tags`: nothing else is
    written."""
    yield from _tag_violations(wanted.tags)
    if only_tags:
        return
    yield from _violations(f"vault {vault['name']}", vault.get("rules") or {}, wanted)
    if wanted.authority is None:
        return
    authority = authorities.get(wanted.authority)
    if authority is None:
        yield f"there is no authority {wanted.authority}; there are: {', '.join(sorted(authorities)) or 'none'}"
        return
    if wanted.authority not in vault["authorities"]:
        yield f"vault {vault['name']} does not allow authority {wanted.authority} (setting authorities)"
    yield from _violations(f"authority {wanted.authority}", authority.get("rules") or {}, wanted)
    yield from _unsupported(wanted, authority)


def endpoint_problems(change: Change, patterns: Sequence[str]) -> Iterator[str]:
    """Whether CertRelay may look at the endpoint that a change writes; one that stays as it is, is not written anew.

    `patterns`: the vault's."""
    written = ((change.body or {}).get("tags") or {}).get(ENDPOINT_TAG)
    if written is None:
        return
    if not any(endpoints.allowed(pattern, endpoints.normalised(written)) for pattern in patterns):
        known = ", ".join(patterns) or "none"
        yield f"{change.name}: endpoint {written} is not allowed by CERTRELAY_ENDPOINTS, which allows: {known}"


def _tag_violations(tags: Mapping[str, str]) -> Iterator[str]:
    if len({*tags, *OWN_TAGS}) > MAX_TAGS:
        own = len(OWN_TAGS)
        yield f"at most {MAX_TAGS - own} tags are allowed, since CertRelay needs {own}"
    yield from (f"{name} is a tag that CertRelay sets; leave it out" for name in tags if name in OWN_TAGS)


def _violations(owner: str, rules: Mapping[str, Any], wanted: Wanted) -> Iterator[str]:
    patterns = rules.get("names") or []
    for name in wanted.dns:
        if patterns and not any(_host_allowed(pattern, name) for pattern in patterns):
            yield f"{owner} does not allow the name {name} (rule names)"
    for name in wanted.ips + wanted.emails + wanted.upns:
        if patterns and not any(_text_allowed(pattern.lower(), name.lower()) for pattern in patterns):
            yield f"{owner} does not allow the name {name} (rule names)"
    kind, size = keys.kind_and_size(wanted.key)
    if kind not in (rules.get("key_types") or ("RSA", "EC")):
        yield f"{owner} does not allow {kind} keys (rule key_types)"
    if kind == "RSA" and size < rules.get("minimum_rsa_size", 2048):
        yield f"{owner} requires RSA keys of at least {rules['minimum_rsa_size']} bits (rule minimum_rsa_size)"
    exportable = rules.get("exportable")
    if exportable is not None and exportable is not wanted.exportable:
        yield f"{owner} requires keys that are {'' if exportable else 'not '}exportable (rule exportable)"
    longest = rules.get("max_validity_days")
    if longest is not None and wanted.days and wanted.authority and wanted.days > longest:
        yield f"{owner} allows a validity of at most {longest} days (rule max_validity_days)"
    if wanted.ca and not rules.get("certificate_authority"):
        yield f"{owner} does not allow CA certificates (rule certificate_authority)"


def _unsupported(wanted: Wanted, authority: Mapping[str, Any]) -> Iterator[str]:
    needed = {
        "wildcard": any(name.startswith("*.") for name in wanted.dns),
        "ip_address": bool(wanted.ips),
        "email": bool(wanted.emails),
        "uri": bool(wanted.uris),
        "user_principal_name": bool(wanted.upns),
        "common_name_only": not wanted.sans,
        "rsa": wanted.key.startswith("RSA"),
        "ec": wanted.key.startswith("EC"),
        "certificate_authority": wanted.ca,
    }
    for feature, is_needed in needed.items():
        if is_needed and feature not in authority["features"]:
            yield f"authority {authority['name']} does not support {feature.replace('_', ' ')}"


def _host_allowed(pattern: str, name: str) -> bool:
    """As the app does it: `*.contoso.example` is any name below; a host name is never allowed by its beginning."""
    try:
        pattern = normalised(pattern)[1]
    except ValueError:
        pattern = pattern.lower()
    if pattern == "*":
        return True
    if pattern.endswith("*"):
        return False
    if pattern.startswith("*.") and "*" not in pattern[1:]:
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    return _covers(pattern, name)


def _text_allowed(pattern: str, name: str) -> bool:
    """A pattern for hosts must not allow an address: anybody chooses the user in front of the host."""
    if "@" in name and pattern != "*" and ("@" not in pattern or ":" in pattern):
        return False
    return _covers(pattern, name)


def _covers(pattern: str, text: str) -> bool:
    """Whether the pattern matches; `*` stands for any text."""
    with contextlib.suppress(ValueError):
        pattern = str(ipaddress.ip_address(pattern))
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
