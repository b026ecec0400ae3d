"""What will be renewed when, and whether the rates of the authorities allow it."""

import heapq
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle import renewal
from lifecycle.errors import CertRelayError
from lifecycle.model import AUTHORITY_TAG
from lifecycle.notes import Note
from lifecycle.services import Services
from lifecycle.vault import CertificateItem

MAX_ENTRIES = 20_000
SHORTEST_PERIOD = timedelta(hours=1)

log = logging.getLogger("certrelay.forecast")


@dataclass(frozen=True, slots=True)
class Expected:
    """One renewal to come, of the version that ends at `expires`. `due` in the past means: at the next sweep."""

    vault: str
    name: str
    authority: str
    due: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Forecast:
    """`renewals`: soonest first. What `unreadable_vaults` hold is not among them."""

    renewals: list[Expected]
    unreadable_vaults: list[str]


@dataclass(frozen=True, slots=True)
class Day:
    """The renewals of one UTC day by one authority; `capacity` is what its rate allows in a day (None: no limit)."""

    date: str
    authority: str
    renewals: int
    capacity: int | None


def expected(services: Services, days: int) -> Forecast:
    """The renewals of the next `days` days (the soonest 20,000), from the certificate lists and what is noted of the
    certificates: what their authorities suggest, and rests after failures. A new version is taken to live as long as
    the one before it, and to be renewed in its turn."""
    until = services.now() + timedelta(days=days)
    unreadable: list[str] = []
    found = (one for alias in services.settings.vaults for one in _in_vault(services, alias, until, unreadable))
    return Forecast(heapq.nsmallest(MAX_ENTRIES, found, key=lambda one: one.due), unreadable)


def by_day(services: Services, renewals: Iterable[Expected]) -> list[Day]:
    """How many a day and authority, against what the authority's rate allows."""
    today = services.now().date()
    counted = Counter((max(one.due.date(), today).isoformat(), one.authority) for one in renewals)
    return [
        Day(date, authority, number, _capacity(services, authority))
        for (date, authority), number in sorted(counted.items())
    ]


def _capacity(services: Services, authority: str) -> int | None:
    known = services.settings.authorities.get(authority)
    rate = known.settings.rate if known else None
    return int(rate.requests * 86_400 / rate.seconds) if rate else None


def _in_vault(services: Services, alias: str, until: datetime, unreadable: list[str]) -> Iterator[Expected]:
    try:
        for page in services.vault(alias).certificates():
            managed = [item for item in page if renewal.due_of(item) is not None]
            notes = services.storage.notes(alias, [item.name for item in managed]) if managed else {}
            for item in managed:
                note = notes.get(item.name.lower()) or Note(alias, item.name)
                yield from _one_after_the_other(services, item, note.about(item.thumbprint), until)
    except CertRelayError as error:
        log.warning("vault %s is missing in the forecast: %s", alias, error)
        unreadable.append(alias)


def _one_after_the_other(services: Services, item: CertificateItem, note: Note, until: datetime) -> Iterator[Expected]:
    begins, by_dates, expires = item.not_before or item.created, renewal.due_of(item), item.expires
    if begins is None or by_dates is None or expires is None:
        return
    due, period, lifetime = note.due(by_dates), max(by_dates - begins, SHORTEST_PERIOD), expires - begins
    while due <= until:
        yield Expected(note.vault, item.name, item.tags[AUTHORITY_TAG], due, expires)
        renewed_at = max(due, services.now())
        due, expires = renewed_at + period, renewed_at + lifetime
