"""Alerts and workbook, run on what the app really logs and measures in good and bad nights: a phrase that the code no
longer says, a metric or an attribute that it no longer has, is an alert that never comes."""

import contextlib
import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from certrelay.connectors.base import Rejected, Unavailable
from certrelay.storage.operation import State
from certrelay.watch import poison, timers
from handlers import functions, schedule
from sandbox.identity import SYSTEM_ASSIGNED
from tests.exported import Exported
from tests.fixtures import webhook
from tests.infra import kql
from tests.infra.bicep import INFRA, variable
from tests.renewal.last_mile import served_by_a_server
from tests.world import DAY, World, create, made

pytestmark = pytest.mark.slow

APP = "certrelay-abc"
TABLES = {name: variable(name, "alerts") for name in ("requests", "traces", "metrics")}
FUNCTIONS = {*functions.TIMERS, *functions.QUEUES, *itertools.chain(*functions.HTTP.values())}


def query(of: str) -> str:
    text = of
    for name, table in TABLES.items():
        text = text.replace(f"${{{name}}}", table)
    return text.replace("\\'", "'").replace("${appName}", APP)


RULES = {rule["name"]: rule | {"query": query(rule["query"])} for rule in variable("rules", "alerts")}
WORKBOOK = {
    item["name"]: item["content"]["query"].replace("APP_NAME", APP).replace("\n", " ")
    for item in json.loads((INFRA / "workbook.json").read_text())["items"]
    if "query" in item["content"]
}


TIMERS = ("sweep_certificates", "poll_operations")
WINDOW = 120  # minutes: no window of a rule about a lasting cause is longer
COUNTERS = {"certrelay.operations", "certrelay.throttled"}


