"""Adopt a certificate that was created or imported elsewhere, so that CertRelay renews it; release a managed one."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from certrelay import rules
from certrelay.errors import Conflict, Fault, Invalid, NotFound
from certrelay.keyvault import policy
from certrelay.keyvault.certificate import moment
from certrelay.keyvault.tags import MAX_TAGS, authority_of, caller_tags, managed_tags
from certrelay.operations import find
from certrelay.pki.alternative_names import other_names
from certrelay.pki.wording import listed
from certrelay.renewal import renew
from certrelay.services import Services


@dataclass(frozen=True, slots=True)
class Adoption:
    """How to renew an adopted certificate.

    `authority`: its name in the settings. `validity_days`: by default the lifetime of the newest version. `trigger`:
    that of a lifetime action, `lifetime_percentage` or `days_before_expiry`. `force`: adopt it even if another
    authority manages it, or if it has names that Key Vault cannot request."""

    authority: str
    validity_days: int | None = None
    trigger: Mapping[str, int] | None = None
    force: bool = False


def adopt(services: Services, vault: str, name: str, adoption: Adoption) -> dict[str, Any]:
    """Manage a certificate from now on. It is not renewed at once. May be repeated.

    Key Vault's own renewal is switched off last: if the call is interrupted, both renew it rather than neither.
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
    if authority_of(tags) not in (None, adoption.authority) and not adoption.force:
        raise Conflict(f"{name} is managed by authority {authority_of(tags)}; adopt it with force", "Managed")
    if not adoption.force:
        _check_names(name, bundle)
    days = adoption.validity_days or _lifetime_days(bundle)
    if adoption.trigger is not None:
        faults: list[Fault] = []
        policy.check_trigger(adoption.trigger, policy.months_of(days), "/trigger", faults)
        if faults:
            raise Invalid(faults)
    new_tags = caller_tags(tags) | managed_tags(adoption.authority, days, adoption.trigger)
    if len(new_tags) > MAX_TAGS:
        text = f"{name} has too many tags: Key Vault allows {MAX_TAGS}, CertRelay's own included; remove some"
        raise Invalid([Fault("", text)])
    request = renew.renewed_request(services, adoption.authority, bundle["policy"], new_tags, True)
    rules.check(services, vault, request)
    adopted = client.call("PATCH", f"/certificates/{name}", {"tags": new_tags})
    months = {"validity_months": policy.months_of(days)}
    changes = {"issuer": {"name": "Unknown"}, "lifetime_actions": _mail_only(), "x509_props": months}
    return {**adopted, "policy": client.call("PATCH", f"/certificates/{name}/policy", changes)}


def release(services: Services, vault: str, name: str) -> dict[str, Any]:
    """Stop managing a certificate: CertRelay neither renews it nor keeps a renewal record.

    Returns the CertificateBundle. Raises NotFound, NameBusy, NotReady."""
    services.vault_settings(vault)
    find.refuse_while_open(services, vault, name)
    bundle = services.vault(vault).get(name)
    if bundle is None:
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    tags = caller_tags(bundle.get("tags") or {})
    services.storage.renewals.delete(vault, name)
    return services.vault(vault).call("PATCH", f"/certificates/{name}", {"tags": tags})


def _check_names(name: str, bundle: Mapping[str, Any]) -> None:
    """Raise Invalid if a renewal would lose names: Key Vault's CSRs have no directory names, registered IDs or other
    names except UPNs."""
    try:
        lost = other_names(x509.load_der_x509_certificate(base64.b64decode(bundle["cer"])))
    except ValueError:
        raise Invalid(
            f"the certificate of {name} cannot be read, so a renewal might lack some of its names; adopt it with force"
        ) from None
    if lost:
        raise Invalid(
            f"a renewal of {name} would lack names that Key Vault cannot request: {listed(lost)}; adopt it with force"
        )


def _lifetime_days(bundle: Mapping[str, Any]) -> int:
    not_before, expires = (moment(bundle["attributes"].get(key)) for key in ("nbf", "exp"))
    return max(1, round((expires - not_before).total_seconds() / 86_400)) if not_before and expires else 90


def _mail_only() -> list[dict[str, Any]]:
    return [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}]
