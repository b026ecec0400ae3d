"""The command, run in this process against the app in the sandbox."""

import functools
import json
import shutil
import subprocess
import sys
import sysconfig
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from certrelay_cli.main import main
from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT, App
from tests.connectors.acme.name_server import NameServer
from tests.connectors.acme.persist_server import ISSUER, PersistServer
from tests.fixtures import webhook


def pytest_itemcollected(item: pytest.Item) -> None:
    """What needs the whole sandbox is slow."""
    if {"app", "entra"} & set(getattr(item, "fixturenames", ())):
        item.add_marker("slow")


def settings(given: Mapping[str, str], *, prompt: bool = True) -> dict[str, str]:
    """The app's settings: an authority with a fall-back, and endpoints.

    `prompt`: no test waits for the queue and the rate of Key Vault."""
    known = json.loads(given["CERTRELAY_AUTHORITIES"])
    [(alias, vault)] = json.loads(given["CERTRELAY_VAULTS"]).items()
    more = {"second": {**known["openbao"], "fallback": ["openbao"]}}
    found = {
        "CERTRELAY_AUTHORITIES": json.dumps(known | more),
        "CERTRELAY_ENDPOINTS": json.dumps([{"pattern": "*.contoso.example:443"}]),
    }
    rate = {alias: {**vault, "rate": {"requests": 1000, "seconds": 10}}}
    return {**found, **PROMPT, "CERTRELAY_VAULTS": json.dumps(rate)} if prompt else found


def with_others(given: Mapping[str, str], acme: str, name_server: str, webhook: str) -> dict[str, str]:
    """The settings, with an ACME authority at this directory, and a target of notifications at this webhook."""
    found = settings(given)
    [vault] = json.loads(given["CERTRELAY_VAULTS"]).values()
    letsencrypt = {
        "connector": "acme", "url": acme, "account_key_vault_url": vault["url"], "account_key_name": "acme-account",
        "dns_persist": {"issuer": ISSUER, "resolvers": [name_server], "name_servers": [name_server]},
    }  # fmt: skip
    authorities = json.loads(found["CERTRELAY_AUTHORITIES"]) | {"letsencrypt": letsencrypt}
    targets = {"ops": {"kind": "slack", "url": "@OPS_URL", "events": ["failed"]}}
    more = {"CERTRELAY_NOTIFICATIONS": json.dumps(targets), "OPS_URL": webhook}
    return {**found, **more, "CERTRELAY_AUTHORITIES": json.dumps(authorities)}


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A sandbox of its own: an estate is deleted and purged in it."""
    with (
        PersistServer(dns_port=0) as acme,
        NameServer() as names,
        webhook() as (url, *_),
        Sandbox(
            tmp_path_factory.mktemp("cli"),
            Progress(),
            app_settings=lambda given: with_others(given, acme.directory, names.address, url),
        ) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        yield App(sandbox.settings, client)


@dataclass
class Entra:
    """The app behind App Service authentication; `app` calls it as an administrator."""

    app: App

    def identity(self, role: str) -> dict[str, str]:
        """The environment in which a managed identity signs in that has this role."""
        known, client_id = self.app.settings, str(uuid.uuid4())
        given: dict[str, Any] = {"permissions": {}, "roles": [f"CertRelay.{role}"]}
        url = f"{known['VAULT_ADMIN_URL']}/identities/{client_id}"
        httpx.put(url, json=given, trust_env=False).raise_for_status()
        names = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")
        return {"AZURE_CLIENT_ID": client_id, **{name: known[name] for name in names}}

    def token(self, role: str) -> str:
        identity = self.identity(role)
        asked = {
            "resource": self.app.settings["APP_AUDIENCE"], "api-version": "2019-08-01",
            "client_id": identity["AZURE_CLIENT_ID"],
        }  # fmt: skip
        header = {"x-identity-header": identity["IDENTITY_HEADER"]}
        answer = httpx.get(identity["IDENTITY_ENDPOINT"], params=asked, headers=header, trust_env=False)
        return str(answer.raise_for_status().json()["access_token"])


@pytest.fixture(scope="package")
def entra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entra]:
    directory = tmp_path_factory.mktemp("entra")
    with (
        Sandbox(directory, Progress(), app_settings=settings, sign_in="Return401") as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        found = Entra(App(sandbox.settings, client))
        client.headers["authorization"] = f"Bearer {found.token('Administrator')}"
        yield found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for PATH whose `pipx install` installs the command there, without an index: its dependencies are those
    of the tests."""
    folder = tmp_path / "installed"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--offline", "--python", sys.executable, folder], check=True, timeout=60)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pipx = folder / "bin" / "pipx"
    install = f"{' '.join(uv)} pip install --quiet --offline --no-deps --python {folder}"
    pipx.write_text(f'#!/bin/sh\n[ "$1" = install ] && exec {install} "$2"\n')
    pipx.chmod(0o700)
    return folder / "bin"


