"""What the holder of a lease writes, and what a worker that has lost it cannot."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certrelay.operations import intervene, lease, reconcile
from certrelay.storage.operation import Operation, State
from certrelay.storage.rows import Stale
from tests.operations.creations import create, row
from tests.world import ALIAS, World


def taken(world: World, name: str) -> Operation:
    found = lease.take(world.services, ALIAS, name)
    assert found is not None
    return found


def lost_and_taken(world: World, name: str) -> tuple[Operation, Operation]:
    """What a worker had that has lost its lease, and what the next one has."""
    lost = taken(world, name)
    world.outlive_lease()
    return lost, taken(world, name)


def test_only_a_cancellation_is_taken_before_it_is_due(world: World) -> None:
    name = world.name()
    opened = create(world, name)
    waiting = world.services.storage.save(replace(opened, next_attempt_at=opened.requested_at + timedelta(hours=1)))
    assert lease.take(world.services, ALIAS, name) is None
    world.services.storage.save(replace(waiting, cancel_requested=True))
    assert taken(world, name).cancel_requested


def test_a_cancellation_meanwhile_is_kept_and_makes_the_next_try_due_at_once(world: World) -> None:
    name = world.name()
    create(world, name)
    held = taken(world, name)
    world.services.storage.save(replace(row(world, name), cancel_requested=True))
    later = world.services.now() + timedelta(hours=1)
    lease.save(world.services, replace(held, next_attempt_at=later), release_lease=True)
    found = row(world, name)
    assert (found.cancel_requested, found.lease_id) == (True, "")
    assert found.next_attempt_at < later


def test_who_has_lost_the_lease_writes_nothing_even_if_a_cancellation_is_requested(world: World) -> None:
    name = world.name()
    create(world, name)
    lost, holder = lost_and_taken(world, name)
    canceled = world.services.storage.save(replace(holder, cancel_requested=True))
    with pytest.raises(Stale):
        lease.save(world.services, lost.moved(State.PENDING, world.services.now(), request_id="x"))
    lease.crashed(world.services, lost)
    lease.release(world.services, lost)
    assert row(world, name) == canceled


def test_a_cancellation_after_the_merge_comes_too_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name, record = world.name(), world.services.storage.record
    create(world, name)

    def meanwhile(operation: Operation) -> None:
        assert intervene.cancel(world.services, ALIAS, name).cancel_requested
        record(operation)

    monkeypatch.setattr(world.services.storage, "record", meanwhile)
    ended = reconcile.advance(world.services, ALIAS, name)
    assert ended is not None
    assert ended.state is State.COMPLETED
    assert world.services.storage.open(ALIAS, name) is None
    assert [one.state for one in world.services.storage.ended(ALIAS, name)] == [State.COMPLETED]


def test_who_has_lost_the_lease_does_not_remove_the_row(world: World) -> None:
    name = world.name()
    create(world, name)
    lost, holder = lost_and_taken(world, name)
    with pytest.raises(Stale):
        lease.remove(world.services, lost)
    assert row(world, name) == holder


def test_a_crash_after_the_merge_keeps_what_was_merged_even_past_the_deadline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.name()
    create(world, name)

    def bug(_operation: Operation) -> None:
        world.clock.advance(3 * 86_400)
        raise KeyError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(world.services.storage, "record", bug)
        with pytest.raises(KeyError):
            reconcile.advance(world.services, ALIAS, name)
    found = row(world, name)
    assert (found.state, found.crashes, found.lease_id) == (State.COMPLETED, 1, "")
    assert world.finish(name).version
