"""Adopt a certificate that was created or imported elsewhere, so that CertRelay renews it; release a managed one."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from certrelay import rules
from certrelay.access import grants, ownership
from certrelay.callers import Role
from certrelay.certificates.create import MAX_DAYS
from certrelay.errors import Conflict, Fault, Invalid, NotFound
from certrelay.keyvault import policy
from certrelay.keyvault.certificate import moment
from certrelay.keyvault.tags import MAX_TAGS, authority_of, caller_tags, is_managed, managed_tags
from certrelay.operations import find
from certrelay.pki.alternative_names import other_names
from certrelay.pki.certificate import loaded
from certrelay.pki.wording import listed
from certrelay.renewal import renew, two_writes
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest


@dataclass(frozen=True, slots=True)
class Adoption:
    """How to renew an adopted certificate.

    `authority`: its name in the settings. `validity_days`: by default the lifetime of the newest version, but no more
    than the rules and 3,650 days allow. `trigger`: that of a lifetime action, `lifetime_percentage` or
    `days_before_expiry`. `force`: adopt it even if another authority manages it, or if it has names that Key Vault
    cannot request."""

    authority: str
    validity_days: int | None = None
    trigger: Mapping[str, int] | None = None
    force: bool = False


def adopt(services: Services, vault: str, name: str, adoption: Adoption) -> dict[str, Any]:
    """Manage a certificate from now on. It is not renewed at once. May be repeated.

    The caller becomes its owner, unless it has one. Everything is checked before the first write. Key Vault's own
    renewal is switched off last: if the call is cut off, both renew it rather than neither, until the next sweep
    finishes the adoption.
    Returns the CertificateBundle. Raises NotFound, Invalid, NotPermitted (by the rules), Conflict `Managed` (another
    authority manages it), NameBusy, NotReady."""
    services.vault_settings(vault)
    rules.check_authority_exists(services, adoption.authority)
    find.refuse_while_open(services, vault, name)
    client = services.vault(vault)
    bundle = client.get(name)
    if bundle is None or not bundle.get("cer"):
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    tags = bundle.get("tags") or {}
    if is_managed(tags) and two_writes.finish_earlier(services, vault, bundle):
        return adopt(services, vault, name, adoption)
    if authority_of(tags) not in (None, adoption.authority) and not adoption.force:
        raise Conflict(f"{name} is managed by authority {authority_of(tags)}; adopt it with force", "Managed")
    days = adoption.validity_days or _default_days(services, vault, adoption.authority, bundle)
    new_tags = caller_tags(tags) | managed_tags(adoption.authority, days, adoption.trigger)
    _check(name, bundle, adoption, days, new_tags)
    request = renew.renewed_request(services, vault, adoption.authority, bundle["policy"], new_tags, True)
    _check_rules(services, vault, request)
    rules.check_reused_key(services, vault, name, request.policy, bundle)
    grants.require_request(services, Role.OPERATOR, vault, name, grants.wanted_by(request))
    ownership.claim(services, vault, name, "adopted")
    months = {"validity_months": policy.months_of(days)}
    changes = {"issuer": {"name": "Unknown"}, "lifetime_actions": _mail_only(), "x509_props": months}
    adopted, written = two_writes.write(services, vault, bundle, new_tags, changes)
    return {**adopted, "policy": written}


def release(services: Services, vault: str, name: str) -> dict[str, Any]:
    """Stop managing a certificate: CertRelay neither renews it nor keeps a renewal record.

    Returns the CertificateBundle. Raises NotFound, NameBusy, NotReady."""
    services.vault_settings(vault)
    find.refuse_while_open(services, vault, name)
    bundle = services.vault(vault).get(name)
    if bundle is None:
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    tags = caller_tags(bundle.get("tags") or {})
    released = services.vault(vault).call("PATCH", f"/certificates/{name}", {"tags": tags})
    services.storage.renewals.delete(vault, name)
    return released


def _check(name: str, bundle: Mapping[str, Any], adoption: Adoption, days: int, new_tags: Mapping[str, str]) -> None:
    """Check everything that Key Vault might refuse later, or could not do. Raises Invalid with every fault."""
    faults: list[Fault] = []
    if not adoption.force:
        _check_names(name, bundle)
    if adoption.trigger is not None:
        policy.check_trigger(adoption.trigger, policy.months_of(days), "/trigger", faults)
    if len(new_tags) > MAX_TAGS:
        text = f"{name} has too many tags: Key Vault allows {MAX_TAGS}, CertRelay's own included; remove some"
        faults.append(Fault("", text))
    x509_props = bundle["policy"]["x509_props"]
    if not x509_props.get("subject") and not any((x509_props.get("sans") or {}).values()):
        faults.append(Fault("", f"{name} has neither a subject nor alternative names, so it cannot be requested again"))
    if faults:
        raise Invalid(faults)


def _check_rules(services: Services, vault: str, request: CertificateRequest) -> None:
    """What `rules.check` does; a name that cannot be requested stands in the policy, where it can be corrected."""
    try:
        rules.check(services, vault, request)
    except Invalid as error:
        raise Invalid([Fault("", f"{fault.detail}; correct the policy first") for fault in error.faults]) from None


def _check_names(name: str, bundle: Mapping[str, Any]) -> None:
    """Raise Invalid if a renewal would lose names: Key Vault's CSRs have no directory names, registered IDs or other
    names except UPNs."""
    try:
        lost = other_names(loaded(base64.b64decode(bundle["cer"])))
    except (ValueError, Invalid):
        raise Invalid(
            f"the names of the certificate of {name} cannot be read, so a renewal might lack some; adopt it with force"
        ) from None
    if lost:
        raise Invalid(
            f"a renewal of {name} would lack names that Key Vault cannot request: {listed(lost)}; adopt it with force"
        )


def _default_days(services: Services, vault: str, authority: str, bundle: Mapping[str, Any]) -> int:
    """The lifetime of the newest version, as far as the rules and the limit for all requests allow it."""
    not_before, expires = (moment(bundle["attributes"].get(key)) for key in ("nbf", "exp"))
    days = round((expires - not_before).total_seconds() / 86_400) if not_before and expires else 90
    known, of_vault = services.authority(authority).settings, services.vault_settings(vault).rules
    return rules.default_days(known, of_vault, min(max(1, days), MAX_DAYS))


def _mail_only() -> list[dict[str, Any]]:
    return [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}]
