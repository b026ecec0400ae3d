"""The whole app in the sandbox: every function, called as Azure would call it, under Microsoft's own worker."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from azure.storage.queue import QueueServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID

from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT, App, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """OpenBao's clock is not moved: by that it issues for a year at most, and each of three tests moves the others by
    61 days, or less."""
    directory = tmp_path_factory.mktemp("sandbox")
    by_hand = {"CERTRELAY_SWEEP_SCHEDULE": "0 0 0 29 2 *"}  # on the next 29 February: else it competes with the events
    with (
        Sandbox(directory, Progress(), app_settings={**PROMPT, **by_hand}) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        yield App(sandbox.settings, client)


def test_a_certificate_is_asked_for_over_http_and_merged(app: App) -> None:
    name = app.name()
    asked = app.create(name, dns_names=["www.contoso.example"], tags={"team": "web"})
    assert asked.status_code == 202
    assert asked.headers["location"].startswith(f"/api/vaults/main/certificates/{name}/pending")
    assert int(asked.headers["retry-after"]) >= 1
    again = app.create(name, dns_names=["www.contoso.example"], tags={"team": "web"})
    assert again.json()["id"] == asked.json()["id"]
    ended = app.ended(name)
    assert ended["status"] == "completed", ended
    assert app.call("GET", f"/api/operations/{asked.json()['id']}").json()["status"] == "completed"


def test_a_name_that_the_authority_denies_fails_with_its_reason(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["www.fabrikam.example"])
    ended = app.ended(name)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "RequestRejected")
    assert "www.fabrikam.example" in ended["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("main/certificates/bad_name/create", {"authority": "openbao", "dns_names": ["a.example"]}, [""]),
        (
            "gone/certificates/www/create",
            {"authority": "nobody", "dns_names": ["a b"]},
            ["", "/authority", "/dns_names/0"],
        ),
        ("main/certificates/www/create", {"authority": 7, "colour": "red"}, ["/authority", "/colour"]),
        ("main/certificates/www/create", {"authority": "openbao"}, ["/policy/x509_props"]),
        ("main/certificates/www/import", {"value": "%%%"}, ["/value"]),
        ("main/certificates/www/import", {}, [""]),
    ],
)
def test_bad_input_is_a_problem_that_names_every_fault_before_any_call_to_key_vault(
    app: App, path: str, body: dict[str, Any], pointers: list[str]
) -> None:
    before = app.vault_requests()
    answer = app.call("POST", f"/api/vaults/{path}", body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == pointers
    assert answer.json()["correlation_id"] == answer.headers["x-correlation-id"]
    assert app.vault_requests() == before


def test_a_pfx_is_imported_and_a_wrong_password_is_named(app: App) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imported.contoso.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=30))
    protection = BestAvailableEncryption(b"pass")
    pfx = serialize_key_and_certificates(b"n", key, builder.sign(key, hashes.SHA256()), None, protection)
    name, value = app.name(), base64.b64encode(pfx).decode()
    wrong = app.certificate(name, "/import", "POST", {"value": value, "pwd": "wrong"})
    assert wrong.status_code == 400
    done = app.certificate(name, "/import", "POST", {"value": value, "pwd": "pass"})
    assert (done.status_code, done.json()["imported"]) == (200, True), done.text
    assert done.json()["subject"] == "CN=imported.contoso.example"
    assert not app.certificate(name, "/import", "POST", {"value": value, "pwd": "pass"}).json()["imported"]


def test_an_operation_can_be_canceled(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["cancel.contoso.example"])
    answer = app.certificate(name, "/pending", "PATCH", {"cancellation_requested": True})
    assert answer.status_code in (200, 404), "it may be over already"
    assert app.ended(name)["status"] in ("canceled", "completed")


def test_without_a_key_nobody_gets_in(app: App) -> None:
    for path in ("/api/operations/x", "/api/vaults/main/certificates/www/pending"):
        assert app.call("GET", path, key="").status_code == 401


def test_a_message_that_is_no_wake_up_ends_in_the_poison_queue_and_the_queue_drains(app: App) -> None:
    """Check 10: five tries and a line in the log; nothing else happens."""
    for text in (
        "not json",
        "[]",
        '{"v": 2}',
        '{"v": 1, "vault": 7}',
        '{"v": 1, "vault": "main", "name": "..", "operation": ""}',
    ):
        app.queue(text)
    app.queue(json.dumps({"v": 1, "vault": "gone", "name": "www", "operation": "gone.www.1"}))
    name = app.name()
    app.create(name, dns_names=["drain.contoso.example"])
    assert app.ended(name)["status"] == "completed"
    queues = QueueServiceClient.from_connection_string(app.settings["STORAGE_CONNECTION_STRING"])
    until(lambda: queues.get_queue_client("signing").get_queue_properties().approximate_message_count in (0, 5))


def test_every_other_function_runs_by_hand(app: App) -> None:
    for function in ("poll_operations", "sweep_certificates", "daily_digest", "publish_revocation_lists"):
        assert app.run(function) == 202
    forged = {
        "id": "1",
        "subject": "x",
        "topic": "t",
        "eventType": "Microsoft.KeyVault.CertificateNearExpiry",
        "eventTime": "2026-11-23T00:00:00Z",
        "dataVersion": "1",
        "data": {"Id": "https://x/certificates/y/1"},
    }
    webhook = app.settings["EVENTGRID_WEBHOOK_URL"]
    for body, kind in ((forged, "Notification"), ({**forged, "data": {}}, "Notification")):
        assert app.client.post(webhook, json=[body], headers={"aeg-event-type": kind}).status_code == 202
    cloud = {"id": "1", "source": "s", "specversion": "1.0", "type": "Microsoft.KeyVault.CertificateNearExpiry",
             "subject": "x", "time": "2026-11-23T00:00:00Z", "data": {"Id": "https://x/certificates/y/1"}}  # fmt: skip
    headers = {"content-type": "application/cloudevents+json"}
    assert app.client.post(webhook, content=json.dumps(cloud), headers=headers).status_code == 202


# -- as time passes: Key Vault's events renew, and the sweep does so without them ------------------------------------


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
def test_a_near_expiry_event_renews_with_the_same_names_and_tags(app: App, schema: str) -> None:
    events = app.settings["VAULT_ADMIN_URL"] + "/events"
    webhook = {"webhook": app.settings["EVENTGRID_WEBHOOK_URL"], "schema": schema}
    app.client.put(events, json=webhook).raise_for_status()
    until(lambda: bool(app.client.get(events).json()["validated"]))
    name, first = due_but_not_near_expiry(app)
    advance(app, days=6)
    assert renewed(app, name, first)["requested_by"] == "event"


def test_the_sweep_renews_without_any_event(app: App) -> None:
    name, first = due_but_not_near_expiry(app)
    app.run("sweep_certificates")
    assert renewed(app, name, first)["requested_by"] == "sweep"


def advance(app: App, days: int) -> None:
    app.client.post(app.settings["VAULT_ADMIN_URL"] + "/clock", json={"advance": days * 86_400}).raise_for_status()


def due_but_not_near_expiry(app: App) -> tuple[str, Any]:
    """A certificate with 35 days left, to be renewed 40 days before its end, and the operation that made it."""
    name = app.name()
    mail = {"trigger": {"days_before_expiry": 40}, "action": {"action_type": "EmailContacts"}}
    app.create(name, dns_names=["renew.contoso.example"], tags={"team": "web"}, policy={"lifetime_actions": [mail]})
    first = app.ended(name)
    advance(app, days=55)
    until(
        lambda: (
            name in [one["name"] for one in app.call("GET", "/api/vaults/main/certificates?state=due").json()["value"]]
        )
    )
    return name, first


def renewed(app: App, name: str, first: Any) -> Any:
    until(lambda: bool(app.certificate(name, "/pending").json()["id"] != first["id"]))
    second = app.ended(name)
    assert (second["kind"], second["status"]) == ("renew", "completed"), second["error"]
    assert second["target"] != first["target"]
    found = app.certificate(name).json()
    assert (found["dns_names"], found["tags"]["team"]) == (["renew.contoso.example"], "web")
    return second
