"""The forecast: what will be renewed when, against the rates."""

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from certrelay.callers import Caller
from certrelay.errors import Invalid
from certrelay.keyvault.certificate import CertificateItem
from certrelay.renewal import forecast
from certrelay.services import Services
from certrelay.setting_models import Grant, Rate, Settings, VaultRate, VaultSettings
from certrelay.storage.renewal_record import RenewalRecord
from tests.world import ALIAS, DAY, World, configured, made, vault_that_fails, with_vaults


def test_the_forecast_says_what_is_renewed_when_against_the_rate(lonely_world: World) -> None:
    world = configured(lonely_world, rate=Rate(requests=10, seconds=86_400))
    for days in (6, 60, 90):
        made(world, world.name(f"-{days}"), validity_days=days)
    soon = forecast.expected(world.services, 7)
    assert [one.name for one in soon.renewals] == [world.name("-6")]
    (day,) = soon.days
    assert (day.authority, day.renewals, day.capacity) == ("test-ca", 1, 10)


def test_the_forecast_counts_each_renewal_of_a_short_life(lonely_world: World) -> None:
    world = lonely_world
    for days in (6, 90):
        made(world, world.name(f"-{days}"), validity_days=days)
    found = forecast.expected(world.services, 30).renewals
    assert [one.name for one in found] == [world.name("-6")] * 7, "every fourth day"
    assert found == sorted(found, key=lambda one: one.due)
    assert all(timedelta(days=1.9) < one.expires - one.due < timedelta(days=2.1) for one in found)
    year = Counter(one.name for one in forecast.expected(world.services, 365).renewals)
    assert year == {world.name("-6"): 91, world.name("-90"): 6}
    world.clock.advance(5 * DAY)
    late = forecast.expected(world.services, 3).renewals
    assert [one.due <= world.services.now() for one in late] == [True], "the next one counts from now"


def test_a_forecast_comes_page_by_page_and_each_page_counts_all_days(lonely_world: World) -> None:
    """The pages are as of the first one, however long the next ones take: overdue renewals count from then."""
    world = lonely_world
    made(world, world.name("-6"), validity_days=6)
    made(world, world.name("-7"), validity_days=7)
    world.clock.advance(5 * DAY)
    whole = forecast.expected(world.services, 30)
    assert (whole.continuation, len(whole.renewals)) == (None, 15)
    pages = [forecast.expected(world.services, 30, 4)]
    while (continuation := pages[-1].continuation) is not None:
        world.clock.advance(60)
        pages.append(forecast.expected(world.services, 30, 4, continuation))
    assert [len(page.renewals) for page in pages] == [4, 4, 4, 3]
    assert all(page.days == whole.days for page in pages)
    listed = [(one.name, round((one.due - whole.renewals[0].due).total_seconds() / 60)) for one in whole.renewals]
    paged = [one for page in pages for one in page.renewals]
    assert [(one.name, round((one.due - paged[0].due).total_seconds() / 60)) for one in paged] == listed


EARLY, LATE, ZONELESS = "2026-01-01T00:00:00+00:00", "9999-12-31T00:00:00+00:00", "2026-01-01T00:00:00"


@pytest.mark.parametrize(
    "written",
    [
        [EARLY, EARLY, "main", "www"], [LATE, LATE, "main", "www"], [ZONELESS, ZONELESS, "main", "www"],
        ["now", "now", "now", "now"], [1, 2, 3, 4], [], {}, 7, None,
    ],
)  # fmt: skip
def test_a_continuation_of_ones_own_or_of_another_day_is_refused(world: World, written: object) -> None:
    sealed = world.services.storage.continuations.seal(forecast.LIST, written)
    for text in (sealed, base64.urlsafe_b64encode(json.dumps(written).encode()).decode(), "%", "x", "ä"):
        with pytest.raises(Invalid, match="must be the continuation of an earlier response"):
            forecast.expected(world.services, 30, 3, text)


