"""When a certificate is due: pure functions of its dates and tags."""

from datetime import datetime, timedelta

from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import is_managed, threshold_of

DEFAULT_SHARE_LEFT = 1 / 3  # of the lifetime
SHORTEST_LEFT = timedelta(days=3)


def due_at(not_before: datetime, expires: datetime, threshold: tuple[str, int] | None = None) -> datetime:
    """When to renew a certificate: at `threshold` (certrelay.keyvault.tags.threshold_of), by default when a third of
    its lifetime is left.

    At least 3 days (or a sixth of a lifetime shorter than 18 days) are left for retries. At least a third of the
    lifetime passes first, so that a certificate is not renewed right after it was issued."""
    lifetime = expires - not_before
    match threshold:
        case ("lifetime_percentage", number):
            left = lifetime * (1 - min(number, 100) / 100)
        case ("days_before_expiry", number):
            left = timedelta(days=number)
        case _:
            left = lifetime * DEFAULT_SHARE_LEFT
    return expires - min(max(left, min(lifetime / 6, SHORTEST_LEFT)), lifetime * 2 / 3)


def is_renewed(item: CertificateItem) -> bool:
    """Whether a certificate from the list will ever be due: it is managed, enabled, and has an expiry date."""
    return item.enabled and item.expires is not None and is_managed(item.tags)


def due_of(item: CertificateItem) -> datetime | None:
    """When a certificate from the list is due; None if it never is."""
    if item.expires is None or not is_renewed(item):
        return None
    begins = item.not_before or item.created or item.expires
    return due_at(begins, item.expires, threshold_of(item.tags))


def half_time(item: CertificateItem) -> datetime | None:
    """When half of the time between the due date and expiry has passed; None if `due_of` is None."""
    due = due_of(item)
    return due + (item.expires - due) / 2 if due is not None and item.expires is not None else None


def can_wait(item: CertificateItem, now: datetime) -> bool:
    """Whether less than half of the time between the due date and expiry has passed."""
    half = half_time(item)
    return half is not None and now < half
