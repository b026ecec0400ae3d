"""Metrics and traces, read from in-memory exporters: one trace from request to merge, and what alerts are made of."""

import json
from typing import Any

import azure.functions as func
import pytest
from opentelemetry.trace import SpanKind

from certrelay import telemetry
from certrelay.connectors.base import Rejected, Unavailable
from certrelay.connectors.http import AuthoritySession
from certrelay.connectors.http_settings import HttpSettings
from certrelay.keyvault.refusals import without_names
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.renewal.endpoints import State
from certrelay.watch import timers
from handlers.http import Answer, endpoint
from tests.connectors.hostile import hostile_server, too_many_requests
from tests.exported import Exported
from tests.renewal.last_mile import served_by_a_server
from tests.world import ALIAS, DAY, World, create, made

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_one_trace_leads_from_the_request_to_the_merge_though_workers_share_nothing_but_the_row(
    exported: Exported, world: World
) -> None:
    name = world.name()
    with telemetry.span("request", {}, CALLER) as request:
        create(world, name)
    world.ca.answers = [Unavailable("down")]
    assert not telemetry.is_traced()
    world.finish(name)
    found = exported.of_trace(request.get_span_context().trace_id)
    assert f"{request.get_span_context().trace_id:032x}" == CALLER.split("-")[1]
    names = [span.name for span in found]
    assert names.count("advance") >= 2
    for expected in (
        "Key Vault POST /certificates/{name}/create",
        "authority submit",
        "Key Vault POST /certificates/{name}/pending/merge",
    ):
        assert expected in names
    merge = next(span for span in found if span.name.endswith("merge"))
    assert merge.kind is SpanKind.CLIENT
    assert dict(merge.attributes or {})["http.response.status_code"] == 201
    advances = [dict(span.attributes or {}) for span in found if span.name == "advance"]
    assert {(one["vault"], one["certificate"], one["authority"]) for one in advances} == {(ALIAS, name, "test-ca")}
    assert [one for one in exported.spans.get_finished_spans() if one not in found] == []


def test_a_wake_up_in_a_trace_of_its_own_is_linked(exported: Exported, world: World) -> None:
    with telemetry.span("request", {}, CALLER):
        create(world, world.name())
    with telemetry.span("invocation", {}) as invocation:
        world.advance(world.name())
    advance = next(span for span in exported.spans.get_finished_spans() if span.name == "advance")
    assert [link.context.trace_id for link in advance.links] == [invocation.get_span_context().trace_id]


def test_an_http_function_continues_the_callers_trace_and_says_how_it_ended(exported: Exported) -> None:
    def get_thing(req: func.HttpRequest) -> Answer:
        raise ZeroDivisionError("7f3a of a library")

    request = func.HttpRequest("GET", "http://x/", headers={"traceparent": CALLER}, body=b"")
    assert endpoint(get_thing)(request).status_code == 500
    (span,) = exported.spans.get_finished_spans()
    assert span.name == "get_thing"
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == CALLER.split("-")[2]
    assert dict(span.attributes or {}) == {"http.response.status_code": 500}
    assert "7f3a" not in span.to_json()


@pytest.mark.parametrize("header", ["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", CALLER + "-" * 10_000])
def test_a_traceparent_that_is_none_starts_a_trace_of_its_own(exported: Exported, header: str) -> None:
    with telemetry.span("request", {}, header) as span:
        assert span.get_span_context().is_valid


def test_operations_requests_and_durations_are_measured(exported: Exported, world: World) -> None:
    def of(result: str) -> float:
        return exported.value("certrelay.operations", authority="test-ca", kind="create", result=result)

    before, failed = of("completed"), of("failed")
    made(world, world.name("-a"))
    world.ca.answers = [Rejected("no")]
    made(world, world.name("-b"))
    assert (of("completed") - before, of("failed") - failed) == (1, 1)
    assert exported.value("certrelay.operation.duration", authority="test-ca") >= 2
    for status in ("issued", "rejected"):
        assert exported.value("certrelay.authority.requests", authority="test-ca", call="submit", status=status) >= 1
        assert exported.value("certrelay.authority.duration", authority="test-ca", status=status) >= 1
    created = {"operation": "POST /certificates/{name}/create", "status": 202}
    assert exported.value("certrelay.keyvault.requests", **created) >= 2
    assert exported.value("certrelay.keyvault.duration") >= 2
    names = {str(point.attributes) for point in exported.points("certrelay.keyvault.requests")}
    assert not [text for text in names if world.prefix in text], "no certificate's name is an attribute of a metric"


def test_a_429_of_key_vault_is_counted(exported: Exported, lonely_world: World) -> None:
    world = lonely_world
    before = exported.value("certrelay.throttled", by="keyvault")
    world.server.faults.add(operation="GetCertificates", status=429, times=None, retry_after=30)
    timers.sweep(world.services)
    assert exported.value("certrelay.throttled", by="keyvault") == before + 1


def test_a_429_of_an_authority_is_counted(exported: Exported) -> None:
    with hostile_server(too_many_requests) as server:
        settings = HttpSettings(url=server.url, ca_certificates=server.ca_certificates)
        with AuthoritySession(settings) as session:
            session.get(server.url)
        assert exported.value("certrelay.throttled", by="authority", name=server.url.removeprefix("https://")) == 1


def test_renewals_due_late_days_left_queue_age_and_poison_are_measured(exported: Exported, lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    renew.renew(world.services, ALIAS, name, Origin(requested_by="test"))
    (left,) = exported.points("certrelay.renewal.days_left")
    assert left.max == pytest.approx(29, abs=0.1)
    world.clock.advance(17 * DAY)
    world.services.storage.poison["notifications"].send(json.dumps({"v": 1}))
    timers.sweep(world.services)
    assert exported.value("certrelay.renewals.due", authority="test-ca") == 1
    assert exported.value("certrelay.renewals.late", authority="test-ca") == 1
    timers.poll(world.services)
    assert exported.value("certrelay.queue.age") == pytest.approx(17 * DAY, abs=60)
    assert exported.value("certrelay.poison.messages", queue="notifications") == 1


def test_endpoints_are_counted_by_what_they_serve(exported: Exported, lonely_world: World, receiver: Any) -> None:
    none = dict.fromkeys(map(str, State), 0)

    def swept() -> dict[str, int]:
        timers.sweep(estate.services)
        return {point.attributes["state"]: point.value for point in exported.points("certrelay.endpoints")}

    with served_by_a_server(lonely_world, receiver) as estate:
        assert swept() == none | {"deployed": 1}
        estate.put(newest := estate.made())
        estate.world.clock.advance(2 * DAY)
        assert swept() == none | {"not-deployed": 1}
        estate.serve(newest)
        assert swept() == none | {"deployed": 1}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/certificates/www/create", "/certificates/{name}/create"),
        ("/certificates/www/", "/certificates/{name}"),
        (f"/certificates/www/{'0' * 32}", "/certificates/{name}/{version}"),
        ("/certificates", "/certificates"),
        ("/certificates/contacts", "/certificates/contacts"),
        ("/certificates/issuers", "/certificates/issuers"),
        ("/certificates/issuers/digicert", "/certificates/issuers/{issuer}"),
        ("/certificates/issuers-of-mine", "/certificates/{name}"),
        ("/deletedcertificates/www/recover", "/deletedcertificates/{name}/recover"),
    ],
)
def test_the_attribute_of_a_request_has_no_name(path: str, expected: str) -> None:
    assert without_names(path) == expected
