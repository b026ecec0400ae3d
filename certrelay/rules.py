"""What may be asked: the rules of a vault and of an authority, for requests and for certificates.

Both sets of rules hold. They bind every way in: creation by any issuer, import, adoption, renewal, changes of a policy,
and each certificate before it is merged.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from certrelay import endpoints
from certrelay.connectors.base import Connector, Feature
from certrelay.errors import Fault, Invalid, NotPermitted
from certrelay.keyvault import policy
from certrelay.keyvault.certificate import version_of
from certrelay.keyvault.tags import ENDPOINT, check_tags, endpoint_of, tag_pointer
from certrelay.pki import extensions, public_trust, purposes, verify
from certrelay.pki.alternative_names import other_names
from certrelay.pki.distinguished_names import attributes
from certrelay.pki.names import names_of
from certrelay.pki.patterns import names_not_allowed
from certrelay.pki.subject import SubjectNames
from certrelay.pki.wording import bounded
from certrelay.services import Services
from certrelay.setting_models import AuthoritySettings, Rules
from certrelay.storage.operation import CertificateRequest
from certrelay.validation import ALIAS

EMAIL_ADDRESS = ("E", "EMAIL", "EMAILADDRESS", "1.2.840.113549.1.9.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Properties:
    """What the rules look at, in a request or in a certificate.

    `names`: with the e-mail addresses of the subject. `other_names`: of kinds that Key Vault cannot request.
    `exportable`: None if it is not known. `days`: the validity. `exists`: it is a certificate, and no request."""

    names: SubjectNames
    other_names: tuple[str, ...] = ()
    key_type: str
    key_size: int | None
    exportable: bool | None
    days: int
    is_ca: bool
    exists: bool = False
    extended_key_usages: tuple[str, ...]


def check(services: Services, vault: str, request: CertificateRequest) -> None:
    """Raise NotPermitted `NotAllowedByRules`, naming everything that the rules or the connector do not allow.

    Raises NotFound when the vault or the authority is not in the settings."""
    requested = _requested(request)
    violations = list(_issuer_violations(services, vault, request.authority, request.issuer))
    for holder, rules in _holders(services, vault, request.authority):
        violations += _violations(holder, rules, requested)
    if request.authority is not None:
        connector = services.authority(request.authority).connector_class
        violations += _unsupported(request.authority, connector, request)
    _raise_unless_none(violations)


def check_import(services: Services, vault: str, chain: Sequence[x509.Certificate], written: Mapping[str, Any]) -> None:
    """Check a certificate that comes with its key, and the policy (Key Vault's JSON) that is written with it.

    Its whole lifetime counts if Key Vault renews it by itself, for as long again. `chain`: the certificate first.
    Raises what `check` raises."""
    exportable = bool((written.get("key_props") or {}).get("exportable", True))
    issuer = policy.issuer_of(written)
    violations = list(_issuer_violations(services, vault, None, issuer))
    since = services.now() if issuer.lower() == "unknown" else chain[0].not_valid_before_utc
    found = _found(chain[0], since, exportable)
    holder, own = f"vault {vault}", services.vault_settings(vault).rules
    violations += _violations(holder, own, found)
    if not verify.has_pin(chain[1:], own.issuer_pins):
        violations.append(f"{holder} requires one of its pinned issuers in the chain (rule issuer_pins)")
    if own.public_trust:
        faults = public_trust.certificate_faults(chain[0])
        violations += [f"{holder}: the certificate {fault} (rule public_trust)" for fault in faults]
    _raise_unless_none(violations)


def certificate_violations(
    services: Services, vault: str, authority: str, leaf: x509.Certificate, exportable: bool | None
) -> list[str]:
    """What the rules of the vault and of the authority do not allow in an issued certificate, in one clause each.

    `limits` has the rules about its chain, and those of public trust."""
    found = _found(leaf, services.now(), exportable)
    holders = _holders(services, vault, authority)
    return [violation for holder, own in holders for violation in _violations(holder, own, found)]


def limits(services: Services, vault: str, authority: str) -> verify.Limits:
    """What the answer of an authority for a vault is verified by: the strictest of both sets of rules."""
    of_vault, of_authority = (_limits(rules) for _, rules in _holders(services, vault, authority))
    return of_authority.merged(of_vault)


def check_reused_key(services: Services, vault: str, name: str, written: Mapping[str, Any], bundle: Any) -> None:
    """Raise Invalid if the next version would reuse a key that is not exportable, and make it exportable.

    `written`: the policy for the next version; `bundle`: the CertificateBundle of the newest one. What is known of its
    key is what CertRelay requested, or else what the policy says. Raises NotReady."""
    key = written["key_props"]
    if not (key.get("reuse_key") and key.get("exportable")) or not bundle or not bundle.get("cer"):
        return
    version = version_of(bundle)
    requested = [one.request.policy for one in services.storage.ended(vault, name) if one.version == version]
    current = next((one["key_props"] for one in requested if "key_props" in one), None)
    current = current or (bundle.get("policy") or {}).get("key_props") or {}
    if current.get("exportable") is False:
        text = "the key is not exportable, so it cannot be reused as an exportable one: set exportable to false"
        raise Invalid([Fault("/policy/key_props/exportable", f"{text}, or reuse_key to false")])


def tag_faults(services: Services, tags: Mapping[str, str]) -> list[Fault]:
    """The faults of the tags that a caller wants: of their size and names, and of the endpoint that one of them is."""
    faults: list[Fault] = []
    check_tags(tags, faults)
    written = endpoint_of(tags)
    try:
        if written is not None and services.settings.networks_of(endpoints.parse(written)) is None:
            known = ", ".join(rule.pattern for rule in services.settings.endpoints) or "none"
            faults.append(Fault(tag_pointer(ENDPOINT), f"is not allowed by CERTRELAY_ENDPOINTS, which allows: {known}"))
    except ValueError as error:
        faults.append(Fault(tag_pointer(ENDPOINT), str(error)))
    return faults


def check_authority_exists(services: Services, authority: str | None) -> None:
    """Raise Invalid if a caller names an authority that is not in the settings, or that none of its grants is for.

    To be called before anything tells of the authority's rules; None is fine."""
    if authority is not None and not services.knows_authority(authority):
        text = f"there is no authority {authority!r}; the settings have: {services.known_authorities}"
        raise Invalid([Fault("/authority", text)])


def default_days(authority: AuthoritySettings, of_vault: Rules | None = None, days: int | None = None) -> int:
    """The validity, in days, of a request that names none: never more than the rules of both allow.

    `days`: what it would be without rules; None for the authority's default."""
    longest = [rules.max_validity_days for rules in (authority.rules, of_vault) if rules]
    return min([days or authority.default_validity_days, *(limit for limit in longest if limit is not None)])


def _holders(services: Services, vault: str, authority: str | None) -> list[tuple[str, Rules]]:
    """The sets of rules that hold, each with the words for whose they are."""
    holders = [(f"vault {vault}", services.vault_settings(vault).rules)]
    if authority is not None:
        holders.append((f"authority {authority}", services.authority(authority).settings.rules))
    return holders


def _issuer_violations(services: Services, vault: str, authority: str | None, issuer: str) -> Iterator[str]:
    """A vault's `authorities` names authorities, and Key Vault's own issuers by names that are no aliases."""
    allowed = services.vault_settings(vault).authorities
    if not allowed or (authority is None and issuer.lower() == "unknown"):
        return
    if authority is not None and authority not in allowed:
        yield f"vault {vault} does not allow authority {authority} (setting authorities)"
    issuers = {name.lower() for name in allowed if not ALIAS.fullmatch(name)}
    if authority is None and issuer.lower() not in issuers:
        yield f"vault {vault} does not allow issuer {issuer} (setting authorities)"


def _requested(request: CertificateRequest) -> _Properties:
    expected, x509_props = request.expected, request.policy["x509_props"]
    subject = x509_props.get("subject")
    addresses = tuple(value for kind, value in (attributes(subject) if subject else ()) if kind in EMAIL_ADDRESS)
    return _Properties(
        names=replace(expected.names, email_addresses=expected.names.email_addresses + addresses),
        key_type=expected.key_type,
        key_size=expected.key_size,
        exportable=request.policy["key_props"]["exportable"],
        days=request.validity_days or policy.calendar_days(x509_props["validity_months"]),
        is_ca=expected.is_ca,
        extended_key_usages=tuple(x509_props.get("ekus") or ()),
    )


def _found(leaf: x509.Certificate, since: datetime, exportable: bool | None) -> _Properties:
    """The properties of a readable certificate; its validity counts from `since`, with a day's grace."""
    names, key = names_of(leaf), leaf.public_key()
    addresses = tuple(str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS))
    known = {rsa.RSAPublicKey: "RSA", ec.EllipticCurvePublicKey: "EC"}
    return _Properties(
        names=replace(names, email_addresses=names.email_addresses + addresses),
        other_names=other_names(leaf),
        key_type=next((name for kind, name in known.items() if isinstance(key, kind)), "other"),
        key_size=key.key_size if isinstance(key, rsa.RSAPublicKey) else None,
        exportable=exportable,
        days=math.ceil((leaf.not_valid_after_utc - since) / timedelta(days=1)) - 1,
        is_ca=extensions.is_ca(leaf),
        exists=True,
        extended_key_usages=extensions.extended_key_usages(leaf) or (),
    )


