"""The forecast: what will be renewed when, and whether the rate limits of authorities and vaults allow it."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.errors import BadContinuation, CertRelayError, Fault, Invalid
from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.renewal.due import due_of, is_renewed
from certrelay.renewal.vault_list import blocks_until
from certrelay.services import Services
from certrelay.setting_models import VaultRate
from certrelay.storage.renewal_record import RenewalRecord

LIST = "forecast"  # for its continuations
LONGEST_PAGING = timedelta(days=1)  # from the first page to the last one
BUDGET = timedelta(minutes=3)  # Azure ends an HTTP request after 230 seconds
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
class VaultDay:
    """The number of renewals in one vault on one day (YYYY-MM-DD, UTC), and how many its `rate` allows a day."""

    date: str
    vault: str
    renewals: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """`renewals`: a page of them, soonest first; `continuation`: where the next one starts, None at the end. `days`:
    counts of all; `vault_days`: of vaults with a `rate`. Of `unreadable_vaults`, certificates are missing in all."""

    renewals: list[Expected]
    days: list[Day]
    vault_days: list[VaultDay]
    unreadable_vaults: list[str]
    continuation: str | None


def expected(services: Services, days: int, limit: int = 500, continuation: str | None = None) -> Forecast:
    """The renewals of the next `days` days that the caller may read, at most `limit` of them.

    They follow from the certificate lists and the renewal records (renewal windows and back-offs).
    A new version is assumed to live as long as the one before it, and to be renewed again. Overdue renewals count for
    today. A vault that cannot be read, or not within three minutes, is listed in `unreadable_vaults`. The pages after
    the first one are as of its time. Raises Invalid if `continuation` is nothing that a call has returned within a day,
    NotReady."""
    now, after = _position(services, continuation)
    then, read_by = replace(services, now=lambda: now), services.now() + BUDGET
    by_authority: Counter[tuple[str, str]] = Counter()
    by_vault: Counter[tuple[str, str]] = Counter()
    unreadable: list[str] = []

    def renewals() -> Iterator[Expected]:
        for alias in [alias for alias in services.settings.vaults if grants.may(services, Role.READER, alias)]:
            blocks = blocks_until(services, alias, read_by)
            for renewal in _in_vault(then, alias, blocks, now + timedelta(days=days), unreadable):
                date = max(renewal.due, now).date().isoformat()
                by_authority[date, renewal.authority] += 1
                by_vault[date, alias] += 1
                if after is None or _place(renewal) > after:
                    yield renewal

    soonest = heapq.nsmallest(limit + 1, renewals(), key=_place)
    page = soonest[:limit]
    more = _continuation(services, now, page[-1]) if len(soonest) > limit else None
    days_of_authorities = [Day(*key, count, _capacity(services, key[1])) for key, count in sorted(by_authority.items())]
    return Forecast(page, days_of_authorities, _vault_days(services, by_vault), unreadable, more)


def _vault_days(services: Services, counted: Mapping[tuple[str, str], int]) -> list[VaultDay]:
    """Without a `rate`, Key Vault's own limit allows more a day than anybody has."""
    rates = {vault: known.rate for vault, known in services.settings.vaults.items()}
    return [VaultDay(*key, count, _a_day(rate)) for key, count in sorted(counted.items()) if (rate := rates[key[1]])]


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
    return _a_day(rate) if rate else None


def _a_day(rate: VaultRate) -> int:
    return int(rate.requests * 86_400 / rate.seconds)


def _in_vault(
    services: Services, alias: str, blocks: Iterator[list[CertificateItem]], until: datetime, unreadable: list[str]
) -> Iterator[Expected]:
    try:
        for block in blocks:
            readable = [item for item in block if grants.may(services, Role.READER, alias, item.name)]
            managed = [item for item in readable if is_renewed(item)]
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
