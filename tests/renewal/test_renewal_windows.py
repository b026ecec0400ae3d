"""What an authority's renewal information may say, and what may lie in the renewals table, without stopping a sweep."""

import base64
import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certrelay.connectors.base import Context, NoRenewalWindow, RenewalWindow
from certrelay.renewal import forecast, sweep
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord, from_entity, to_entity, unreadable_columns
from tests.authorities import with_connector
from tests.renewal.suggesting import SuggestingCa
from tests.world import ALIAS, DAY, World, made, seeded

pytestmark = pytest.mark.slow


def suggesting(world: World) -> tuple[Services, SuggestingCa]:
    """The world's services, with such an authority."""
    ca = SuggestingCa(None, Context("test-ca", world.services.now, lambda: None))
    known = with_connector(world.services.settings.authorities["test-ca"], SuggestingCa)
    settings = replace(world.services.settings, authorities={"test-ca": known})
    return replace(world.services, connector=lambda name: ca, settings=settings), ca


EAST, WEST = "+14:00", "-05:00"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


ODD_WINDOWS = [
    RenewalWindow(moment("9999-12-30T00:00:00" + WEST), moment("9999-12-31T23:59:59" + WEST)),
    RenewalWindow(moment("0001-01-01T00:00:00" + EAST), moment("0001-01-02T00:00:00" + EAST)),
    RenewalWindow(moment("2020-01-02T00:00:00Z"), moment("2020-01-02T00:00:00Z")),
    RenewalWindow(moment("2020-01-02T00:00:00Z"), moment("2020-01-01T00:00:00Z")),
    RenewalWindow(datetime(2020, 1, 1), datetime(2020, 1, 2)),
    RenewalWindow(moment("9999-12-30T00:00:00Z"), moment("9999-12-31T23:59:59Z"), math.nan, "x" * 70_000),
]


def asked_at(services: Services, name: str) -> timedelta:
    """How long until the authority is asked again."""
    found = services.storage.renewals.record(ALIAS, name).ask_at
    assert found is not None
    return found - services.now()


@pytest.mark.parametrize("window", ODD_WINDOWS, ids=range(len(ODD_WINDOWS)))
def test_a_window_of_whatever_connector_stops_no_sweep_and_starts_no_renewal(
    lonely_world: World, window: RenewalWindow
) -> None:
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name)
    ca.window = window
    for _ in range(3):
        assert (swept := sweep.sweep(services)).started == []
        assert swept.refused == []
        world.clock.advance(3600)
    assert ca.asked == 1
    forecast.expected(services, 90)
    world.clock.advance(61 * DAY)
    assert sweep.sweep(services).started == [f"{ALIAS}/{name}"], "its dates decide"


def test_an_authority_that_refuses_many_certificates_is_not_silent(lonely_world: World) -> None:
    """Let's Encrypt answers 404 for certificates that it did not issue."""
    world = lonely_world
    services, ca = suggesting(world)
    *_, urgent = seeded(world, 6)
    leaf = services.vault(ALIAS).get(urgent)
    assert leaf is not None
    asked: list[bytes] = []

    def renewal_window(certificate: bytes) -> RenewalWindow | None:
        asked.append(certificate)
        if certificate != _der(leaf):
            raise NoRenewalWindow("no such certificate")
        return RenewalWindow(services.now() - timedelta(hours=1), services.now() + timedelta(hours=1))

    ca.renewal_window = renewal_window  # type: ignore[method-assign]
    assert sweep.sweep(services).started == [f"{ALIAS}/{urgent}"]
    assert len(asked) == 6
    world.clock.advance(5.9 * 3600)
    sweep.sweep(services)
    assert len(asked) == 6
    world.clock.advance(0.2 * 3600)
    sweep.sweep(services)
    assert len(asked) >= 11, "asked again after six hours"


def test_a_refusal_withdraws_the_window_that_was_known(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name)
    ca.window = RenewalWindow(services.now() + timedelta(days=2), services.now() + timedelta(days=3))
    sweep.sweep(services)
    assert services.storage.renewals.record(ALIAS, name).renew_at is not None

    def refuse(certificate: bytes) -> None:
        raise NoRenewalWindow("no such certificate")

    ca.renewal_window = refuse  # type: ignore[method-assign]
    world.clock.advance(7 * 3600)
    sweep.sweep(services)
    assert services.storage.renewals.record(ALIAS, name).renew_at is None
    assert timedelta(hours=5.9) < asked_at(services, name) <= timedelta(hours=6)


def test_an_expired_certificate_is_not_asked_about(lonely_world: World) -> None:
    """RFC 9773, section 4.3."""
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name, validity_days=30)
    record = RenewalRecord(ALIAS, name)
    world.clock.advance(31 * DAY)
    resting = replace(record, backed_off_until=services.now() + timedelta(days=1))
    services.storage.renewals.save(resting, record)
    sweep.sweep(services)
    assert ca.asked == 0


def sweep_for(world: World, services: Services, name: str, hours: int, step: int = 1) -> list[int]:
    """The hours at which sweeps, one each `step` hours, started renewals of `name`; each is finished at once."""
    begun, started = world.clock.now(), []
    local = replace(world, services=services)
    while (hour := round((world.clock.now() - begun) / 3600)) <= hours:
        if sweep.sweep(services).started:
            started.append(hour)
            local.finish(name)
        world.clock.advance(step * 3600 - (world.clock.now() - begun) % 3600)
    return started