def _violations(holder: str, rules: Rules, one: _Properties) -> Iterator[str]:
    """What the rules of `holder` (`vault main`, `authority corp`) do not allow, in one clause each, with the rule."""
    for name in names_not_allowed(rules.names, one.names, one.other_names):
        yield f"{holder} does not allow the name {name} (rule names)"
    if one.key_type not in rules.key_types:
        yield f"{holder} does not allow {one.key_type} keys (rule key_types)"
    if one.key_size is not None and one.key_size < rules.minimum_rsa_size:
        yield f"{holder} requires RSA keys of at least {rules.minimum_rsa_size} bits (rule minimum_rsa_size)"
    if None not in (rules.exportable, one.exportable) and one.exportable is not rules.exportable:
        yield f"{holder} requires keys that are {'' if rules.exportable else 'not '}exportable (rule exportable)"
    if rules.max_validity_days is not None and one.days > rules.max_validity_days:
        yield f"{holder} allows a validity of at most {rules.max_validity_days} days (rule max_validity_days)"
    if one.is_ca and not (one.exists if rules.certificate_authority is None else rules.certificate_authority):
        yield f"{holder} does not allow CA certificates (rule certificate_authority)"
    yield from _usage_violations(holder, rules, one.extended_key_usages)
    if rules.public_trust:
        yield from (f"{holder}: {fault} (rule public_trust)" for fault in public_trust.name_faults(one.names))


