"""Junk that others planted: in lines of the list, tags, policies, certificates, rows and windows. Each costs itself
only, and heals when the input does."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from certrelay.certificates import read
from certrelay.certificates.read import Filters
from certrelay.errors import CertRelayError
from certrelay.keyvault.certificate import CertificateItem, items_of
from certrelay.notifications import outbox
from certrelay.renewal import alerts, digest, forecast, sweep
from certrelay.storage.renewal_record import RenewalRecord
from handlers import render
from tests.renewal.nonsense import broken
from tests.world import ALIAS, DAY, World, made

OURS = {"certrelay-authority": "test-ca"}
LATE = {"exp": 253402300799, "nbf": 253402300000, "created": 1, "enabled": True}
PLANTED: dict[str, dict[str, Any]] = {
    "tags that are a list": {"tags": ["a"]},
    "tags that are numbers": {"tags": {"certrelay-authority": 5}},
    "an unknown authority": {"tags": {"certrelay-authority": "x" * 256}},
    "an empty authority": {"tags": {"certrelay-authority": ""}},
    "a large percentage": {"tags": {**OURS, "certrelay-renewal": "lifetime_percentage=99999"}},
    "many days": {"tags": {**OURS, "certrelay-renewal": "days_before_expiry=99999"}},
    "an unknown word": {"tags": {**OURS, "certrelay-renewal": "soon=" + "1" * 250}},
    "a negative validity": {"tags": {**OURS, "certrelay-validity-days": "-5"}},
    "a long validity": {"tags": {**OURS, "certrelay-validity-days": "99999"}},
    "attributes that are a list": {"attributes": [1]},
    "no attributes": {"attributes": None},
    "a certificate until the end of time": {"attributes": LATE, "tags": OURS},
    "a validity that is reversed": {"attributes": {**LATE, "exp": 1000}, "tags": OURS},
    "times that are texts": {"attributes": {"exp": "soon", "nbf": "now", "enabled": "maybe"}, "tags": OURS},
    "a thumbprint that is a number": {"x5t": 5},
    "a certificate that is none": {"cer": base64.b64encode(b"hello").decode()},
    "a certificate that is no base64": {"cer": "%%%"},
    "a certificate that is cut off": {"cer": "MIIB"},
    "a policy that is a list": {"policy": []},
    "a policy without parts": {"policy": {}},
    "a policy of other types": {
        "policy": {"issuer": "x", "key_props": [], "x509_props": 5, "lifetime_actions": {"a": 1}, "secret_props": None}
    },
    "a policy with odd actions": {
        "policy": {"issuer": {"name": "Self"}, "lifetime_actions": [
            5, {"action": "AutoRenew"}, {"trigger": {"days_before_expiry": 10**12},
                                         "action": {"action_type": "AutoRenew"}}]},
        "tags": {},
    },
    "a certificate in base64 that lacks a character": {"cer": "MIIBA"},
}  # fmt: skip
ROWS: dict[str, dict[str, Any]] = {
    "the largest number of failures": {"failures": 2**31 - 1},
    "a time before all others": {"backed_off_until": "0001-01-01T00:00:00+14:00"},
    "a window at the end of time": {
        "window_start": "9999-12-30T00:00:00-05:00",
        "renew_at": "9999-12-31T23:59:59+00:00",
    },
    "a change that is none": {"unfinished": "[1]"},
    "a change of other types": {"unfinished": '{"tags": 5, "policy": null}'},
    "an alert of another kind": {"alerted": "x" * 30_000},
}


def looks(world: World) -> list[Callable[[], Any]]:
    """What may meet a certificate, but for the sweep."""
    services, name = world.services, world.name("-a")
    return [
        lambda: read.certificates(services, ALIAS, Filters(), 25, None),
        lambda: read.certificates(services, ALIAS, Filters(issuer="Self"), 25, None),
        lambda: render.certificate_json(ALIAS, name, read.detail(services, ALIAS, name).bundle),
        lambda: forecast.expected(services, 3650),
        lambda: digest.send_digest(services),
    ]


def survived(world: World) -> list[str]:
    """Meets the junk in every way, and returns what went wrong."""
    wrong = []
    for look in looks(world):
        try:
            look()
        except CertRelayError:
            pass
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error} in {look.__code__.co_names}")
    try:
        swept = sweep.sweep(world.services)
    except Exception as error:
        return [*wrong, f"sweep: {type(error).__name__}: {error}"]
    return wrong + [str(error) for error in swept.unreadable.values()] + [one for one in swept.refused if "-b" in one]


@pytest.mark.slow
def test_junk_costs_itself_only_and_heals(lonely_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = lonely_world
    first, second = world.name("-a"), world.name("-b")
    made(world, first)
    made(world, second)
    world.clock.advance(80 * DAY)
    wrong = {}
    for what, changes in PLANTED.items():
        with monkeypatch.context() as planted:
            broken(world, planted, first, **changes)
            wrong[what] = survived(world)
    for what, row in ROWS.items():
        world.services.storage.renewals._table.upsert(
            {"PartitionKey": ALIAS, "RowKey": first.lower(), "name": first, **row}
        )
        wrong[what] = survived(world)
    assert {what: found for what, found in wrong.items() if found} == {}
    world.services.storage.renewals.delete(ALIAS, first)
    sweep.sweep(world.services)
    for name in (first, second):
        assert world.finish(name).state == "completed", "both are renewed in the end"
        assert len(world.versions(name)) == 2


def test_a_line_of_a_list_without_a_name_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[Any] = [{"id": "https://v.example/"}, {}, 5, None, {"id": "https://v.example/certificates/www"}]
    assert [item.name for item in items_of(lines)] == ["www"]
    assert caplog.text.count("has no name, and is left out") == 4


ODD_POLICIES: list[Any] = [
    [], 5, "x", {"issuer": "x"}, {"issuer": {"name": "Self"}, "lifetime_actions": {"a": 1}},
    {"issuer": {"name": "Self"}, "lifetime_actions": [5, None, {"action": "AutoRenew", "trigger": [1]}]},
    {"issuer": {"name": "Self"}, "lifetime_actions": [{"action": {"action_type": ["AutoRenew"]}}]},
]  # fmt: skip
AUTO = {"action_type": "AutoRenew"}
ODD_TRIGGERS: list[Any] = [
    {"days_before_expiry": 10**12},
    {"days_before_expiry": "x"},
    {"lifetime_percentage": None},
    7,
]


@pytest.mark.parametrize("policy", ODD_POLICIES)
def test_an_odd_policy_renews_nothing(policy: Any) -> None:
    assert not alerts.renewed_by_key_vault(policy)


@pytest.mark.parametrize("odd", [*ODD_POLICIES, *ODD_TRIGGERS])
def test_an_odd_policy_keeps_no_alert_back(lonely_world: World, monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    world = lonely_world
    item = CertificateItem("www", True, None, world.services.now() - timedelta(days=99),
                           world.services.now() + timedelta(hours=1), {}, "ab")  # fmt: skip
    is_trigger = odd in ODD_TRIGGERS
    policy = {"issuer": {"name": "Self"}, "lifetime_actions": [{"trigger": odd, "action": AUTO}]} if is_trigger else odd
    monkeypatch.setattr(world.vault, "get", lambda *_: {"policy": policy})
    sent: list[tuple[Any, ...]] = []

    def enqueue(*event: Any) -> bool:
        sent.append(event)
        return True

    monkeypatch.setattr(outbox, "enqueue", enqueue)
    record = RenewalRecord(ALIAS, "www")
    for _ in range(2):
        record = alerts.send(world.services, ALIAS, item, record)
    [(_, stage, _, data, *_)] = sent
    assert (stage, bool(data["why"])) == ("expiring", True)


def test_a_time_without_a_zone_in_the_state_of_a_list_stops_no_sweep(lonely_world: World) -> None:
    world = lonely_world
    made(world, world.name())
    times = dict.fromkeys(("read_at", "read_by", "changed_at"), "2026-01-01T00:00:00")
    world.services.storage.renewals._table.upsert({"PartitionKey": "|sweep", "RowKey": ALIAS, **times})
    swept = sweep.sweep(world.services)
    assert (swept.looked_at, swept.unreadable) == (1, {})
