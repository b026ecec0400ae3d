"""Ctrl-C while requests are under way, in a process of its own, against an app that answers when the test lets it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from certrelay_cli.code.threads import THREADS, each

CLI = Path(__file__).parents[2] / "cli"
# A shell's background job would ignore the signal.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from certrelay_cli.main import main
raise SystemExit(main())
"""
ORDER = {"status": "inProgress", "step": "submitted", "status_details": "waits"}
CORP = {"name": "corp", "default_validity_days": 90, "features": ["rsa", "common_name_only"]}
ANSWERS: dict[str, Any] = {
    "/api/vaults": {"value": [{"name": "main", "url": "u", "authorities": ["corp"], "endpoints": []}]},
    "/api/authorities": {"value": [CORP]},
    "/api/vaults/main/certificates": {"value": [], "continuation": None},
}


class SlowApp:
    """An app without certificates. It takes an order of `prompt` at once, and keeps all others waiting."""

    def __init__(self, prompt: tuple[str, ...] = ()) -> None:
        self.prompt, self.ordered, self.answers = prompt, threading.Semaphore(0), threading.Event()
        self.names: list[str] = []

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if method == "GET":
            found = ANSWERS.get(path)
            return (200, found) if found else (404, {"detail": "not there", "code": "CertificateNotFound"})
        name = path.split("/")[5]
        self.names.append(name)
        self.ordered.release()
        if name not in self.prompt:
            self.answers.wait()
        return 202, {"id": f"main.{name}.1", "name": name, **ORDER}


@pytest.fixture
def app() -> Iterator[tuple[str, SlowApp]]:
    state = SlowApp(prompt=("www-0", "www-1"))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = state.answer(self.command, self.path.partition("?")[0])
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # whoever asked has gone

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", state
    state.answers.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_ctrl_c_ends_an_apply_at_once_and_says_what_goes_on(app: tuple[str, SlowApp], tmp_path: Path) -> None:
    url, state = app
    lines = [f"  www-{number}: {{subject: CN=www-{number}, authority: corp}}\n" for number in range(30)]
    (tmp_path / "certificates.yaml").write_text(f"vault: main\ncertificates:\n{''.join(lines)}")
    environment = {"PYTHONPATH": str(CLI), "CERTRELAY_ENDPOINT": url, "CERTRELAY_FUNCTION_KEY": "s3cret"}
    command = [sys.executable, "-c", PROGRAM, "apply", "-f", "certificates.yaml", "--yes", "--json"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        for _ in range(2 + THREADS):
            assert state.ordered.acquire(timeout=120)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    assert running.returncode == 130
    told = "2 ordered: CertRelay goes on with them; 8 sent and not answered yet; 20 not begun"
    assert told in err
    assert "Traceback" not in err
    assert len(json.loads(out)) == 30
    assert len(state.names) == 2 + THREADS, "another one was begun"


def test_what_fails_first_is_raised_and_nothing_else_is_begun() -> None:
    begun: list[int] = []
    last = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            raise ValueError("the first one")
        last.wait()
        return number

    with pytest.raises(ValueError, match="the first one"):
        each(work, range(100))
    last.set()
    assert len(begun) <= THREADS + 1


def test_what_many_threads_find_is_in_the_order_of_what_was_given() -> None:
    turns = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        if number < 2:
            turns[number + 1].wait()
        turns[number].set()
        return number * number

    assert each(work, range(3)) == [0, 1, 4]
    assert each(work, []) == []


def test_ctrl_c_before_all_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    """A module that interrupts takes the place of one that is imported first."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    path = {"PYTHONPATH": f"{tmp_path}:{CLI}"}
    done = subprocess.run(
        [sys.executable, "-m", "certrelay_cli"], env=path, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
