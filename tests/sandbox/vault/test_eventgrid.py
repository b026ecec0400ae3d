"""Event Grid delivery without a vault."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.eventgrid import SCHEMAS, Publisher, Subscription, check_webhook, cloud_event
from tests.sandbox.vault.webhook import Webhook, eventually


def event(subject: str, kind: str = "Microsoft.KeyVault.CertificateNearExpiry") -> dict[str, Any]:
    return {
        "id": f"id-{subject}",
        "topic": "/topic",
        "subject": subject,
        "eventType": kind,
        "eventTime": "2027-01-01T00:00:00.0000000Z",
        "data": {"Id": subject},
        "dataVersion": "1",
        "metadataVersion": "1",
    }


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def publisher(done: list[str]) -> Iterator[Publisher]:
    running = Publisher("/topic", done.append)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as running:
        yield running


def test_without_a_subscription_an_event_is_done_with_at_once(publisher: Publisher, done: list[str]) -> None:
    publisher.submit(event("a"))
    assert done == ["id-a"]
    assert publisher.status()["delivered"] == 0


def test_a_delivered_event_is_done_with_once(publisher: Publisher, webhook: Webhook, done: list[str]) -> None:
    publisher.subscribe(Subscription(webhook.url))
    for subject in ("a", "b", "c"):
        publisher.submit(event(subject))
    eventually(lambda: len(done) == 3)
    assert [body[0]["subject"] for _, body in webhook.received] == ["a", "b", "c"]
    assert publisher.status()["delivered"] == 3


def test_only_the_wanted_types_are_delivered(publisher: Publisher, webhook: Webhook, done: list[str]) -> None:
    wanted = "Microsoft.KeyVault.CertificateExpired"
    publisher.subscribe(Subscription(webhook.url, event_types=[wanted]))
    publisher.submit(event("a"))
    publisher.submit(event("b", wanted))
    eventually(lambda: done == ["id-a", "id-b"])
    assert [body[0]["subject"] for _, body in webhook.received] == ["b"]


def test_the_handshake_names_the_topic_and_carries_a_code(publisher: Publisher, webhook: Webhook) -> None:
    publisher.subscribe(Subscription(webhook.url))
    eventually(lambda: publisher.status()["validated"])
    ((_, headers, body),) = webhook.handshakes
    assert headers["aeg-event-type"] == "SubscriptionValidation"
    assert body[0]["topic"] == "/topic"
    assert body[0]["data"]["validationCode"]


def test_an_event_is_given_up_after_its_attempts(publisher: Publisher, webhook: Webhook, done: list[str]) -> None:
    publisher.subscribe(Subscription(webhook.url, retry_delays=[0.01], max_attempts=3))
    webhook.statuses = [500] * 3
    publisher.submit(event("a"))
    eventually(lambda: done == ["id-a"])
    assert len(webhook.received) == 3
    assert publisher.status()["dead"] == 1


@pytest.mark.parametrize("status", [400, 401, 413])
def test_some_answers_are_final(publisher: Publisher, webhook: Webhook, done: list[str], status: int) -> None:
    publisher.subscribe(Subscription(webhook.url, retry_delays=[0.01]))
    webhook.statuses = [status]
    publisher.submit(event("a"))
    eventually(lambda: done == ["id-a"])
    assert (len(webhook.received), publisher.status()["dead"]) == (1, 1)


@pytest.mark.parametrize("status", [201, 202, 203, 204])
def test_every_success_is_one(publisher: Publisher, webhook: Webhook, done: list[str], status: int) -> None:
    publisher.subscribe(Subscription(webhook.url))
    webhook.statuses = [status]
    publisher.submit(event("a"))
    eventually(lambda: done == ["id-a"])
    assert publisher.status()["delivered"] == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_no_success_and_is_not_followed(
    publisher: Publisher, webhook: Webhook, done: list[str], status: int
) -> None:
    """The sandbox posts to this machine only, and whoever it asks must not send it elsewhere."""
    with Webhook() as elsewhere:
        publisher.subscribe(Subscription(webhook.url, retry_delays=[0.01], max_attempts=2))
        eventually(lambda: publisher.status()["validated"])
        webhook.moved_to, webhook.statuses = elsewhere.url, [status, status]
        publisher.submit(event("a"))
        eventually(lambda: done == ["id-a"])
        assert (publisher.status()["dead"], elsewhere.received) == (1, [])


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_handshake_is_not_followed_elsewhere(publisher: Publisher, webhook: Webhook, schema: str) -> None:
    with Webhook() as elsewhere:
        webhook.moved_to = elsewhere.url
        publisher.subscribe(Subscription(webhook.url, schema=schema, retry_delays=[0.01]))
        time.sleep(0.3)
        assert (publisher.status()["validated"], elsewhere.handshakes) == (False, [])


def test_a_refused_event_does_not_hold_up_the_next(publisher: Publisher, webhook: Webhook, done: list[str]) -> None:
    publisher.subscribe(Subscription(webhook.url, retry_delays=[1]))
    eventually(lambda: publisher.status()["validated"])
    webhook.statuses = [503]
    publisher.submit(event("a"))
    publisher.submit(event("b"))
    eventually(lambda: len(done) == 2)
    assert done == ["id-b", "id-a"]


def test_a_batch_of_cloud_events_has_its_own_content_type(publisher: Publisher, webhook: Webhook) -> None:
    webhook.validate = False
    publisher.subscribe(Subscription(webhook.url, schema="CloudEventSchemaV1_0", batch=5, retry_delays=[0.05]))
    publisher.submit(event("a"))
    publisher.submit(event("b"))
    webhook.validate = True
    eventually(lambda: len(webhook.received) == 1)
    headers, body = webhook.received[0]
    assert headers["content-type"].startswith("application/cloudevents-batch+json")
    assert [item["subject"] for item in body] == ["a", "b"]


def test_submitting_never_waits_for_the_webhook(publisher: Publisher) -> None:
    publisher.subscribe(Subscription("http://127.0.0.1:1/", retry_delays=[0.1]))
    began = time.monotonic()
    for number in range(1000):
        publisher.submit(event(str(number)))
    assert time.monotonic() - began < 10
    assert publisher.status()["waiting"] == 1000


def test_a_publisher_stops_while_it_waits(webhook: Webhook) -> None:
    waiting = Publisher("/topic")
    waiting.start()
    waiting.subscribe(Subscription("http://127.0.0.1:1/", retry_delays=[600]))
    time.sleep(0.05)
    began = time.monotonic()
    waiting.stop()
    assert time.monotonic() - began < 30


def test_a_cloud_event_says_the_same() -> None:
    assert cloud_event(event("a")) == {
        "id": "id-a",
        "source": "/topic",
        "specversion": "1.0",
        "type": "Microsoft.KeyVault.CertificateNearExpiry",
        "subject": "a",
        "time": "2027-01-01T00:00:00.0000000Z",
        "data": {"Id": "a"},
    }


@pytest.mark.parametrize(
    "url", ["http://elsewhere.example/", "ftp://127.0.0.1/", "127.0.0.1", "", "http://127.0.0.1.example/"]
)
def test_only_a_webhook_on_this_machine_is_taken(url: str) -> None:
    with pytest.raises(ValueError, match="not a webhook on this machine"):
        check_webhook(url)
    assert check_webhook("http://localhost:8080/x") == "http://localhost:8080/x"


@pytest.mark.parametrize(
    "settings",
    [
        {"schema": "CustomInputSchema"},
        {"duplicates": -1},
        {"batch": 0},
        {"batch": True},
        {"max_attempts": 0},
        {"retry_delays": []},
        {"retry_delays": [-1]},
        {"timeout": 0.5, "retry_delays": ["x"]},
        {"event_types": "all"},
    ],
)
def test_an_impossible_subscription_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Subscription("http://127.0.0.1:1/", **settings)
