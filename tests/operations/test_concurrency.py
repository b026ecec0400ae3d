"""How many operations a vault and an authority have at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Outcome, Pending, SigningRequest, Unavailable
from certrelay.operations import intervene, reconcile
from certrelay.storage.operation import Operation, State
from tests.world import ALIAS, DAY, KEY, Life, World, configured, run_to_the_end


def create(world: World, name: str) -> Operation:
    asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
    return creations.create(world.services, ALIAS, name, asked, requested_by="test", idempotency_key=name)


def slots(world: World) -> list[dict[str, Any]]:
    """The rows in which slots are taken."""
    table = world.services.storage.limits._table
    return [row for row in table.query() if str(row["PartitionKey"]).startswith("concurrency of")]


def states(world: World) -> list[str]:
    return sorted(entry.state for entry in world.services.storage.worklist())


def finish_all(world: World, names: list[str]) -> list[State]:
    """Their ends, those with a slot first: the others wait for theirs."""
    storage = world.services.storage
    submitted = {name for name in names if (found := storage.open(ALIAS, name)) and found.reference}
    return [world.finish(name).state for name in sorted(names, key=lambda name: name not in submitted)]


def vault_with(world: World, concurrency: int) -> World:
    known = world.services.settings.vaults[ALIAS].model_copy(update={"concurrency": concurrency})
    settings = replace(world.services.settings, vaults={ALIAS: known})
    return replace(world, services=replace(world.services, settings=settings))


@pytest.mark.slow
def test_many_workers_at_once_place_no_more_orders_than_the_concurrency_allows(world: World) -> None:
    crowded = configured(world, concurrency=3)
    names = [world.name(f"-{number}") for number in range(12)]
    world.ca.wait = 10
    for name in names:
        create(crowded, name)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: reconcile.advance(crowded.services, ALIAS, name), names))
    assert states(world) == ["pending"] * 9 + ["submitted"] * 3
    assert len(world.ca.seen) == 3
    waiting = next(one for one in names if (found := world.services.storage.open(ALIAS, one)) and found.failure)
    why = world.services.storage.open(ALIAS, waiting)
    assert why is not None
    assert why.failure is not None
    assert why.failure.code == "Crowded"
    world.ca.wait = 0
    assert finish_all(crowded, names) == [State.COMPLETED] * 12
    assert slots(world) == []


def test_an_authority_that_cannot_take_an_order_gives_its_slot_to_the_next(world: World) -> None:
    crowded = configured(world, concurrency=1)
    first, second = world.name("-1"), world.name("-2")
    issue = world.ca.submit

    def submit(request: SigningRequest) -> Any:
        return Unavailable("its zone is broken") if first in request.names.dns_names[0] else issue(request)

    world.ca.submit = submit  # type: ignore[method-assign]
    for name in (first, second):
        create(crowded, name)
        crowded.advance(name)
    assert crowded.finish(second).state is State.COMPLETED
    assert slots(world) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "answers",
    [
        [Unavailable("down")] * 9,
        [Pending("order-1", 60), *[Unavailable("down")] * 9],
        [Pending("order-1", 86_400, "sign")],
    ],
    ids=["takes no order", "went down with an order", "waits for people"],
)
def test_an_authority_that_is_out_of_order_keeps_no_other_one_out_of_a_vault(
    world: World, answers: list[Outcome]
) -> None:
    crowded = vault_with(world, concurrency=1)
    stuck, fine = world.name("-1"), world.name("-2")
    create(crowded, stuck)
    world.ca.answers = list(answers)
    crowded.advance(stuck, times=min(len(answers), 3))
    world.ca.answers = []
    create(crowded, fine)
    ended = reconcile.advance(crowded.services, ALIAS, fine)
    assert ended is not None
    assert ended.state is State.COMPLETED
    crowded.finish(stuck)
    assert slots(world) == []


def test_who_waits_for_a_slot_of_an_authority_keeps_none_of_the_vault(world: World) -> None:
    crowded = vault_with(configured(world, concurrency=1), concurrency=2)
    names = [world.name(f"-{number}") for number in range(3)]
    world.ca.wait = 2
    for name in names:
        create(crowded, name)
        reconcile.advance(crowded.services, ALIAS, name)
    assert states(world) == ["pending"] * 2 + ["submitted"]
    assert [str(row["operation"]) for row in slots(world) if "vault" in row["PartitionKey"]] == [
        found.id for name in names if (found := world.services.storage.open(ALIAS, name)) and found.reference
    ]
    assert finish_all(crowded, names) == [State.COMPLETED] * 3
    assert slots(world) == []


@pytest.mark.slow
def test_a_vault_makes_no_more_keys_at_once_than_its_concurrency_allows(world: World) -> None:
    crowded = vault_with(world, concurrency=2)
    names = [world.name(f"-{number}") for number in range(5)]
    world.ca.wait = 2
    for name in names:
        create(crowded, name)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda name: reconcile.advance(crowded.services, ALIAS, name), names))
    assert states(world) == ["requested"] * 3 + ["submitted"] * 2
    assert finish_all(crowded, names) == [State.COMPLETED] * 5
    assert slots(world) == []


def test_who_waits_for_a_slot_in_vain_is_told_so_at_the_deadline(world: World) -> None:
    crowded = configured(world, concurrency=1, deadline_hours=1)
    first, second = world.name("-1"), world.name("-2")
    create(crowded, first)
    world.ca.answers = [Pending("order-1", retry_after=7 * 86_400)]
    crowded.advance(first)
    create(crowded, second)
    ended = crowded.finish(second)
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"
    assert "authority test-ca has 1 operations already" in ended.failure.message
    assert [entry.at - ended.requested_at for entry in ended.transitions][-1].total_seconds() < 3700


@pytest.mark.slow
def test_a_death_at_any_effect_costs_no_slot(world: World) -> None:
    crowded = vault_with(configured(world, concurrency=1), concurrency=1)
    life = Life()
    run_to_the_end(crowded, world.name("probe"), life, lambda _: create(crowded, world.name("probe")))
    assert any("acquire" in effect for effect in life.effects)
    assert any("release" in effect for effect in life.effects)
    before = [(number, "before") for number in range(len(life.effects))]  # a death after one is one before the next
    for number, moment in (*before, (len(life.effects) - 1, "after")):
        name = world.name(f"-{number}-{moment}")
        run_to_the_end(crowded, name, Life({(number, moment)}), lambda _, name=name: create(crowded, name))  # type: ignore[misc]
        assert slots(world) == [], (number, moment, life.effects)


def test_a_slot_is_held_no_longer_than_a_day_after_the_deadline(world: World) -> None:
    """Should nobody release it."""
    crowded = vault_with(configured(world, concurrency=1), 1)
    world.ca.wait = 1
    name = world.name()
    opened = create(crowded, name)
    reconcile.advance(crowded.services, ALIAS, name)
    held = [row["until"] for row in slots(crowded) if row["operation"] == opened.id]
    assert held == [(opened.deadline + timedelta(days=1)).isoformat()] * 2
    crowded.finish(name)


def test_a_slot_that_was_never_given_back_is_free_again_in_time(world: World) -> None:
    storage, now = world.services.storage, world.services.now()
    later = now.replace(year=now.year + 1)
    assert storage.limits.acquire("authority x", "one", 1, now, now)
    assert storage.limits.acquire("authority x", "two", 1, now, later)
    assert not storage.limits.acquire("authority x", "three", 1, now, later)
    assert storage.limits.acquire("authority x", "two", 1, now, later), "it has one"
    storage.limits.release("authority x", "one")
    assert not storage.limits.acquire("authority x", "three", 1, now, later), "one's was taken over"
    storage.limits.release("authority x", "two")
    assert storage.limits.acquire("authority x", "three", 1, now, later)


@pytest.mark.parametrize("limit", [1, 7])
def test_slots_are_given_out_once_however_many_ask(world: World, limit: int) -> None:
    storage, now = world.services.storage, world.services.now()
    later = now.replace(year=now.year + 1)
    with ThreadPoolExecutor(16) as pool:
        given = list(pool.map(lambda n: storage.limits.acquire("vault x", f"o{n}", limit, now, later), range(16)))
    assert sum(given) == limit


def without_authority(world: World) -> World:
    return replace(world, services=replace(world.services, settings=replace(world.services.settings, authorities={})))


def without_vault(world: World) -> World:
    settings = replace(world.services.settings, vaults={"another": world.services.settings.vaults[ALIAS]})
    return replace(world, services=replace(world.services, settings=settings))


@pytest.mark.parametrize("canceled", [True, False])
@pytest.mark.parametrize("removed", [without_authority, without_vault])
def test_what_ends_while_its_authority_or_vault_is_not_in_the_settings_keeps_no_slot(
    world: World, removed: Callable[[World], World], canceled: bool
) -> None:
    """A mistake in the settings, put right an hour later, would block both for days."""
    crowded = vault_with(configured(world, concurrency=1), 1)
    first, second = world.name("-1"), world.name("-2")
    world.ca.wait = 2
    create(crowded, first)
    crowded.advance(first)
    assert len(slots(world)) == 2
    if canceled:
        intervene.cancel(world.services, ALIAS, first)
    else:
        world.clock.advance(DAY)
    ended = removed(crowded).finish(first)
    assert ended.state is (State.CANCELED if canceled else State.FAILED)
    assert slots(world) == []
    create(crowded, second)
    assert crowded.finish(second).state is State.COMPLETED
