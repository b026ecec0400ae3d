"""A Functions host's stand-in as a process of its own, with the app of the folder `app` in it."""

import base64
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient

from sandbox.azurite import Azurite
from sandbox.ports import accepts_connections, free_ports

APP = Path(__file__).parent / "app"
KEYS = {"master": "m-key", "function": "f-key", "eventgrid": "e-key"}
NEVER = "0 0 0 1 1 *"


@dataclass
class Host:
    """A running host; `diary` is what its functions were called with."""

    url: str
    http: httpx.Client
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

    def accepts(self) -> bool:
        return accepts_connections(httpx.URL(self.url).port or 0)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.request(options.pop("method", "GET"), self.url + path, **options)

    def says(self, text: str) -> bool:
        """Whether this is in the host's log."""
        return text in self.diary_file.with_name("log").read_text()

    def let_go(self) -> None:
        """The messages whose text begins with `slow` are done."""
        self.diary_file.with_suffix(".go").touch()


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


@contextmanager
def running(
    azurite: Azurite, directory: Path, schedule: str = NEVER, queue: str = "", options: tuple[str, ...] = ()
) -> Iterator[Host]:
    app = directory / "app"
    if not app.exists():
        app.mkdir()
        for path in APP.glob("*.*"):
            (app / path.name).write_bytes(path.read_bytes())
    queue = queue or "q" + uuid.uuid4().hex[:10]
    queues = QueueServiceClient.from_connection_string(azurite.connection_string)
    environment = {
        **os.environ, "AzureWebJobsStorage": azurite.connection_string, "QUEUE": queue, "SCHEDULE": schedule,
        "DIARY": str(directory / "diary"), "AzureFunctionsWebHost__hostid": f"{directory.parent.name}-{directory.name}",
    }  # fmt: skip
    (port,) = free_ports(1)
    keys = [part for name, key in KEYS.items() for part in (f"--{name}-key", key)]
    command = [sys.executable, "-m", "sandbox.host", "--app", str(app), "--port", str(port)]
    clock = ["--clock", str(directory / "clock")]
    with (directory / "log").open("ab") as log, httpx.Client(timeout=60, trust_env=False) as http:
        process = subprocess.Popen([*command, *clock, *keys, *options], env=environment, stderr=log)
        try:
            host = Host(f"http://127.0.0.1:{port}", http, process, directory / "diary", queues, queue)
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