def bash(
    script: str, environment: Mapping[str, str], options: Sequence[str] = ("-e", "-o", "pipefail")
) -> subprocess.CompletedProcess[str]:
    """Run a script; by default with the options with which GitHub runs the steps of a workflow."""
    shell = [shutil.which("bash") or "", "--noprofile", "--norc", *options, "-c", script]
    return subprocess.run(shell, env=dict(environment), capture_output=True, text=True, timeout=300, check=False)


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


type Run = Callable[..., Done]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_root: Path) -> None:
    """Nothing of this machine's own reaches the command; it stands in an empty folder. It never speaks TLS."""
    for name in ("ENDPOINT", "FUNCTION_KEY", "SCOPE", "VAULT"):
        monkeypatch.delenv(f"CERTRELAY_{name}", raising=False)
    monkeypatch.setenv("CERTRELAY_CONFIG", str(tmp_path / "config" / "config.json"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("SSL_CERT_FILE", str(one_root))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def made_once() -> Iterator[None]:
    """Typer makes all commands anew each time when it is called: that takes longer than to run one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def command(alone: None, capfd: pytest.CaptureFixture[str], made_once: None) -> Run:
    """The command in this process, without endpoint and sign-in."""

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        code = main(list(arguments))
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder for PATH that has the command, from this checkout."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "certrelay"
    package = Path(__file__).parents[2] / "cli"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{package}" exec "{sys.executable}" -m certrelay_cli "$@"\n')
    script.chmod(0o700)
    return folder


@pytest.fixture
def certrelay(app: App, command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, signed in to the app in the sandbox. What ends otherwise than with `code` is an error, as is a key
    in its output."""
    monkeypatch.setenv("CERTRELAY_ENDPOINT", app.settings["APP_URL"])
    monkeypatch.setenv("CERTRELAY_FUNCTION_KEY", app.settings["FUNCTION_KEY"])

    def run(*arguments: str, code: int = 0, codes: Collection[int] = ()) -> Done:
        done = command(*arguments)
        assert done.code in (codes or (code,)), f"{arguments}: {done.code}\n{done.out}\n{done.err}"
        assert app.settings["FUNCTION_KEY"] not in done.out + done.err
        return done

    return run


@dataclass
class Server:
    """An app on loopback that answers with what the test gives, one after the other; the last one again and again."""

    url: str = ""
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def gives(self, status: int, body: Any = None, **headers: str) -> None:
        self.answers.append((status, body, {key.replace("_", "-"): value for key, value in headers.items()}))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append(
                (self.command, self.path, {key.lower(): value for key, value in self.headers.items()})
            )
            status, body, headers = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            return

    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def signed_in(server: Server, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTRELAY_ENDPOINT", server.url)
    monkeypatch.setenv("CERTRELAY_FUNCTION_KEY", "s3cret")
    monkeypatch.setenv("CERTRELAY_VAULT", "main")
