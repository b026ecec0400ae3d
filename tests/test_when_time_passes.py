"""The whole app in the sandbox as its clock is moved: Key Vault's events renew, and the sweep does so without them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT, App, until

pytestmark = pytest.mark.slow

CERTIFICATES = "/api/vaults/main/certificates"
NEVER = "0 0 0 29 2 *"  # not while these tests run


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Its sweep does not compete with the events. OpenBao's clock is not moved: by that it issues for a year at most,
    and each test moves the others by 61 days, or less."""
    by_hand = {**PROMPT, "CERTRELAY_SWEEP_SCHEDULE": NEVER}
    with (
        Sandbox(tmp_path_factory.mktemp("sandbox"), Progress(), app_settings=by_hand) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        yield App(sandbox.settings, client)


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
    until(lambda: name in [one["name"] for one in app.call("GET", f"{CERTIFICATES}?state=due").json()["value"]])
    return name, first


def renewed(app: App, name: str, first: Any) -> Any:
    until(lambda: bool(app.certificate(name, "/pending").json()["id"] != first["id"]))
    second = app.ended(name)
    assert (second["kind"], second["status"]) == ("renew", "completed"), second["error"]
    assert second["target"] != first["target"]
    found = app.certificate(name).json()
    assert (found["dns_names"], found["tags"]["team"]) == (["renew.contoso.example"], "web")
    return second
