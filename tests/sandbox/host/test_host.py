"""The Functions host's stand-in: routes, keys, queue, admin API and Event Grid, with the real Azurite and its SDKs."""

import base64
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.azurite import Azurite
from tests.sandbox.host.support import Host, running, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(azurite, tmp_path_factory.mktemp("host")) as one:
        one.client().create_queue()
        yield one


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/things/7", {"x-functions-key": "f-key"}, 201),
        ("/api/things/7", {"x-functions-key": "m-key"}, 201),
        ("/api/things/7?code=f-key", {}, 201),
        ("/api/things/7?code=f-key", {"x-functions-key": "wrong"}, 401),
        ("/api/things/7?code=f-key", {"x-functions-key": ""}, 401),
        ("/api/things/7", {"x-functions-key": "e-key"}, 401),
        ("/api/things/7", {}, 401),
        ("/api/secret", {"x-functions-key": "f-key"}, 401),
        ("/api/secret", {"x-functions-key": "m-key"}, 201),
        ("/api/things/seven?code=f-key", {}, 404),
        ("/API/Things/7/?code=f-key", {}, 201),
        ("/api//things/7?code=f-key", {}, 404),
        ("/things/7?code=f-key", {}, 404),
        ("/api/names/abc", {}, 201),
        ("/api/names/abc/more", {}, 201),
        ("/api/names/a", {}, 404),
        ("/api/names/abcde", {}, 404),
        ("/api/files/a/b/c.txt", {}, 201),
        ("/api/nothing", {}, 404),
    ],
)
def test_routes_constraints_and_keys_are_the_real_hosts(
    host: Host, path: str, headers: dict[str, str], status: int
) -> None:
    assert host.get(path, headers=headers).status_code == status


def test_a_method_that_no_function_takes_is_404(host: Host) -> None:
    """Methods are a constraint of the route, as the path is."""
    assert host.get("/api/things/7?code=f-key", method="DELETE").status_code == 404


def test_a_function_sees_the_whole_request_and_its_answer_arrives(host: Host) -> None:
    answer = host.get("/api/files/a%20b/c?x=1&empty=&code=k", method="POST", content=b"body", headers={"X-Probe": "p"})
    seen = answer.json()
    assert (seen["method"], seen["body"], seen["header"]) == ("POST", "body", "p")
    assert seen["route"] == {"path": "a b/c"}
    assert seen["params"] == {"x": "1", "code": "k"}, "empty values are dropped; code stays visible"
    assert answer.headers["x-answer"] == "yes"
    assert answer.headers["content-type"].startswith("application/json")


def test_what_comes_several_times_reaches_a_function_with_commas_between_and_the_first_key_counts(host: Host) -> None:
    repeated = [("x-probe", "one"), ("x-probe", "two")]
    seen = host.get("/api/names/abc?x=1&y=&x=2&y=3&x=1", headers=repeated).json()
    assert (seen["params"], seen["header"]) == ({"x": "1,2,1", "y": "3"}, "one,two")
    keys = [("x-functions-key", "f-key"), ("x-functions-key", "wrong")]
    assert host.get("/api/things/5", headers=keys).status_code == 201
    assert host.get("/api/things/5", headers=keys[::-1]).status_code == 401
    assert host.get("/api/things/5?code=f-key&code=wrong").status_code == 201
    assert host.get("/api/things/5?code=wrong&code=f-key").status_code == 401


def test_no_answer_waits_for_an_acknowledgement(host: Host) -> None:
    """A delayed acknowledgement is 40 ms late (Linux's least), whatever the machine. The quickest is judged."""
    waits = []
    for _ in range(60):
        begun = time.monotonic()
        host.get("/api/clock")
        waits.append(time.monotonic() - begun)
    assert min(waits[20:]) < 0.035


def test_an_exception_is_a_bare_500(host: Host) -> None:
    answer = host.get("/api/broken")
    assert (answer.status_code, answer.content) == (500, b"")


def test_a_function_over_its_time_is_a_500(host: Host) -> None:
    assert host.get("/api/slow").status_code == 500


