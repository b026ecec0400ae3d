"""What a sweep starts, skips and remembers, and in which order; its lists are in memory, and a renewal is a word."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from certrelay.errors import Booked, Invalid, NotDue, NotReady, VaultForbidden
from certrelay.keyvault.certificate import CERTIFICATES
from certrelay.operations import intervene, reconcile
from certrelay.renewal import replacement_run, sweep, two_writes
from certrelay.services import Services
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.renewals import ListState
from tests.renewal.fleet import DAY, HOUR, Fleet, Run
from tests.renewal.memory import NOW


def test_what_expires_sooner_is_started_first_whichever_its_vault_and_no_more_than_a_batch(swept: Run) -> None:
    fleet = Fleet({"one": {"a": 9, "b": 5, "c": 40}, "two": {"d": 7, "e": 3}}, batch=3)
    found = swept(fleet)
    assert found.started == fleet.started == ["two/e", "one/b", "two/d"]
    assert (found.looked_at, found.refused, found.unreadable) == (5, [], {})
    assert found.states == {("corp", "expiring"): 4, ("corp", "valid"): 1}


@pytest.mark.parametrize("error", [Invalid("no"), RuntimeError("a bug")])
def test_what_cannot_be_renewed_rests_and_takes_its_place_in_the_batch(swept: Run, error: Exception) -> None:
    fleet = Fleet({"one": {"a": 5, "b": 6, "c": 7}}, batch=2, answers={"a": error})
    fleet.records["a"] = RenewalRecord("one", "a", failures=1)
    found = swept(fleet)
    assert (found.started, len(found.refused)) == (["one/b"], 1)
    rested = fleet.records["a"]
    assert (rested.failures, rested.backed_off_until) == (2, NOW + 2 * HOUR)
    assert fleet.started == ["one/a", "one/b"]
    assert swept(replace(fleet, events=[])).started == ["one/b", "one/c"]


def test_a_vault_that_is_not_ready_is_left_alone_after_three_failures_in_a_row(swept: Run) -> None:
    many = {letter: 5 + number / 10 for number, letter in enumerate("abcdef")}
    down = NotReady("out of order")
    fleet = Fleet({"one": many, "two": {"z": 9}}, answers=dict.fromkeys("abcdef", down))
    assert swept(fleet).started == ["two/z"]
    assert fleet.started == ["one/a", "one/b", "one/c", "two/z"]
    between = Fleet({"one": many}, answers=dict.fromkeys("abdef", down))
    swept(between)
    assert between.started == [f"one/{letter}" for letter in "abcdef"]
    refused = Fleet({"one": many}, answers=dict.fromkeys("abcdef", Invalid("no")))
    swept(refused)
    assert len(refused.started) == 6, "that is not the vault's fault"


def test_a_vault_where_the_app_may_not_renew_is_told_and_one_that_cannot_be_read_stops_no_other(swept: Run) -> None:
    first, second, closed = VaultForbidden("not here"), VaultForbidden("nor here"), NotReady("closed")
    fleet = Fleet({"one": {"a": 5, "b": 6}, "two": {"z": 9}}, answers={"a": first, "b": second, "two": closed})
    found = swept(fleet)
    assert found.unreadable == {"one": first, "two": closed}
    assert set(found.refused) == {"one/a: not here", "one/b: nor here", "two: closed"}


def test_what_can_wait_is_not_tried_again_behind_exhausted_rates_and_what_cannot_is(swept: Run) -> None:
    booked = Booked("exhausted")
    fleet = Fleet({"one": {"a": 20, "b": 21, "c": 5, "d": 6}}, batch=4, answers={"a": booked, "c": booked})
    assert swept(fleet).refused == []
    assert fleet.started == ["one/c", "one/d", "one/a"]
    assert "a" not in fleet.records, "it does not rest"
    not_due = Fleet({"one": {"a": 5, "b": 6}}, answers={"a": NotDue("no")})
    assert swept(not_due).refused == []
    assert not_due.started == ["one/a", "one/b"]


def test_what_is_booked_and_can_wait_takes_no_place_in_the_batch(swept: Run) -> None:
    fleet = Fleet({"one": {"a": 20}, "two": {"b": 21}, "three": {"c": 22}}, batch=1, answers={"a": Booked("exhausted")})
    swept(fleet)
    assert fleet.started == ["one/a", "two/b"]
    longer = Fleet({"one": {"a": 20, "x": 50}}, answers={"a": Booked("exhausted")}, lifetimes={"x": 365})
    assert swept(longer).started == ["one/x"], "it expires later, and cannot wait"


def test_nothing_is_started_after_four_minutes(swept: Run) -> None:
    fleet = Fleet({"one": {"a": 5, "b": 6, "c": 7}}, passes=timedelta(minutes=2, seconds=1))
    swept(fleet)
    assert fleet.started == ["one/a", "one/b"]
    fleet = Fleet({"one": {"a": 5, "b": 6, "c": 7, "d": 8}}, passes=timedelta(minutes=2))
    swept(fleet)
    assert fleet.started == ["one/a", "one/b", "one/c"]


def test_a_list_that_takes_longer_than_three_minutes_is_continued_by_the_next_sweep(swept: Run) -> None:
    for minutes, pages in ((1, 4), (1.6, 2), (3, 2), (3.1, 1)):
        fleet = Fleet({"one": {}}, passes=timedelta(minutes=minutes), pages=9)
        swept(fleet)
        assert (len(fleet.events), fleet.positions) == (pages, {"one": ListState(f"{CERTIFICATES}|{pages + 1}")})
    fleet = Fleet({"one": {}}, passes=timedelta(minutes=1), pages=3)
    swept(fleet)
    assert (len(fleet.events), fleet.positions) == (3, {"one": ListState("", NOW, NOW + 6 * HOUR)})


def test_no_vault_is_always_the_last_that_is_listed(swept: Run) -> None:
    first = set()
    for seed in range(20):
        fleet = Fleet({"one": {}, "two": {}, "three": {}}, seed=seed)
        swept(fleet)
        first.add(fleet.events[0])
    assert len(first) == 3


def test_an_open_operation_is_hastened_only_if_it_waits_beyond_half_of_what_is_left(
    swept: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hastened: list[str] = []
    monkeypatch.setattr(intervene, "expedite", lambda _services, operation: hastened.append(operation.name))
    opened = [
        OpenOperation("one", name, f"one.{name}.1", "corp", NOW + wait * DAY, "submitted")
        for name, wait in (("a", 3.1), ("b", 3), ("late", 30))
    ]
    fleet = Fleet({"one": {"A": 6, "B": 6, "c": 6, "late": 40}}, worklist=opened)
    assert swept(fleet).started == ["one/c"]
    assert hastened == ["a"]


def test_a_record_of_an_older_version_is_replaced_and_a_change_that_was_cut_off_finished(
    swept: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[str] = []

    def finish(_services: Services, record: RenewalRecord, _tags: Mapping[str, str]) -> RenewalRecord:
        finished.append(record.name)
        if record.name == "b":
            raise NotReady("out of order")
        return replace(record, unfinished="")

    monkeypatch.setattr(two_writes, "finish", finish)
    rest = NOW + HOUR
    fleet = Fleet({"one": {"a": 5, "b": 6, "c": 7}}, batch=2)
    fleet.records = {
        "a": RenewalRecord("one", "a", unfinished="{}"),
        "b": RenewalRecord("one", "b", unfinished="{}"),
        "c": RenewalRecord("one", "c", thumbprint="older", backed_off_until=rest, alerted="expiring:older"),
    }
    assert swept(fleet).started == ["one/a", "one/b"]
    assert finished == ["a", "b"]
    assert fleet.records["c"] == RenewalRecord("one", "c", alerted="expiring:older")


def test_a_list_is_continued_where_the_last_sweep_stopped_and_begun_anew_if_key_vault_forgot(swept: Run) -> None:
    fleet = Fleet({"one": {"a": 5}}, positions={"one": ListState("/certificates?skip")})
    swept(fleet)
    assert fleet.events == ["list one /certificates?skip", "one/a"]
    assert fleet.positions == {"one": ListState()}
    fleet = Fleet(
        {"one": {"a": 5}}, positions={"one": ListState("/old")}, answers={"one /old": Invalid("no such position")}
    )
    assert swept(fleet).started == ["one/a"]
    assert fleet.events == ["list one /old", f"list one {CERTIFICATES}", "one/a"]
    fleet = Fleet({"one": {"a": 5}}, answers={"one": Invalid("no")})
    assert list(swept(fleet).unreadable) == ["one"]


def entry(name: str, hours: float) -> OpenOperation:
    return OpenOperation("one", name, f"one.{name}.1", "corp", NOW - hours * HOUR, "submitted")


def test_a_poll_advances_the_longest_due_first_then_the_replacements_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet, advanced = Fleet({"one": {}}, worklist=[entry("b", 1), entry("a", 3), entry("c", 2)]), list[str]()
    services = fleet.services()
    took = timedelta(0)

    def advance(_services: Services, vault: str, name: str, identifier: str) -> None:
        assert (vault, identifier) == ("one", f"one.{name}.1")
        advanced.append(name)
        fleet.now += took
        if name == "a":
            raise RuntimeError("a bug")

    monkeypatch.setattr(reconcile, "advance", advance)
    monkeypatch.setattr(replacement_run, "advance_all", lambda _services: advanced.append("replacements"))
    assert sweep.advance_due(services) == 3
    assert advanced == ["a", "c", "b", "replacements"]
    advanced.clear()
    caplog.clear()
    took = timedelta(minutes=2, microseconds=1)
    sweep.advance_due(services)
    assert advanced == ["a", "replacements"]
    assert sum("too many for one run" in one.message for one in caplog.records) == 1
    advanced.clear()
    took = timedelta(minutes=2)
    sweep.advance_due(services)
    assert advanced == ["a", "c", "replacements"]
