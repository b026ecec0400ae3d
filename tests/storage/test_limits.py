"""The rate limiter's row: what a process has written it need not read, until another process writes it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from certrelay.errors import NotReady
from certrelay.storage.ledger import Ledger
from certrelay.storage.limits import Limits, RateLimit
from certrelay.storage.rows import Row
from certrelay.storage.tables import Account
from tests.world import World

LIMIT = RateLimit(2, 10, 2, in_windows=True)
HOLDER = "vault main"


def another_process(world: World) -> Ledger:
    return Ledger(Account(world.services.settings.storage, None), world.prefix)


def seconds(starts: list[datetime], now: datetime) -> list[float]:
    return [(start - now).total_seconds() for start in starts]


def test_two_processes_that_take_turns_reserve_the_same_as_one(world: World) -> None:
    now, first, second = world.services.now(), world.services.storage.limits, another_process(world).limits
    starts = [limits.reserve(HOLDER, now, LIMIT) for limits in (first, second, first, first, second, second)]
    assert seconds(starts, now) == [0, 0, 10, 15, 20, 25]
    assert second.next_start(HOLDER, now, LIMIT) == now + timedelta(seconds=30)


def test_a_row_that_this_process_has_written_last_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now, limits = world.services.now(), world.services.storage.limits
    limits.reserve(HOLDER, now, LIMIT)

    def unexpected(_partition: str, _key: str) -> Row | None:
        raise AssertionError("read")

    monkeypatch.setattr(limits._table, "get", unexpected)
    assert seconds([limits.reserve(HOLDER, now, LIMIT) for _ in range(2)], now) == [0, 10]


def test_a_row_that_somebody_has_deleted_begins_anew(world: World) -> None:
    now, limits = world.services.now(), world.services.storage.limits
    for _ in range(5):
        limits.reserve(HOLDER, now, LIMIT)
    limits._table.delete("rate", HOLDER)
    assert limits.reserve(HOLDER, now, LIMIT) == now


@contextmanager
def under_way(
    limits: Limits, now: datetime, monkeypatch: pytest.MonkeyPatch, fails: int = 0
) -> Iterator[tuple[list[Future[datetime]], list[Row]]]:
    """Three who ask while the request of a first one is under way; and the rows that are written.

    `fails`: which request fails, the first one or the second."""
    begun, go_on, written, replace = threading.Event(), threading.Event(), list[Row](), limits._table.replace

    def slow(row: Row, etag: str) -> str:
        written.append(row)
        if len(written) == 1:
            begun.set()
            assert go_on.wait(60)
        if len(written) == fails:
            raise NotReady("the storage account cannot be reached")
        return replace(row, etag)

    limits.reserve(HOLDER, now, LIMIT)
    monkeypatch.setattr(limits._table, "replace", slow)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(limits.reserve, HOLDER, now, LIMIT)]
        assert begun.wait(60)
        asked += [pool.submit(limits.reserve, HOLDER, now, LIMIT) for _ in range(3)]
        while len(limits._waiting.get(HOLDER, [])) < 3:
            time.sleep(0.001)
        go_on.set()
        yield asked, written


def test_who_asks_while_a_request_is_under_way_shares_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = world.services.now()
    with under_way(world.services.storage.limits, now, monkeypatch) as (asked, written):
        starts = [one.result() for one in asked]
    assert seconds(sorted(starts), now) == [0, 10, 15, 20]
    assert len(written) == 2
    assert another_process(world).limits.next_start(HOLDER, now, LIMIT) == now + timedelta(seconds=25)


@pytest.mark.parametrize("fails", [1, 2])
def test_of_those_who_share_a_request_that_fails_one_is_told_and_the_others_ask_again(
    world: World, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    now = world.services.now()
    with under_way(world.services.storage.limits, now, monkeypatch, fails) as (asked, _):
        told = [one.exception() for one in asked]
    assert [type(one) for one in told if one] == [NotReady]
    starts = [one.result() for one, error in zip(asked, told, strict=True) if not error]
    assert seconds(sorted(starts), now) == [0, 10, 15]