class Telemetry:
    """What Application Insights would have of the app: its log lines and measurements; the host's requests."""

    def __init__(
        self, world: World, caplog: pytest.LogCaptureFixture, exported: Exported, stack: contextlib.ExitStack
    ) -> None:
        self.world, self.stack, self._caplog, self._exported = world, stack, caplog, exported
        self._requests: list[dict[str, Any]] = []
        self.forget()

    def forget(self) -> None:
        """Another window begins, and counters at zero."""
        self._caplog.clear()
        self._requests.clear()
        self._before = {key: point["Sum"] for key, point in self._measured() if point["Name"] in COUNTERS}

    def ran(self, function: str, *, success: bool = True, code: str = "0") -> None:
        """The host's row of a function that ran."""
        assert function in FUNCTIONS
        self._requests.append({"Name": function, "Success": success, "ResultCode": code})

    def rows(self) -> kql.Rows:
        lines = [record.getMessage() for record in self._caplog.records if record.name.startswith("certrelay.")]
        lines += [f"Executed 'Functions.{row['Name']}' (Succeeded, Id=…)" for row in self._requests if row["Success"]]
        measured = [point | {"Sum": point["Sum"] - self._before.get(key, 0)} for key, point in self._measured()]
        tables = {"AppTraces": [{"Message": line} for line in lines], "AppMetrics": measured}
        tables["AppRequests"] = self._requests
        return {table: [row | {"AppRoleName": APP.upper()} for row in rows] for table, rows in tables.items()}

    def _measured(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for metric, point in self._exported.all_points():
            numbers = dict.fromkeys(("Sum", "Min", "Max"), getattr(point, "value", None)) | {"ItemCount": 1}
            if hasattr(point, "bucket_counts"):
                numbers = {"Sum": point.sum, "Min": point.min, "Max": point.max, "ItemCount": point.count}
            attributes = dict(point.attributes)
            yield (
                f"{metric.name} {sorted(attributes.items())}",
                {"Name": metric.name, "Properties": attributes} | numbers,
            )

    def alerts(self) -> set[str]:
        """The names of the rules that fire."""
        rows = self.rows()
        counts = {name: len(kql.found(rule["query"], rows)) for name, rule in RULES.items()}
        limits = {name: float(rule["threshold"]) for name, rule in RULES.items()}
        below = {name for name, rule in RULES.items() if rule["operator"] == "LessThan"}
        return {name for name, n in counts.items() if (n < limits[name] if name in below else n > limits[name])}


@pytest.fixture
def seen(
    lonely_world: World, caplog: pytest.LogCaptureFixture, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Telemetry]:
    """An evening on which all is well."""
    caplog.set_level(logging.INFO, "certrelay")
    with contextlib.ExitStack() as stack:
        seen = Telemetry(lonely_world, caplog, exported, stack)
        monkeypatch.setattr(schedule, "services", lambda: seen.world.services)
        pass_(seen, 30)
        yield seen


def run(seen: Telemetry, function: str) -> None:
    """By its function, which logs, too; and the host's row."""
    getattr(schedule, function)(None)
    seen.ran(function)


def pass_(seen: Telemetry, minutes: int) -> None:
    """Let time pass in steps of half an hour at most, each with a poll; the sweep comes every hour, and at the end."""
    for passed in range(0, minutes, 30):
        now = min(passed + 30, minutes)
        seen.world.clock.advance((now - passed) * 60)
        for function in TIMERS if now % 60 == 0 or now == minutes else ("poll_operations",):
            run(seen, function)


def test_no_alert_comes_when_all_is_well(seen: Telemetry) -> None:
    made(seen.world, seen.world.name())
    pass_(seen, 10)
    assert seen.alerts() == set()


def vault_refuses(seen: Telemetry) -> Callable[[], object]:
    permissions = seen.world.server.identities.permissions
    permissions[SYSTEM_ASSIGNED] = {"certificates": []}
    pass_(seen, 65)
    return lambda: permissions.__setitem__(SYSTEM_ASSIGNED, None)


def authority_is_down(seen: Telemetry) -> Callable[[], object]:
    seen.world.ca.answers = [Unavailable("it could not be reached")] * 1000
    create(seen.world, seen.world.name("-waits"))
    pass_(seen, 90)
    return seen.world.ca.answers.clear


def messages_are_poison(seen: Telemetry) -> Callable[[], object]:
    services = seen.world.services
    services.storage.poison["notifications"].send(json.dumps({"v": 1}))
    seen.ran("fail_operation")
    pass_(seen, 10)
    return lambda: [poison.drop(services, one.id) for one in poison.messages(services)]


def certificates_expire(seen: Telemetry) -> Callable[[], object]:
    world, names = seen.world, [seen.world.name(f"-{number}") for number in range(2)]
    for name in names:
        made(world, name)
    world.ca.answers = [Unavailable("it could not be reached")] * 1000
    for days in (80, 11):  # late, then expired
        world.clock.advance(days * DAY)
        timers.sweep(world.services)

    return world.ca.answers.clear


def server_keeps_the_old_certificate(seen: Telemetry) -> Callable[[], object]:
    estate = seen.stack.enter_context(served_by_a_server(seen.world, seen.stack.enter_context(webhook())))
    seen.world = estate.world
    estate.put(newest := estate.made())
    seen.world.clock.advance(DAY)
    pass_(seen, 10)
    return lambda: estate.serve(newest)


LASTING: dict[str, Callable[[Telemetry], Callable[[], object]]] = {
    "vault-unreadable": vault_refuses, "authority-down": authority_is_down,
    "poison-messages": messages_are_poison, "expiring": certificates_expire,
    "not-deployed": server_keeps_the_old_certificate,
}  # fmt: skip


@pytest.mark.parametrize("rule", LASTING)
def test_an_alert_comes_lasts_as_long_as_its_cause_and_goes(seen: Telemetry, rule: str) -> None:
    """Azure tells that an alert is resolved: not before it is."""
    mend = LASTING[rule](seen)
    assert rule in seen.alerts()
    every_part_is_met(rule, seen.rows())
    seen.forget()
    pass_(seen, WINDOW)
    assert rule in seen.alerts()
    mend()
    seen.forget()
    pass_(seen, 4 * 60)
    the_end_is_no_alert(rule, seen.rows())
    seen.forget()
    pass_(seen, WINDOW)
    assert rule not in seen.alerts()


def the_end_is_no_alert(rule: str, rows: kql.Rows) -> None:
    """The line that says that an incident is over begins as the one that told of it."""
    kind = {"poison-messages": "poison"}.get(rule, rule)
    ends = [
        row for row in rows["AppTraces"] if row["Message"].startswith(f"{kind} ") and "it began at" in row["Message"]
    ]
    assert bool(ends) == (rule not in ("expiring", "not-deployed")), "only an incident ends with a line"
    assert kql.found(RULES[rule]["query"], {"AppTraces": ends}) == []


def every_part_is_met(rule: str, rows: kql.Rows) -> None:
    """Each alternative of the rule's query is one that the app brings about."""
    text = RULES[rule]["query"]
    for part in kql.parts(text):
        assert kql.found(part, rows), part
    for phrase in re.findall(r"Message startswith ['\"](.+?)['\"]", text):
        assert [row for row in rows["AppTraces"] if row["Message"].startswith(phrase)], phrase


def test_a_failed_operation_is_an_alert(seen: Telemetry) -> None:
    seen.world.ca.answers = [Rejected("no")]
    assert made(seen.world, seen.world.name()).state is State.FAILED
    assert seen.alerts() == {"operations-failed"}
    every_part_is_met("operations-failed", seen.rows())


@pytest.mark.parametrize(("rule", "function"), [("no-sweep", "sweep_certificates"), ("no-poll", "poll_operations")])
def test_a_timer_that_does_not_run_or_always_fails_is_an_alert(seen: Telemetry, rule: str, function: str) -> None:
    pass_(seen, 30)
    every_part_is_met(rule, seen.rows())
    seen.forget()
    run(seen, next(name for name in TIMERS if name != function))
    seen.ran(function, success=False)
    assert seen.alerts() == {rule}


def test_answers_with_5xx_are_an_alert_from_the_sixth_on(seen: Telemetry) -> None:
    for code in ("200", "404", *["503"] * 3, *["500"] * 2):
        seen.ran("get_status", code=code)
    assert seen.alerts() == set()
    seen.ran("get_readiness", success=False, code="500")
    assert seen.alerts() == {"server-errors"}


def test_the_workbook_shows_measurements_and_attributes_that_the_app_has(seen: Telemetry) -> None:
    for fails in LASTING.values():
        fails(seen)()
    world = seen.world
    world.server.faults.add(operation="GetCertificates", status=429, times=None, retry_after=30)
    timers.sweep(world.services)
    rows = seen.rows()
    asked = {name: query for name, query in WORKBOOK.items() if "AppRoleName" in query}
    assert len(asked) >= 10
    for name, query in asked.items():
        found = kql.found(query, rows)
        assert found, name
        for attribute in re.findall(r"Properties\.(\w+)", query):
            assert all(attribute in row["Properties"] for row in found), f"{name}: {attribute}"
        for metric in re.findall(r"'(certrelay\.[\w.]+)'", query):
            assert metric in {row["Name"] for row in found}, f"{name}: {metric}"


def test_a_query_that_is_not_understood_is_no_silent_match() -> None:
    rows = {"AppTraces": [{"Message": "vault-unreadable x is over"}]}
    assert kql.found("AppTraces | where Message startswith 'vault' and Message !has 'is over'", rows) == []
    with pytest.raises((AssertionError, KeyError)):
        kql.found("AppTraces | where Message matches regex 'x'", rows)
