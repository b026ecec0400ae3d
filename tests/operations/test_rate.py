"""More renewals than an authority's rate lets begin for days: whatever expires meanwhile goes first."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, replacements, sweep
from certrelay.renewal.replacements import Criteria
from certrelay.setting_models import Rate
from certrelay.storage.limits import RateLimit
from certrelay.storage.operation import Operation, State
from tests.world import ALIAS, DAY, KEY, World, configured, made, seeded, vault_that_fails, with_vaults

pytestmark = pytest.mark.slow

HOURS = 6
ONE_IN_SIX_HOURS = Rate(requests=1, seconds=HOURS * 3600)
LIMIT = RateLimit(1, HOURS * 3600, 1)


def pass_hours(world: World, hours: int, every: int = 2) -> None:
    """In so many hours a sweep, and a poll that ends what may begin."""
    for _ in range(0, hours, every):
        sweep.sweep(world.services)
        sweep.advance_due(world.services)
        world.clock.advance(every * 3600)


def renewals(world: World, name: str) -> list[Operation]:
    return [one for one in world.services.storage.ended(ALIAS, name) if one.kind == "renew"]


def book_three_days(world: World) -> None:
    for _ in range(12):
        world.services.storage.limits.reserve("authority test-ca", world.services.now(), LIMIT)


def hours_in_the_queue(operation: Operation) -> int:
    return round((operation.next_attempt_at - operation.requested_at).total_seconds() / 3600)


def began_one_after_the_other(world: World, names: list[str]) -> bool:
    begins = sorted(one.ended_at for name in names for one in renewals(world, name) if one.ended_at is not None)
    return all(later - sooner > timedelta(hours=HOURS - 1) for sooner, later in pairwise(begins))


def test_what_becomes_due_during_a_replacement_of_days_is_renewed_in_time(lonely_world: World) -> None:
    world, names = lonely_world, seeded(lonely_world, 6, "-long")
    short = world.name("-short")
    expires = made(world, short, validity_days=6).requested_at + timedelta(days=6)
    world.clock.advance(3.9 * DAY)
    paced = configured(world, rate=ONE_IN_SIX_HOURS)
    job = replacements.start(paced.services, Criteria(names=("*-long-*",)), "test")
    pass_hours(paced, 30, every=1)
    [renewed] = renewals(world, short)
    assert renewed.state is State.COMPLETED
    assert renewed.ended_at is not None
    assert renewed.ended_at < expires - timedelta(days=1)
    pass_hours(paced, 16, every=1)
    assert replacements.progress(paced.services, job.id) == {"matched": 6, "completed": 6}
    assert replacements.find(paced.services, job.id).state == "settled"
    assert began_one_after_the_other(world, [*names, short])


def test_of_more_than_the_rate_allows_the_sweep_starts_first_what_expires_first(lonely_world: World) -> None:
    world, names = lonely_world, seeded(lonely_world, 6, "-long")
    world.clock.advance(60 * DAY)
    short = world.name("-short")
    made(world, short, validity_days=6)
    world.clock.advance(3 * DAY)  # the long ones are due, the short one will be in a day
    paced = configured(world, rate=ONE_IN_SIX_HOURS)
    assert len(sweep.sweep(paced.services).started) == 2
    pass_hours(paced, 34)
    [renewed] = renewals(world, short)
    assert renewed.requested_at < world.services.now() - timedelta(hours=8)
    pass_hours(paced, 14)
    assert [len(renewals(world, name)) for name in [*names, short]] == [1] * 7
    assert began_one_after_the_other(world, [*names, short])


def test_what_cannot_wait_any_longer_queues_although_the_rate_is_booked_for_days(lonely_world: World) -> None:
    world, name, other = lonely_world, lonely_world.name("-a"), lonely_world.name("-b")
    made(world, name)
    made(world, other, validity_days=95)
    world.clock.advance(76 * DAY)  # 14 days are left of 30
    paced = configured(world, rate=ONE_IN_SIX_HOURS)
    book_three_days(paced)
    assert sweep.sweep(paced.services).started == [f"{ALIAS}/{name}"]
    opened = world.services.storage.open(ALIAS, name)
    assert opened is not None
    assert hours_in_the_queue(opened) == 72


def test_a_renewal_that_somebody_asks_for_gets_its_moment_whatever_is_booked(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    paced = configured(world, rate=ONE_IN_SIX_HOURS)
    book_three_days(paced)
    asked = renew.renew(paced.services, ALIAS, name, Origin(requested_by="t"))
    assert hours_in_the_queue(asked) == 72


def test_a_replacement_of_days_gives_up_nothing_that_is_out_of_reach_for_a_moment(lonely_world: World) -> None:
    """It does so after a day of trouble, not of work."""
    world, names = lonely_world, seeded(lonely_world, 5)
    down: list[str] = []
    broken = vault_that_fails(world, lambda method, path: any(part in path for part in down))
    paced = replace(world, services=with_vaults(configured(world, rate=ONE_IN_SIX_HOURS), 100, **{ALIAS: broken}))
    job = replacements.start(paced.services, Criteria(authority="test-ca"), "test")
    pass_hours(paced, 18)
    down += ["/certificates?", f"/certificates/{names[4]}"]
    pass_hours(paced, 1)
    down.remove("/certificates?")
    pass_hours(paced, 8)
    assert replacements.progress(paced.services, job.id) == {"matched": 5, "completed": 4, "waiting": 1}
    down.clear()
    pass_hours(paced, 3)
    assert replacements.progress(paced.services, job.id) == {"matched": 5, "completed": 5}
    assert replacements.find(paced.services, job.id).state == "settled"


def test_an_operation_whose_turn_comes_too_late_for_its_certificate_begins_at_once(lonely_world: World) -> None:
    """Thousands of renewals that somebody asked for take days at an authority's rate, and then that of a short life."""
    world = lonely_world
    many, short = [world.name(f"-{number}") for number in range(5)], world.name("-short")
    for name in many:
        made(world, name)
    made(world, short, validity_days=6)
    world.clock.advance(4.1 * DAY)
    bundle = world.vault.get(short)
    assert bundle is not None
    paced = configured(world, rate=Rate(requests=1, seconds=12 * 3600))
    for name in [*many, short]:
        renew.renew(paced.services, ALIAS, name, Origin(requested_by="t"))
    begins = {one.name: one.next_attempt_at.timestamp() for one in world.services.storage.worklist()}
    assert begins[short] > bundle["attributes"]["exp"], "the rate alone would let it expire"
    sweep.sweep(paced.services)
    assert sweep.advance_due(paced.services) >= 1
    assert len(world.versions(short)) == 2
    left = {one.name: one.next_attempt_at.timestamp() for one in world.services.storage.worklist()}
    assert left == {name: begins[name] for name in many[1:]}, "the others keep their turns"


def test_orders_beyond_the_rate_begin_later_one_by_one(world: World) -> None:
    paced = configured(world, rate=Rate(requests=2, seconds=3600))
    begins = []
    for number in range(5):
        name = world.name(f"-{number}")
        asked = CertificateSpec(authority="test-ca", dns_names=("a.contoso.example",), policy=KEY)
        opened = creations.create(paced.services, ALIAS, name, asked, requested_by="test")
        begins.append(round((opened.next_attempt_at - opened.requested_at).total_seconds() / 60))
        assert opened.deadline - opened.next_attempt_at == timedelta(hours=24)
    assert begins == [0, 0, 30, 60, 90]
    for number in range(5):
        world.finish(world.name(f"-{number}"))
