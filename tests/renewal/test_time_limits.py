"""The host ends a function after five minutes: what reads the lists of all vaults stops before, and names what it
lacks.
Lists are in memory; each page of one takes a minute."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certrelay.errors import NotReady
from certrelay.keyvault.certificate import CertificateItem
from certrelay.renewal import alerts, digest, forecast, renew, sweep
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.renewals import ListState
from tests.renewal.fleet import HOUR, Fleet
from tests.renewal.memory import NOW

VAULTS = ("one", "two", "three")
MINUTE = timedelta(minutes=1)


def fleet(pages: int, **known: object) -> Fleet:
    return Fleet({alias: {"a": 20, "b": 300} for alias in VAULTS}, pages=pages, passes=MINUTE, **known)  # type: ignore[arg-type]


def missing(counted: dict[str, int]) -> dict[str, list[str]]:
    """The vaults that are named, by how."""
    found = [key.partition("_vault_") for key in counted if "_vault_" in key]
    return {how: sorted(alias for one, _, alias in found if one == how) for how, _, _ in found}


def test_a_digest_stops_after_four_minutes_and_names_the_vaults_that_it_lacks() -> None:
    slow = fleet(pages=3)
    counted = digest.send_digest(slow.services())
    assert [event.split()[1] for event in slow.events] == [slow.events[0].split()[1]] * 3 + [slow.events[3].split()[1]]
    named = missing(counted)["uncounted"]
    assert len(named) == 2
    assert slow.events[3].split()[1] in named, "half of a list is not counted"
    assert (counted["certificates"], counted["managed"], counted["operations_open"]) == (6, 6, 0)


def test_a_digest_that_is_in_time_counts_everything_and_one_vault_that_is_down_only_lacks_itself() -> None:
    assert missing(digest.send_digest(fleet(pages=1).services())) == {}
    down = fleet(pages=1, answers={"two": NotReady("down")})
    counted = digest.send_digest(down.services())
    assert (missing(counted), counted["certificates"]) == ({"unreadable": ["two"]}, 4)


def test_no_vault_is_always_the_one_that_a_digest_lacks() -> None:
    lacked = set()
    for seed in range(20):
        lacked |= {*missing(digest.send_digest(fleet(pages=3, seed=seed).services()))["uncounted"]}
    assert lacked == {*VAULTS}


def test_a_forecast_stops_after_three_minutes_and_names_the_vaults_that_it_lacks() -> None:
    slow = fleet(pages=2)
    found = forecast.expected(slow.services(), 30)
    assert len(slow.events) == 3
    assert found.unreadable_vaults == ["two", "three"]
    assert {one.vault for one in found.renewals} == {"one", "two"}, "what was read of the second one is told"


def test_a_sweep_asks_no_vault_that_rests_once_the_time_for_lists_is_over() -> None:
    rests = ListState("", NOW - HOUR, NOW + 5 * HOUR)
    slow = fleet(pages=2, positions=dict.fromkeys((*VAULTS, "four", "five"), rests))
    slow.vaults = {alias: {} for alias in (*VAULTS, "four", "five")}
    found = sweep.sweep(slow.services())
    assert (len(slow.events), len(found.skipped)) == (4, 4)
    assert found.unreadable == {}


@pytest.mark.parametrize(("pages", "alerted"), [(1, ["a", "b", "c"]), (4, [])])
def test_alerts_stop_with_the_lists_and_are_left_to_the_next_sweep(
    monkeypatch: pytest.MonkeyPatch, pages: int, alerted: list[str]
) -> None:
    sent: list[str] = []

    def send(services: Services, _alias: str, item: CertificateItem, record: RenewalRecord) -> RenewalRecord:
        sent.append(item.name)
        return replace(record, alerted=alerts.unsent(item, record, services.now()))

    late = Fleet({"one": dict.fromkeys("abc", 5.0)}, pages=pages, passes=MINUTE)
    monkeypatch.setattr(alerts, "send", send)
    monkeypatch.setattr(renew, "renew_if_due", late.start)
    sweep.sweep(late.services())
    assert sent == alerted
    assert late.positions.get("one", ListState()).read_by is None, "the list does not rest"