def _usage_violations(holder: str, rules: Rules, usages: tuple[str, ...]) -> Iterator[str]:
    allowed = rules.extended_key_usages
    forbidden = [usage for usage in usages if usage not in allowed]
    if allowed and forbidden:
        named = purposes.purposes(forbidden)
        yield f"{holder} does not allow the extended key usage {named} (rule extended_key_usages)"
    if usages:
        return
    if rules.requires_extended_key_usage or allowed:
        rule = "extended_key_usages" if allowed else "requires_extended_key_usage"
        yield f"{holder} requires an extended key usage: without any, a certificate is good for all (rule {rule})"


def _unsupported(authority: str, connector: type[Connector], request: CertificateRequest) -> Iterator[str]:
    """What the connector does not support, in one clause each."""
    expected = request.expected
    names = expected.names
    others = names.email_addresses + names.uris + names.user_principal_names
    needed = {
        Feature.WILDCARD: any(name.startswith("*.") for name in names.dns_names),
        Feature.IP_ADDRESS: bool(names.ip_addresses),
        Feature.EMAIL: bool(names.email_addresses),
        Feature.URI: bool(names.uris),
        Feature.USER_PRINCIPAL_NAME: bool(names.user_principal_names),
        Feature.COMMON_NAME_ONLY: not any(names.dns_names + names.ip_addresses + others),
        Feature.RSA: expected.key_type == "RSA",
        Feature.EC: expected.key_type == "EC",
        Feature.CERTIFICATE_AUTHORITY: expected.is_ca,
    }
    for feature, is_needed in needed.items():
        if is_needed and feature not in connector.features:
            yield f"authority {authority} does not support {feature.value.replace('_', ' ')}"


def _limits(rules: Rules) -> verify.Limits:
    return verify.Limits(
        max_validity_days=rules.max_validity_days,
        keep_root=rules.keep_root,
        issuer_pins=rules.issuer_pins,
        public_trust=rules.public_trust,
        extra_names=rules.extra_names,
        requires_extended_key_usage=rules.requires_extended_key_usage,
    )


def _raise_unless_none(violations: list[str]) -> None:
    if violations:
        raise NotPermitted("; ".join(bounded(violations)), "NotAllowedByRules")
