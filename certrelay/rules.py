"""What may be asked of an authority and for a vault: names, keys, validity, and what the connector can do."""

import re
from collections.abc import Iterator
from dataclasses import replace

from certrelay.connectors.base import Connector, Feature
from certrelay.errors import Fault, Invalid, NotPermitted
from certrelay.pki.distinguished_names import attributes
from certrelay.pki.names import dns_name, is_ip_address
from certrelay.pki.subject import SubjectNames
from certrelay.services import Services
from certrelay.settings import AuthoritySettings, Rules
from certrelay.storage.operation import CertificateRequest

EMAIL_ADDRESS = ("E", "EMAIL", "EMAILADDRESS", "1.2.840.113549.1.9.1")


def check(services: Services, vault: str, wanted: CertificateRequest) -> None:
    """Raise NotPermitted, naming everything that the rules or the authority do not allow."""
    vault_settings = services.vault_settings(vault)
    found = list(_broken(f"vault {vault}", vault_settings.rules, wanted))
    if wanted.authority is not None:
        authority = services.authority(wanted.authority)
        if vault_settings.authorities and wanted.authority not in vault_settings.authorities:
            found.append(f"vault {vault} does not allow authority {wanted.authority}")
        found += _broken(f"authority {wanted.authority}", authority.settings.rules, wanted)
        found += _beyond(wanted.authority, authority.connector_class, wanted)
    if found:
        raise NotPermitted("; ".join(found), "NotAllowedByRules")


def name_allowed(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns (see certrelay.settings.Rules) covers the name; no patterns cover every name."""
    return not patterns or any(_matches(_normal(pattern), name.lower()) for pattern in patterns)


def _normal(pattern: str) -> str:
    """A host's name in the form in which names are compared: a pattern may be written in Unicode."""
    try:
        return dns_name(pattern)
    except ValueError:
        return pattern.lower()


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*.") and "*" not in pattern[1:]:
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    has_host = "://" in pattern  # which a `*` before it may not carry into the path
    return _covers(pattern, name) and (not has_host or _covers(_host_of(pattern), _host_of(name)))


def _covers(pattern: str, text: str) -> bool:
    """`*` stands for any text. Linear, whatever the pattern is: a regular expression would not be."""
    first, *others = pattern.split("*")
    if not others or not text.startswith(first):
        return pattern == text
    place, last = len(first), others.pop()
    for part in others:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return len(text) - len(last) >= place and text.endswith(last)


def _host_of(uri: str) -> str:
    return re.split(r"[/?#]", uri.partition("://")[2], maxsplit=1)[0]


def _is_for(pattern: str, name: str, names: SubjectNames) -> bool:
    """Whether the pattern is one for this kind of name: the end of a URI, or the beginning of a host's name, is
    whatever the caller likes, and says nothing about whose it is."""
    if pattern == "*" or is_ip_address(name) or name in names.email_addresses + names.user_principal_names:
        return True
    return ":" in pattern if name in names.uris else not pattern.endswith("*")


def _addresses_in(subject: str) -> tuple[str, ...]:
    """An e-mail address in the subject names somebody as well (RFC 5280, section 4.1.2.6)."""
    found = attributes(subject) if subject else []
    return tuple(value for kind, value in found if kind in EMAIL_ADDRESS)


def _broken(who: str, rules: Rules, wanted: CertificateRequest) -> Iterator[str]:
    asked = wanted.expected
    addresses = _addresses_in(wanted.policy["x509_props"].get("subject") or "")
    names = replace(asked.names, email_addresses=asked.names.email_addresses + addresses)
    for name in _all(names):
        fitting = tuple(pattern for pattern in rules.names if _is_for(pattern, name, names))
        if rules.names and not (fitting and name_allowed(fitting, name)):
            yield f"{who} does not allow the name {name}"
    if asked.key_type not in rules.key_types:
        yield f"{who} does not allow {asked.key_type} keys"
    if asked.key_size is not None and asked.key_size < rules.minimum_rsa_size:
        yield f"{who} wants RSA keys of at least {rules.minimum_rsa_size} bits"
    exportable = wanted.policy["key_props"]["exportable"]
    if rules.exportable is not None and exportable is not rules.exportable:
        yield f"{who} wants keys that are {'' if rules.exportable else 'not '}exportable"
    longest = rules.max_validity_days
    days = wanted.validity_days or wanted.policy["x509_props"]["validity_months"] * 31
    if longest is not None and days > longest:
        yield f"{who} allows at most {longest} days of validity"
    if asked.is_ca and not rules.certificate_authority:
        yield f"{who} does not allow CA certificates"


def _beyond(who: str, connector: type[Connector], wanted: CertificateRequest) -> Iterator[str]:
    asked = wanted.expected
    names = asked.names
    needed = {
        Feature.WILDCARD: any(name.startswith("*.") for name in names.dns_names),
        Feature.IP_ADDRESS: bool(names.ip_addresses),
        Feature.EMAIL: bool(names.email_addresses),
        Feature.URI: bool(names.uris),
        Feature.USER_PRINCIPAL_NAME: bool(names.user_principal_names),
        Feature.COMMON_NAME_ONLY: not any(_sans(names)),
        Feature.RSA: asked.key_type == "RSA",
        Feature.EC: asked.key_type == "EC",
        Feature.CERTIFICATE_AUTHORITY: asked.is_ca,
    }
    for feature, is_needed in needed.items():
        if is_needed and feature not in connector.features:
            yield f"authority {who} cannot do {feature.value.replace('_', ' ')}"


def _sans(names: SubjectNames) -> tuple[str, ...]:
    others = names.email_addresses + names.uris + names.user_principal_names
    return names.dns_names + names.ip_addresses + others


def _all(names: SubjectNames) -> tuple[str, ...]:
    common_name = names.common_name
    own = (common_name,) if common_name and common_name not in _sans(names) else ()
    return own + _sans(names)


def check_authority_exists(services: Services, authority: str | None) -> None:
    """Raise Invalid when a caller names an authority that the settings do not have."""
    if authority is not None and authority not in services.settings.authorities:
        known = ", ".join(sorted(services.settings.authorities)) or "none"
        raise Invalid([Fault("/authority", f"there is no authority {authority!r}; known are: {known}")])


def default_days(authority: AuthoritySettings) -> int:
    """The validity, in days, of who asks for none: never more than the authority's own rules allow."""
    return min(authority.default_validity_days, authority.rules.max_validity_days or authority.default_validity_days)
