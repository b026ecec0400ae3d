"""What people may know of the targets: how the last deliveries went, and a test message; never an address."""

from dataclasses import asdict
from typing import Any

import pytest

from certrelay.errors import NotFound, NotReady
from certrelay.notifications import deliver, targets
from certrelay.notifications.targets import TargetState
from tests.notifications.receiver import delivered, listening
from tests.world import World, made

pytestmark = pytest.mark.slow

EVENT = {"id": "1", "type": "certrelay.certificate.expired", "subject": "main/www", "data": {}}


def out_of_order(*_: object) -> None:
    raise NotReady("out of order", code="StorageNotReady")


def only(world: World) -> TargetState:
    [state] = targets.states(world.services)
    return state


def test_a_target_that_was_never_told_anything_says_so(world: World, receiver: Any) -> None:
    state = only(listening(world, receiver[0]))
    assert (state.name, state.kind, state.host) == ("ops", "webhook", "127.0.0.1")
    assert "completed" in state.events
    assert (state.last.delivered, state.last.failed) == (None, None)


def test_the_last_delivery_and_the_last_failure_are_remembered_beside_each_other(world: World, receiver: Any) -> None:
    url, _, answer = receiver
    listener, name = listening(world, url), world.name()
    made(listener, name)
    delivered(listener)
    found = only(listener).last
    assert found.delivered is not None
    assert (found.delivered.event, found.delivered.subject) == ("completed", f"main/{name}")
    assert found.delivered.at <= listener.services.now()
    answer(410)
    deliver.deliver(listener.services, {"v": 1, "target": "ops", "event": EVENT})
    later = only(listener).last
    assert later.delivered == found.delivered
    assert later.failed is not None
    assert (later.failed.event, later.failed.status) == ("expired", 410)


@pytest.mark.parametrize("kind", ["webhook", "teams", "slack"])
def test_a_test_message_reaches_every_kind_of_target_whatever_it_subscribes_to(
    world: World, receiver: Any, kind: str
) -> None:
    url, got, _ = receiver
    delivery = targets.send_test(listening(world, url, kind).services, "ops", "ada")
    assert (delivery.event, delivery.status, delivery.delivered) == ("test", 204, True)
    assert "ada" in got[0][1].decode()
    assert only(listening(world, url, kind)).last.delivered == delivery


@pytest.mark.parametrize(("url", "status", "seen"), [("", 500, 500), ("", 302, 302), ("http://127.0.0.1:9/x", 0, 0)])
def test_a_test_message_that_is_not_taken_is_no_error_and_is_not_sent_again(
    world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch, url: str, status: int, seen: int
) -> None:
    address, _, answer = receiver
    answer(status)
    monkeypatch.setattr(world.services.storage.notifications, "send", out_of_order)  # nothing is queued
    listener = listening(world, url or address)
    delivery = targets.send_test(listener.services, "ops", "ada")
    assert (delivery.status, delivery.delivered) == (seen, False)
    assert only(listener).last.failed == delivery


def test_a_target_that_is_not_there_is_named_with_those_that_are(world: World, receiver: Any) -> None:
    with pytest.raises(NotFound, match="no notification target 'gone'; the settings have: ops"):
        targets.send_test(listening(world, receiver[0]).services, "gone", "ada")


def test_an_address_is_in_nothing_that_people_see(world: World, receiver: Any) -> None:
    for url in (f"{receiver[0]}services/canary-token?sig=canary", "http://canary-user:canary@127.0.0.1:9/canary"):
        listener = listening(world, url)
        delivery = targets.send_test(listener.services, "ops", "ada")
        assert "canary" not in repr(asdict(only(listener))) + repr(delivery)


def test_what_cannot_be_remembered_is_delivered_all_the_same(
    world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got, _ = receiver
    listener = listening(world, url)
    monkeypatch.setattr(world.services.storage.watch, "merge", out_of_order)  # as while storage is down
    deliver.deliver(listener.services, {"v": 1, "target": "ops", "event": EVENT})
    assert targets.send_test(listener.services, "ops", "ada").delivered
    assert len(got) == 2


def test_a_row_that_somebody_has_spoilt_counts_as_no_delivery(world: World, receiver: Any) -> None:
    listener = listening(world, receiver[0])
    world.services.storage.watch.merge("delivery", "ops", {"failed_at": "yesterday", "delivered_at": 7})
    assert (only(listener).last.delivered, only(listener).last.failed) == (None, None)
