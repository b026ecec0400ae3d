"""Rows of limits that a worker with a wrong clock has written, or somebody has spoiled: nothing waits for years."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.storage.limits import RateLimit
from tests.world import ALIAS, World, configured, create, made

WINDOWS, BUCKET = RateLimit(2, 10, 2, in_windows=True), RateLimit(2, 10, 2)
HOLDER, YEAR = "vault main", timedelta(days=365)


def ahead(world: World, by: timedelta) -> World:
    """The world of a worker whose clock is ahead."""
    return replace(world, services=replace(world.services, now=lambda: world.services.now() + by))


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("limit", [WINDOWS, BUCKET])
@pytest.mark.parametrize("by", [timedelta(minutes=11), timedelta(days=1), YEAR])
def test_what_a_wrong_clock_has_reserved_keeps_nobody_waiting(
    world: World, limit: RateLimit, by: timedelta, count: int
) -> None:
    """What it has reserved counts as if its clock had been right."""
    now, limits = world.services.now(), world.services.storage.limits
    for _ in range(count):
        assert limits.reserve(HOLDER, now + by, limit) >= now + by
        limits.reserve("vault right", now, limit)
    assert limits.next_start(HOLDER, now, limit) == limits.next_start("vault right", now, limit)
    starts, right = ([limits.reserve(holder, now, limit) for _ in range(4)] for holder in (HOLDER, "vault right"))
    assert starts == right
    assert starts[0] - now <= limit.interval * count


@pytest.mark.parametrize("windows", [True, False])
def test_a_wrong_clock_takes_no_place_from_those_who_wait(world: World, windows: bool) -> None:
    now, limits, by = world.services.now(), world.services.storage.limits, timedelta(minutes=15)
    limit = RateLimit(10, 600, 10, in_windows=windows)  # one a minute
    last = max(limits.reserve(HOLDER, now, limit) for _ in range(60))
    limits.reserve(HOLDER, now + by, limit)
    starts = [limits.reserve(HOLDER, now, limit) for _ in range(10)]
    assert starts == sorted(set(starts))
    assert starts[0] >= last - by


@pytest.mark.parametrize("limit", [WINDOWS, BUCKET])
def test_clocks_that_nearly_agree_exceed_no_rate(world: World, limit: RateLimit) -> None:
    now, limits, by = world.services.now(), world.services.storage.limits, timedelta(minutes=9)
    last = max(limits.reserve(HOLDER, now + by, limit) for _ in range(3))
    assert limits.reserve(HOLDER, now, limit) == last + limit.interval


@pytest.mark.parametrize("limit", [RateLimit(1, 86_400, 1, in_windows=True), RateLimit(1, 86_400, 1)])
def test_a_queue_of_weeks_is_no_wrong_clock(world: World, limit: RateLimit) -> None:
    now, limits = world.services.now(), world.services.storage.limits
    starts = [limits.reserve(HOLDER, now, limit) for _ in range(40)]
    assert starts == [now + timedelta(days=day) for day in range(40)]


def test_a_certificate_is_made_at_once_after_a_worker_with_a_wrong_clock(world: World) -> None:
    create(ahead(world, YEAR), world.name("-a"))
    create(world, name := world.name("-b"))
    operation = world.services.storage.open(ALIAS, name)
    assert operation is not None
    assert operation.next_attempt_at == operation.requested_at


@pytest.mark.parametrize("text", ["", "x", "[", "[1, null]", '["a"]', "[1e400]", "[999999999999999999999]", "{}", "7"])
@pytest.mark.parametrize("limit", [WINDOWS, BUCKET])
def test_a_row_of_a_rate_that_somebody_has_spoiled_begins_anew(world: World, limit: RateLimit, text: str) -> None:
    now, limits = world.services.now(), world.services.storage.limits
    row: dict[str, Any] = {"PartitionKey": "rate", "RowKey": HOLDER, "starts": text, "free_at": text}
    limits._table.upsert(row)
    assert limits.reserve(HOLDER, now, limit) == now


@pytest.mark.parametrize("spoiled", [{}, {"until": "x"}, {"until": ""}, {"operation": "somebody's", "until": "x"}])
def test_a_slot_that_somebody_has_spoiled_is_free(world: World, spoiled: dict[str, str]) -> None:
    limited = configured(world, concurrency=1)
    keys = {"PartitionKey": "concurrency of authority test-ca", "RowKey": "000000"}
    world.services.storage.limits._table.upsert(keys | spoiled)
    assert made(limited, world.name()).state == "completed"
