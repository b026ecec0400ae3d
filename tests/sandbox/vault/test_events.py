"""Event Grid events: payload, times, handshake, retries, duplicates, both schemas."""

import datetime
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from azure.keyvault.certificates import CertificateClient

from sandbox.clock import Clock
from sandbox.eventgrid import Subscription
from sandbox.vault import Settings, VaultServer
from sandbox.vault.seed import Seed, seed
from tests.sandbox.vault.support import Authority, der, pending, properties, self_signed
from tests.sandbox.vault.webhook import Webhook, eventually

pytestmark = pytest.mark.slow

DAY = 86400
TOPIC = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/sandbox/providers/Microsoft.KeyVault/"
    "vaults/sandbox"
)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as running:
        yield running


def subscription(webhook: Webhook, **settings: object) -> Subscription:
    return Subscription(webhook.url, retry_delays=[0.05], **settings)  # type: ignore[arg-type]


def move(server: VaultServer, seconds: float) -> None:
    requests.post(f"{server.admin_url}/clock", json={"advance": seconds}, timeout=60).raise_for_status()


def test_a_new_version_is_told_with_the_payload_of_the_service(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    server.feed.subscribe(subscription(webhook))
    created = self_signed(client, name)
    eventually(lambda: bool(webhook.types(name)))
    (headers, (event,)) = webhook.received[-1]
    assert headers["aeg-event-type"] == "Notification"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert uuid.UUID(event.pop("id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", event.pop("eventTime"))
    assert event == {
        "topic": TOPIC,
        "subject": name,
        "eventType": "Microsoft.KeyVault.CertificateNewVersionCreated",
        "data": {
            "Id": created.id,
            "VaultName": "sandbox",
            "ObjectType": "Certificate",
            "ObjectName": name,
            "Version": properties(created).version,
            "NBF": int(properties(created).not_before.timestamp()),
            "EXP": int(properties(created).expires_on.timestamp()),
        },
        "dataVersion": "1",
        "metadataVersion": "1",
    }


def test_the_handshake_comes_first_and_is_repeated_until_it_is_answered(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    webhook.validate = False
    server.feed.subscribe(subscription(webhook))
    self_signed(client, name)
    eventually(lambda: len(webhook.handshakes) >= 2)
    assert webhook.received == []
    webhook.validate = True
    eventually(lambda: webhook.types(name) == ["NewVersionCreated"])
    assert webhook.handshakes[0][2][0]["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"


def test_cloud_events_have_their_own_handshake_and_envelope(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    server.feed.subscribe(subscription(webhook, schema="CloudEventSchemaV1_0"))
    created = self_signed(client, name)
    eventually(lambda: bool(webhook.types(name)))
    method, asked, _ = webhook.handshakes[0]
    assert (method, asked["WebHook-Request-Origin"]) == ("OPTIONS", "eventgrid.azure.net")
    headers, event = webhook.received[-1]
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert set(event) == {"id", "source", "specversion", "type", "subject", "time", "data"}
    assert (event["source"], event["specversion"], event["subject"]) == (TOPIC, "1.0", name)
    assert event["data"]["Id"] == created.id


@pytest.mark.parametrize("status", [500, 503, 404, 408])
def test_a_refused_delivery_is_repeated(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str, status: int
) -> None:
    server.feed.subscribe(subscription(webhook))
    webhook.statuses = [status, status]
    self_signed(client, name)
    eventually(lambda: len(webhook.types(name)) == 3)
    assert len({body[0]["id"] for _, body in webhook.received}) == 1
    assert [headers["aeg-delivery-count"] for headers, _ in webhook.received] == ["0", "1", "2"]


def test_a_bad_request_is_not_repeated(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    server.feed.subscribe(subscription(webhook))
    webhook.statuses = [400]
    self_signed(client, name)
    eventually(lambda: any(event["subject"] == name for event in server.feed.publisher.dead))
    self_signed(client, f"{name}-next")
    eventually(lambda: bool(webhook.types(f"{name}-next")))
    assert len(webhook.types(name)) == 1


def test_duplicates_come_on_request(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    server.feed.subscribe(subscription(webhook, duplicates=2))
    self_signed(client, name)
    eventually(lambda: len(webhook.types(name)) == 3)
    assert len({body[0]["id"] for _, body in webhook.received}) == 1


def test_events_come_in_batches_on_request(server: VaultServer, client: CertificateClient, webhook: Webhook) -> None:
    webhook.validate = False
    server.feed.subscribe(subscription(webhook, batch=10))
    for number in range(3):
        self_signed(client, f"batch-{number}")
    webhook.validate = True
    eventually(lambda: bool(webhook.received))
    assert len(webhook.received[0][1]) == 3


def test_an_unreachable_webhook_does_not_hinder_the_vault(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    server.feed.subscribe(Subscription("http://127.0.0.1:1/nobody", retry_delays=[0.05]))
    self_signed(client, name)
    server.feed.subscribe(subscription(webhook))
    eventually(lambda: webhook.types(name) == ["NewVersionCreated"])


def test_an_import_and_a_merge_are_new_versions(
    server: VaultServer, client: CertificateClient, webhook: Webhook, authority: Authority, name: str
) -> None:
    server.feed.subscribe(subscription(webhook))
    operation = pending(client, name)
    assert webhook.types(name) == []
    client.merge_certificate(name, [der(authority.sign(operation.csr or b""))])
    eventually(lambda: webhook.types(name) == ["NewVersionCreated"])


@pytest.fixture
def own(tmp_path: Path, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultServer]:
    """A vault whose clock may be moved without disturbing other tests."""
    settings = Settings(self_delay=0.05)
    with VaultServer(tmp_path, Clock(tmp_path / "clock"), webhook=webhook.url, settings=settings) as running:
        yield running


def imported(server: VaultServer, months: int, count: int = 1, prefix: str = "due") -> str:
    """Certificates of an unknown issuer, which nothing renews, with their events as if just merged."""
    seed(server.vault, Seed(count=count, prefix=prefix, validity_months=months))
    return f"{prefix}-00000"


def test_near_expiry_comes_thirty_days_ahead_and_once_and_expired_at_the_end(
    own: VaultServer, webhook: Webhook
) -> None:
    name = imported(own, 12)
    certificate = own.vault.find(name)
    assert certificate is not None
    expires = certificate.current.expires
    move(own, expires - 30 * DAY - own.clock.now() - 60)
    assert webhook.types(name) == []
    move(own, 61)
    eventually(lambda: webhook.types(name) == ["NearExpiry"])
    move(own, 15 * DAY)
    move(own, 15 * DAY)
    eventually(lambda: webhook.types(name) == ["NearExpiry", "Expired"])
    move(own, 400 * DAY)
    assert own.feed.publisher.status()["waiting"] == 0
    assert webhook.types(name) == ["NearExpiry", "Expired"]


def test_near_expiry_comes_at_once_when_already_inside(own: VaultServer, webhook: Webhook) -> None:
    seed(own.vault, Seed(count=1, prefix="short", validity_months=1, age=5 * DAY))
    # Made before the subscription: such a version raises no event.
    eventually(lambda: "NearExpiry" in str(list(own.feed.raised)))
    name = imported(own, 1, prefix="young")
    move(own, 2 * DAY)
    eventually(lambda: webhook.types(name) == ["NearExpiry"])
    assert webhook.types("short-00000") == []


def test_the_clock_file_moved_by_another_process_raises_events(own: VaultServer, webhook: Webhook) -> None:
    name = imported(own, 12)
    Clock(own.directory / "clock").advance(340 * DAY)
    eventually(lambda: webhook.types(name) == ["NearExpiry"])


def test_a_deleted_certificate_raises_nothing(own: VaultServer, webhook: Webhook) -> None:
    imported(own, 12, count=2)
    headers = {"Authorization": f"Bearer {own.identities.token(own.resource)}"}
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(own.ca_bundle)
        answer = session.delete(f"{own.url}/certificates/due-00000?api-version=7.6", headers=headers, timeout=60)
        assert answer.ok
    move(own, 340 * DAY)
    eventually(lambda: webhook.types("due-00001") == ["NearExpiry"])
    assert webhook.types("due-00000") == []


def test_a_deleted_certificate_is_purged_when_its_time_comes(own: VaultServer) -> None:
    own.settings.retention_days = 7
    name = imported(own, 12)
    headers = {"Authorization": f"Bearer {own.identities.token(own.resource)}"}
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(own.ca_bundle)
        session.delete(f"{own.url}/certificates/{name}?api-version=7.6", headers=headers, timeout=60)
        move(own, 8 * DAY)
        answer = session.get(f"{own.url}/deletedcertificates/{name}?api-version=7.6", headers=headers, timeout=60)
    assert answer.status_code == 404
    assert own.vault.find(name) is None


def test_the_time_of_an_event_is_the_sandbox_clock(own: VaultServer, webhook: Webhook) -> None:
    name = imported(own, 12)
    move(own, 340 * DAY)
    eventually(lambda: bool(webhook.types(name)))
    year = datetime.datetime.fromtimestamp(own.clock.now(), datetime.UTC).strftime("%Y-%m")
    assert webhook.received[-1][1][0]["eventTime"].startswith(year)


def test_a_subscription_is_made_and_ended_through_the_admin_api(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    events = f"{server.admin_url}/events"
    made = requests.put(events, json={"webhook": webhook.url, "duplicates": 1}, timeout=60).json()
    assert made["subscription"]["duplicates"] == 1
    self_signed(client, name)
    eventually(lambda: len(webhook.types(name)) == 2)
    assert requests.delete(events, timeout=60).json()["subscription"] is None
    self_signed(client, f"{name}-later")
    assert webhook.types(f"{name}-later") == []
    refused = requests.put(events, json={"webhook": "https://elsewhere.example/"}, timeout=60)
    assert refused.status_code == 400


def test_an_ended_subscription_drops_what_is_not_delivered(
    server: VaultServer, client: CertificateClient, webhook: Webhook, name: str
) -> None:
    webhook.validate = False
    server.feed.subscribe(subscription(webhook))
    self_signed(client, name)
    eventually(lambda: server.feed.publisher.status()["waiting"] == 1)
    server.feed.subscribe(None)
    webhook.validate = True
    server.feed.subscribe(subscription(webhook))
    self_signed(client, f"{name}-next")
    eventually(lambda: bool(webhook.types(f"{name}-next")))
    assert webhook.types(name) == []
