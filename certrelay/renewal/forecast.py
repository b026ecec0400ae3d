"""The forecast: what will be renewed when, and whether the rate limits of the authorities allow it."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.errors import BadContinuation, CertRelayError, Fault, Invalid
from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.renewal.due import due_of
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

LIST = "forecast"  # for its continuations
LONGEST_PAGING = timedelta(days=1)  # from the first page to the last one
SHORTEST_PERIOD = timedelta(hours=1)

log = logger("forecast")


@dataclass(frozen=True, slots=True)
class Expected:
    """One future renewal, of a version that expires at `expires`. One whose `due` is past is for the next sweep.

    Both times are UTC."""

    vault: str
    name: str
    authority: str
    due: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """The number of renewals of one authority on one day.

    `date`: YYYY-MM-DD (UTC). `capacity`: how many a day the authority's rate limit allows; None without a limit."""

    date: str
    authority: str
    renewals: int
    capacity: int | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """`renewals`: a page of them, soonest first; `continuation`: where the next one starts, None at the end. `days`:
    counts of all. Certificates of `unreadable_vaults` are in neither."""

    renewals: list[Expected]
    days: list[Day]
    unreadable_vaults: list[str]
    continuation: str | None


def expected(services: Services, days: int, limit: int = 500, continuation: str | None = None) -> Forecast:
    """The renewals of the next `days` days that the caller may read, at most `limit` of them.

    They follow from the certificate lists and the renewal records (renewal windows and back-offs).
    A new version is assumed to live as long as the one before it, and to be renewed again. Overdue renewals count for
    today. A vault that cannot be read is listed in `unreadable_vaults`. The pages after the first one are as of
    its time. Raises Invalid if `continuation` is nothing that a call has returned within a day, NotReady."""
    now, after = _position(services, continuation)
    services = replace(services, now=lambda: now)
    counted: Counter[tuple[str, str]] = Counter()
    unreadable: list[str] = []

    def renewals() -> Iterator[Expected]:
        for alias in [alias for alias in services.settings.vaults if grants.may(services, Role.READER, alias)]:
            for renewal in _in_vault(services, alias, now + timedelta(days=days), unreadable):
                counted[max(renewal.due, now).date().isoformat(), renewal.authority] += 1
                if after is None or _place(renewal) > after:
                    yield renewal

    soonest = heapq.nsmallest(limit + 1, renewals(), key=_place)
    by_day = [
        Day(date, authority, count, _capacity(services, authority))
        for (date, authority), count in sorted(counted.items())
    ]
    page = soonest[:limit]
    more = _continuation(services, now, page[-1]) if len(soonest) > limit else None
    return Forecast(page, by_day, unreadable, more)


def _place(renewal: Expected) -> tuple[datetime, str, str]:
    """What the renewals are sorted by, each of which has a place of its own."""
    return renewal.due, renewal.vault, renewal.name


def _continuation(services: Services, now: datetime, last: Expected) -> str:
    due, vault, name = _place(last)
    return services.storage.continuations.seal(LIST, [now.isoformat(), due.isoformat(), vault, name])


def _position(services: Services, continuation: str | None) -> tuple[datetime, tuple[datetime, str, str] | None]:
    """The time of the first page, and after which renewal the next one starts."""
    now = services.now()
    if continuation is None:
        return now, None
    try:
        begun, due, vault, name = services.storage.continuations.open(LIST, continuation)
        first, after = datetime.fromisoformat(begun), (datetime.fromisoformat(due), str(vault), str(name))
        if abs(now - first) < LONGEST_PAGING and after[0].tzinfo is not None:
            return first, after
    except (BadContinuation, ValueError, TypeError):  # TypeError: also a time without a zone
        pass
    raise Invalid([Fault("/continuation", "must be the continuation of an earlier response, of today")])


def _capacity(services: Services, authority: str) -> int | None:
    known = services.settings.authorities.get(authority)
    rate = known.settings.rate if known else None
    return int(rate.requests * 86_400 / rate.seconds) if rate else None


def _in_vault(services: Services, alias: str, until: datetime, unreadable: list[str]) -> Iterator[Expected]:
    try:
        for page in services.vault(alias).certificates():
            readable = [item for item in page if grants.may(services, Role.READER, alias, item.name)]
            managed = [item for item in readable if due_of(item) is not None]
            records = services.storage.renewals.records(alias, [item.name for item in managed])
            for item in managed:
                record = records.get(item.name.lower()) or RenewalRecord(alias, item.name)
                yield from _of_certificate(services, item, record.about(item.thumbprint), until)
    except CertRelayError as error:
        with about(vault=alias):
            log.warning("the vault is missing from the forecast: %s", error)
        unreadable.append(alias)


def _of_certificate(
    services: Services, item: CertificateItem, record: RenewalRecord, until: datetime
) -> Iterator[Expected]:
    begins, by_dates, expires = item.not_before or item.created, due_of(item), item.expires
    authority = authority_of(item.tags)
    if authority is None or begins is None or by_dates is None or expires is None:
        return
    due, period, lifetime = record.due(by_dates), max(by_dates - begins, SHORTEST_PERIOD), expires - begins
    while due <= until:
        yield Expected(record.vault, item.name, authority, due, expires)
        renewed_at = max(due, services.now())
        try:
            due, expires = renewed_at + period, renewed_at + lifetime
        except OverflowError:  # a lifetime of thousands of years
            return
