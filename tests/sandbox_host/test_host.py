"""The Functions host's stand-in, as a process, with the real Azurite and the real storage SDKs."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.processes import free_ports

APP = Path(__file__).parent / "app"
KEYS = {"master": "m-key", "function": "f-key", "eventgrid": "e-key"}
NEVER = "0 0 0 1 1 *"


MOVED_UNDER_A_THREAD = """
import sys, threading, time
from pathlib import Path
from sandbox.clock import Clock
from sandbox.host.clock import ProcessClock

clock, process = Clock(Path(sys.argv[1])), ProcessClock(Path(sys.argv[1]))

ended, faults = threading.Event(), []


def look():
    last = time.time()
    while not ended.is_set():
        now = time.time()
        if now < last:
            faults.append(now - last)
        last = now


sys.setswitchinterval(0.00001)
looking = threading.Thread(target=look)
looking.start()
for _ in range(500):
    clock.advance(86_400)
    process.follow()
    time.sleep(0.0005)
ended.set()
looking.join()
sys.exit(f"the time went by {faults[:5]} seconds" if faults else 0)
"""


@dataclass
class Host:
    """A running host; `diary` is what its functions were called with."""

    url: str
    process: subprocess.Popen[bytes]
    diary_file: Path
    queues: QueueServiceClient
    queue: str

    def diary(self, **having: Any) -> list[dict[str, Any]]:
        lines = self.diary_file.read_text().splitlines() if self.diary_file.exists() else []
        return [entry for entry in map(json.loads, lines) if having.items() <= entry.items()]

    def send(self, text: str) -> None:
        self.client().send_message(base64.b64encode(text.encode()).decode())

    def client(self, suffix: str = "") -> QueueClient:
        return self.queues.get_queue_client(self.queue + suffix)

    def poison(self) -> list[str]:
        try:
            return [str(message.content) for message in self.client("-poison").peek_messages(max_messages=32)]
        except ResourceNotFoundError:
            return []

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.request(options.pop("method", "GET"), self.url + path, **options)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


@contextmanager
def running(azurite: Azurite, directory: Path, schedule: str = NEVER, queue: str = "") -> Iterator[Host]:
    app = directory / "app"
    if not app.exists():
        app.mkdir()
        for path in APP.glob("*.*"):
            (app / path.name).write_bytes(path.read_bytes())
    queue = queue or "q" + uuid.uuid4().hex[:10]
    queues = QueueServiceClient.from_connection_string(azurite.connection_string)
    environment = {
        **os.environ, "AzureWebJobsStorage": azurite.connection_string, "QUEUE": queue, "SCHEDULE": schedule,
        "DIARY": str(directory / "diary"), "AzureFunctionsWebHost__hostid": directory.name,
    }  # fmt: skip
    (port,) = free_ports(1)
    keys = [part for name, key in KEYS.items() for part in (f"--{name}-key", key)]
    command = [sys.executable, "-m", "sandbox.host", "--app", str(app), "--port", str(port)]
    clock = ["--clock", str(directory / "clock")]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen([*command, *clock, *keys], env=environment, stderr=log)
        try:
            host = Host(f"http://127.0.0.1:{port}", process, directory / "diary", queues, queue)
            until(lambda: process.poll() is not None or _answers(host))
            assert process.poll() is None, (directory / "log").read_text()
            yield host
        finally:
            process.terminate()
            process.wait(60)


def _answers(host: Host) -> bool:
    try:
        return host.get("/admin/host/ping").status_code == 200
    except httpx.TransportError:
        return False


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


def test_a_method_that_no_function_takes_is_405(host: Host) -> None:
    assert host.get("/api/things/7?code=f-key", method="DELETE").status_code == 405


def test_a_function_sees_the_whole_request_and_its_answer_arrives(host: Host) -> None:
    answer = host.get("/api/files/a%20b/c?x=1&empty=&code=k", method="POST", content=b"body", headers={"X-Probe": "p"})
    seen = answer.json()
    assert (seen["method"], seen["body"], seen["header"]) == ("POST", "body", "p")
    assert seen["route"] == {"path": "a b/c"}
    assert seen["params"] == {"x": "1", "code": "k"}, "empty values are dropped; code stays visible"
    assert answer.headers["x-answer"] == "yes"
    assert answer.headers["content-type"].startswith("application/json")


def test_an_exception_is_a_bare_500(host: Host) -> None:
    answer = host.get("/api/broken")
    assert (answer.status_code, answer.content) == (500, b"")


def test_a_function_over_its_time_is_a_500(host: Host) -> None:
    assert host.get("/api/slow", timeout=30).status_code == 500


def test_a_message_is_delivered_once_and_deleted(host: Host) -> None:
    host.send("good-1")
    until(lambda: len(host.diary(queue="good-1")) == 1)
    time.sleep(1.5)
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
    host.client().send_message(base64.b64encode(b"later").decode(), visibility_timeout=2)
    until(lambda: bool(host.diary(queue="later")))
    assert time.monotonic() - sent >= 1.9


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


def test_a_killed_hosts_message_is_neither_lost_nor_seen_before_its_lease_is_over(
    azurite: Azurite, tmp_path: Path
) -> None:
    """The lease is ten minutes in the real host and here; the test makes the message visible again itself."""
    with running(azurite, tmp_path) as first:
        first.client().create_queue()
        first.send("slow-kill")
        until(lambda: bool(first.diary(queue="slow-kill")))
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert list(first.client().receive_messages()) == [], "the dead host's lease still holds"
        assert first.client().get_queue_properties().approximate_message_count == 1


def test_the_clock_moves_the_app_and_a_missed_run_is_made_good_once(azurite: Azurite, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    with running(azurite, tmp_path, schedule="0 0 3 * * *") as host:
        before = host.get("/api/clock").text
        clock.advance(60 * 86_400)
        until(lambda: host.get("/api/clock").text[:10] != before[:10])
        until(lambda: len(host.diary(timer=True)) == 1)
        host.client().create_queue()
        host.send("after the jump")
        until(lambda: bool(host.diary(queue="after the jump")))
        time.sleep(0.5)
        assert len(host.diary(timer=True)) == 1, "sixty missed runs are one"


def test_whoever_moved_the_clock_and_then_calls_is_served_at_the_new_time(azurite: Azurite, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    with running(azurite, tmp_path) as host:
        for _ in range(10):
            before = datetime.fromisoformat(host.get("/api/clock").text)
            clock.advance(5 * 86_400)
            assert (datetime.fromisoformat(host.get("/api/clock").text) - before).days == 5


def test_no_thread_sees_another_time_than_the_old_and_the_new_one_while_the_clock_moves(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    clock.advance(86_400)
    moving = subprocess.run(
        [sys.executable, "-c", MOVED_UNDER_A_THREAD, str(tmp_path / "clock")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (moving.returncode, moving.stderr) == (0, "")


def test_a_schedule_that_never_comes_stops_nothing(azurite: Azurite, tmp_path: Path) -> None:
    with running(azurite, tmp_path, schedule="0 0 0 31 2 *") as host:
        time.sleep(0.5)
        assert host.get("/api/names/abc").status_code == 201
        assert host.process.poll() is None


def test_a_message_in_a_poison_queue_is_handled_however_often_it_was_seen(azurite: Azurite, tmp_path: Path) -> None:
    queue = "q" + uuid.uuid4().hex[:10] + "-poison"
    queues = QueueServiceClient.from_connection_string(azurite.connection_string)
    client = queues.get_queue_client(queue)
    client.create_queue()
    client.send_message(base64.b64encode(b"worn").decode())
    for _ in range(6):
        (message,) = client.receive_messages()
        client.update_message(message, visibility_timeout=0)
    with running(azurite, tmp_path, queue=queue) as host:
        until(lambda: bool(host.diary(queue="worn")))
        until(lambda: client.get_queue_properties().approximate_message_count == 0)


def test_a_host_that_is_told_to_stop_finishes_what_it_has_begun(azurite: Azurite, tmp_path: Path) -> None:
    with running(azurite, tmp_path) as host:
        host.client().create_queue()
        host.send("slow-stop")
        until(lambda: bool(host.diary(queue="slow-stop")))
        host.process.terminate()
        host.process.wait(60)
        assert host.client().get_queue_properties().approximate_message_count == 0, "it was deleted, not abandoned"


def test_a_timer_that_was_missed_while_the_host_was_down_runs_once_past_due(azurite: Azurite, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    with running(azurite, tmp_path, schedule="*/1 * * * * *") as host:
        until(lambda: len(host.diary()) >= 2)
    (tmp_path / "diary").unlink()
    clock.advance(3600)
    with running(azurite, tmp_path, schedule="*/1 * * * * *") as host:
        until(lambda: len(host.diary()) >= 4)
        first, *more = [entry["timer"] for entry in host.diary()[:4]]
        assert first
        assert not all(more), "on a busy machine one of them may be late itself"


def test_of_two_hosts_only_one_fires_the_timer(azurite: Azurite, tmp_path: Path) -> None:
    with running(azurite, tmp_path, schedule="*/1 * * * * *") as first, running(azurite, tmp_path, "*/1 * * * * *"):
        before = len(first.diary())
        until(lambda: len(first.diary()) >= before + 4)
        assert len({entry["by"] for entry in first.diary()}) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nonexistent_module", "nonexistent_module"),
        ("def f(req: func.HttpRequest, more: int = 1) -> func.HttpResponse: ...", "more"),
        ("def f(req: func.HttpRequest) -> func.HttpResponse | None: ...", "f"),
        (
            "@app.queue_output('out', 'q', 'AzureWebJobsStorage')\n"
            "def f(req: func.HttpRequest, out: func.Out[str]) -> str: ...",
            "f: this host has no binding of the type queue",
        ),
    ],
)
def test_what_microsofts_worker_refuses_stops_the_host_with_its_words(
    tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    head = "import azure.functions as func\napp = func.FunctionApp()\n"
    route = "" if source.startswith("import") else "@app.route()\n"
    (tmp_path / "function_app.py").write_text(head + route + source + "\n")
    keys = [part for name in KEYS for part in (f"--{name}-key", "k")]
    command = [sys.executable, "-m", "sandbox.host", "--app", str(tmp_path), "--port", "0", *keys]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "cannot start" in done.stderr
    assert message in done.stderr
