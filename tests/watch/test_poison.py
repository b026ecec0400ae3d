"""Messages that nobody could process: a list with reasons, put back or dropped, and nothing of it twice."""

import json

import pytest
from azure.storage.queue import QueueClient

from certrelay.errors import Conflict, NotFound, NotReady
from certrelay.operations import reconcile
from certrelay.storage.operation import State
from certrelay.watch import poison
from tests.world import ALIAS, World, create


def wake_up(world: World, name: str, operation: str) -> bytes:
    return json.dumps({"v": 1, "vault": ALIAS, "name": name, "operation": operation}).encode()


def test_a_crash_of_every_try_is_named_and_fails_the_operation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()
    body = wake_up(world, name, create(world, name).id)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("7f3a of a library")

    with monkeypatch.context() as patch:
        patch.setattr(world.ca, "submit", broken)
        patch.setattr("certrelay.operations.signing.call_authority", broken)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError) as crash:
                reconcile.advance(world.services, ALIAS, name)
            poison.remember_failure(world.services, "signing", body, crash.value)
    for _ in range(2):  # the host may copy a message twice
        poison.take(world.services, "signing", body, "m-1")
    (message,) = poison.messages(world.services)
    assert (message.queue, message.reason) == ("signing", "ZeroDivisionError")
    assert message.subject == f"{ALIAS}.{name}." + body.decode().rsplit(".", 1)[1].rstrip('"}')
    assert message.outcome in ("its operation was failed", "its operation has ended")
    assert "7f3a" not in repr(world.services.storage.watch.all())
    assert world.services.storage.ended(ALIAS, name)[0].state is State.FAILED
    with pytest.raises(Conflict, match="has ended, and the message would do nothing; drop it") as refused:
        poison.put_back(world.services, message.id)
    assert refused.value.code == "OperationEnded"
    assert poison.drop(world.services, message.id).id == message.id
    assert poison.messages(world.services) == []


def test_a_wake_up_whose_operation_is_open_is_put_back_and_processed(world: World) -> None:
    name = world.name()
    operation = create(world, name)
    for queued in world.services.storage.queue("signing").receive(32):
        world.services.storage.queue("signing").delete(queued)
    poison.remember_failure(
        world.services, "signing", body := wake_up(world, name, operation.id), NotReady("storage is down")
    )
    poison.take(world.services, "signing", body)
    (message,) = poison.messages(world.services)
    assert (message.reason, message.outcome) == ("storage is down", "its operation is open and goes on")
    poison.put_back(world.services, message.id)
    assert poison.messages(world.services) == []
    (queued,) = world.services.storage.queue("signing").receive(32)
    assert queued.body == body
    with pytest.raises(NotFound):
        poison.put_back(world.services, message.id)


def test_the_poll_takes_what_no_function_takes(world: World) -> None:
    storage = world.services.storage
    event = {"type": "certrelay.certificate.failed", "subject": "main/www"}
    storage.poison["notifications"].send(text := json.dumps({"v": 1, "target": "ops", "event": event}))
    storage.poison["notifications"].send(text)
    storage.poison["signing"].check()
    plain = QueueClient.from_connection_string(
        world.services.settings.storage["AzureWebJobsStorage"], f"{world.prefix}signing-poison"
    )
    plain.send_message("[not base64]")
    poison.drain(world.services)
    assert [queue.receive(32) for queue in storage.poison.values()] == [[], []]
    found = {message.queue: message for message in poison.messages(world.services)}
    assert found["notifications"].subject == "certrelay.certificate.failed of main/www"
    assert "log has it" in found["notifications"].reason
    assert found["signing"].reason == "it is no base64, which the Functions host expects"
    with pytest.raises(Conflict, match="cannot be read"):
        poison.put_back(world.services, found["signing"].id)
    poison.put_back(world.services, found["notifications"].id)
    (queued,) = storage.notifications.receive(32)
    assert queued.body == text.encode()


@pytest.mark.parametrize("queue", ["signing", "notifications"])
@pytest.mark.parametrize(
    "body",
    [b"[" * 40_000 + b"]" * 40_000, b"", b"7", b"null", b"{}", b"\xff\xfe", b'{"v": 1}', b'{"v": 1, "event": 7}'],
)
def test_whatever_is_in_a_poison_queue_is_listed_and_can_be_dropped(world: World, queue: str, body: bytes) -> None:
    poison.take(world.services, queue, body, "m-1")
    (message,) = poison.messages(world.services)
    if queue == "signing":
        assert message.outcome == "the message is no wake-up"
        with pytest.raises(Conflict):
            poison.put_back(world.services, message.id)
    poison.drop(world.services, message.id)
    assert poison.messages(world.services) == []


@pytest.mark.parametrize("identifier", ["", "x", "../" * 10, "0" * 32, "é" * 32, "a" * 31 + "/"])
def test_a_message_that_is_not_there_is_not_found(world: World, identifier: str) -> None:
    for act in (poison.drop, poison.put_back):
        with pytest.raises(NotFound):
            act(world.services, identifier)


def test_reasons_of_messages_that_succeeded_later_are_forgotten(world: World) -> None:
    poison.remember_failure(world.services, "signing", b"1", ValueError())
    world.clock.advance(9 * 86_400)
    poison.remember_failure(world.services, "signing", b"2", ValueError())
    poison.forget_old_attempts(world.services, world.services.storage.watch.rows("attempt"))
    assert len(world.services.storage.watch.rows("attempt")) == 1
