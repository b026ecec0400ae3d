"""What will be renewed when, and whether the rates of the authorities allow it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle import renewal
from lifecycle.model import AUTHORITY_TAG
from lifecycle.notes import Note
from lifecycle.services import Services

MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Expected:
    """One renewal to come. `due` in the past means: at the next sweep."""

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


def expected(services: Services, days: int) -> list[Expected]:
    """The renewals of the next `days` days, soonest first (at most 20,000), from the certificate lists and what is
    noted of the certificates: what their authorities suggest, and rests after failures."""
    until = services.now() + timedelta(days=days)
    found: list[Expected] = []
    for one in _all(services):
        if one.due <= until:
            found.append(one)
        if len(found) >= MAX_ENTRIES:
            break
    return sorted(found, key=lambda one: one.due)


def by_day(services: Services, renewals: list[Expected]) -> list[Day]:
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


def _all(services: Services) -> Iterator[Expected]:
    for alias in services.settings.vaults:
        for page in services.vault(alias).certificates():
            managed = [(item, due) for item in page if (due := renewal.due_of(item)) is not None]
            notes = services.storage.notes(alias, [item.name for item, _ in managed]) if managed else {}
            for item, by_dates in managed:
                if item.expires is not None:
                    note = (notes.get(item.name.lower()) or Note(alias, item.name)).about(item.thumbprint)
                    due = note.due(by_dates)
                    yield Expected(alias, item.name, item.tags[AUTHORITY_TAG], due, item.expires)
