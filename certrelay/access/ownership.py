"""The owners of certificates: who becomes one, and what a Requester may do with certificates of its own.

A Requester is at home with new names and its own certificates: new versions with the same names by the same authority,
renewals, and cancellations of what it, or the app itself, has asked for. All else needs an Operator.
"""

import base64
from contextlib import suppress
from dataclasses import replace
from typing import Any

from cryptography import x509

from certrelay.access import grants
from certrelay.access.grants import Wanted
from certrelay.callers import Caller, Role
from certrelay.errors import Invalid, NotFound, NotPermitted, NotReady, SoftDeleted
from certrelay.keyvault import policy
from certrelay.keyvault.certificate import moment
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.pki.certificate import loaded
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Operation
from certrelay.storage.owners import Owner, OwnerChange, Ownership
from certrelay.storage.rows import Stale

MACHINE = ("sweep", "event")  # who requests the renewals that the app starts by itself

type Json = dict[str, Any]

log = logger("ownership")


def owner(services: Services, vault: str, name: str) -> Owner | None:
    """Who owns the certificate: an object or application id of Entra ID, or `function key`. Raises NotReady."""
    changes = owners(services, vault, name)
    return Owner(changes[-1].owner, changes[-1].owner_name) if changes else None


def owners(services: Services, vault: str, name: str) -> tuple[OwnerChange, ...]:
    """Who has owned the certificate, oldest first. Raises NotReady."""
    ownership = services.storage.owners.get(vault, name)
    return ownership.changes if ownership else ()


def permit_version(
    services: Services, vault: str, name: str, request: CertificateRequest, *, force: bool = False
) -> bool:
    """Check that the caller may ask for this version. Returns whether it has to be the owner: a Requester has to.

    Raises NotPermitted (`NotGranted`, `NotOwner`, `OperatorNeeded`), SoftDeleted, NotReady."""
    wanted = grants.wanted_by(request)
    if not _must_own(services, vault, name, wanted, force):
        return False
    current = services.vault(vault).get(name)
    _require_own_or_new(services, vault, name, current)
    if current is not None and current.get("cer"):
        _refuse_changes(name, _before(current, from_policy=True), wanted)
    return True


def wanted_by_import(leaf: x509.Certificate, written: Json) -> Wanted:
    """What an import of this certificate with this policy (Key Vault's JSON) would be: Key Vault, or an authority that
    adopts it, renews it by the policy, so that names in there count as well. Raises Invalid if one is malformed."""
    issuer = (written.get("issuer") or {}).get("name") or grants.UNKNOWN
    wanted, later = grants.wanted_in(leaf, issuer), policy.names(written)
    addresses = grants.wanted_of_policy(issuer, False, written, later).names.email_addresses
    both: dict[str, Any] = {
        kind: tuple(dict.fromkeys(getattr(wanted.names, kind) + getattr(later, kind)))
        for kind in ("dns_names", "ip_addresses", "uris", "user_principal_names")
    }
    both["email_addresses"] = tuple(dict.fromkeys(wanted.names.email_addresses + addresses))
    common = (later.common_name,) if later.common_name not in (None, wanted.names.common_name) else ()
    return replace(wanted, names=replace(wanted.names, **both), more_names=wanted.more_names + common)


def permit_import(
    services: Services, vault: str, name: str, wanted: Wanted, current: Json | None, *, force: bool
) -> bool:
    """Check that the caller may import this over `current` (Key Vault's CertificateBundle; None: it is new).

    Returns and raises what `permit_version` does."""
    if not _must_own(services, vault, name, wanted, force):
        return False
    _require_own_or_new(services, vault, name, current)
    if current is not None and current.get("cer"):
        _refuse_changes(name, _before(current, from_policy=False), wanted)
    return True


def require_owner(services: Services, vault: str, name: str) -> None:
    """Raise NotPermitted unless the caller owns the certificate or is an Operator for it. Raises NotReady."""
    if not grants.may(services, Role.OPERATOR, vault, name):
        ownership = services.storage.owners.get(vault, name)
        if ownership is None:
            raise _without_owner(name)
        _require_owner(services.caller, ownership)


def permit_cancel(services: Services, operation: Operation) -> None:
    """Raise NotPermitted unless the caller may cancel the operation: an Operator, or the owner of the certificate if
    it, or the app itself, has requested the operation. Raises NotReady."""
    require_owner(services, operation.vault, operation.name)
    caller = services.caller
    if caller is None or grants.may(services, Role.OPERATOR, operation.vault, operation.name):
        return
    if operation.requested_by not in (*caller.ids, *MACHINE):
        text = f"somebody else has requested the operation of {operation.name}; to cancel it, Operator is needed"
        raise NotPermitted(text, "OperatorNeeded")


def claim(services: Services, vault: str, name: str, why: str, *, must_own: bool = False) -> None:
    """Make the caller the owner, unless the certificate has one. To be called before anything else is written.

    `why`: created, imported or adopted. `must_own`: raise NotPermitted `NotOwner` if somebody else is the owner.
    Raises NotReady."""
    caller = services.caller
    if caller is None:
        return
    if caller.ids:
        shown = caller.display_name
        change = OwnerChange(caller.ids[0], services.now(), caller.name, why, owner_name=shown, by_name=shown)
        if services.storage.owners.insert(Ownership(vault, name, (change,))):
            return
    if must_own:
        ownership = services.storage.owners.get(vault, name)
        if ownership is None:
            raise _without_owner(name)
        _require_owner(caller, ownership)


