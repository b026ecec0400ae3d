"""Two requests at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from certrelay import side_by_side
from certrelay.errors import Conflict, NotReady

FIELD: ContextVar[str] = ContextVar("field", default="")


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_both_are_under_way_at_the_same_time_and_both_answers_come_back() -> None:
    meet = threading.Barrier(2, timeout=60)
    first, second = side_by_side.both(lambda: (meet.wait(), "first")[1], lambda: (meet.wait(), "second")[1])
    assert (first, second) == ("first", "second")


def test_the_second_has_the_context_of_its_caller() -> None:
    token = FIELD.set("main/a")
    try:
        assert side_by_side.both(lambda: None, FIELD.get) == (None, "main/a")
    finally:
        FIELD.reset(token)


def test_what_the_first_raises_comes_before_what_the_second_raises() -> None:
    with pytest.raises(NotReady):
        side_by_side.both(failing(NotReady("first")), failing(Conflict("second")))
    with pytest.raises(Conflict):
        side_by_side.both(lambda: None, failing(Conflict("second")))


def test_nothing_is_under_way_any_more_when_the_first_has_failed() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), list[bool]()

    def second() -> None:
        begun.set()
        go_on.wait(60)
        done.append(True)

    def first() -> None:
        begun.wait(60)
        go_on.set()
        raise NotReady("first")

    with pytest.raises(NotReady):
        side_by_side.both(first, second)
    assert done


def test_with_no_thread_free_the_second_follows_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    with ThreadPoolExecutor(1) as busy:
        monkeypatch.setattr(side_by_side, "_POOL", busy)
        busy.submit(free.wait, 60)
        order: list[str] = []
        side_by_side.both(lambda: order.append("first"), lambda: order.append("second"))
        with pytest.raises(NotReady):
            side_by_side.both(failing(NotReady("first")), lambda: order.append("never"))
        free.set()
    assert order == ["first", "second"]
