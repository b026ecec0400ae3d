"""A list rests while its certificates can wait; whatever cannot is seen by the next sweep. Lists are in memory."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from certrelay.certificates import edit
from certrelay.errors import Booked, NotReady, VaultForbidden
from certrelay.renewal import alerts, renew, sweep
from certrelay.renewal.vault_list import ONE
from certrelay.storage.renewals import ListState
from tests.renewal.fleet import DAY, HOUR, Fleet
from tests.renewal.memory import NOW
from tests.world import ALIAS, World, create, made

YEARS = {"a": 300, "b": 200}


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fleet, timedelta], sweep.Swept]:
    """Sweep the fleet so long after NOW; its events begin anew."""

    def run(fleet: Fleet, later: timedelta) -> sweep.Swept:
        monkeypatch.setattr(renew, "renew_if_due", fleet.start)
        monkeypatch.setattr(alerts, "send", lambda _services, _alias, _item, record: record)
        services = fleet.services()
        fleet.now = NOW + later
        fleet.events.clear()
        return sweep.sweep(services)

    return run


type At = Callable[[Fleet, timedelta], sweep.Swept]


def fleet(certificates: Mapping[str, float], days: int = 365, **known: Any) -> Fleet:
    lifetimes = {name: 365 if name in YEARS else days for name in certificates}
    known = {"pages": 2, "lifetimes": lifetimes, **known}
    return Fleet({"one": certificates}, **known)


def test_a_list_of_years_is_read_four_times_a_day_and_its_vault_is_checked_each_hour(at: At) -> None:
    years, read, counts = fleet(YEARS), [], []
    for hour in range(25):
        swept = at(years, hour * HOUR)
        counts.append(dict(swept.states))
        read += [hour] if "one" not in swept.skipped else []
        assert len(years.events) == (1 if swept.skipped else 2)
        assert swept.skipped == [] or years.events == [f"list one {ONE}"]
    assert read == [0, 6, 12, 18, 24]
    assert counts == [{("corp", "valid"): 4}] * 25, "what is counted stays until it is counted again"


@pytest.mark.parametrize(
    "hourly",
    [
        fleet({"a": 1.9}, days=6),  # due
        fleet(YEARS, pages=1),  # a page costs what a check costs
        fleet({"a": 2}),  # late
        fleet({"a": 100, "b": 100, "c": 100}, batch=1),  # more than a batch
        fleet({"a": 100}, answers={"a": Booked("rate")}),
        fleet(YEARS, answers={"one": VaultForbidden("no role")}),
        fleet(YEARS, positions={"one": ListState("/certificates|2")}, pages=40, passes=timedelta(minutes=1)),
    ],
    ids=["six days", "one page", "late", "batch", "booked", "forbidden", "unfinished"],
)
def test_what_cannot_wait_is_read_by_each_sweep(at: At, hourly: Fleet) -> None:
    for hour in range(4):
        assert at(hourly, hour * HOUR).skipped == []


def test_a_certificate_of_six_days_that_becomes_due_ends_the_rest_in_time(at: At) -> None:
    mixed = fleet({**YEARS, "six": 6}, days=6)
    read = [hour for hour in range(100) if not at(mixed, hour * HOUR).skipped]
    assert max(after - before for before, after in pairwise(read)) == 6
    started = [hour for hour in read if hour >= 96]
    assert started[0] in (96, 97), "due after four days, and renewed within the hour"


def test_a_change_of_a_certificate_ends_the_rest_also_while_the_list_is_being_read(at: At) -> None:
    years = fleet(YEARS)
    at(years, timedelta(0))
    known = years.positions["one"]
    assert known.read_at == NOW
    for changed_at in (NOW - timedelta(minutes=4), NOW, NOW + HOUR):
        years.positions["one"] = replace(known, changed_at=changed_at)
        assert at(years, HOUR).skipped == []
    years.positions["one"] = replace(known, changed_at=NOW - HOUR)
    assert at(years, HOUR).skipped == ["one"]


def test_a_rest_that_a_wrong_clock_wrote_is_none(at: At) -> None:
    years = fleet(YEARS, positions={"one": ListState("", NOW, NOW + 900 * DAY)})
    assert at(years, timedelta(0)).skipped == []


def test_a_vault_that_rests_is_still_seen_to_be_forbidden_or_down(at: At) -> None:
    years = fleet(YEARS)
    at(years, timedelta(0))
    for error in (VaultForbidden("no role"), NotReady("down")):
        years.answers["one"] = error
        swept = at(years, HOUR)
        assert (swept.unreadable, swept.skipped) == ({"one": error}, [])
        assert swept.states == {("corp", "valid"): 4}


def test_rests_are_kept_in_the_table_and_junk_in_its_row_is_none(lonely_world: World) -> None:
    renewals = lonely_world.services.storage.renewals
    state = ListState("", NOW, NOW + HOUR, (("corp", "valid", 3),))
    renewals.save_list_state(ALIAS, state)
    assert renewals.list_state(ALIAS) == state
    renewals.note_change(ALIAS, NOW)
    assert renewals.list_state(ALIAS) == replace(state, changed_at=NOW)
    renewals.save_list_state(ALIAS, ListState())
    assert renewals.list_state(ALIAS) == ListState(changed_at=NOW), "a sweep does not undo it"
    row = {"PartitionKey": "|sweep", "RowKey": ALIAS}
    for odd in ("x", "[1]", '[["a","b","c"]]', 5):
        renewals._table.upsert({**row, "read_at": odd, "read_by": odd, "changed_at": odd, "states": odd})
        assert renewals.list_state(ALIAS) == ListState()


def test_new_versions_that_live_for_hours_changed_policies_and_enabled_certificates_end_the_rest(world: World) -> None:
    renewals, name = world.services.storage.renewals, world.name()

    def changed() -> bool:
        known = renewals.list_state(ALIAS).changed_at
        renewals._table.merge({"PartitionKey": "|sweep", "RowKey": ALIAS, "changed_at": ""})
        return known is not None

    made(world, name)
    assert not changed(), "90 days can wait"
    edit.update_policy(world.services, ALIAS, name, {"lifetime_actions": _renew_at(50)})
    assert changed()
    edit.update(world.services, ALIAS, name, {"team": "x"}, None)
    assert not changed()
    edit.update(world.services, ALIAS, name, None, True)
    assert changed()
    world.ca.issue = lambda request: world.ca.signed(request, ends=world.services.now() + 20 * HOUR)
    create(world, world.name("-short"))
    world.finish(world.name("-short"))
    assert changed()


def _renew_at(percentage: int) -> list[dict[str, Any]]:
    return [{"trigger": {"lifetime_percentage": percentage}, "action": {"action_type": "AutoRenew"}}]
