"""Alerts: once for each stage, and none for what Key Vault need not have renewed yet."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.certificates import issuers
from certrelay.connectors.base import Rejected
from certrelay.keyvault.certificate import item_of
from certrelay.renewal import alerts, digest, events, sweep
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord
from tests.notifications.receiver import delivered, listening
from tests.world import ALIAS, DAY, KEY, World, made, out_of_order

pytestmark = pytest.mark.slow


def test_a_certificate_near_its_end_is_told_of_once_and_again_when_it_expired(
    lonely_world: World, receiver: Any
) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name = world.name()
    made(world, name)
    delivered(world)
    got.clear()
    world.ca.answers = [Rejected("closed")] * 500
    for _ in range(60):
        world.clock.advance(12 * 3600)
    world.clock.advance(46 * DAY)
    for _ in range(3):
        sweep.sweep(world.services)
    world.finish(name)
    world.clock.advance(15 * DAY)
    sweep.sweep(world.services)
    delivered(world)
    told = [json.loads(body)["type"].rsplit(".", 1)[-1] for _, body in got]
    assert told.count("expiring") == 1
    assert told.count("expired") == 1


def test_an_alarm_that_could_not_be_queued_is_raised_again(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    for number in range(3):
        made(world, world.name(f"-{number}"))
        delivered(world)
    got.clear()
    world.clock.advance(91 * DAY)
    tried: list[str] = []
    queue = world.services.storage.notifications
    send = queue.send

    def noted(text: str, delay_seconds: float = 0) -> None:
        tried.append(text)
        out_of_order(text)

    queue.send = noted  # type: ignore[method-assign]
    assert len(sweep.sweep(world.services).started) == 3, "what cannot be told is renewed all the same"
    assert len(tried) == 1, "the sweep does not wait for a queue that is down at every certificate"
    queue.send = send  # type: ignore[method-assign]
    for _ in range(2):
        sweep.sweep(world.services)
    delivered(world)
    assert [json.loads(body)["type"].rsplit(".", 1)[-1] for _, body in got] == ["expired"] * 3


def test_an_event_that_a_managed_certificate_expired_is_an_alarm_and_a_renewal_at_once(
    lonely_world: World, receiver: Any
) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name = world.name()
    made(world, name)
    delivered(world)
    got.clear()
    event = {"Id": f"{world.server.url}/certificates/{name}/{'0' * 32}", "ObjectName": name}
    events.handle(world.services, events.EXPIRED, event)
    delivered(world)
    assert (got, world.services.storage.open(ALIAS, name)) == ([], None), "a forged one does nothing"
    world.clock.advance(91 * DAY)
    for _ in range(2):
        events.handle(world.services, events.EXPIRED, event)
    delivered(world)
    assert [json.loads(body)["type"].rsplit(".", 1)[-1] for _, body in got] == ["expired"]
    assert world.finish(name).state is State.COMPLETED


def test_an_issuer_of_key_vault_that_did_not_renew_is_named(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name = world.name()
    account = {"account_id": "1234", "pwd": "canary"}
    partner = {"provider": "DigiCert", "credentials": account, "org_details": {"id": "5678"}}
    issuers.issuer(world.services, ALIAS, "partner", "PUT", partner)
    made(world, name, authority=None, policy={**KEY, "issuer": {"name": "partner"}})
    delivered(world)
    got.clear()
    bundle = world.vault.get(name)
    assert bundle is not None
    refusal = {"code": "Request rejected", "message": "no more"}
    world.server.vault.settings.issuers["partner"] = {"error": refusal}
    for share, told in ((0.85, 0), (0.91, 1), (0.92, 0)):
        begins, ends = bundle["attributes"]["nbf"], bundle["attributes"]["exp"]
        world.clock.advance(begins + share * (ends - begins) - world.clock.now())
        world.vault.get(name)  # what Key Vault does by itself
        world.clock.advance(3600)
        sweep.sweep(world.services)
        assert delivered(world) == told
    assert len(world.versions(name)) == 1
    assert "Key Vault should have renewed it with issuer partner" in got[0][1].decode()


def test_what_key_vault_need_not_have_renewed_yet_is_no_alarm(lonely_world: World, receiver: Any) -> None:
    """A year's certificate that is renewed 30 days before its end is in its last tenth before that."""
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name, looks = world.name(), list[str]()
    at_30_days = [{"trigger": {"days_before_expiry": 30}, "action": {"action_type": "AutoRenew"}}]
    made(world, name, authority=None, policy={**KEY, "lifetime_actions": at_30_days})
    delivered(world)
    got.clear()
    bundle = world.vault.get(name)
    assert bundle is not None
    world.clock.advance(bundle["attributes"]["exp"] - 33 * DAY - world.clock.now())
    ask = world.vault.call

    def call(method: str, path: str, *args: Any, **query: Any) -> Any:
        looks.extend([path] if path.startswith(f"/certificates/{name}/") else [])
        return ask(method, path, *args, **query)

    world.vault.call = call  # type: ignore[method-assign]
    for _ in range(3):
        sweep.sweep(world.services)
    assert (delivered(world), len(looks)) == (0, 1), "its policy is looked at once a day"
    assert digest.send_digest(world.services)["expiring"] == 0


@pytest.mark.parametrize(("left", "told"), [(16, ""), (14, "expiring"), (-1, "expired")])
def test_what_key_vault_is_late_to_renew_is_an_alarm_although_it_was_none_before(
    world: World, left: int, told: str
) -> None:
    name, now = world.name(), world.services.now()
    at_30_days = [{"trigger": {"days_before_expiry": 30}, "action": {"action_type": "AutoRenew"}}]
    made(world, name, authority=None, policy={**KEY, "lifetime_actions": at_30_days})
    bundle = world.vault.get(name)
    assert bundle is not None
    ends = now + timedelta(days=left)
    late = replace(item_of(bundle), expires=ends, not_before=ends - timedelta(days=365))
    for asked in (None, now - timedelta(minutes=1)):
        noted = alerts.send(world.services, ALIAS, late, RenewalRecord(ALIAS, name, ask_at=asked))
        assert noted.alerted.partition(":")[0] == told
    assert bool(noted.ask_at and noted.ask_at > now) == (told == "")
