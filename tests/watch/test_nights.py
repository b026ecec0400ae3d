"""Six failures at night: each tells somebody within its time, once, with the next step, and once when it is over."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay import settings
from certrelay.connectors.base import Rejected, Unavailable
from certrelay.errors import SettingsError
from certrelay.renewal import events
from certrelay.renewal import sweep as renewal_sweep
from certrelay.schedules import SCHEDULES
from certrelay.storage.operation import State
from certrelay.watch import poison, status, timers
from sandbox.identity import SYSTEM_ASSIGNED, object_id
from tests.notifications.receiver import listening
from tests.watch.nights import Night, evening
from tests.world import ALIAS, DAY, World, configured, create, made

pytestmark = pytest.mark.slow


@pytest.fixture
def night(lonely_world: World, receiver: Any) -> Night:
    """An evening on which all is well, from 20:30 UTC, so that no test depends on the time at which it runs."""
    url, got, _ = receiver
    lonely_world.clock.set(evening(lonely_world.clock.now()))
    begun = Night(listening(lonely_world, url), got)
    begun.pass_(70, every=20)
    assert begun.told() == []
    return begun


def test_vault_403(night: Night) -> None:
    """Told by the next sweep, once, with the missing role and without an id of the app; and when the role is back."""
    permissions = night.world.server.identities.permissions
    permissions[SYSTEM_ASSIGNED] = {"certificates": []}
    night.pass_(3 * 60, every=30)
    assert night.kinds() == ["vault-unreadable"]
    (event,) = night.told()
    assert event["subject"] == ALIAS
    assert "Microsoft.KeyVault/vaults/certificates/read" in event["data"]["detail"]
    assert "role" in event["data"]["next_step"]
    assert object_id(SYSTEM_ASSIGNED) not in json.dumps(event)
    assert SYSTEM_ASSIGNED not in json.dumps(event)
    permissions[SYSTEM_ASSIGNED] = None
    night.pass_(2 * 60, every=30)
    assert night.kinds() == ["vault-unreadable", "recovered"]
    assert night.told()[1]["data"]["event"] == "vault-unreadable"


def test_vault_403_for_one_right_only(night: Night) -> None:
    """The list can be read, and nothing can be created: the poll tells, within minutes."""
    world, permissions = night.world, night.world.server.identities.permissions
    permissions[SYSTEM_ASSIGNED] = {"certificates": ["list", "get", "update"]}
    create(world, world.name())
    night.pass_(10)
    assert night.kinds() == ["vault-unreadable"]
    assert "certificates/create/action" in night.told()[0]["data"]["detail"]
    permissions[SYSTEM_ASSIGNED] = None
    night.pass_(3 * 60, every=30)
    assert night.kinds() == ["vault-unreadable", "recovered"]
    assert world.services.storage.ended(ALIAS, world.name())[0].state is State.COMPLETED


def test_authority_down(night: Night) -> None:
    """Many certificates of one authority are one message: no `failed` for each when they run out of time either."""
    night.world = configured(night.world, deadline_hours=3)
    world = night.world
    names = [world.name(f"-{number}") for number in range(4)]
    world.ca.answers = [Unavailable("it could not be reached")] * 10_000
    for name in names:
        create(world, name)
    night.pass_(12, every=5)
    assert night.kinds() == []
    [standing] = status.read(world.services).authorities
    assert (standing.name, standing.open, standing.issued_at) == ("test-ca", 4, None)
    assert standing.down_since is not None, "it is seen before people are told"
    night.pass_(8, every=5)
    assert night.kinds() == ["authority-down"]
    (event,) = night.told()
    assert event["subject"] == "test-ca"
    assert event["data"]["since"] == standing.down_since.isoformat()
    assert "4 operations wait" in event["data"]["detail"]
    assert "it could not be reached" in event["data"]["detail"]
    night.pass_(4 * 60, every=30)  # past all deadlines
    assert [world.services.storage.ended(ALIAS, name)[0].state for name in names] == [State.FAILED] * 4
    assert Counter(json.loads(body)["type"] for _, body in night.got)["certrelay.certificate.failed"] == 0
    assert night.kinds() == ["authority-down"]
    world.ca.answers = []
    assert made(world, world.name("-later")).state is State.COMPLETED
    night.pass_(2 * 60, every=30)
    assert night.kinds() == ["authority-down", "recovered"]
    [standing] = status.read(world.services).authorities
    assert (standing.open, standing.down_since, standing.detail) == (0, None, "")
    assert standing.issued_at is not None


def test_an_authority_that_answers_again_is_not_told_of_anew_while_others_still_back_off(night: Night) -> None:
    world, names = night.world, [night.world.name(f"-{number}") for number in range(4)]
    world.ca.answers = [Unavailable("it could not be reached")] * 10_000
    for name in names:
        create(world, name)
    night.pass_(4 * 60, every=20)
    world.ca.answers = []
    assert made(world, world.name("-other")).state is State.COMPLETED
    night.pass_(8, every=7)
    assert night.kinds() == ["authority-down", "recovered"]
    assert any(world.services.storage.open(ALIAS, name) for name in names), "they back off still"
    night.pass_(90, every=20)
    assert night.kinds() == ["authority-down", "recovered"]
    assert [world.services.storage.ended(ALIAS, name)[0].state for name in names] == [State.COMPLETED] * 4


def test_expiring_certificates_of_an_authority_that_is_down_are_one_message(night: Night) -> None:
    world, names = night.world, [night.world.name(f"-{number}") for number in range(5)]
    for name in names:
        made(world, name)
    night.pass_(1)
    night.got.clear()
    world.ca.answers = [Unavailable("it could not be reached")] * 100_000
    world.clock.advance(70 * DAY)
    timers.sweep(world.services)
    night.pass_(30)
    assert "authority-down" in night.kinds()
    world.clock.advance(8 * DAY)
    event = {"Id": f"{world.server.url}/certificates/{names[0]}/{'0' * 32}"}
    events.handle(world.services, events.EXPIRED, event)
    for _ in range(2):
        timers.sweep(world.services)
    night.pass_(1)
    expiring = [json.loads(body) for _, body in night.got if b"certificate.expiring" in body]
    assert [(event["subject"], event["data"]["count"]) for event in expiring] == [("authority test-ca", 5)]
    assert sorted(expiring[0]["data"]["certificates"]) == sorted(f"{ALIAS}/{name}" for name in names)


def test_expiring_certificates_of_a_vault_in_which_nothing_can_be_created_are_one_message(night: Night) -> None:
    world, names = night.world, [night.world.name(f"-{number}") for number in range(3)]
    for name in names:
        made(world, name)
    night.pass_(1)
    world.server.identities.permissions[SYSTEM_ASSIGNED] = {"certificates": ["list", "get"]}
    world.clock.advance(61 * DAY)
    timers.sweep(world.services)
    night.pass_(10)
    assert "vault-unreadable" in night.kinds()
    world.clock.advance(20 * DAY)
    night.got.clear()
    for _ in range(2):
        timers.sweep(world.services)
    night.pass_(1)
    expiring = [json.loads(body) for _, body in night.got if b"certificate.expiring" in body]
    assert [(event["subject"], event["data"]["count"]) for event in expiring] == [(f"vault {ALIAS}", 3)]


@pytest.mark.parametrize(("timer", "within"), [("sweep", 130), ("poll", 70)])
def test_sweep_stopped_and_schedule_lost(night: Night, timer: str, within: int) -> None:
    """One timer's schedule is lost, or its function is disabled: the other one tells, since each watches the other."""
    night.stopped = {timer}
    night.pass_(within)
    assert night.kinds() == [f"{timer}-late"]
    night.pass_(130, every=30)
    assert night.kinds() == [f"{timer}-late"], "once"
    (event,) = night.told()
    assert "last ended well at" in event["data"]["detail"]
    assert f"CERTRELAY_{timer.upper()}_SCHEDULE" in event["data"]["next_step"]
    night.stopped = set()
    night.pass_(2 * 60, every=30)
    assert night.kinds() == [f"{timer}-late", "recovered"]


