"""Adoption: a certificate that was made or imported elsewhere is from now on renewed by an authority of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from certrelay import rules
from certrelay.errors import Conflict, Fault, Invalid, NotFound
from certrelay.keyvault import policy
from certrelay.keyvault.client import moment
from certrelay.keyvault.tags import MAX_TAGS, authority_of, caller_tags, managed_tags
from certrelay.operations import find
from certrelay.renewal import renew
from certrelay.services import Services


@dataclass(frozen=True, slots=True)
class Adoption:
    """`trigger` is a lifetime action's: `lifetime_percentage` or `days_before_expiry`. Without `validity_days` the
    lifetime stays what it is now. `force` takes the certificate from another authority."""

    authority: str
    validity_days: int | None = None
    trigger: Mapping[str, int] | None = None
    force: bool = False


def adopt(services: Services, vault: str, name: str, asked: Adoption) -> dict[str, Any]:
    """Look after the newest version from now on; the CertificateBundle. Nothing is renewed at once. May be repeated.

    Key Vault's own renewal is switched off last: cut off in between, both would renew it, rather than nobody.
    Raises NotFound, Invalid, NotPermitted, Conflict, NotReady."""
    services.vault_settings(vault)
    rules.check_authority_exists(services, asked.authority)
    find.refuse_while_open(services, vault, name)
    kept = services.vault(vault)
    bundle = kept.get(name)
    if bundle is None or not bundle.get("cer"):
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    tags = bundle.get("tags") or {}
    if authority_of(tags) not in (None, asked.authority) and not asked.force:
        raise Conflict(f"{name} is managed by authority {authority_of(tags)}; take it with force", "Managed")
    days = asked.validity_days or _lifetime_days(bundle)
    if asked.trigger is not None:
        faults: list[Fault] = []
        policy.check_trigger(asked.trigger, policy.months_of(days), "/trigger", faults)
        if faults:
            raise Invalid(faults)
    wanted_tags = caller_tags(tags) | managed_tags(asked.authority, days, asked.trigger)
    if len(wanted_tags) > MAX_TAGS:
        raise Invalid([Fault("", f"{name} has too many tags: Key Vault allows 15, and CertRelay needs some")])
    request = renew.renewed_request(services, asked.authority, bundle["policy"], wanted_tags, True)
    rules.check(services, vault, request)
    adopted = kept.call("PATCH", f"/certificates/{name}", {"tags": wanted_tags})
    months = {"validity_months": policy.months_of(days)}
    ours = {"issuer": {"name": "Unknown"}, "lifetime_actions": _mail_only(), "x509_props": months}
    return {**adopted, "policy": kept.call("PATCH", f"/certificates/{name}/policy", ours)}


def release(services: Services, vault: str, name: str) -> dict[str, Any]:
    """Look after it no longer: no renewal, no alarm. Raises NotFound, Conflict (an operation is open), NotReady."""
    services.vault_settings(vault)
    find.refuse_while_open(services, vault, name)
    bundle = services.vault(vault).get(name)
    if bundle is None:
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    theirs = caller_tags(bundle.get("tags") or {})
    services.storage.renewals.delete(vault, name)
    return services.vault(vault).call("PATCH", f"/certificates/{name}", {"tags": theirs})


def _lifetime_days(bundle: Mapping[str, Any]) -> int:
    begins, ends = (moment(bundle["attributes"].get(edge)) for edge in ("nbf", "exp"))
    return max(1, round((ends - begins).total_seconds() / 86_400)) if begins and ends else 90


def _mail_only() -> list[dict[str, Any]]:
    return [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}]
