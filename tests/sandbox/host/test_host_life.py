"""The Functions host's stand-in as it starts, stops, dies and is moved through time."""

import base64
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.queue import QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.clock import Clock
from tests.sandbox.host.support import running, until

pytestmark = pytest.mark.slow

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
        until(lambda: host.says("timer tick: runs next at"))
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
        until(lambda: host.says("timer tick: its schedule never comes again"))
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
        until(lambda: not host.accepts())
        host.let_go()
        host.process.wait(60)
        assert host.client().get_queue_properties().approximate_message_count == 0, "it was deleted, not abandoned"


def test_a_timer_that_was_missed_while_the_host_was_down_runs_once_past_due(azurite: Azurite, tmp_path: Path) -> None:
    clock, hourly = Clock(tmp_path / "clock"), "0 0 * * * *"
    with running(azurite, tmp_path, schedule=hourly) as host:
        until(lambda: host.says("timer tick: runs next at"))
        clock.advance(3600)
        until(lambda: bool(host.diary()))
        time.sleep(0.3)  # when it ran is written down
    (tmp_path / "diary").unlink()
    clock.advance(5 * 3600)
    with running(azurite, tmp_path, schedule=hourly) as host:
        until(lambda: bool(host.diary()))
        time.sleep(0.5)
        assert [entry["timer"] for entry in host.diary()] == [True], "five missed runs are one"


def test_a_timer_that_comes_twice_a_minute_makes_nothing_good(azurite: Azurite, tmp_path: Path) -> None:
    """The host keeps no status of such a schedule (TimerSchedule.Create turns `useMonitor` off)."""
    clock = Clock(tmp_path / "clock")
    with running(azurite, tmp_path, schedule="*/1 * * * * *") as host:
        until(lambda: len(host.diary()) >= 2)
    (tmp_path / "diary").unlink()
    (tmp_path / "log").unlink()
    clock.advance(3600)
    before = datetime.now(UTC) + timedelta(hours=1)
    with running(azurite, tmp_path, schedule="*/1 * * * * *") as host:
        until(lambda: host.says("timer tick: runs next at"))
        (line,) = [one for one in (tmp_path / "log").read_text().splitlines() if "tick: runs next at" in one]
        following = datetime.fromisoformat(line.rpartition(" at ")[2])
        assert following > before
        assert following.microsecond == 0, "it waits for its schedule, and does not run at once"


def test_a_timer_that_never_fired_is_missed_all_the_same(azurite: Azurite, tmp_path: Path) -> None:
    """The host writes down when a new or a changed schedule comes first, so that a restart before it loses nothing."""
    clock, daily, other = Clock(tmp_path / "clock"), "0 0 3 * * *", "0 0 4 * * *"
    for schedule, missed in ((daily, 0), (daily, 1), (other, 0), (other, 1)):
        (tmp_path / "log").unlink(missing_ok=True)
        (tmp_path / "diary").unlink(missing_ok=True)
        with running(azurite, tmp_path, schedule=schedule) as host:
            until(lambda: host.says("timer tick: runs next at"))
            if missed:
                until(lambda: bool(host.diary()))
            time.sleep(0.3)
            assert [entry["timer"] for entry in host.diary()] == [True] * missed
        clock.advance(3 * 86_400)


def test_of_two_hosts_only_one_fires_the_timer(azurite: Azurite, tmp_path: Path) -> None:
    with running(azurite, tmp_path, schedule="*/1 * * * * *") as first, running(azurite, tmp_path, "*/1 * * * * *"):
        before = len(first.diary())
        until(lambda: len(first.diary()) >= before + 2)
        assert len({entry["by"] for entry in first.diary()}) == 1


REFUSED = [
    ("import nonexistent_module", "nonexistent_module"),
    ("def f(req: func.HttpRequest, more: int = 1) -> func.HttpResponse: ...", "more"),
    ("def f(req: func.HttpRequest) -> func.HttpResponse | None: ...", "f"),
    (
        "@app.queue_output('out', 'q', 'AzureWebJobsStorage')\n"
        "def f(req: func.HttpRequest, out: func.Out[str]) -> str: ...",
        "f: this host has no binding of the type queue",
    ),
]
# What a host needs is imported once; each is a process of its own, which begins where its `main` does.
HOSTS = """
import os, sys
import azure.functions, azure_functions_runtime.bindings.datumdef, azure_functions_runtime.native_invocation
from sandbox.host.__main__ import main

for app in sys.argv[1:]:
    if os.fork() == 0:
        sys.argv[1:] = ["--app", app, "--port", "0", "--master-key=k", "--function-key=k", "--eventgrid-key=k"]
        sys.stderr = open(os.path.join(app, "stderr"), "w")
        code = main()
        sys.stderr.flush()
        os._exit(code)
sys.exit(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in sys.argv[1:]) != [1] * len(sys.argv[1:]))
"""


def test_what_microsofts_worker_refuses_stops_the_host_with_its_words(tmp_path: Path) -> None:
    head = "import azure.functions as func\napp = func.FunctionApp()\n"
    apps = [tmp_path / str(number) for number in range(len(REFUSED))]
    for app, (source, _) in zip(apps, REFUSED, strict=True):
        app.mkdir()
        (app / "host.json").write_text('{"version": "2.0"}')
        route = "" if source.startswith("import") else "@app.route()\n"
        (app / "function_app.py").write_text(head + route + source + "\n")
    done = subprocess.run([sys.executable, "-c", HOSTS, *apps], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for app, (_, message) in zip(apps, REFUSED, strict=True):
        said = (app / "stderr").read_text()
        assert "cannot start" in said
        assert message in said