def test_a_message_is_delivered_once_and_deleted(host: Host) -> None:
    host.send("good-1")
    until(lambda: len(host.diary(queue="good-1")) == 1)
    until(lambda: host.client().get_queue_properties().approximate_message_count == 0)
    host.send("good-2")
    until(lambda: bool(host.diary(queue="good-2")))
    assert [entry["count"] for entry in host.diary(queue="good-1")] == [1]
    assert base64.b64encode(b"good-1").decode() not in host.poison()


def test_a_message_that_fails_five_times_goes_to_the_poison_queue(host: Host) -> None:
    host.send("bad-1")
    until(lambda: base64.b64encode(b"bad-1").decode() in host.poison())
    assert [entry["count"] for entry in host.diary(queue="bad-1")] == [1, 2, 3, 4, 5]


def test_a_message_that_is_not_base64_goes_to_the_poison_queue_unseen(host: Host) -> None:
    host.client().send_message("%%% not base64")
    until(lambda: "%%% not base64" in host.poison())
    assert host.diary(queue="%%% not base64") == []


def test_a_delayed_message_comes_when_it_is_due(host: Host) -> None:
    sent = time.monotonic()
    host.client().send_message(base64.b64encode(b"later").decode(), visibility_timeout=1)
    until(lambda: bool(host.diary(queue="later")))
    assert time.monotonic() - sent >= 0.9


def test_messages_run_side_by_side(host: Host) -> None:
    for number in range(4):
        host.send(f"meet-{number}")
    until(lambda: all(host.diary(met=f"meet-{number}") for number in range(4)))


def test_an_admin_may_run_any_function_and_gets_202(host: Host) -> None:
    assert host.get("/admin/functions/from_queue", method="POST", json={"input": "by hand"}).status_code == 401
    admin = {"x-functions-key": "m-key"}
    run = host.get("/admin/functions/from_queue", method="POST", json={"input": "by hand"}, headers=admin)
    assert run.status_code == 202
    until(lambda: bool(host.diary(queue="by hand")))
    assert host.get("/admin/functions/nobody", method="POST", json={"input": ""}, headers=admin).status_code == 404
    assert host.get("/admin/functions/tick", method="POST", headers=admin).status_code == 400
    assert host.get("/admin/host/status", headers=admin).json()["state"] == "Running"
    assert "tick" in [one["name"] for one in host.get("/admin/functions", headers=admin).json()]


WEBHOOK = "/runtime/webhooks/EventGrid?functionName=on_event&code=e-key"


def event(**data: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex, "subject": "s", "eventType": "T", "eventTime": "2026-11-23T00:00:00Z",
        "data": data, "dataVersion": "1", "metadataVersion": "1", "topic": "/t",
    }  # fmt: skip


def post_events(host: Host, body: Any, kind: str = "Notification", path: str = WEBHOOK) -> httpx.Response:
    return host.get(path, method="POST", json=body, headers={"aeg-event-type": kind})


def test_the_handshake_answers_with_the_code(host: Host) -> None:
    asked = {"validationCode": "512d38b6"}
    for body in ([event(**asked)], event(**asked)):
        answer = post_events(host, body, "SubscriptionValidation")
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    options = host.get(WEBHOOK, method="OPTIONS", headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
    assert options.headers["webhook-allowed-origin"] == "eventgrid.azure.net"


def test_a_batch_is_one_invocation_an_event_and_one_failure_fails_it(host: Host) -> None:
    one, two = uuid.uuid4().hex, uuid.uuid4().hex
    assert post_events(host, [event(n=one), event(n=two)]).status_code == 202
    assert [entry["event"] for entry in host.diary(kind="EventGridEvent") if entry["event"].get("n") in (one, two)]
    assert post_events(host, [event(n=one), event(bad=True)]).status_code == 500


def test_a_webhook_call_without_key_function_or_sense_is_refused(host: Host) -> None:
    assert post_events(host, [], path="/runtime/webhooks/EventGrid?functionName=on_event").status_code == 401
    assert post_events(host, [], path=WEBHOOK.replace("e-key", "f-key")).status_code == 401
    assert post_events(host, [], path=WEBHOOK.replace("on_event", "nobody")).status_code == 404
    assert post_events(host, [], kind="Nonsense").status_code == 400
    assert post_events(host, {}, kind="Unsubscribe").status_code == 202
