"""When the sweep must read the list of a vault again, by the certificates that it saw there."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from certrelay.keyvault.certificate import CertificateItem
from certrelay.renewal.alerts import overdue_at
from certrelay.renewal.due import due_of
from certrelay.storage.renewal_record import RenewalRecord

# No list rests longer: for tags that others write, and so that a failed renewal is tried again on the same day.
LONGEST_REST = timedelta(hours=6)
LONGEST_RETRY = timedelta(days=1)  # until an authority is asked again; what is later, a wrong clock has set
PATIENCE = 1 / 48  # of the time left at an event: an hour at the default due date of a six-day certificate


def read_by(item: CertificateItem, record: RenewalRecord, now: datetime, period: timedelta) -> datetime:
    """When (UTC) the list must be read again for this certificate: at the latest after LONGEST_REST.

    `period` is the time between two sweeps: what happens between them waits for the second one. What happens later may
    wait for PATIENCE of the time that is left then, if that is longer. What an authority suggests waits for nothing,
    since it counts by the hour (RFC 9773, section 4.2)."""
    rest = LONGEST_REST
    if item.expires is not None and item.enabled:
        for moment, can_wait in _moments(item, record, now):
            patience = max(period, (item.expires - moment) * PATIENCE if can_wait else period)
            rest = min(rest, moment - now + patience)
    return now + rest


def is_quiet(item: CertificateItem, record: RenewalRecord | None, suggests: bool, until: datetime) -> bool:
    """Whether a certificate asks for nothing until then: it is not due, is not to be asked for, and gets no alert; and
    its record, if it has one, is about the newest version and has nothing to finish.

    `suggests`: whether its authority suggests renewals."""
    if not item.enabled or item.expires is None:
        return True
    first = due_of(item) or overdue_at(item) or item.expires
    if min(first, item.expires) <= until:
        return False
    if record is None:
        return not suggests
    if record.unfinished or record.thumbprint not in ("", item.thumbprint) or (suggests and record.ask_at is None):
        return False
    return record.due(first) > until and (record.ask_at is None or until < record.ask_at <= until + LONGEST_RETRY)


def _moments(item: CertificateItem, record: RenewalRecord, now: datetime) -> Iterator[tuple[datetime, bool]]:
    """When it is due (now, if it was due before), is to be asked for, or gets an alert; and whether each can wait."""
    by_dates = due_of(item)
    if by_dates is not None:
        yield max(record.due(by_dates), now), record.renew_at is None
    for moment, can_wait in ((record.ask_at, False), (overdue_at(item), True), (item.expires, True)):
        if moment is not None and moment > now:
            yield moment, can_wait
