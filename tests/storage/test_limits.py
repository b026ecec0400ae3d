"""The rate limiter's row: what a process has written it need not read, until another process writes it."""

from datetime import datetime, timedelta

import pytest

from certrelay.storage.ledger import Ledger
from certrelay.storage.limits import RateLimit
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
