"""Check a request against the rules of its vault and its authority: names, keys, validity, connector features."""

import re
from collections.abc import Iterator
from dataclasses import replace

from certrelay.connectors.base import Connector, Feature
from certrelay.errors import Fault, Invalid, NotPermitted
from certrelay.pki import public_trust
from certrelay.pki.distinguished_names import attributes
from certrelay.pki.names import dns_name, is_ip_address
from certrelay.pki.subject import SubjectNames
from certrelay.services import Services
from certrelay.setting_models import AuthoritySettings, Rules
from certrelay.storage.operation import CertificateRequest

EMAIL_ADDRESS = ("E", "EMAIL", "EMAILADDRESS", "1.2.840.113549.1.9.1")


def check(services: Services, vault: str, request: CertificateRequest) -> None:
    """Raise NotPermitted `NotAllowedByRules`, naming everything that the rules or the connector do not allow.

    Raises NotFound when the vault or the authority is not in the settings."""
    vault_settings = services.vault_settings(vault)
    violations = list(_violations(f"vault {vault}", vault_settings.rules, request))
    if request.authority is not None:
        authority = services.authority(request.authority)
        if vault_settings.authorities and request.authority not in vault_settings.authorities:
            violations.append(f"vault {vault} does not allow authority {request.authority}")
        violations += _violations(f"authority {request.authority}", authority.settings.rules, request)
        violations += _unsupported(request.authority, authority.connector_class, request)
    if violations:
        raise NotPermitted("; ".join(violations), "NotAllowedByRules")


def name_allowed(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns (certrelay.settings.Rules) matches the name; without patterns every name is allowed.

    `name` is normalised: a host name as an A-label."""
    return not patterns or any(_matches(_normal(pattern), name.lower()) for pattern in patterns)


def _normal(pattern: str) -> str:
    """The pattern in the form in which names are compared; a host name may be written in Unicode."""
    try:
        return dns_name(pattern)
    except ValueError:
        return pattern.lower()


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*.") and "*" not in pattern[1:]:
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
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


def _is_for(pattern: str, name: str, names: SubjectNames) -> bool:
    """Whether the pattern applies to this kind of name.

    A caller chooses the end of a URI and the beginning of a host name freely, so these say nothing about the owner: a
    pattern for hosts must not allow a URI, and a host name must not be allowed by its beginning."""
    if pattern == "*" or is_ip_address(name) or name in names.email_addresses + names.user_principal_names:
        return True
    return ":" in pattern if name in names.uris else not pattern.endswith("*")


def _addresses_in(subject: str) -> tuple[str, ...]:
    """The e-mail addresses in a subject (RFC 5280, section 4.1.2.6): the rules for names apply to them, too."""
    pairs = attributes(subject) if subject else []
    return tuple(value for kind, value in pairs if kind in EMAIL_ADDRESS)


def _violations(holder: str, rules: Rules, request: CertificateRequest) -> Iterator[str]:
    """What the rules of `holder` (`vault main`, `authority corp`) do not allow, in one clause each."""
    expected = request.expected
    addresses = _addresses_in(request.policy["x509_props"].get("subject") or "")
    names = replace(expected.names, email_addresses=expected.names.email_addresses + addresses)
    for name in _all(names):
        applicable = tuple(pattern for pattern in rules.names if _is_for(pattern, name, names))
        if rules.names and not (applicable and name_allowed(applicable, name)):
            yield f"{holder} does not allow the name {name}"
    if expected.key_type not in rules.key_types:
        yield f"{holder} does not allow {expected.key_type} keys"
    if expected.key_size is not None and expected.key_size < rules.minimum_rsa_size:
        yield f"{holder} requires RSA keys of at least {rules.minimum_rsa_size} bits"
    exportable = request.policy["key_props"]["exportable"]
    if rules.exportable is not None and exportable is not rules.exportable:
        yield f"{holder} requires keys that are {'' if rules.exportable else 'not '}exportable"
    longest = rules.max_validity_days
    days = request.validity_days or request.policy["x509_props"]["validity_months"] * 31
    if longest is not None and days > longest:
        yield f"{holder} allows a validity of at most {longest} days"
    if expected.is_ca and not rules.certificate_authority:
        yield f"{holder} does not allow CA certificates"
    if rules.public_trust:
        yield from (f"{holder}: {fault}" for fault in public_trust.name_faults(expected.names))


def _unsupported(authority: str, connector: type[Connector], request: CertificateRequest) -> Iterator[str]:
    """What the connector does not support, in one clause each."""
    expected = request.expected
    names = expected.names
    needed = {
        Feature.WILDCARD: any(name.startswith("*.") for name in names.dns_names),
        Feature.IP_ADDRESS: bool(names.ip_addresses),
        Feature.EMAIL: bool(names.email_addresses),
        Feature.URI: bool(names.uris),
        Feature.USER_PRINCIPAL_NAME: bool(names.user_principal_names),
        Feature.COMMON_NAME_ONLY: not any(_sans(names)),
        Feature.RSA: expected.key_type == "RSA",
        Feature.EC: expected.key_type == "EC",
        Feature.CERTIFICATE_AUTHORITY: expected.is_ca,
    }
    for feature, is_needed in needed.items():
        if is_needed and feature not in connector.features:
            yield f"authority {authority} does not support {feature.value.replace('_', ' ')}"


def _sans(names: SubjectNames) -> tuple[str, ...]:
    others = names.email_addresses + names.uris + names.user_principal_names
    return names.dns_names + names.ip_addresses + others


def _all(names: SubjectNames) -> tuple[str, ...]:
    common_name = names.common_name
    extra = (common_name,) if common_name and common_name not in _sans(names) else ()
    return extra + _sans(names)


def check_authority_exists(services: Services, authority: str | None) -> None:
    """Raise Invalid if a caller names an authority that is not in the settings; None is fine."""
    if authority is not None and authority not in services.settings.authorities:
        known = ", ".join(sorted(services.settings.authorities)) or "none"
        raise Invalid([Fault("/authority", f"there is no authority {authority!r}; the settings have: {known}")])


def default_days(authority: AuthoritySettings) -> int:
    """The validity, in days, of a request that names none: never more than the authority's rules allow."""
    return min(authority.default_validity_days, authority.rules.max_validity_days or authority.default_validity_days)
