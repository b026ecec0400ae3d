"""When a certificate is due, and how its renewal starts. Key Vault's own dates decide; events are hints."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from certrelay import rules
from certrelay.errors import Conflict, NotFound
from certrelay.keyvault.client import CertificateItem, item_of, version_of
from certrelay.keyvault.tags import authority_of, caller_tags, is_managed, managed_tags, threshold_of, validity_days_of
from certrelay.operations import find, rate, submit
from certrelay.rules import default_days
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Kind, Operation

DEFAULT_SHARE_LEFT = 1 / 3
SHORTEST_LEFT = timedelta(days=3)
LONGEST_QUEUE = timedelta(hours=6)


def due_at(not_before: datetime, expires: datetime, threshold: tuple[str, int] | None = None) -> datetime:
    """When a certificate is to be renewed: at its threshold (`certrelay.keyvault.tags.threshold_of`), or by
    default when a third of its lifetime is left.

    There are always 3 days (or a sixth of a shorter lifetime) for several tries, and a third of the lifetime passes
    first, so that no renewal follows upon the last one."""
    lifetime = expires - not_before
    match threshold:
        case ("lifetime_percentage", number):
            left = lifetime * (1 - min(number, 100) / 100)
        case ("days_before_expiry", number):
            left = timedelta(days=number)
        case _:
            left = lifetime * DEFAULT_SHARE_LEFT
    return expires - min(max(left, min(lifetime / 6, SHORTEST_LEFT)), lifetime * 2 / 3)


def due_of(item: CertificateItem) -> datetime | None:
    """When a certificate of the list is due; None when CertRelay does not look after it."""
    if not is_managed(item.tags) or not item.enabled or item.expires is None:
        return None
    begins = item.not_before or item.created or item.expires
    return due_at(begins, item.expires, threshold_of(item.tags))


def half_time(item: CertificateItem) -> datetime | None:
    """When half of the time for the renewal of a certificate of the list is over; None when CertRelay does not look
    after it."""
    due = due_of(item)
    return due + (item.expires - due) / 2 if due is not None and item.expires is not None else None


def can_wait(item: CertificateItem, now: datetime) -> bool:
    """Whether less than half of the time for the renewal of a certificate of the list has passed."""
    half = half_time(item)
    return half is not None and now < half


def renew(
    services: Services,
    vault: str,
    name: str,
    *,
    requested_by: str,
    reason: str,
    only_if_due: bool,
    authority: str | None = None,
    reuse_key: bool | None = None,
    idempotency_key: str | None = None,
) -> Operation:
    """Open the operation that renews the newest version: same policy, tags and authority, unless another is named.

    `only_if_due`: by its dates or its authority's suggestion, enabled, and not at rest after a failure; and, as long as
    it can wait, only if the rates let it begin within hours, so that what expires sooner never queues behind it.
    Raises NotFound (no such certificate), Conflict (`NotManaged`, `NotDue`, `Booked`, or busy), NotPermitted,
    NotReady."""
    begun = find.by_key_or_open(services, vault, name, idempotency_key)
    if begun is not None and begun.kind is Kind.RENEW:
        asked = authority or begun.request.authority, reuse_key if reuse_key is not None else _reuses(begun)
        if asked != (begun.request.authority, _reuses(begun)):
            raise Conflict(f"{name} has another renewal: {begun.id} ({begun.state})", "NameBusy")
        return begun
    bundle = services.vault(vault).get(name)
    if bundle is None or not bundle.get("cer"):
        raise NotFound(f"there is no certificate {name!r} in vault {vault}", "CertificateNotFound")
    tags = bundle.get("tags") or {}
    authority = authority or authority_of(tags)
    if authority is None or not is_managed(tags):
        raise Conflict(f"{name} is not managed by CertRelay; adopt it first", "NotManaged")
    item = item_of(bundle)
    if only_if_due and not _is_due(services, vault, item):
        raise Conflict(f"{name} is not due, rests after a failure, or is disabled", "NotDue")
    if only_if_due and can_wait(item, services.now()) and booked(services, vault, authority, LONGEST_QUEUE):
        raise Conflict(f"{name} is due and can wait: the rates let nothing begin for hours", "Booked")
    wanted = renewed_request(services, authority, bundle["policy"], tags, item.enabled)
    if reuse_key is not None:
        wanted.policy["key_props"] = {**wanted.policy["key_props"], "reuse_key": reuse_key}
    rules.check(services, vault, wanted)
    origin = submit.Origin(
        requested_by=requested_by, kind=Kind.RENEW, reason=reason, replaces=version_of(bundle), expires=item.expires,
        idempotency_key=idempotency_key,
    )  # fmt: skip
    return submit.open_operation(services, vault, name, wanted, origin)


def _reuses(operation: Operation) -> bool:
    return bool(operation.request.policy["key_props"].get("reuse_key"))


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
