"""A caller who would rather wait: the steps are taken in its own call, and nobody else notices."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from certrelay.certificates import create as creations
from certrelay.operations import concurrency, lease, reconcile, waiting
from certrelay.operations.rate import SOFTWARE_KEYS
from certrelay.storage.operation import Operation, State
from tests.operations.creations import asked
from tests.world import ALIAS, World, create, out_of_order

pytestmark = pytest.mark.slow


class Naps:
    """A sleep that moves the world's clock, and writes down for how long."""

    def __init__(self, world: World) -> None:
        self.world, self.seconds = world, list[float]()

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.world.clock.advance(seconds)


def waited(world: World, operation: Operation, seconds: float) -> tuple[Operation, list[float]]:
    naps = Naps(world)
    return waiting.until_ended(world.services, operation, seconds, naps), naps.seconds


def test_an_authority_that_answers_at_once_ends_the_operation_without_a_pause(world: World) -> None:
    name = world.name()
    ended, naps = waited(world, create(world, name), 30)
    assert ended.state is State.COMPLETED
    assert not naps
    assert world.services.storage.open(ALIAS, name) is None
    assert len(world.versions(name)) == 1


def test_a_pause_lasts_until_the_next_attempt_and_no_longer(world: World) -> None:
    world.ca.wait = 2
    ended, naps = waited(world, create(world, world.name()), 60)
    assert ended.state is State.COMPLETED
    assert len(naps) == 2
    assert sum(naps) < 60


def test_what_ends_later_than_the_caller_waits_is_answered_early_and_goes_on_without_it(world: World) -> None:
    world.ca.wait = 3
    name = world.name()
    operation, naps = waited(world, create(world, name), 1)
    assert operation.state is State.SUBMITTED
    assert not naps
    assert world.finish(name).state is State.COMPLETED
    assert len(world.ca.orders) == 1


def test_no_seconds_take_no_step(world: World) -> None:
    operation, naps = waited(world, create(world, world.name()), 0)
    assert operation.state is State.REQUESTED
    assert not naps


def test_an_operation_that_another_worker_holds_is_looked_at_until_it_ends(world: World) -> None:
    name = world.name()
    created = create(world, name)
    held = lease.take(world.services, ALIAS, name)
    assert held is not None
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        world.clock.advance(seconds)
        if len(naps) == 3:
            reconcile.go_on(world.services, held)

    ended = waiting.until_ended(world.services, created, 30, sleep)
    assert (ended.id, ended.state) == (created.id, State.COMPLETED)
    assert naps == [waiting.LOOK_AGAIN] * 3
    assert len(world.ca.orders) == 1


def test_an_operation_that_another_worker_never_releases_is_answered_as_it_is(world: World) -> None:
    name = world.name()
    created = create(world, name)
    assert lease.take(world.services, ALIAS, name) is not None
    operation, naps = waited(world, created, 5)
    assert operation.state is State.REQUESTED
    assert sum(naps) <= 5


def test_an_operation_that_waits_for_the_rate_limit_is_not_waited_for_in_vain(world: World) -> None:
    name = world.name()
    created = create(world, name)
    later = replace(created, next_attempt_at=world.services.now() + timedelta(hours=1))
    operation, naps = waited(world, world.services.storage.save(later), 60)
    assert operation.state is State.REQUESTED
    assert not naps


def test_an_ended_operation_is_not_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()
    create(world, name)
    ended = world.finish(name)
    monkeypatch.setattr(world.services.storage, "open", out_of_order)
    assert waited(world, ended, 60) == (ended, [])


def test_a_crash_is_counted_on_the_row_and_the_caller_learns_of_the_open_operation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.name()
    created = create(world, name)

    def bug(*_: object) -> str:
        raise KeyError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(concurrency, "acquire", bug)
        operation, naps = waited(world, created, 30)
    assert not operation.state.ended
    assert not naps
    row = world.services.storage.open(ALIAS, name)
    assert row is not None
    assert (row.crashes, row.lease_id) == (1, "")
    assert world.finish(name).state is State.COMPLETED


def test_storage_that_is_down_ends_the_waiting_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()
    created = create(world, name)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(world.services.storage, "open", out_of_order)
        assert waited(world, created, 30) == (created, [])
    assert world.finish(name).state is State.COMPLETED


def test_no_more_callers_sleep_than_leave_threads_for_the_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that can be taken at once are taken for every caller."""
    monkeypatch.setattr(waiting, "_sleepers", threading.BoundedSemaphore(1))
    world.ca.wait = 2
    outer, inner = create(world, world.name("-outer")), create(world, world.name("-inner"))
    answered: list[Operation] = []

    def sleep(seconds: float) -> None:
        if not answered:
            answered.append(waited(world, inner, 30)[0])
        world.clock.advance(seconds)

    assert waiting.until_ended(world.services, outer, 30, sleep).state is State.COMPLETED
    assert answered[0].state is State.SUBMITTED
    assert waited(world, inner, 30)[0].state is State.COMPLETED


def held(world: World, name: str) -> Operation:
    return creations.create(world.services, ALIAS, name, asked(name), requested_by="test", hold=True)


def test_a_new_operation_is_held_by_its_caller_and_its_wake_up_is_due_when_the_lease_expires(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    monkeypatch.setattr(world.services.storage, "wake_up", lambda _operation, delay=0.0: delays.append(delay))
    name = world.name()
    opened = held(world, name)
    assert reconcile.advance(world.services, ALIAS, name) is None
    assert waited(world, opened, 30)[0].state is State.COMPLETED
    assert delays == [pytest.approx(lease.LEASE.total_seconds(), abs=1)]


def test_a_second_caller_with_the_same_request_does_not_take_the_steps_of_the_first(world: World) -> None:
    name = world.name()
    first, second = held(world, name), held(world, name)
    assert (first.id, bool(first.lease_id), bool(second.lease_id)) == (second.id, True, False)
    assert waited(world, second, 3)[0].state is State.REQUESTED
    assert not world.ca.orders
    assert waited(world, first, 30)[0].state is State.COMPLETED
    assert waited(world, second, 30)[0].state is State.COMPLETED
    assert len(world.ca.orders) == 1


def test_an_operation_that_has_to_wait_for_the_rate_is_not_held(world: World) -> None:
    for _ in range(25):
        world.services.storage.limits.reserve("vault main", world.services.now(), SOFTWARE_KEYS)
    opened = held(world, world.name())
    assert not opened.lease_id
    assert opened.next_attempt_at > world.services.now()
