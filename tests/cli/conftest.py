"""The command, run in this process against the app in the sandbox."""

import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from certrelay_cli.main import main
from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT, App


def pytest_itemcollected(item: pytest.Item) -> None:
    """What needs the whole sandbox is slow."""
    if "app" in getattr(item, "fixturenames", ()):
        item.add_marker("slow")


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A sandbox of its own: an estate is deleted and purged in it."""
    directory = tmp_path_factory.mktemp("cli")
    with (
        Sandbox(directory, Progress(), app_settings=PROMPT) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        yield App(sandbox.settings, client)


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


type Run = Callable[..., Done]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own reaches the command; it stands in an empty folder."""
    for name in ("ENDPOINT", "FUNCTION_KEY", "SCOPE", "VAULT"):
        monkeypatch.delenv(f"CERTRELAY_{name}", raising=False)
    monkeypatch.setenv("CERTRELAY_CONFIG", str(tmp_path / "config" / "config.json"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(alone: None, capfd: pytest.CaptureFixture[str]) -> Run:
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