def test_both_timers_stopped(night: Night) -> None:
    """The daily digest watches both; alerts from outside watch all three."""
    night.stopped = {"poll", "sweep"}
    night.pass_(25 * 60)
    assert sorted(night.kinds()) == ["poll-late", "sweep-late"]


def test_a_sweep_that_never_ran_is_late_too(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    lonely_world.clock.set(evening(lonely_world.clock.now()))
    first = Night(listening(lonely_world, url), got, stopped={"sweep"})
    first.pass_(3 * 60, every=30)
    assert first.kinds() == ["sweep-late"]
    assert "it never ran" in first.told()[0]["data"]["detail"]


def test_a_sweep_that_fails_every_time_is_late(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_services: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(renewal_sweep, "sweep", broken)
    with pytest.raises(ZeroDivisionError):
        timers.sweep(night.world.services)
    night.stopped = {"sweep"}
    night.pass_(130)
    assert night.kinds() == ["sweep-late"]
    assert "failed since (ZeroDivisionError)" in night.told()[0]["data"]["detail"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_is_lost_from_the_settings_stops_the_app_at_its_start_with_the_next_step(name: str) -> None:
    """In Azure every route is then 503, which the alert on 5xx answers tells."""
    with pytest.raises(SettingsError, match=f"{name} is missing: six NCRONTAB fields, in UTC, such as"):
        settings.load({key: text for key, text in SCHEDULES.items() if key != name}, with_schedules=True)


def test_poison(night: Night) -> None:
    """A message that no function takes is told of within a poll, once, and when it was dropped."""
    queue = night.world.services.storage.poison["notifications"]
    for number in range(3):
        queue.send(json.dumps({"v": 1, "target": "ops", "event": number}))
    night.pass_(10)
    assert night.kinds() == ["poison"]
    (event,) = night.told()
    assert event["data"]["detail"].startswith("3 messages")
    assert "GET /api/poison" in event["data"]["next_step"]
    night.pass_(60, every=20)
    assert night.kinds() == ["poison"]
    for message in poison.messages(night.world.services):
        poison.drop(night.world.services, message.id)
    night.pass_(10)
    assert night.kinds() == ["poison", "recovered"]


@pytest.mark.parametrize(("error", "words"), [(timedelta(hours=3), "ahead of"), (timedelta(minutes=-20), "behind")])
def test_clock_wrong(night: Night, error: timedelta, words: str) -> None:
    right = night.world.services
    night.world = replace(night.world, services=replace(right, now=lambda: right.now() + error))
    timers.sweep(night.world.services)
    timers.sweep(night.world.services)
    if error > timedelta(0):
        timers.poll(night.world.services)  # for its clock the sweep is late
    night.world = replace(night.world, services=right)
    night.pass_(1)
    assert night.kinds() == ["clock-wrong"]
    (event,) = night.told()
    assert f"{words} Key Vault's" in event["data"]["detail"]
    assert "restart" in event["data"]["next_step"]
    night.pass_(70, every=30)
    assert night.kinds() == ["clock-wrong", "recovered"]


def test_what_could_not_be_queued_is_told_later_and_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.stopped = {"sweep"}
    with monkeypatch.context() as patch:
        patch.setattr("certrelay.notifications.outbox.enqueue", lambda *_: False)
        night.pass_(130, every=30)
    assert night.kinds() == []
    night.pass_(10)
    assert night.kinds() == ["sweep-late"]


def test_an_order_that_is_refused_is_no_incident(night: Night) -> None:
    night.world.ca.answers = [Rejected("no")]
    assert made(night.world, night.world.name()).state is State.FAILED
    night.pass_(60, every=30)
    assert night.kinds() == []
    assert b"certificate.failed" in b"".join(body for _, body in night.got)


@pytest.mark.parametrize("queue", [7, None, True])
def test_a_row_of_a_poison_message_that_makes_no_sense_stops_no_watch(night: Night, queue: object) -> None:
    columns = {"at": night.world.services.now().isoformat()} | ({} if queue is None else {"queue": queue})
    night.world.services.storage.watch.merge("poison", "0" * 32, columns)
    night.pass_(10)
    assert night.kinds() == ["poison"]
