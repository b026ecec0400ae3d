"""What will be renewed when, and whether the rates of the authorities allow it."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrelay.errors import CertRelayError
from certrelay.keyvault.client import CertificateItem
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.renewal.due import due_of
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

MAX_ENTRIES = 20_000
SHORTEST_PERIOD = timedelta(hours=1)

log = logger("forecast")


@dataclass(frozen=True, slots=True)
class Expected:
    """One renewal to come, of the version that ends at `expires`. `due` in the past means: at the next sweep."""

    vault: str
    name: str
    authority: str
    due: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """The renewals of one UTC day by one authority; `capacity` is what its rate allows in a day (None: no limit)."""

    date: str
    authority: str
    renewals: int
    capacity: int | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """`renewals`: the soonest 20,000, soonest first; `days` count all. What `unreadable_vaults` hold is in neither."""

    renewals: list[Expected]
    days: list[Day]
    unreadable_vaults: list[str]


def expected(services: Services, days: int) -> Forecast:
    """The renewals of the next `days` days, from the certificate lists and what is noted of the certificates: what
    their authorities suggest, and rests after failures. A new version is taken to live as long as the one before it,
    and to be renewed in its turn. What is overdue counts for today."""
    now = services.now()
    counted: Counter[tuple[str, str]] = Counter()
    unreadable: list[str] = []

    def each() -> Iterator[Expected]:
        for alias in services.settings.vaults:
            for one in _in_vault(services, alias, now + timedelta(days=days), unreadable):
                counted[max(one.due, now).date().isoformat(), one.authority] += 1
                yield one

    soonest = heapq.nsmallest(MAX_ENTRIES, each(), key=lambda one: one.due)
    by_day = [Day(date, who, number, _capacity(services, who)) for (date, who), number in sorted(counted.items())]
    return Forecast(soonest, by_day, unreadable)


def _capacity(services: Services, authority: str) -> int | None:
    known = services.settings.authorities.get(authority)
    rate = known.settings.rate if known else None
    return int(rate.requests * 86_400 / rate.seconds) if rate else None


def _in_vault(services: Services, alias: str, until: datetime, unreadable: list[str]) -> Iterator[Expected]:
    try:
        for page in services.vault(alias).certificates():
            managed = [item for item in page if due_of(item) is not None]
            notes = services.storage.renewals.records(alias, [item.name for item in managed])
            for item in managed:
                note = notes.get(item.name.lower()) or RenewalRecord(alias, item.name)
                yield from _one_after_the_other(services, item, note.about(item.thumbprint), until)
    except CertRelayError as error:
        with about(vault=alias):
            log.warning("the vault is missing in the forecast: %s", error)
        unreadable.append(alias)


def _one_after_the_other(
    services: Services, item: CertificateItem, note: RenewalRecord, until: datetime
) -> Iterator[Expected]:
    begins, by_dates, expires = item.not_before or item.created, due_of(item), item.expires
    authority = authority_of(item.tags)
    if authority is None or begins is None or by_dates is None or expires is None:
        return
    due, period, lifetime = note.due(by_dates), max(by_dates - begins, SHORTEST_PERIOD), expires - begins
    while due <= until:
        yield Expected(note.vault, item.name, authority, due, expires)
        renewed_at = max(due, services.now())
        due, expires = renewed_at + period, renewed_at + lifetime
