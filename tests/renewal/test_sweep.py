"""What a sweep starts, in which order, and when it tries again."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certrelay.connectors.base import Outcome, Pending, Rejected, Unavailable
from certrelay.keyvault.certificate import CertificateItem
from certrelay.renewal import sweep
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord
from tests.renewal.versions import grow_old, made
from tests.world import ALIAS, DAY, World, with_vaults


@pytest.mark.slow
def test_a_renewal_that_failed_rests_longer_each_time_and_never_too_long(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    tries, begun = 0, world.clock.now()
    while world.clock.now() < begun + 20 * DAY:
        world.ca.answers = [Rejected("closed")]
        assert sweep.sweep(world.services).started
        world.finish(name)
        tries += 1
        rest_ends = world.services.storage.renewals.records(ALIAS, [name])[name].backed_off_until
        assert rest_ends is not None
        hours = math.ceil((rest_ends - world.services.now()).total_seconds() / 3600)  # until the next hourly sweep
        if hours > 1:
            world.clock.advance((hours - 1) * 3600)
            assert not sweep.sweep(world.services).started, "it rests"
        world.clock.advance(3600)
    assert 10 <= tries <= 30, "doubling from an hour, and never more than an eighth of what is left"
    note = world.services.storage.renewals.records(ALIAS, [name])[name]
    assert (note.failures, note.last_failure) == (tries, "closed")
    world.ca.answers = []
    world.clock.advance(2 * DAY)
    assert sweep.sweep(world.services).started
    assert world.finish(name).state is State.COMPLETED
    record = world.services.storage.renewals.record(ALIAS, name)
    assert (record.failures, record.last_failure, record.backed_off_until) == (0, "", None)


def test_a_lost_event_is_made_good_by_the_sweep(lonely_world: World) -> None:
    """Check 43."""
    world = lonely_world
    name = world.name()
    made(world, name, validity_days=6)
    grow_old(world, name, 1.9)
    swept = sweep.sweep(world.services)
    assert f"{ALIAS}/{name}" in swept.started
    assert world.finish(name).kind == "renew"
    assert f"{ALIAS}/{name}" not in sweep.sweep(world.services).started


@pytest.mark.slow
@pytest.mark.parametrize("answer", [Pending("never done", 3600), Unavailable("down"), Rejected("not now")])
def test_a_certificate_of_six_days_gets_three_tries_on_different_sweeps_whatever_its_authority_answers(
    lonely_world: World, answer: Outcome
) -> None:
    """Check 43."""
    world, name = lonely_world, lonely_world.name()
    made(world, name, validity_days=6)
    grow_old(world, name, 2)
    world.ca.answers = [answer] * 1000
    started, hours = 0, 0
    while started < 3:
        assert hours < 48
        started += len(sweep.sweep(world.services).started)
        sweep.advance_due(world.services)
        world.clock.advance(2 * 3600)
        hours += 2


def test_the_sweep_takes_the_soonest_expiry_first_and_no_more_than_its_batch(lonely_world: World) -> None:
    """Check 44."""
    world = lonely_world
    names = {days: world.name(f"-{days}") for days in (9, 7, 8)}
    for days, name in names.items():
        made(world, name, validity_days=days)
    world.clock.advance(6.5 * 86_400)
    limited = replace(world.services, settings=replace(world.services.settings, renewal_batch=2))
    assert sweep.sweep(limited).started == [f"{ALIAS}/{names[7]}", f"{ALIAS}/{names[8]}"]
    for days in (7, 8):
        world.finish(names[days])


def test_all_vaults_together_start_no_more_than_a_batch(lonely_world: World) -> None:
    """Each vault offers a batch of its own, so that an unusable one does not take up that of the others."""
    world = lonely_world
    for number in range(3):
        made(world, world.name(f"-{number}"), validity_days=6)
    world.clock.advance(4.5 * 86_400)
    services = with_vaults(world, 2, **{ALIAS: world.vault, "other": world.vault})
    assert len(sweep.sweep(services).started) == 2


def test_one_bad_certificate_does_not_stop_the_sweep(lonely_world: World) -> None:
    world = lonely_world
    bad, good = world.name("-bad"), world.name("-good")
    made(world, bad, validity_days=6)
    made(world, good, validity_days=6)
    bundle = world.vault.get(bad)
    assert bundle is not None
    world.vault.call("PATCH", f"/certificates/{bad}", {"tags": {**bundle["tags"], "certrelay-authority": "gone"}})
    world.clock.advance(4.5 * 86_400)
    swept = sweep.sweep(world.services)
    assert f"{ALIAS}/{good}" in swept.started
    assert any(bad in refusal and "gone" in refusal for refusal in swept.refused)
    world.finish(good)


BEGINS = datetime(2026, 11, 23, tzinfo=UTC)
ITEM = CertificateItem("www", True, None, BEGINS, BEGINS + timedelta(days=90), {"certrelay-authority": "corp"}, "aa")
RECORD, TICK = RenewalRecord("main", "www", thumbprint="aa"), timedelta(microseconds=1)
BY_DATES, SUGGESTED = BEGINS + timedelta(days=60), BEGINS + timedelta(days=50)
WHY = "https://ca.example/x"


@pytest.mark.parametrize(
    ("item", "record", "now", "reason"),
    [
        ({}, {}, BY_DATES - TICK, None),
        ({}, {}, BY_DATES, "due"),
        ({}, {"explanation_url": WHY}, BY_DATES, "due"),
        ({}, {"renew_at": SUGGESTED}, SUGGESTED - TICK, None),
        ({}, {"renew_at": SUGGESTED}, SUGGESTED, "suggested by the authority"),
        ({}, {"renew_at": SUGGESTED}, BY_DATES, "due"),
        (
            {}, {"renew_at": SUGGESTED, "explanation_url": WHY}, SUGGESTED,
            f"suggested by the authority, which explains why at {WHY}",
        ),
        ({}, {"backed_off_until": BY_DATES + TICK}, BY_DATES, None),
        ({}, {"backed_off_until": BY_DATES}, BY_DATES, "due"),
        ({"tags": {}}, {}, BY_DATES, None),
        ({"enabled": False}, {}, BY_DATES, None),
        ({"expires": None}, {}, BY_DATES, None),
    ],
)  # fmt: skip
def test_a_certificate_is_due_by_its_dates_or_its_window_and_not_while_it_rests(
    item: dict[str, Any], record: dict[str, Any], now: datetime, reason: str | None
) -> None:
    due = sweep._due(replace(ITEM, **item), replace(RECORD, **record), now)
    assert (due and due.reason) == reason
    if due is not None:
        assert (due.vault, due.name, due.authority, due.can_wait) == ("main", "www", "corp", True)


def test_what_is_due_cannot_wait_once_half_of_its_time_has_passed() -> None:
    for left, can_wait in ((15, False), (16, True)):
        due = sweep._due(ITEM, RECORD, BEGINS + timedelta(days=90 - left))
        assert due is not None
        assert due.can_wait is can_wait
