"""The commands of docs/cli.md and cli/README.md, run as they stand, and in their order."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from certrelay_client import Client
from tests.app import App, until
from tests.cli.conftest import Entra, Run, bash
from tests.cli.pages import PAGE, README, ROOT, Block, blocks, every_command, faults

PLAIN = re.compile(r"certrelay [a-z][^|<>$;&`]*")  # a line that needs no shell
ENDPOINT, SCOPE = "https://certrelay.contoso.example", "api://certrelay/.default"


def replaced(block: Block, values: Mapping[str, str]) -> list[str]:
    """The lines of a block, with what this machine has in the place of what they name."""
    lines = block.text
    for before, after in values.items():
        lines = lines.replace(before, after)
    return lines.splitlines()


def run(block: Block, values: Mapping[str, str], environment: Mapping[str, str]) -> None:
    for line in replaced(block, values):
        done = bash(f"{line}\n:", environment)  # the shell stays until the command has ended, which may look for it
        assert done.returncode in block.codes, f"{line}\n{done.stdout}\n{done.stderr}"


def poison(app: App, certrelay: Run) -> list[str]:
    """Two messages that nobody could process: one whose operation is open, and one that is no wake-up."""
    name = app.name().replace("accepted", "stays")
    started = app.create(name, authority="by-hand", dns_names=[f"{name}.contoso.example"]).json()
    texts = [json.dumps({"v": 1, "vault": "main", "name": name, "operation": started["id"]}), '{"v": 2}']
    for text in texts:
        app.queue(text, "signing-poison")
    until(lambda: len(json.loads(certrelay("poison", "list", "--json").out)) == len(texts))
    found = json.loads(certrelay("poison", "list", "--json").out)
    return [one["id"] for one in sorted(found, key=lambda one: one["subject"], reverse=True)]


@pytest.fixture
def key_environment(
    app: App, certrelay: Run, scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of a shell that has the command, and a function key."""
    for variable, value in (("PFX_PASSWORD", "example"), ("CERTRELAY_VAULT", "main"), ("HOME", str(tmp_path))):
        monkeypatch.setenv(variable, value)
    Path("key.txt").write_text(app.settings["FUNCTION_KEY"])
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}


def test_every_command_of_the_page_runs(
    app: App, certrelay: Run, key_environment: dict[str, str], tmp_path: Path
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(vault: main\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    Path("certificates.yaml").write_text(example)
    first, second = poison(app, certrelay)
    values = {ENDPOINT: app.settings["APP_URL"], "4711": first, "4712": second}
    for block in [block for block in blocks(page) if block.sign_in == "key"]:
        for line in replaced(block, values):
            if PLAIN.fullmatch(line):
                certrelay(*shlex.split(line)[1:], codes=block.codes)
            else:
                run(Block(line, "key", block.codes), {}, key_environment)
    assert app.certificate("legacy").json()["key_size"] == 3072
    assert app.certificate("paper").json()["dns_names"] == ["paper.contoso.example"]
    assert app.ended("never")["status"] == "canceled"
    assert "www.shop.contoso.example" in (tmp_path / "estate.yaml").read_text()
    assert not (tmp_path / "config" / "config.json").exists()
    script = "COMP_WORDS=(certrelay poison re) COMP_CWORD=2; . ~/.bashrc; _certrelay_completion certrelay"
    assert bash(f'{script}; echo "$COMPREPLY"', key_environment).stdout == "retry\n"


@pytest.fixture
def entra_environment(alone: None, entra: Entra, installed: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that can install the command, and has a managed identity that may read."""
    (tmp_path / "cli").symlink_to(ROOT / "cli")
    Path("certificates.yaml").write_text("vault: main\n")
    path = f"{installed}:{os.environ['PATH']}"
    return {**os.environ, **entra.identity("Reader"), "PATH": path, "HOME": str(tmp_path)}


def test_every_command_that_signs_in_with_entra_id_runs(entra: Entra, entra_environment: dict[str, str]) -> None:
    known = entra.app.settings
    values = {ENDPOINT: known["APP_URL"], SCOPE: f"{known['APP_AUDIENCE']}/.default"}
    readme, page = (blocks(file.read_text(encoding="utf-8")) for file in (README, PAGE))
    assert {block.sign_in for block in readme} == {"entra"}
    for block in [*readme, *page]:
        if block.sign_in == "entra":
            run(block, values, entra_environment)


def test_every_command_has_help_with_an_example_that_it_understands(command: Run) -> None:
    for name, one in every_command().items():
        help_ = command(*name.split(), "--help")
        assert help_.code == 0
        text = re.split(r"\n\n(?:Arguments|Options):", help_.out)[0]
        _, example = " ".join(text.split()).split("Example: ")
        assert example.startswith(f"certrelay {name}"), name
        one.make_context(name, shlex.split(example.removeprefix(f"certrelay {name}")))


def test_every_command_is_on_a_page_and_every_command_of_a_page_is_run() -> None:
    pages = [file.read_text(encoding="utf-8") for file in (PAGE, README)]
    assert {block.sign_in for page in pages for block in blocks(page)} == {"key", "entra"}
    assert faults(pages, every_command()) == []


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("```sh\ncertrelay show www\ncertrelay poison drop 1\n```\n", []),
        ("```sh\ncertrelay --scope x show www; until certrelay poison drop 1; do :; done\n```\n", []),
        ("```sh\ncertrelay show www\n```\n", ["no page runs poison drop"]),
        (
            "```sh\ncertrelay show www\n```\n```\ncertrelay poison drop 1\n```\n",
            ["no page runs poison drop", "poison drop is named and not run"],
        ),
        (
            "```sh\ncertrelay show www\ncertrelay poison drop 1\n```\n`certrelay nonsense`, `--json`",
            ["--json is named and not run", "nonsense is named and not run"],
        ),
    ],
)
def test_what_a_page_names_and_does_not_run_is_found(page: str, found: list[str]) -> None:
    assert faults([page], ["show", "poison drop"]) == found


def test_every_client_method_has_a_command() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "cli" / "certrelay_cli").rglob("*.py"))
    there = {name for name in dir(Client) if not name.startswith("_")}
    unused = {name for name in there if f".{name}" not in code and f'"{name}"' not in code}
    assert unused <= {"get_health", "list_certificates"}, "`health` asks more; `list` pages through"
