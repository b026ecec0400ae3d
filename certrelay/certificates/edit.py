"""Edit existing certificates: tags, enabled, policy; delete and recover them; delete a stuck operation."""

from collections.abc import Mapping
from typing import Any

from certrelay import rules
from certrelay.access import grants
from certrelay.callers import Role
from certrelay.certificates import renewal_end
from certrelay.certificates.create import MAX_DAYS
from certrelay.certificates.read import bundle
from certrelay.errors import Conflict, Fault, Invalid, NameBusy, NotFound
from certrelay.keyvault import policy
from certrelay.keyvault.tags import (
    MAX_TAGS,
    authority_of,
    certrelay_tags,
    is_managed,
    threshold_tag,
    validity_days_of,
    validity_tag,
)
from certrelay.operations import find, lease, reconcile
from certrelay.pki.subject import SubjectNames
from certrelay.renewal import renew, two_writes
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Failure, Operation, State
from certrelay.storage.rows import Stale

type Json = dict[str, Any]


def update(
    services: Services,
    vault: str,
    name: str,
    tags: Mapping[str, str] | None,
    enabled: bool | None,
    force: bool = False,
) -> Json:
    """Replace the caller's tags (CertRelay's own stay), and enable or disable the newest version; None keeps either.

    Returns the CertificateBundle. Raises Invalid, NotFound, Conflict `Managed` (a disabled version is not renewed:
    `force` is needed), NotReady."""
    if faults := rules.tag_faults(services, tags or {}):
        raise Invalid(faults)
    current = bundle(services, vault, name)
    if not force:
        authority, written = authority_of(current.get("tags") or {}), current.get("policy") or {}
        renewal_end.refuse(name, current, authority=authority, policy=written, enabled=enabled)
    body: Json = {} if enabled is None else {"attributes": {"enabled": enabled}}
    if tags is not None:
        body["tags"] = dict(tags) | certrelay_tags(current.get("tags") or {})
    if enabled:
        services.storage.renewals.note_change(vault, services.now())
    return services.vault(vault).call("PATCH", f"/certificates/{name}", body)


def update_policy(services: Services, vault: str, name: str, changes: Json, force: bool = False) -> Json:
    """Merge `changes` (Key Vault's JSON) into the policy, as Key Vault does. They apply from the next version on.

    The whole policy has to pass the rules, since Key Vault's own issuers renew by it. Threshold and validity of a
    managed certificate are written to its tags, too, where the sweep reads them.
    Returns the whole policy. Raises Invalid (with every fault), NotPermitted (by the rules, or for the caller),
    NotFound, Conflict `Managed` (Key Vault would no longer renew it: `force` is needed), NotReady."""
    current = bundle(services, vault, name)
    if is_managed(current.get("tags") or {}) and two_writes.finish_earlier(services, vault, current):
        current = bundle(services, vault, name)
    tags = current.get("tags") or {}
    authority = authority_of(tags)
    checked, names = _checked(current.get("policy") or {}, changes, authority)
    trigger = policy.threshold(checked) if "lifetime_actions" in changes else None
    new_tags = {**tags, **threshold_tag(trigger), **_validity(changes, tags)} if authority else tags
    _check_room(new_tags)
    in_charge = authority or checked["issuer"]["name"]
    wanted = grants.wanted_of_policy(in_charge, authority is not None, checked, names)
    grants.require_request(services, Role.OPERATOR, vault, name, wanted)  # before the rules: they are not for everybody
    _check_rules(services, vault, name, current, checked, new_tags)
    if not force:
        renewal_end.refuse(name, current, authority=authority, policy=checked)
    normalised = _normalised(changes, checked)
    if new_tags != tags:
        return two_writes.write(services, vault, current, new_tags, normalised)[1]
    return services.vault(vault).call("PATCH", f"/certificates/{name}/policy", normalised)


def _checked(current: Json, changes: Json, authority: str | None) -> tuple[Json, SubjectNames]:
    """The policy with the changes, complete and normalised, and its names. Raises Invalid with every fault."""
    merged = _merged(current, policy.with_own_kind_of_key(current, changes))
    for key in ("id", "attributes"):
        merged.pop(key, None)
    issuer = (merged.get("issuer") or {}).get("name", "")
    issued_by = authority or ("-" if issuer.lower() == "unknown" else None)
    faults: list[Fault] = []
    names = SubjectNames()
    try:
        merged, names = policy.complete(merged, authority=issued_by, validity_days=None)
    except Invalid as error:
        faults += error.faults
    days = policy.days_of(changes)
    if authority and days is not None and days > MAX_DAYS:
        text = f"must be at most {MAX_DAYS} days when an authority signs"
        faults.append(Fault("/policy/x509_props/validity_months", text))
    if faults:
        raise Invalid([Fault(fault.pointer.removeprefix("/policy"), fault.detail) for fault in faults])
    return merged, names


