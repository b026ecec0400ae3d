"""One worker at a time: deliveries, leases, crashes of the worker."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.connectors.base import SigningRequest
from certrelay.operations import lease, reconcile
from certrelay.storage.operation import State
from certrelay.storage.rows import Stale
from tests.operations.creations import create
from tests.world import ALIAS, Killed, World, configured

pytestmark = pytest.mark.slow

YEARS = timedelta(days=3650)


def test_the_same_wake_up_delivered_by_many_workers_at_once_makes_one_order_and_one_version(world: World) -> None:
    """Check 1."""
    name = world.name()
    operation = create(world, name)
    start = threading.Barrier(6)

    def deliver(_: int) -> None:
        start.wait()
        for _ in range(3):
            reconcile.advance(world.services, ALIAS, name, operation.id)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(deliver, range(6)))
    world.finish(name)
    assert len(world.ca.orders) == 1
    assert len(world.versions(name)) == 1


def test_a_wake_up_delivered_while_a_worker_is_at_the_authority_does_nothing(world: World) -> None:
    """Check 1."""
    name = world.name()
    operation = create(world, name)
    issue, deliveries = world.ca.issue, []

    def deliver_again(request: SigningRequest) -> bytes:
        deliveries.append(reconcile.advance(world.services, ALIAS, name, operation.id))
        return issue(request)

    world.ca.issue = deliver_again
    assert world.finish(name).crashes == 0
    assert deliveries == [None]
    assert len(world.ca.orders) == 1


def test_a_worker_that_outlives_its_lease_loses(world: World) -> None:
    """Check 8."""
    name = world.name()
    create(world, name)
    slow = lease.take(world.services, ALIAS, name)
    assert slow is not None
    assert reconcile.advance(world.services, ALIAS, name) is None, "the name is leased"
    world.outlive_lease()
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    assert ended.crashes == 1
    with pytest.raises(Stale):
        lease.save(world.services, slow.moved(State.PENDING, world.services.now(), request_id="x"))
    assert world.services.storage.open(ALIAS, name) is None


def test_an_operation_that_kills_every_worker_ends_at_its_deadline(world: World) -> None:
    world = configured(world, deadline_hours=2)
    name = world.name()
    opened = create(world, name)

    def killed(request: SigningRequest) -> bytes:
        raise Killed

    world.ca.issue = killed
    while world.services.now() < opened.deadline:
        with pytest.raises(Killed):
            reconcile.advance(world.services, ALIAS, name)
        world.outlive_lease()
    ended = reconcile.advance(world.services, ALIAS, name)
    assert ended is not None
    assert ended.failure is not None
    assert (ended.state, ended.failure.code) == (State.FAILED, "TimedOut")
    assert world.services.storage.open(ALIAS, name) is None


def test_a_forged_or_outdated_wake_up_does_nothing(world: World) -> None:
    """Check 11."""
    name = world.name()
    opened = create(world, name)
    assert reconcile.advance(world.services, ALIAS, name, "main.other.0") is None
    assert reconcile.advance(world.services, ALIAS, world.name("-unknown"), opened.id) is None
    world.finish(name)
    assert reconcile.advance(world.services, ALIAS, name, opened.id) is None
    assert len(world.ca.orders) == 1


def test_an_error_nobody_foresaw_is_raised_counted_and_the_row_is_free(world: World) -> None:
    name = world.name()
    create(world, name)
    broken = replace(world.services, vault=lambda alias: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(AttributeError):
        reconcile.advance(broken, ALIAS, name)
    row = world.services.storage.open(ALIAS, name)
    assert row is not None
    assert (row.crashes, row.lease_id) == (1, "")
    assert world.finish(name).state is State.COMPLETED


@pytest.mark.parametrize("changes", [{"lease_until": YEARS}, {"next_attempt_at": YEARS, "state": State.SUBMITTED},
                                     {"next_attempt_at": YEARS, "requested_at": YEARS}])  # fmt: skip
def test_times_that_only_a_wrong_clock_can_have_set_hold_up_nobody(world: World, changes: dict[str, Any]) -> None:
    name = world.name()
    now = world.services.now()
    opened = create(world, name)
    world.ca.wait = 1
    reconcile.advance(world.services, ALIAS, name)
    row = world.services.storage.open(ALIAS, name)
    assert row is not None
    wrong: dict[str, Any] = {key: now + value if value is YEARS else value for key, value in changes.items()}
    if "lease_until" in wrong:
        wrong |= {"lease_id": "of a worker whose clock is wrong", "next_attempt_at": now}
    world.services.storage.save(replace(row, **wrong))
    assert [entry.id for entry in world.services.storage.worklist(now)] == [opened.id]
    assert reconcile.advance(world.services, ALIAS, name) is not None
    assert world.services.storage.open(ALIAS, name) is None


def test_a_start_that_a_rate_has_reserved_far_ahead_is_kept(world: World) -> None:
    name = world.name()
    opened = create(world, name)
    far = replace(opened, next_attempt_at=opened.requested_at + timedelta(days=60))
    world.services.storage.save(far)
    assert reconcile.advance(world.services, ALIAS, name) is None
    assert list(world.services.storage.worklist(world.services.now())) == []
