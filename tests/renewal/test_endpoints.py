"""The last mile: what the sweep sees at endpoints, what it says of it, and when it connects to nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.certificates import edit
from certrelay.errors import Invalid
from certrelay.notifications import outbox
from certrelay.notifications.formats import sentence
from certrelay.renewal import digest, sweep
from tests.renewal.last_mile import HOUR, LOOPBACK, Estate, allowing, kinds, served_by_a_server
from tests.world import ALIAS, DAY, Killed, World, out_of_order

pytestmark = pytest.mark.slow


@pytest.fixture
def estate(lonely_world: World, receiver: Any) -> Iterator[Estate]:
    with served_by_a_server(lonely_world, receiver) as made:
        yield made


def test_what_is_served_is_looked_at_daily_and_hourly_until_the_newest_version_is(estate: Estate) -> None:
    assert estate.swept() == "deployed"
    assert [estate.swept(1) for _ in range(22)] == ["deployed"] * 22
    assert estate.server.connections == 1
    assert (estate.swept(1.5), estate.server.connections) == ("deployed", 2)
    estate.put(newest := estate.made())
    before = estate.server.connections
    assert [estate.swept(), estate.swept(1), estate.swept(1)] == ["pending"] * 3
    assert estate.server.connections > before + 2
    estate.serve(newest)
    assert (estate.swept(1), estate.told()) == ("deployed", [])


def test_not_deployed_is_told_after_a_day_and_once_again_near_the_end_and_then_that_it_is_over(estate: Estate) -> None:
    estate.swept()
    estate.put(newest := estate.made())
    assert estate.swept(23) == "pending"
    assert estate.told() == []
    assert estate.swept(1.5) == "not-deployed"
    [event] = estate.told()
    assert event["type"] == "certrelay.certificate.not-deployed"
    assert event["subject"] == f"{ALIAS}/{estate.name}"
    data = event["data"]
    assert (data["endpoint"], data["newest"], data["served_is"]) == (
        estate.endpoint, newest.thumbprint, "an earlier version",
    )  # fmt: skip
    assert {estate.swept(DAY / HOUR) for _ in range(10)} == {"not-deployed"}
    assert estate.told() == [], "30 of 90 days were left: the last sixth begins 15 days before the end"
    assert (estate.swept(4.5 * DAY / HOUR), kinds(estate.told())) == ("not-deployed", ["not-deployed"])
    estate.world.clock.advance(20 * DAY)
    assert (estate.swept(), estate.told()) == ("not-deployed", []), "it has expired, and that was foreseen"
    estate.serve(newest)
    assert estate.swept(1) == "deployed"
    [over] = estate.told()
    assert (over["type"], over["data"]["event"]) == ("certrelay.service.recovered", "not-deployed")
    assert (estate.swept(DAY / HOUR), estate.told()) == ("deployed", [])


def test_a_server_that_goes_back_to_an_older_certificate_is_told_of_again(estate: Estate) -> None:
    estate.swept()
    old = estate.server.context
    estate.put(newest := estate.made())
    identifiers = []
    for _ in range(2):
        estate.server.context = old
        assert estate.swept(DAY / HOUR) == "not-deployed"
        identifiers += [event["id"] for event in estate.told()]
        estate.serve(newest)
        assert estate.swept(1) == "deployed"
        identifiers += [event["id"] for event in estate.told()]
    assert len(set(identifiers)) == 4


def test_a_renewal_that_was_late_leaves_less_than_a_day(estate: Estate) -> None:
    estate.put(almost_over := estate.made(days=0.5))
    estate.serve(almost_over)
    assert estate.swept() == "deployed"
    estate.put(estate.made())
    assert (estate.swept(5), estate.told()) == ("pending", [])
    assert (estate.swept(1.5), kinds(estate.told())) == ("not-deployed", ["not-deployed"])
    assert (estate.swept(1), estate.told()) == ("not-deployed", []), "told once: the end is near already"


def test_the_newest_of_several_versions_is_told_of_anew(estate: Estate) -> None:
    estate.swept()
    for _ in range(2):
        estate.put(estate.made())
        assert estate.swept(1) == "pending"
        assert (estate.swept(DAY / HOUR), kinds(estate.told())) == ("not-deployed", ["not-deployed"])
    assert estate.record().is_earlier


def test_another_certificate_is_called_so_and_key_vault_is_asked_once(estate: Estate) -> None:
    asked, versions = [], estate.world.vault.versions
    estate.world.vault.versions = lambda name: (asked.append(name), versions(name))[1]  # type: ignore[func-returns-value,method-assign]
    estate.serve(estate.made())
    assert estate.swept(1) == "pending"
    assert (estate.swept(DAY / HOUR), asked) == ("not-deployed", [estate.name])
    [event] = estate.told()
    assert event["data"]["served_is"] == "another certificate"
    assert "still serves another certificate, which expires on" in sentence(event)


def test_another_certificate_that_cannot_be_read_is_told_of_as_well(estate: Estate) -> None:
    estate.serve(estate.made(version=2))
    assert [estate.swept(), estate.swept(1), estate.swept(DAY / HOUR)] == ["pending", "pending", "not-deployed"]
    [event] = estate.told()
    assert event["data"]["served_is"] == "another certificate"
    assert "still serves another certificate, which cannot be read. " in sentence(event)


def test_an_endpoint_that_cannot_be_reached_is_no_event(estate: Estate) -> None:
    estate.swept()
    estate.put(estate.made())
    estate.server.close()
    assert {estate.swept(DAY / HOUR) for _ in range(5)} == {"unreachable"}
    found = estate.record()
    assert (found.error, found.served_until is not None) == ("it refuses the connection", True)
    assert found.looked_at is not None and found.failing_since is not None
    assert found.looked_at - found.failing_since >= timedelta(days=4)
    assert estate.told() == []
    counted = digest.send_digest(estate.services)
    assert (counted["endpoints_unreachable"], counted["not_deployed"]) == (1, 0)


@pytest.mark.parametrize("rules", [(), ({"pattern": "*.contoso.example:443"},)])
def test_without_a_pattern_that_allows_it_nothing_is_connected_to(estate: Estate, rules: tuple[Any, ...]) -> None:
    """Others write tags, too, and a setting may be narrowed."""
    allowing(estate.world, *rules)
    before = estate.server.connections
    assert [*sweep.sweep(estate.services).endpoints] == (["not-allowed"] if rules else [])
    assert (estate.server.connections, estate.told()) == (before, [])
    with pytest.raises(Invalid, match="is not allowed by CERTRELAY_ENDPOINTS, which allows") as refused:
        edit.update(estate.services, ALIAS, estate.name, {"certrelay-endpoint": estate.endpoint}, None)
    assert refused.value.faults[0].pointer == "/tags/certrelay-endpoint"


def test_a_private_address_is_not_connected_to_unless_a_network_says_so(estate: Estate) -> None:
    port = estate.server.port
    allowing(estate.world, {"pattern": f"localhost:{port}"})
    edit.update(estate.services, ALIAS, estate.name, {"certrelay-endpoint": f"localhost:{port}"}, None)
    assert (estate.swept(), estate.server.connections) == ("unreachable", 0)
    assert "no address that the setting CERTRELAY_ENDPOINTS allows" in estate.record().error
    allowing(estate.world, {"pattern": f"localhost:{port}", "networks": LOOPBACK})
    assert estate.swept(1) == "deployed"


def test_a_tag_that_is_no_endpoint_is_refused_and_passed_over_if_others_wrote_it(estate: Estate) -> None:
    for tag in ("", "www.contoso.example", "https://www.contoso.example:443", "127.1:443", "x" * 256):
        with pytest.raises(Invalid, match="must"):
            edit.update(estate.services, ALIAS, estate.name, {"certrelay-endpoint": tag}, None)
        estate.world.vault.call("PATCH", f"/certificates/{estate.name}", {"tags": {"certrelay-endpoint": tag}})
        assert estate.swept() == "not-allowed"


@pytest.mark.parametrize("at", ["before the event", "after the event", "before the row"])
def test_a_crash_tells_nothing_twice(estate: Estate, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.swept()
    estate.put(estate.made())
    estate.world.clock.advance(2 * DAY)
    with monkeypatch.context() as patched:
        enqueue = outbox.enqueue

        def dying(*args: Any) -> bool:
            if at == "before the event":
                raise Killed
            enqueue(*args)
            raise Killed

        if at == "before the row":
            patched.setattr(estate.services.storage.renewals, "save_endpoint", lambda _: (_ for _ in ()).throw(Killed))
        else:
            patched.setattr(outbox, "enqueue", dying)
        with pytest.raises(Killed):
            sweep.sweep(estate.services)
    for _ in range(3):
        assert estate.swept(1) == "not-deployed"
    events = estate.told()
    assert len({event["id"] for event in events}) == 1, "a repeat is the same event"
    assert len(events) == (1 if at == "before the event" else 2)


def test_an_event_that_could_not_be_queued_is_told_by_the_next_sweep(estate: Estate) -> None:
    estate.swept()
    estate.put(estate.made())
    queue = estate.services.storage.notifications
    send = queue.send
    queue.send = out_of_order  # type: ignore[method-assign,assignment]
    assert estate.swept(DAY / HOUR) == "not-deployed"
    queue.send = send  # type: ignore[method-assign]
    assert estate.swept(1) == "not-deployed"
    assert kinds(estate.told()) == ["not-deployed"]


def test_junk_in_the_row_costs_a_look(estate: Estate) -> None:
    estate.swept()
    junk = {"looked_at": "soon", "since": 5, "told": 7, "recoveries": "many", "name": "x", "is_earlier": "yes"}
    junk |= {"served_until": "9999-12-31T23:59:59-14:00", "endpoint": estate.endpoint, "newest": "x" * 1000}
    key = {"PartitionKey": f"{ALIAS}|endpoint", "RowKey": estate.name.lower()}
    estate.services.storage.renewals._table.upsert({**junk, **key})
    assert (estate.swept(1), estate.record().served != "") == ("deployed", True)


def test_a_sweep_without_time_leaves_the_looks_to_the_next_one(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LONGEST_LOOKING", timedelta(0))
    assert (estate.swept(), estate.server.connections) == ("unseen", 0)


def test_a_deleted_certificate_leaves_no_record(estate: Estate) -> None:
    estate.swept()
    edit.delete(estate.services, ALIAS, estate.name)
    assert estate.services.storage.renewals.endpoints(ALIAS, [estate.name]) == {}


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=365)])
def test_a_look_by_a_worker_whose_clock_was_ahead_puts_no_other_look_off(estate: Estate, ahead: timedelta) -> None:
    wrong = replace(estate.services, now=lambda: estate.services.now() + ahead)
    sweep.sweep(wrong)
    before = estate.server.connections
    assert before > 0
    estate.swept(1)
    assert estate.server.connections > before
    before = estate.server.connections
    assert (estate.swept(1), estate.server.connections) == ("deployed", before), "once a day, as ever"
