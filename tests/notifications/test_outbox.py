"""Which events of an operation are queued, and that none is lost or doubled while the queue is down."""

import json
from typing import Any

import pytest

from certrelay.connectors.base import Pending, Rejected
from certrelay.notifications import formats, outbox
from certrelay.operations import reconcile
from certrelay.storage.operation import State
from tests.notifications.receiver import delivered, listening
from tests.world import ALIAS, World, create, made, out_of_order


def test_people_whom_an_order_waits_for_are_told_at_each_look(world: World, receiver: Any) -> None:
    url, got, _ = receiver
    listener, name = listening(world, url), world.name()
    world.ca.answers = [*[Pending("r", 3600, "have it signed")] * 2, Rejected("closed")]
    ended = made(listener, name)
    assert delivered(listener) == 3
    events = [json.loads(body) for _, body in got]
    kinds = [event["type"].rpartition(".")[2] for event in events]
    assert kinds == ["waiting", "waiting", "failed"]
    assert len({event["id"] for event in events}) == 3
    first = events[0]["data"]
    assert (first["operation"], first["awaits"]) == (ended.id, "have it signed")
    assert "have it signed" in formats.sentence(events[0])


def test_a_look_that_is_repeated_after_a_crash_tells_people_under_the_same_id(world: World, receiver: Any) -> None:
    url, got, _ = receiver
    listener = listening(world, url)
    operation = made(listener, world.name())
    delivered(listener)
    for _ in range(2):
        outbox.operation_waits(listener.services, operation, "have it signed")
    delivered(listener)
    assert len({headers["webhook-id"] for headers, _ in got[1:]}) == 1
    assert len(got) == 3


def test_the_end_of_an_operation_is_told_when_the_queue_is_back(
    world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got, _ = receiver
    listener, name = listening(world, url), world.name()
    with monkeypatch.context() as patched:
        patched.setattr(world.services.storage.notifications, "send", out_of_order)
        create(listener, name)
        reconcile.advance(listener.services, ALIAS, name)
        waiting = world.services.storage.open(ALIAS, name)
        assert waiting is not None
        assert waiting.state is State.COMPLETED
    listener.finish(name)
    assert delivered(listener) == len(got) == 1
    assert len(world.versions(name)) == 1


def test_an_operation_whose_end_cannot_be_told_for_an_hour_is_closed_all_the_same(
    world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, name = listening(world, receiver[0]), world.name()
    monkeypatch.setattr(world.services.storage.notifications, "send", out_of_order)
    create(listener, name)
    reconcile.advance(listener.services, ALIAS, name)
    world.clock.advance(3601)
    reconcile.advance(listener.services, ALIAS, name)
    assert world.services.storage.open(ALIAS, name) is None
