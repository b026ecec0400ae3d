"""What a receiver gets, and what happens when it is down or refuses."""

import base64
import hashlib
import hmac
import json
import logging
from typing import Any

import pytest

from certrelay.connectors.base import Rejected
from certrelay.notifications import deliver
from tests.notifications.receiver import delivered, listening
from tests.world import World, made

pytestmark = pytest.mark.slow


def test_the_end_of_an_operation_is_told_as_a_signed_cloud_event(world: World, receiver: Any) -> None:
    url, got, _ = receiver
    listener = listening(world, url)
    ended = made(listener, world.name())
    assert delivered(listener) == 1
    headers, body = got[0]
    event = json.loads(body)
    assert event["type"] == "certrelay.certificate.completed"
    assert event["data"]["operation"] == ended.id
    assert headers["webhook-id"] == event["id"].replace(".", ":"), "a full stop separates what is signed"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"canary-key", signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert "canary" not in body.decode()


@pytest.mark.parametrize("kind", ["teams", "slack"])
def test_people_get_a_sentence(world: World, receiver: Any, kind: str) -> None:
    url, got, _ = receiver
    listener = listening(world, url, kind)
    world.ca.answers = [Rejected("contoso.example is not yours")]
    made(listener, world.name())
    delivered(listener)
    assert "contoso.example is not yours" in got[0][1].decode()


def test_the_words_of_an_authority_call_nobody_in_slack(world: World, receiver: Any) -> None:
    url, got, _ = receiver
    listener = listening(world, url, "slack")
    world.ca.answers = [Rejected("TXT is <!channel> & <https://evil.example|here>")]
    made(listener, world.name())
    delivered(listener)
    text = json.loads(got[0][1])["text"]
    assert text.endswith("TXT is &lt;!channel&gt; &amp; &lt;https://evil.example|here&gt;")


def test_a_receiver_that_is_down_is_tried_again_and_one_that_refuses_is_not(
    world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, answer = receiver
    listener = listening(world, url)
    event = {"id": "1", "type": "certrelay.certificate.digest", "subject": "s", "data": {}}
    message = {"v": 1, "target": "ops", "event": event}
    queued: list[tuple[dict[str, Any], float]] = []

    def note(text: str, delay_seconds: float = 0) -> None:
        queued.append((json.loads(text), delay_seconds))

    monkeypatch.setattr(world.services.storage.notifications, "send", note)
    for status in (500, 429):
        answer(status)
        deliver.deliver(listener.services, message)
    deliver.deliver(listening(world, "http://127.0.0.1:9/").services, message)
    assert queued == [({**message, "tries": 1}, 60)] * 3
    for status in (400, 302):
        answer(status)
        deliver.deliver(listener.services, message)
    deliver.deliver(listener.services, {**message, "target": "gone"})
    assert len(queued) == 3
    with pytest.raises(ValueError):
        deliver.deliver(listener.services, {"v": 2})


def test_a_receiver_may_be_down_for_a_day_and_not_for_ever(
    world: World, receiver: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url, _, answer = receiver
    listener = listening(world, url)
    answer(503)
    event = {"id": "1", "type": "certrelay.certificate.expired", "subject": "main/www", "data": {}}
    queued: list[tuple[dict[str, Any], float]] = [({"v": 1, "target": "ops", "event": event}, 0)]

    def note(text: str, delay_seconds: float = 0) -> None:
        queued.append((json.loads(text), delay_seconds))

    monkeypatch.setattr(world.services.storage.notifications, "send", note)
    for message, _ in queued:
        deliver.deliver(listener.services, message)
        assert len(queued) < 100
    delays = [delay for _, delay in queued]
    assert 24 * 3600 <= sum(delays) <= 26 * 3600
    assert max(delays) == 3600
    assert "main/www" in caplog.messages[-1], "in the end the log says what nobody was told"


@pytest.mark.parametrize("status", [204, 500, 400])
def test_the_address_of_a_webhook_is_in_no_log(
    world: World, receiver: Any, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Check 45. The addresses of Teams and Slack are their passwords."""
    url, got, answer = receiver
    caplog.set_level(logging.DEBUG)
    answer(status)
    event = {"id": "1", "type": "certrelay.certificate.digest", "subject": "s", "data": {}}
    for address in (f"{url}services/canary-token", "http://127.0.0.1:9/services/canary-token"):
        listener = listening(world, address)
        deliver.deliver(listener.services, {"v": 1, "target": "ops", "event": event})
    assert len(got) == 1
    assert "canary" not in caplog.text
