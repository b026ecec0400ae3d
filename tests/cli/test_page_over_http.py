"""The commands of docs/cli.md, run as they stand, and in their order."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from certrelay_cli.main import app as commands
from certrelay_client import Client
from tests.app import App
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
PLAIN = re.compile(r"certrelay [^|<>$;&`]*")  # a line that needs no shell


def blocks(text: str) -> list[tuple[dict[str, str], str]]:
    """The `sh` blocks: `since` is the operation that the app must have, `exit` the codes that are right."""
    found = re.findall(r"^```sh([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(dict(word.split("=") for word in options.split()), block) for options, block in found]


def names() -> Iterator[str]:
    group = typer.main.get_command(commands)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        yield from [f"{name} {inner}" for inner in getattr(command, "commands", {})] or [name]


@pytest.fixture
def shell(app: App, certrelay: Run, scripts: Path) -> dict[str, str]:
    """The environment of a shell that has the command."""
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}


def test_every_command_of_the_page_runs(
    app: App, certrelay: Run, shell: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in (("PFX_PASSWORD", "example"), ("CERTRELAY_VAULT", "main")):
        monkeypatch.setenv(variable, value)
        shell[variable] = value
    text = PAGE.read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(vault: main\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    Path("certificates.yaml").write_text(example)
    bash = shutil.which("bash")
    assert bash
    document = app.call("GET", "/api/openapi.json").json()
    there = {one["operationId"] for methods in document["paths"].values() for one in methods.values()}
    for options, block in blocks(text):
        if options.get("since", "get_health") not in there:
            continue
        codes = {int(code) for code in options.get("exit", "0").split(",")}
        for line in block.splitlines():
            if PLAIN.fullmatch(line):
                certrelay(*shlex.split(line)[1:], codes=codes)
                continue
            script = ["-c", f"set -euo pipefail\n{line}"]
            run = subprocess.run([bash, *script], env=shell, capture_output=True, text=True, timeout=120)
            assert run.returncode in codes, f"{line}\n{run.stdout}\n{run.stderr}"
    assert app.certificate("legacy").json()["key_size"] == 3072
    assert app.certificate("paper").json()["dns_names"] == ["paper.contoso.example"]
    assert app.ended("never")["status"] == "canceled"
    assert "www.shop.contoso.example" in (tmp_path / "estate.yaml").read_text()
    assert not (tmp_path / "config" / "config.json").exists()


def test_every_command_is_on_the_page_and_its_help_has_an_example(command: Run) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in names():
        assert re.search(rf"certrelay {name}\b", page), name
        help_ = command(*name.split(), "--help")
        assert help_.code == 0
        assert f"Example: certrelay {name}" in " ".join(help_.out.split()), name


def test_every_client_method_has_a_command() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "cli" / "certrelay_cli").rglob("*.py"))
    there = {name for name in dir(Client) if not name.startswith("_")}
    unused = {name for name in there if f".{name}" not in code and f'"{name}"' not in code}
    assert unused <= {"get_health", "list_certificates"}, "`health` asks more; `list` pages through"