def test_a_window_that_lies_in_the_past_for_every_version_renews_once_and_then_rests(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name, validity_days=90)
    ca.window = RenewalWindow(services.now() - timedelta(days=2), services.now() - timedelta(days=1))
    started = sweep_for(world, services, name, hours=10 * 24, step=6)
    assert started[0] == 0, "an incident is acted upon at once"
    pauses = [after - before for before, after in itertools.pairwise(started)]
    assert len(started) <= 3
    assert all(pause >= 4 * 24 for pause in pauses), "a twentieth of 90 days, less the CA's backdating"


def test_a_second_incident_is_acted_upon_at_once_if_the_version_before_was_not_young(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name, validity_days=90)
    ca.window = RenewalWindow(services.now() + timedelta(days=20), services.now() + timedelta(days=20, minutes=1))
    assert sweep_for(world, services, name, hours=20 * 24, step=12) == [20 * 24]
    ca.window = RenewalWindow(services.now() - timedelta(hours=1), services.now() - timedelta(minutes=1))
    assert sweep_for(world, services, name, hours=7)[:1] <= [6]


def test_a_moment_before_the_next_sweep_is_acted_upon_now_but_not_before_the_window_opens() -> None:
    """RFC 9773, section 4.2; Let's Encrypt lifts its rate limits only inside the window."""
    start = datetime(2027, 1, 1, tzinfo=UTC)
    record = RenewalRecord("main", "www", window_start=start, window_end=start + timedelta(days=1))
    late = start + timedelta(days=30)
    assert replace(record, renew_at=start + timedelta(hours=5)).due(late) == start + timedelta(hours=4)
    assert replace(record, renew_at=start + timedelta(minutes=5)).due(late) == start
    beginning = datetime.min.replace(tzinfo=UTC)
    assert replace(record, window_start=beginning, renew_at=beginning).due(late) == beginning


GOOD: dict[str, Any] = {"failures": 3, "thumbprint": "aa", "renew_at": "2027-01-01T00:00:00+00:00", "alerted": "x:aa"}
ODD_COLUMNS = [
    {"renew_at": "9999-12-31T23:59:59-05:00"},
    {"window_start": "0001-01-01T00:00:00+14:00"},
    {"ask_at": "soon"},
    {"backed_off_until": 5},
    {"window_end": b"\xff"},
    {"failures": "many"},
    {"failures": -1},
    {"thumbprint": 7},
    {"alerted": 1.5},
]


@pytest.mark.parametrize("odd", ODD_COLUMNS, ids=str)
def test_a_row_that_cannot_be_read_costs_only_its_unreadable_columns_and_heals(
    lonely_world: World, odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    world, name, other = lonely_world, lonely_world.name("-Odd"), lonely_world.name("-other")
    for one in (name, other):
        made(world, one)
    table = world.services.storage.renewals._table
    table.upsert({"PartitionKey": ALIAS, "RowKey": name.lower(), "vault": ALIAS, "name": name, **GOOD, **odd})
    record = world.services.storage.renewals.records(ALIAS, [name, other])[name.lower()]
    kept = {column: value for column, value in GOOD.items() if column not in odd}
    entity = to_entity(record)
    assert {column: entity[column] for column in kept} == kept
    assert sum("reset" in message for message in caplog.messages) == 1
    caplog.clear()
    world.services.storage.renewals.records(ALIAS, [name, other])
    forecast.expected(world.services, 365)
    assert sweep.sweep(world.services).refused == []
    assert caplog.messages == [], "it has healed"


def test_a_row_with_another_name_than_its_key_is_that_of_its_key() -> None:
    for odd in ({"vault": 5, "name": 6}, {"vault": "other", "name": "other"}, {}):
        record = from_entity({"PartitionKey": ALIAS, "RowKey": "www", **odd})
        assert (record.vault, record.name) == (ALIAS, "www")
    assert from_entity({"PartitionKey": ALIAS, "RowKey": "www", "name": "WWW"}).name == "WWW"


def test_what_is_written_is_read_again() -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    times: dict[str, Any] = dict.fromkeys(("backed_off_until", "window_start", "window_end", "renew_at", "ask_at"), now)
    record = RenewalRecord("main", "www", 2, thumbprint="aa", explanation_url="https://x", alerted="a:b", **times)
    assert from_entity(to_entity(record)) == record
    assert unreadable_columns(to_entity(record)) == []
    assert unreadable_columns(to_entity(RenewalRecord("main", "www"))) == []


def test_a_position_in_a_list_that_cannot_be_read_begins_the_list_anew(lonely_world: World) -> None:
    renewals = lonely_world.services.storage.renewals
    for odd in ({}, {"path": 5}, {"path": b"x"}):
        renewals._table.upsert({"PartitionKey": "|sweep", "RowKey": ALIAS, **odd})
        assert renewals.list_state(ALIAS).path == ""


def test_the_forecast_of_a_certificate_until_the_end_of_time_ends(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    [item] = [one for page in world.vault.certificates() for one in page]
    eternal = replace(item, expires=datetime.max.replace(microsecond=0, tzinfo=UTC))
    record = RenewalRecord(ALIAS, name, renew_at=world.services.now())
    until = world.services.now() + timedelta(days=1)
    assert len(list(forecast._of_certificate(world.services, eternal, record, until))) == 1


def test_the_reason_of_a_renewal_tells_the_explanation_of_the_authority(lonely_world: World) -> None:
    """RFC 9773, section 4.2: to be shown to the operator."""
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name)
    now = services.now()
    ca.window = RenewalWindow(
        now - timedelta(hours=2), now - timedelta(hours=1), explanation_url="https://ca.example/x"
    )
    assert sweep.sweep(services).started == [f"{ALIAS}/{name}"]
    reason = replace(world, services=services).finish(name).reason
    assert reason == "suggested by the authority, which explains why at https://ca.example/x"


def _der(bundle: dict[str, Any]) -> bytes:

    return base64.b64decode(bundle["cer"])