def _check_rules(
    services: Services, vault: str, name: str, current: Json, checked: Json, tags: Mapping[str, str]
) -> None:
    authority = authority_of(tags)
    if authority in services.settings.authorities:
        request = renew.renewed_request(services, vault, authority or "", checked, tags, True)
    else:
        request = CertificateRequest(checked)
    rules.check(services, vault, request)
    rules.check_reused_key(services, vault, name, checked, current)


def _check_room(tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        text = f"needs a tag more than the {MAX_TAGS} that Key Vault allows, CertRelay's own included; remove one first"
        raise Invalid([Fault("", text)])


def _normalised(changes: Json, checked: Json) -> Json:
    """The changes as they are written: names and subject as in `checked`, and a changed key with all its parts."""
    written = dict(changes)
    if changes.get("key_props"):
        parts = ("kty", "key_size", "crv") if {"kty", "key_size", "crv"} & changes["key_props"].keys() else ()
        whole = {part: checked["key_props"][part] for part in parts if part in checked["key_props"]}
        written["key_props"] = {key: checked["key_props"][key] for key in changes["key_props"]} | whole
    x509_props = changes.get("x509_props") or {}
    if x509_props.get("subject"):
        written["x509_props"] = {**x509_props, "subject": checked["x509_props"]["subject"]}
    if sans := x509_props.get("sans"):
        kinds = {kind: checked["x509_props"]["sans"].get(kind, []) for kind in sans}
        written["x509_props"] = {**written["x509_props"], "sans": kinds}
    return written


def _validity(changes: Json, tags: Mapping[str, str]) -> dict[str, str]:
    """The validity tag for the changes, or nothing.

    The tag has days, the policy only months: sending back the policy as it was read must not change the tag."""
    days, current = policy.days_of(changes), validity_days_of(tags)
    months = policy.months_of(current) if current else None
    return {} if days is None or changes["x509_props"]["validity_months"] == months else validity_tag(days)


def delete(services: Services, vault: str, name: str) -> Json:
    """Soft-delete a certificate with all its versions.

    Returns Key Vault's DeletedCertificateBundle. Raises NotFound, NameBusy (an operation is open), NotReady."""
    services.vault_settings(vault)
    find.refuse_while_open(services, vault, name)
    deleted = services.vault(vault).call("DELETE", f"/certificates/{name}")
    services.storage.renewals.delete(vault, name)
    services.storage.renewals.delete_endpoint(vault, name)
    return deleted


def recover(services: Services, vault: str, name: str) -> Json:
    """Recover a soft-deleted certificate. Returns its CertificateBundle. Raises NotFound, NotReady."""
    services.vault_settings(vault)
    services.storage.renewals.note_change(vault, services.now())
    return services.vault(vault).call("POST", f"/deletedcertificates/{name}/recover")


def delete_pending(services: Services, vault: str, name: str, force: bool) -> Operation | None:
    """Delete a stuck operation: end it as canceled, and delete its pending operation in Key Vault.

    With `force`, also delete a pending operation in Key Vault that CertRelay did not create.
    Returns the operation, or None if CertRelay had none. Raises NotFound (nothing to delete), NameBusy (a worker holds
    it), Conflict `NotOurs` (`force` is needed), NotReady."""
    services.vault_settings(vault)
    operation = services.storage.open(vault, name)
    if operation is None:
        _delete_foreign(services, vault, name, force)
        return None
    if lease.is_held(operation, services.now()):
        raise NameBusy(f"the operation of {name} is being processed; try again in a moment")
    failure = Failure("Deleted", "the operation was deleted on request")
    crashes = operation.crashes + bool(operation.lease_id)  # a lease that expired is a dead worker's, as at a take-over
    ended = operation.moved(State.CANCELED, services.now(), failure=failure, crashes=crashes)
    try:
        services.storage.save(ended.freed())
    except Stale:
        raise NameBusy(f"the operation of {name} is being processed; try again") from None
    lease.wake_up(services, operation)
    return reconcile.advance(services, vault, name) or find.latest(services, vault, name)


def _delete_foreign(services: Services, vault: str, name: str, force: bool) -> None:
    pending = services.vault(vault).pending(name)
    if pending is None:
        raise NotFound(f"{name} has no operation in progress", "NoPendingOperation")
    if not force:
        text = f"CertRelay did not create the pending operation of {name}; delete it with force"
        raise Conflict(text, "NotOurs")
    services.vault(vault).delete_pending(name, pending.request_id)


def _merged(current: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    merged = dict(current)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
