"""Start a renewal: the next version of a certificate with the same policy, names, tags and authority."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from certrelay import rules
from certrelay.access import ownership
from certrelay.errors import Booked, Conflict, NameBusy, NotDue, NotFound
from certrelay.keyvault.certificate import CertificateItem, item_of, version_of
from certrelay.keyvault.tags import authority_of, caller_tags, is_managed, managed_tags, threshold_of, validity_days_of
from certrelay.operations import rate
from certrelay.operations.find import by_key_or_open, join, of_version, refuse_ended
from certrelay.operations.submit import Origin, earlier_request, open_operation
from certrelay.renewal import two_writes
from certrelay.renewal.due import can_wait, due_of
from certrelay.rules import default_days
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Kind, Operation
from certrelay.storage.renewal_record import RenewalRecord

LONGEST_QUEUE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a renewal changes; None keeps what the renewed version has."""

    authority: str | None = None
    reuse_key: bool | None = None


def renew(services: Services, vault: str, name: str, origin: Origin, changes: Changes = Changes()) -> Operation:
    """Open an operation that renews the newest version now, due or not, or return the renewal that is open already.

    Raises Invalid (unknown authority), NotFound (no such certificate), Conflict (`NotManaged`), NameBusy, NotPermitted,
    NotReady."""
    ownership.require_owner(services, vault, name)
    rules.check_authority_exists(services, changes.authority)
    existing = _open_renewal(services, vault, name, origin, changes)
    if existing is not None:
        return existing
    bundle, _ = _managed_bundle(services, vault, name)
    made = of_version(services, vault, name, version_of(bundle))
    request = _request(services, vault, name, changes, bundle, made)
    earlier_request(services, vault, name, request)
    return open_operation(services, vault, name, request, _renewal(origin, bundle, made))


def renew_if_due(services: Services, vault: str, name: str, origin: Origin) -> Operation:
    """Renew the newest version like `renew`, but only if it is due (by its dates or its renewal window).

    While the certificate can wait, the rate limits must let the renewal start within 6 hours, so that certificates that
    expire sooner never queue behind it. Raises what `renew` raises, NotDue (not due, disabled, or backed off) and
    Booked (the rate limits are exhausted for the next 6 hours)."""
    existing = _open_renewal(services, vault, name, origin, Changes())
    if existing is not None:
        return existing
    bundle, record = _managed_bundle(services, vault, name)
    item = item_of(bundle)
    if not _is_due(services, item, record):
        raise NotDue(f"{name} is not due, is backed off after a failure, or is disabled")
    if can_wait(item, services.now()) and booked(services, vault, authority_of(item.tags) or "", LONGEST_QUEUE):
        raise Booked(f"{name} is due but can wait: the rate limits are exhausted for the next 6 hours")
    made = of_version(services, vault, name, version_of(bundle))
    request = _request(services, vault, name, Changes(), bundle, made)
    return open_operation(services, vault, name, request, _renewal(origin, bundle, made))


def _open_renewal(services: Services, vault: str, name: str, origin: Origin, changes: Changes) -> Operation | None:
    """The renewal that is open or was started with the same idempotency key; None without one.

    Raises NameBusy if it has other changes, or if it has ended and is being closed."""
    existing = by_key_or_open(services, vault, name, origin.idempotency_key)
    if existing is None or existing.kind is not Kind.RENEW:
        return None
    refuse_ended(services, existing, origin.idempotency_key)
    reuses_key = bool(existing.request.policy["key_props"].get("reuse_key"))
    same_key = changes.reuse_key in (None, reuses_key)
    if not same_key or changes.authority not in (None, existing.request.authority):
        text = f"{name} has a different renewal: {existing.id} ({existing.state})"
        raise NameBusy(f"{text}; wait for it, or cancel it first")
    join(services, existing, origin.idempotency_key)
    return existing


def _managed_bundle(services: Services, vault: str, name: str) -> tuple[dict[str, Any], RenewalRecord]:
    """The certificate, after a change that was cut off is finished, with its record."""
    bundle = services.vault(vault).get(name)
    if bundle is None or not bundle.get("cer"):
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    if not is_managed(bundle.get("tags") or {}):
        raise Conflict(f"{name} is not managed by CertRelay; adopt it first", "NotManaged")
    record = services.storage.renewals.record(vault, name).about(item_of(bundle).thumbprint)
    if not record.unfinished:
        return bundle, record
    two_writes.finish(services, record, bundle["tags"])
    return _managed_bundle(services, vault, name)


def _request(
    services: Services, vault: str, name: str, changes: Changes, bundle: dict[str, Any], made: Operation | None
) -> CertificateRequest:
    """`made`: the operation that made the renewed version; what it had to meet exactly, the next one has to."""
    tags = bundle["tags"]
    authority = changes.authority or authority_of(tags) or ""
    request = renewed_request(services, vault, authority, bundle["policy"], tags, item_of(bundle).enabled)
    request = replace(request, exact=made.request.exact if made else ())
    if changes.reuse_key is not None:
        request.policy["key_props"] = {**request.policy["key_props"], "reuse_key": changes.reuse_key}
    ownership.permit_version(services, vault, name, request)  # before the rules: they are not for everybody
    rules.check(services, vault, request)
    rules.check_reused_key(services, vault, name, request.policy, bundle)
    return request


def _renewal(origin: Origin, bundle: dict[str, Any], made: Operation | None) -> Origin:
    renewed = replace(origin, replaces=version_of(bundle), replaced=base64.b64decode(bundle["cer"]))
    signer = (made.authority if made else None) or authority_of(bundle.get("tags") or {})
    renewed = replace(renewed, replaced_signer=signer or "")
    return replace(renewed, kind=Kind.RENEW, expires=item_of(bundle).expires)


def booked(services: Services, vault: str, authority: str, ahead: timedelta) -> bool:
    """Whether the rate limits are exhausted for at least the time `ahead`. Raises NotReady."""
    return rate.next_start(services, vault, authority) > services.now() + ahead


def _is_due(services: Services, item: CertificateItem, record: RenewalRecord) -> bool:
    by_dates = due_of(item)
    return by_dates is not None and record.due(by_dates) <= services.now()


def renewed_request(
    services: Services, vault: str, authority: str, policy: Mapping[str, Any], tags: Mapping[str, str], enabled: bool
) -> CertificateRequest:
    """The request for the next version of a certificate with this policy (Key Vault's JSON) and these tags.

    Raises NotFound if the vault or the authority is not configured."""
    known = services.authority(authority)
    kept = {key: value for key, value in policy.items() if key not in ("id", "attributes")}
    issuer = {"issuer": {**(policy.get("issuer") or {}), "name": "Unknown"}}
    days = validity_days_of(tags) or default_days(known.settings, services.vault_settings(vault).rules)
    threshold = threshold_of(tags)
    managed = managed_tags(authority, days, dict([threshold]) if threshold else None)
    return CertificateRequest({**kept, **issuer}, authority, days, {**caller_tags(tags), **managed}, enabled)