def test_the_forecast_names_a_vault_that_cannot_be_read_and_tells_the_rest(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    services = with_vaults(world, 100, closed=vault_that_fails(world, lambda *_: True), main=world.vault)
    found = forecast.expected(services, 90)
    assert ([one.name for one in found.renewals], found.unreadable_vaults) == ([name], ["closed"])


def test_the_forecast_knows_what_an_authority_suggests_and_what_has_to_rest(lonely_world: World) -> None:
    world = lonely_world
    suggested, resting = world.name("-suggested"), world.name("-resting")
    for name in (suggested, resting):
        made(world, name, validity_days=60)
    now = world.services.now()
    for name, changes in (
        (suggested, {"renew_at": now + timedelta(days=3)}),
        (resting, {"backed_off_until": now + timedelta(days=41)}),
    ):
        world.services.storage.renewals.save(replace(RenewalRecord(ALIAS, name), **changes), RenewalRecord(ALIAS, name))  # type: ignore[arg-type]
    found = forecast.expected(world.services, 42).renewals
    assert [(one.name, round((one.due - now) / timedelta(days=1))) for one in found] == [(suggested, 3), (resting, 41)]


NOW, HOUR, DAYS = datetime(2026, 11, 23, 12, tzinfo=UTC), timedelta(hours=1), timedelta(days=1)
ITEM = CertificateItem("www", True, None, NOW, NOW + 90 * DAYS, {"certrelay-authority": "corp"}, "aa")


@pytest.mark.parametrize(
    ("item", "until", "days"),
    [
        ({}, 60 * DAYS, [60]),
        ({}, 60 * DAYS - HOUR, []),
        ({}, 120 * DAYS, [60, 120]),
        ({"not_before": NOW - 90 * DAYS, "expires": NOW}, 60 * DAYS, [-30, 60]),
        ({"created": NOW - DAYS}, 120 * DAYS, [60, 120]),
        ({"not_before": None, "created": NOW}, 60 * DAYS, [60]),
        ({"not_before": None}, 99 * DAYS, []),
        ({"expires": None}, 99 * DAYS, []),
        ({"tags": {}}, 99 * DAYS, []),
    ],
)
def test_a_certificate_is_forecast_again_and_again_from_when_it_is_really_renewed(
    item: dict[str, Any], until: timedelta, days: list[int]
) -> None:
    services: Any = SimpleNamespace(now=lambda: NOW)
    one, record = replace(ITEM, **item), RenewalRecord("main", "www")
    found = list(forecast._of_certificate(services, one, record, NOW + until))
    assert [(renewal.due - NOW) / DAYS for renewal in found] == days
    assert all(renewal.expires - renewal.due == 30 * DAYS for renewal in found)


def test_a_certificate_without_any_lifetime_is_forecast_hourly_and_one_without_end_once() -> None:
    services: Any = SimpleNamespace(now=lambda: NOW)
    last = datetime.max.replace(tzinfo=UTC)
    endless = forecast._of_certificate(services, replace(ITEM, expires=last), RenewalRecord("main", "www"), last)
    assert len(list(endless)) == 1
    one = replace(ITEM, expires=NOW)
    found = forecast._of_certificate(services, one, RenewalRecord("main", "www"), NOW + 3 * HOUR)
    assert [renewal.due - NOW for renewal in found] == [number * HOUR for number in range(4)]


@pytest.mark.parametrize(("requests", "seconds", "capacity"), [(10, 86_400, 10), (300, 10_800, 2400), (1, 604_800, 0)])
def test_a_capacity_is_of_a_day(requests: int, seconds: int, capacity: int) -> None:
    rate = Rate(requests=requests, seconds=seconds)
    corp, unlimited = (SimpleNamespace(settings=SimpleNamespace(rate=one)) for one in (rate, None))
    services: Any = SimpleNamespace(settings=SimpleNamespace(authorities={"corp": corp, "free": unlimited}))
    assert forecast._capacity(services, "corp") == capacity
    assert forecast._capacity(services, "free") is forecast._capacity(services, "gone") is None


def test_the_forecast_has_what_its_caller_may_read_by_day_and_soonest_first() -> None:
    """Each name is the day that it is due; what is overdue counts for today."""
    items = [replace(ITEM, name=f"{day}", expires=NOW + day * DAYS + 30 * DAYS, not_before=NOW + (day - 60) * DAYS)
             for day in (2, 1, -3)]  # fmt: skip
    known = VaultSettings(url="https://contoso.vault.azure.net")
    corp: Any = SimpleNamespace(settings=SimpleNamespace(rate=None))
    limited = VaultSettings(url=known.url, rate=VaultRate(requests=2, seconds=172_800))
    settings = Settings({"main": limited, "other": known}, {"corp": corp}, {}, {}, 10, True, "Reader")
    records = {"1": RenewalRecord("main", "1", thumbprint="older", backed_off_until=NOW + 9 * DAYS)}
    storage: Any = SimpleNamespace(renewals=SimpleNamespace(records=lambda *_: records))
    asked: list[str] = []

    def vault(alias: str) -> Any:
        asked.append(alias)
        return SimpleNamespace(certificates=lambda: [items])

    unused: Any = None
    services = Services(settings, storage, vault, unused, lambda: NOW)
    everything = forecast.expected(services, 2)
    assert [one.name for one in everything.renewals] == ["-3", "-3", "1", "1", "2", "2"]
    days = [(day.date, day.authority, day.renewals, day.capacity) for day in everything.days]
    assert days == [(f"2026-11-{23 + after}", "corp", 2, None) for after in (0, 1, 2)]
    in_vaults = [(day.date, day.vault, day.renewals, day.capacity) for day in everything.vault_days]
    assert in_vaults == [(f"2026-11-{23 + after}", "main", 1, 1) for after in (0, 1, 2)], "only where a rate is set"
    assert [one.name for one in forecast.expected(services, 1).renewals] == ["-3", "-3", "1", "1"]
    grant = Grant(principal="Reader", role="Reader", vaults=("main",), certificates=("2", "-*"))
    asked.clear()
    caller = Caller("alice", None, by_grants=True, grants=(grant,))
    assert [one.name for one in forecast.expected(replace(services, caller=caller), 2).renewals] == ["-3", "2"]
    assert asked == ["main"]
