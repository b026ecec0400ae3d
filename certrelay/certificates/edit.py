"""Changing what is there: tags, enabled, policy; deleting and recovering; freeing a name."""

from collections.abc import Mapping
from typing import Any

from certrelay.certificates.read import bundle
from certrelay.errors import Conflict, Fault, Invalid, NameBusy, NotFound
from certrelay.keyvault import policy
from certrelay.keyvault.tags import (
    authority_of,
    certrelay_tags,
    check_tags,
    threshold_tag,
    validity_days_of,
    validity_tag,
)
from certrelay.operations import find, lease, reconcile
from certrelay.services import Services
from certrelay.storage.operation import Failure, Operation, State
from certrelay.storage.tables import Stale

type Json = dict[str, Any]


def update(services: Services, vault: str, name: str, tags: Mapping[str, str] | None, enabled: bool | None) -> Json:
    """Replace the caller's tags (CertRelay's own stay), or switch the newest version on or off; the bundle."""
    faults: list[Fault] = []
    check_tags(tags or {}, faults)
    if faults:
        raise Invalid(faults)
    current = bundle(services, vault, name)
    body: Json = {} if enabled is None else {"attributes": {"enabled": enabled}}
    if tags is not None:
        body["tags"] = dict(tags) | certrelay_tags(current.get("tags") or {})
    return services.vault(vault).call("PATCH", f"/certificates/{name}", body)


def update_policy(services: Services, vault: str, name: str, changes: Json) -> Json:
    """Merge `changes` into the policy, as Key Vault does; the whole policy. It holds from the next version on.

    Threshold and validity of a managed certificate are kept in its tags as well, where sweep and renewal read them."""
    current = bundle(services, vault, name)
    tags = current.get("tags") or {}
    authority = authority_of(tags)
    merged = _merged(current.get("policy") or {}, changes)
    for key in ("id", "attributes"):
        merged.pop(key, None)
    issuer = (merged.get("issuer") or {}).get("name", "")
    checked, _ = policy.complete(
        merged, authority=authority or ("-" if issuer.lower() == "unknown" else None), validity_days=None
    )
    answer = services.vault(vault).call("PATCH", f"/certificates/{name}/policy", _normalised(changes, checked))
    trigger = policy.threshold(checked) if "lifetime_actions" in changes else None
    own = {**threshold_tag(trigger), **_validity(changes, tags)} if authority else {}
    if own:
        services.vault(vault).call("PATCH", f"/certificates/{name}", {"tags": {**tags, **own}})
    return answer


def _normalised(changes: Json, checked: Json) -> Json:
    """The changes with the names as `checked` has them: A-labels without a trailing dot, as in a new certificate."""
    sans = (changes.get("x509_props") or {}).get("sans")
    if not sans:
        return changes
    found = {kind: checked["x509_props"]["sans"].get(kind, []) for kind in sans}
    return changes | {"x509_props": changes["x509_props"] | {"sans": found}}


def _validity(changes: Json, tags: Mapping[str, str]) -> dict[str, str]:
    """The tag knows days, the policy only months: a policy that is read and sent back changes nothing."""
    days, kept = policy.days_of(changes), validity_days_of(tags)
    months = policy.months_of(kept) if kept else None
    return {} if days is None or changes["x509_props"]["validity_months"] == months else validity_tag(days)


def delete(services: Services, vault: str, name: str) -> Json:
    """Soft-delete it; Key Vault's DeletedCertificateBundle. Raises Conflict while an operation is open."""
    services.vault_settings(vault)
    find.refuse_while_open(services, vault, name)
    answer = services.vault(vault).call("DELETE", f"/certificates/{name}")
    services.storage.renewals.delete(vault, name)
    return answer


def recover(services: Services, vault: str, name: str) -> Json:
    """Bring a soft-deleted certificate back; its bundle."""
    services.vault_settings(vault)
    return services.vault(vault).call("POST", f"/deletedcertificates/{name}/recover")


def delete_pending(services: Services, vault: str, name: str, force: bool) -> Operation | None:
    """Free a name: end our operation as canceled, whatever it waits for, and delete its pending operation in Key Vault.

    With `force` also a pending operation in Key Vault that is not ours; then None.
    Raises NotFound, Conflict, NotReady."""
    services.vault_settings(vault)
    operation = services.storage.open(vault, name)
    if operation is None:
        _delete_foreign(services, vault, name, force)
        return None
    if lease.is_held(operation, services.now()):
        raise NameBusy(f"the operation of {name} is being worked on; try again in a moment")
    failure = Failure("Deleted", "the operation was deleted by hand")
    try:
        services.storage.save(operation.moved(State.CANCELED, services.now(), failure=failure).freed())
    except Stale:
        raise NameBusy(f"the operation of {name} is being worked on; ask again") from None
    lease.wake_up(services, operation)
    return reconcile.advance(services, vault, name) or find.latest(services, vault, name)


def _delete_foreign(services: Services, vault: str, name: str, force: bool) -> None:
    pending = services.vault(vault).pending(name)
    if pending is None:
        raise NotFound(f"{name} has no operation in progress", "NoPendingOperation")
    if not force:
        raise Conflict(f"the pending operation of {name} is not CertRelay's; delete it with force", "NotOurs")
    services.vault(vault).delete_pending(name, pending.request_id)


def _merged(current: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    merged = dict(current)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