def transfer(services: Services, vault: str, name: str, new_owner: str) -> Ownership:
    """Make `new_owner` (an object or application id of Entra ID, or `function key`) the owner. May be repeated.

    Returns the ownership. Raises NotFound (no such certificate), NotReady."""
    services.vault_settings(vault)
    by = services.caller.name if services.caller else "app"
    for _ in range(5):
        current = services.storage.owners.get(vault, name)
        if current is not None and current.owner == new_owner:
            return current
        if current is None and services.vault(vault).get(name) is None:
            raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
        before = current or Ownership(vault, name, ())
        names = {**before.names, by: services.caller_name}
        change = OwnerChange(new_owner, services.now(), by, "transferred", names.get(new_owner, ""), names[by])
        changed = replace(before, changes=(*before.changes, change))
        if not _written(services, changed):
            continue
        with about(vault=vault, certificate=name):
            log.info("%s has transferred the certificate to %s", by, new_owner)
        return changed
    raise NotReady(f"the owner of {name} is being changed; try again", 1)


def _written(services: Services, changed: Ownership) -> bool:
    """Write the ownership as it was changed. Returns False if somebody else was faster."""
    if not changed.etag:
        return services.storage.owners.insert(changed)
    try:
        services.storage.owners.replace(changed)
    except Stale:
        return False
    return True


def _must_own(services: Services, vault: str, name: str, wanted: Wanted, force: bool) -> bool:
    """Whether the caller asks for this as a Requester, which gives it no `force`. Raises NotPermitted."""
    if grants.role_for(services, vault, name, wanted) >= Role.OPERATOR:
        return False
    if force:
        raise NotPermitted(f"force needs the role Operator for {name}; you are Requester there", "OperatorNeeded")
    return True


def _require_own_or_new(services: Services, vault: str, name: str, current: Json | None) -> None:
    """Raise NotPermitted unless the caller owns the name or nobody has it, in Key Vault neither."""
    ownership = services.storage.owners.get(vault, name)
    if ownership is not None:
        _require_owner(services.caller, ownership)
        return
    if current is not None:
        raise _without_owner(name)
    if services.caller is None or not services.caller.ids:
        text = "your token has no object id, so you could not own the certificate; Operator is needed"
        raise NotPermitted(text, "OperatorNeeded")
    with suppress(NotFound):
        deleted = services.vault(vault).call("GET", f"/deletedcertificates/{name}")
        until = moment(deleted.get("scheduledPurgeDate"))
        kept = f"can be recovered until {until.isoformat()}" if until else "can be recovered"
        raise SoftDeleted(f"{name} was deleted and {kept}; the role Operator is needed for that")


def _require_owner(caller: Caller | None, ownership: Ownership) -> None:
    if caller is not None and ownership.owner not in caller.ids:
        text = f"{ownership.name} belongs to somebody else; its owner or the role Operator is needed"
        raise NotPermitted(text, "NotOwner")


def _without_owner(name: str) -> NotPermitted:
    text = f"{name} has no owner here, so the role Operator is needed; an Operator can give it one"
    return NotPermitted(text, "NotOwner")


def _before(current: Json, *, from_policy: bool) -> Wanted | None:
    """What the certificate is now, by its policy or by its newest version; None if that cannot be read."""
    written = current.get("policy") or {}
    issuer = str((written.get("issuer") or {}).get("name") or grants.UNKNOWN)
    authority = authority_of(current.get("tags") or {})
    try:
        if from_policy:
            return grants.wanted_of_policy(authority or issuer, authority is not None, written, policy.names(written))
        found = grants.wanted_in(loaded(base64.b64decode(current["cer"])), issuer)
    except (Invalid, ValueError):
        return None
    return replace(found, authority=authority or issuer, managed=authority is not None)


def _refuse_changes(name: str, before: Wanted | None, wanted: Wanted) -> None:
    """Raise NotPermitted if this is no more of the same: with other names, or by another authority or issuer."""
    changes = []
    if before is None or _set_of(before) != _set_of(wanted):
        changes.append("other names")
    if before is None or (before.authority.lower(), before.managed) != (wanted.authority.lower(), wanted.managed):
        was = before.authority if before else "an unreadable one"
        changes.append(f"another authority or issuer ({wanted.authority} instead of {was})")
    if changes:
        text = f"a new version of {name} with {' and '.join(changes)} needs the role Operator"
        raise NotPermitted(text, "OperatorNeeded")


def _set_of(wanted: Wanted) -> frozenset[tuple[str, str]]:
    """The names without their order; a common name only if it is none of the alternative names."""
    names = wanted.names
    kinds = {"dns": names.dns_names, "ip": names.ip_addresses, "email": names.email_addresses, "uri": names.uris,
             "upn": names.user_principal_names, "cn": wanted.more_names, "other": wanted.unknown_names}  # fmt: skip
    found = {(kind, name) for kind, values in kinds.items() for name in values}
    common = names.common_name
    return frozenset(found | ({("cn", common)} if common and common not in {name for _, name in found} else set()))
