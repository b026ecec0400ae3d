"""How a renewal starts: the same policy, names, tags and authority for the next version."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from certrelay import rules
from certrelay.errors import Booked, Conflict, NameBusy, NotDue, NotFound
from certrelay.keyvault.client import CertificateItem, item_of, version_of
from certrelay.keyvault.tags import authority_of, caller_tags, is_managed, managed_tags, threshold_of, validity_days_of
from certrelay.operations import rate
from certrelay.operations.find import by_key_or_open
from certrelay.operations.submit import Origin, open_operation
from certrelay.renewal.due import can_wait, due_of
from certrelay.rules import default_days
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Kind, Operation

LONGEST_QUEUE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a renewal changes; None: as in the version that it renews."""

    authority: str | None = None
    reuse_key: bool | None = None


def renew(services: Services, vault: str, name: str, origin: Origin, changes: Changes = Changes()) -> Operation:
    """Open the operation that renews the newest version now, due or not: same policy, names, tags and authority.

    Raises NotFound (no such certificate), Conflict (`NotManaged`, or busy), NotPermitted, NotReady."""
    rules.check_authority_exists(services, changes.authority)
    open_one = _open_renewal(services, vault, name, origin, changes)
    return open_one or _open(services, vault, name, origin, changes, _managed_bundle(services, vault, name))


def renew_if_due(services: Services, vault: str, name: str, origin: Origin) -> Operation:
    """The same, unless the newest version is not due: by its dates or its renewal window, enabled, and not backed off.

    As long as it can wait, the rates must let it start within hours, so that what expires sooner never queues behind
    it. Raises what `renew` raises, and Conflict (`NotDue`, `Booked`)."""
    open_one = _open_renewal(services, vault, name, origin, Changes())
    if open_one is not None:
        return open_one
    bundle = _managed_bundle(services, vault, name)
    item = item_of(bundle)
    if not _is_due(services, vault, item):
        raise NotDue(f"{name} is not due, backs off after a failure, or is disabled")
    if can_wait(item, services.now()) and booked(services, vault, authority_of(item.tags) or "", LONGEST_QUEUE):
        raise Booked(f"{name} is due and can wait: the rates let nothing start for hours")
    return _open(services, vault, name, origin, Changes(), bundle)


def _open_renewal(services: Services, vault: str, name: str, origin: Origin, changes: Changes) -> Operation | None:
    """The renewal that is open, or was begun with the same idempotency key. Raises Conflict when it is another one."""
    found = by_key_or_open(services, vault, name, origin.idempotency_key)
    if found is None or found.kind is not Kind.RENEW:
        return None
    reuses_key = bool(found.request.policy["key_props"].get("reuse_key"))
    same_key = changes.reuse_key in (None, reuses_key)
    if not same_key or changes.authority not in (None, found.request.authority):
        raise NameBusy(f"{name} has another renewal: {found.id} ({found.state})")
    return found


def _managed_bundle(services: Services, vault: str, name: str) -> dict[str, Any]:
    bundle = services.vault(vault).get(name)
    if bundle is None or not bundle.get("cer"):
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    if not is_managed(bundle.get("tags") or {}):
        raise Conflict(f"{name} is not managed by CertRelay; adopt it first", "NotManaged")
    return bundle


def _open(
    services: Services, vault: str, name: str, origin: Origin, changes: Changes, bundle: dict[str, Any]
) -> Operation:
    tags, item = bundle.get("tags") or {}, item_of(bundle)
    authority = changes.authority or authority_of(tags) or ""
    request = renewed_request(services, authority, bundle["policy"], tags, item.enabled)
    request = replace(request, exact=_exact_before(services, vault, name, version_of(bundle)))
    if changes.reuse_key is not None:
        request.policy["key_props"] = {**request.policy["key_props"], "reuse_key": changes.reuse_key}
    rules.check(services, vault, request)
    renewal = replace(origin, kind=Kind.RENEW, replaces=version_of(bundle), expires=item.expires)
    return open_operation(services, vault, name, request, renewal)


def _exact_before(services: Services, vault: str, name: str, version: str) -> tuple[str, ...]:
    """What had to be met exactly by the version that is renewed; nothing when CertRelay did not make it."""
    return next((one.request.exact for one in services.storage.ended(vault, name) if one.version == version), ())


def booked(services: Services, vault: str, authority: str, ahead: timedelta) -> bool:
    """Whether the rates let one more operation begin only later than so far ahead. Raises NotReady."""
    return rate.next_start(services, vault, authority) > services.now() + ahead


def _is_due(services: Services, vault: str, item: CertificateItem) -> bool:
    by_dates = due_of(item)
    if by_dates is None:
        return False
    return services.storage.renewals.record(vault, item.name).about(item.thumbprint).due(by_dates) <= services.now()


def renewed_request(
    services: Services, authority: str, policy: Mapping[str, Any], tags: Mapping[str, str], enabled: bool
) -> CertificateRequest:
    """The request that makes the same certificate again. Raises NotFound when the authority is not configured."""
    known = services.authority(authority)
    kept = {key: value for key, value in policy.items() if key not in ("id", "attributes")}
    issuer = {"issuer": {**(policy.get("issuer") or {}), "name": "Unknown"}}
    days = validity_days_of(tags) or default_days(known.settings)
    threshold = threshold_of(tags)
    own = managed_tags(authority, days, dict([threshold]) if threshold else None)
    return CertificateRequest({**kept, **issuer}, authority, days, {**caller_tags(tags), **own}, enabled)
