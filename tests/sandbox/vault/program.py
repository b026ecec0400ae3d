"""The sandbox vault in a process of its own; and in the test's, where it need not be killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from sandbox.vault import VaultServer

POLICY = {"key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a.example"}, "issuer": {"name": "Unknown"}}


class Caller:
    """Requests to a vault, with a token."""

    def __init__(self, description: dict[str, str]) -> None:
        self.description = description
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = description["ca_bundle"]
        answer = self.session.get(
            description["identity_endpoint"],
            params={"resource": "https://vault.azure.net", "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": description["identity_header"]},
            timeout=60,
        )
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = f"{self.description['vault_url']}{path}?api-version=2026-04-01"
        return self.session.request(method, url, timeout=60, **arguments)

    def create(self, name: str, tags: dict[str, str] | None = None) -> requests.Response:
        return self.send("POST", f"/certificates/{name}/create", json={"policy": POLICY, "tags": tags or {}})


class Program(Caller):
    """`python -m sandbox.vault`, and requests to it."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        description = directory / "vault.json"
        description.unlink(missing_ok=True)
        command = [sys.executable, "-W", "error", "-m", "sandbox.vault", "--directory", str(directory), *arguments]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not description.exists():
            assert self.process.poll() is None
            assert time.monotonic() - self.began < 300
            time.sleep(0.005)
        super().__init__(json.loads(description.read_text()))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.session.close()
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def program(directory: Path, *arguments: str) -> Iterator[Program]:
    running = Program(directory, *arguments)
    try:
        yield running
    finally:
        running.session.close()
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@contextmanager
def in_process(directory: Path, data: Path | None = None, port: int = 0) -> Iterator[Caller]:
    """The same server in this process; it ends with the `with` block."""
    with VaultServer(directory, data=data, ports=(port, 0)):
        caller = Caller(json.loads((directory / "vault.json").read_text()))
        with caller.session:
            yield caller
