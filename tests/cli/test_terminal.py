"""The command in a process of its own, on what a shell gives it: pipes, terminals, closed streams, other encodings."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, Server
from tests.cli.pages import every_command
from tests.cli.terminal import arguments, on_terminal

pytestmark = pytest.mark.slow

NAME = "a-certificate-whose-name-is-long"
LINE = {
    "enabled": True, "expires": "2027-02-27T10:00:00Z", "authority": "letsencrypt", "thumbprint": "", "tags": {},
    "renewal_due": "2027-01-27T10:00:00Z",
}  # fmt: skip
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")


@pytest.fixture
def environment(signed_in: None, server: Server) -> dict[str, str]:
    """Of a shell that is signed in to an app with many certificates."""
    lines = [{"name": f"{NAME}-{number}", **LINE} for number in range(200)]  # more than a buffer
    server.gives(200, {"value": lines, "continuation": None})
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "cli")}


def ended(*given: str, environment: Mapping[str, str], **streams: Any) -> subprocess.CompletedProcess[bytes]:
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(arguments(*given), env=environment, timeout=120, check=False, **options)


@pytest.mark.parametrize("options", [["list"], ["list", "--json"]])
def test_whoever_has_read_enough_gets_no_error(environment: dict[str, str], options: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = ended(*options, environment=environment, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full device")
@pytest.mark.parametrize("options", [["list"], ["list", "--json"]])
def test_what_cannot_be_written_is_told(environment: dict[str, str], options: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = ended(*options, environment=environment, stdout=full)
    assert (done.returncode, done.stderr) == (2, b"the output: cannot be written: No space left on device\n")


@pytest.mark.parametrize(("options", "code"), [("vaults >&-", 0), ("vaults 2>&-", 0), ("delete www <&-", 2)])
def test_a_closed_stream_is_no_fault(environment: dict[str, str], server: Server, options: str, code: int) -> None:
    server.answers = [(200, {"value": []}, {})]
    shell = ["sh", "-c", f'"$0" -m certrelay_cli {options}', sys.executable]
    done = subprocess.run(shell, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


def test_json_is_utf_8_and_a_table_is_escaped_where_the_encoding_has_not_all(
    environment: dict[str, str], server: Server
) -> None:
    value = [{"name": "bücher", "url": "u", "authorities": []}]
    server.answers = [(200, {"value": value}, {})]
    poor = environment | {"PYTHONIOENCODING": "ascii"}
    assert json.loads(ended("vaults", "--json", environment=poor).stdout.decode()) == value
    assert b"b\\xfccher" in ended("vaults", environment=poor).stdout


def test_a_narrow_terminal_leaves_names_whole(environment: dict[str, str]) -> None:
    written = on_terminal(60, environment, "list")
    assert f"{NAME}-199" in written
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in written.splitlines()) <= 60


def test_there_is_no_colour_where_none_is_wanted(environment: dict[str, str], server: Server) -> None:
    found = {"ok": True, "findings": [{"ok": False, "what": "x", "detail": "y", "mend": "z"}]}
    server.answers = [(200, found, {})]
    assert COLOUR.search(on_terminal(80, environment, "doctor"))
    assert not COLOUR.search(on_terminal(80, environment | {"NO_COLOR": "1"}, "doctor"))
    assert b"\x1b" not in ended("doctor", environment=environment).stdout


@pytest.mark.parametrize(
    ("shell", "more"),
    [
        ("bash", {"COMP_WORDS": "certrelay poison re", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "certrelay poison re"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "certrelay poison re", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_complete_commands(environment: dict[str, str], shell: str, more: dict[str, str]) -> None:
    asked = environment | {"_CERTRELAY_COMPLETE": f"complete_{shell}"} | more
    assert re.findall(rb"\w+", ended(environment=asked).stdout.replace(b"_arguments", b""))[0] == b"retry"


def test_the_list_of_commands_fits_a_terminal(command: Run) -> None:
    for group in {"", *(name.split()[0] for name in every_command() if " " in name)}:
        assert "..." not in command(*group.split(), "--help").out.partition("Commands:")[2], group
