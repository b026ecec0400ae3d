"""What an authority suggests decides when to renew, before the threshold does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from certrelay.connectors.base import NoRenewalWindow, RenewalWindow
from certrelay.keyvault.certificate import CertificateItem
from certrelay.renewal import renewal_info, sweep
from certrelay.renewal.renewal_info import with_window
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord
from tests.authorities import with_connector
from tests.renewal.suggesting import SuggestingCa
from tests.world import ALIAS, DAY, World, made


@pytest.fixture
def suggesting(lonely_world: World) -> World:
    ca = SuggestingCa(None, type("Context", (), {"now": staticmethod(lonely_world.services.now)}))
    known = lonely_world.services.settings.authorities["test-ca"]
    authority = with_connector(known, SuggestingCa)
    settings = replace(lonely_world.services.settings, authorities={"test-ca": authority})
    services = replace(lonely_world.services, connector=lambda name: ca, settings=settings)
    return replace(lonely_world, services=services, ca=ca)


def test_a_window_decides_before_the_threshold_and_is_asked_for_only_when_it_is_time_to(suggesting: World) -> None:
    world, name = suggesting, suggesting.name()
    ca = world.ca
    assert isinstance(ca, SuggestingCa)
    made(world, name)
    now = world.services.now()
    ca.window = RenewalWindow(now + timedelta(days=2), now + timedelta(days=4), retry_after=6 * 3600)
    for _ in range(3):
        assert sweep.sweep(world.services).started == []
    assert ca.asked == 1
    world.clock.advance(4.1 * DAY)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert world.finish(name).reason == "suggested by the authority"


def test_a_window_that_moved_into_the_past_is_acted_upon_at_once(suggesting: World) -> None:
    world, name = suggesting, suggesting.name()
    ca = world.ca
    assert isinstance(ca, SuggestingCa)
    made(world, name)
    now = world.services.now()
    ca.window = RenewalWindow(now + timedelta(days=50), now + timedelta(days=52))
    assert sweep.sweep(world.services).started == []
    ca.window = RenewalWindow(now - timedelta(days=1), now - timedelta(hours=1), explanation_url="https://ca.example/x")
    world.clock.advance(6.1 * 3600)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert world.finish(name).state is State.COMPLETED


def test_an_authority_that_cannot_say_stops_nobody(suggesting: World) -> None:
    world, name = suggesting, suggesting.name()
    made(world, name)
    world.ca.renewal_window = _raise  # type: ignore[attr-defined]
    assert sweep.sweep(world.services).started == []
    world.clock.advance(61 * DAY)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]


def _raise(certificate: bytes) -> None:
    raise OSError("out of order")


def test_a_moment_in_the_window_is_drawn_once_and_kept_while_the_window_stays() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    window = RenewalWindow(now, now + timedelta(days=10))
    note = with_window(RenewalRecord("main", "www").about("aa"), window, 0.25, now)
    assert note.renew_at == now + timedelta(days=2.5)
    assert with_window(note, window, 0.9, now).renew_at == note.renew_at
    assert with_window(note.about("bb"), window, 0.9, now).renew_at == now + timedelta(days=9)
    moved = replace(window, end=now + timedelta(days=1))
    assert with_window(note, moved, 0.5, now).renew_at == now + timedelta(hours=12)


@pytest.mark.parametrize(
    ("asked", "kept"), [(-5.0, 60.0), (0.0, 60.0), (59.0, 60.0), (21_600.0, 21_600.0), (864_000.0, 86_400.0)]
)
def test_an_authority_is_asked_again_when_it_says_but_not_within_a_minute_nor_after_more_than_a_day(
    asked: float, kept: float
) -> None:
    """RFC 9773, section 4.3.2."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    window = RenewalWindow(now, now + timedelta(days=10), asked)
    record = with_window(RenewalRecord("main", "www").about("aa"), window, 0.5, now)
    assert record.ask_at == now + timedelta(seconds=kept)


NOW, HOUR, TICK = datetime(2026, 11, 23, 12, tzinfo=UTC), timedelta(hours=1), timedelta(microseconds=1)
ITEM = CertificateItem("www", True, None, NOW, NOW + HOUR, {"certrelay-authority": "corp"}, "aa")
RECORD = RenewalRecord("main", "www", thumbprint="aa")


@pytest.mark.parametrize(
    ("item", "ask_at", "since"),
    [
        ({}, None, renewal_info.LONG_AGO),
        ({}, NOW, NOW),
        ({}, NOW + TICK, None),
        ({}, NOW + 48 * HOUR, None),
        ({}, NOW + 48 * HOUR + TICK, NOW + 48 * HOUR + TICK),  # a wrong clock has set it
        ({"expires": None}, NOW, NOW),
        ({"expires": NOW + TICK}, NOW, NOW),
        ({"expires": NOW}, NOW, None),
        ({"tags": {}}, NOW, None),
        ({"tags": {"certrelay-authority": "gone"}}, NOW, None),
        ({"tags": {"certrelay-authority": "silent"}}, NOW, None),
    ],
)
def test_an_authority_that_suggests_renewals_is_asked_when_it_is_time_until_the_certificate_expires(
    item: dict[str, Any], ask_at: datetime | None, since: datetime | None
) -> None:
    corp, silent = (SimpleNamespace(connector_class=kind) for kind in (SuggestingCa, object))
    services: Any = SimpleNamespace(
        settings=SimpleNamespace(authorities={"corp": corp, "silent": silent}), now=lambda: NOW
    )
    asked = renewal_info.inquiry(services, replace(ITEM, **item), replace(RECORD, ask_at=ask_at))
    assert (asked and asked.since) == since


def test_a_window_is_usable_in_utc_if_it_has_a_zone_and_a_length() -> None:
    local = NOW.astimezone(timezone(5 * HOUR))
    usable = renewal_info._usable(RenewalWindow(local, local + TICK, 7.0, "x" * 1000))
    assert (usable.start, usable.end, usable.retry_after) == (NOW, NOW + TICK, 7.0)
    assert usable.start.tzinfo is usable.end.tzinfo is UTC
    assert usable.explanation_url == "x" * 1000
    assert renewal_info._usable(RenewalWindow(NOW, NOW + HOUR, 7.0, "x" * 1001)).explanation_url is None
    for odd in (float("inf"), float("nan")):
        assert renewal_info._usable(RenewalWindow(NOW, NOW + HOUR, odd)).retry_after == 21_600
    naive, last = NOW.replace(tzinfo=None), datetime.max.replace(tzinfo=timezone(-5 * HOUR))
    for start, end in ((NOW, NOW), (NOW + TICK, NOW), (naive, NOW + HOUR), (NOW, naive + HOUR), (NOW, last)):
        with pytest.raises(NoRenewalWindow):
            renewal_info._usable(RenewalWindow(start, end))


def test_an_authority_that_has_no_suggestion_is_asked_again_after_a_day_and_what_it_said_is_forgotten() -> None:
    known = with_window(RECORD, RenewalWindow(NOW, NOW + HOUR, 60.0, "https://ca.example/x"), 0.5, NOW)
    assert known.explanation_url == "https://ca.example/x"
    assert with_window(known, None, 0.5, NOW) == replace(RECORD, ask_at=NOW + 24 * HOUR)
