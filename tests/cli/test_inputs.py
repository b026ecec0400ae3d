"""Files that a command is given: whatever they are, the answer is a sentence and an exit code, and nothing is sent."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer

from certrelay_cli import exits
from certrelay_cli.code import prepare
from certrelay_cli.inputs import LARGEST, SHOWN, Malformed, read_object, read_text
from certrelay_cli.main import app as commands
from tests.cli.conftest import Run, Server

# Every command that reads a file, by the parameter that names it. FILE is the file.
BINARY = {
    "import file": ["import", "www", "FILE"],
    "merge file": ["merge", "www", "FILE"],
}
JSON = {
    "create policy": ["create", "www", "--authority", "corp", "--policy", "FILE", "--key", "EC-P256"],
    "policy set": ["policy", "www", "--set", "FILE"],
    "apply saved": ["apply", "--plan", "FILE"],
}
YAML = {
    "plan file": ["plan", "-f", "FILE"],
    "apply file": ["apply", "-f", "FILE", "--yes"],
}
SECRETS = {
    "import password_file": ["import", "www", "good.pem", "--password-file", "FILE"],
    "issuers set password_file": ["issuers", "set", "digicert", "--provider", "DigiCert", "--password-file", "FILE"],
    "function_key_file": ["--function-key-file", "FILE", "vaults"],
}
READING = {**BINARY, **JSON, **YAML, **SECRETS}
WRITTEN = ("out", "markdown")


def files_of(part: typer.Typer, prefix: str = "") -> Iterator[str]:
    """The parameters of all commands of a part that are files to read."""
    named = [(one.name or one.callback.__name__, one.callback) for one in part.registered_commands if one.callback]
    if part.registered_callback and part.registered_callback.callback:
        named.append(("", part.registered_callback.callback))
    for name, callback in named:
        for parameter, hint in get_type_hints(callback).items():
            if Path in (hint, *get_args(hint)) and parameter not in WRITTEN:
                yield f"{prefix} {name} {parameter}".strip()
    for group in part.registered_groups:
        assert group.typer_instance
        yield from files_of(group.typer_instance, f"{prefix} {group.name}".strip())


def refused(server: Server, command: Run, arguments: list[str], file: str) -> str:
    """What the command says of the file; nothing was sent."""
    server.gives(500)
    done = command(*[file if one == "FILE" else one for one in arguments])
    assert done.code == (exits.UNEXPECTED if arguments[0] == "plan" else exits.USAGE), done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert server.requests == []
    assert all(line.startswith(f"{file}: ") for line in done.err.splitlines())
    return done.err.removeprefix(f"{file}: ").rstrip("\n")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of several kinds, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    Path("good.pem").write_text("a certificate")
    Path("empty").touch()
    Path("folder").mkdir()
    Path("latin-1").write_bytes("vault: main\n# für\n".encode("latin-1"))
    Path("utf-16").write_bytes("{}".encode("utf-16"))


def test_the_commands_below_are_all_that_read_files() -> None:
    assert sorted(files_of(commands)) == sorted(READING)


@pytest.mark.parametrize("reading", READING)
@pytest.mark.usefixtures("signed_in")
def test_each_command_tells_what_is_wrong_with_its_file(server: Server, command: Run, reading: str) -> None:
    told = {"nowhere": "No such file or directory", "folder": "Is a directory"}
    told |= {} if reading in BINARY else {"latin-1": "is not UTF-8 (byte 0xfc in line 2)"}
    told |= {} if reading in SECRETS else {"empty": "is empty"}
    told |= {"good.pem": "is no JSON: Expecting value: line 1 column 1 (char 0)"} if reading in JSON else {}
    told |= {"good.pem": "the file: must be a mapping (name: value)"} if reading in YAML else {}
    for file, text in told.items():
        assert refused(server, command, READING[reading], file) == text


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("good.pem/x", "Not a directory"), ("huge", "has more than 16 MiB"), ("/dev/zero", "has more than 16 MiB"),
        ("/proc/self/mem", "Input/output error"), ("utf-16", "is UTF-16: save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_told(file: str, told: str) -> None:
    if file.startswith("/") and not Path(file).exists():
        pytest.skip("this system has no such file")
    if file == "huge":
        with Path(file).open("wb") as stream:
            stream.truncate(LARGEST + 1)
    with pytest.raises(Malformed) as caught:
        read_text(Path(file))
    assert str(caught.value) == f"{file}: {told}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON: "), ("[]", "is no JSON object"), ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' is there twice"), ("[" * 100_000, "is nested too deeply"),
        ('{"a": NaN}', "NaN is no number"), ('{"a": ' + "9" * 5000 + "}", "is no JSON: "),
        ('{"a": "\\ud800"}', "half of a surrogate pair"), ("vault: main", "is no JSON: "),
    ],
)  # fmt: skip
def test_text_that_is_no_json_is_told(text: str, told: str) -> None:
    Path("file.json").write_text(text)
    with pytest.raises(Malformed, match=told):
        read_object(Path("file.json"))


@pytest.mark.parametrize("text", ['{"key_props": []}', '{"issuer": "Self"}', '{"key_props": null}'])
@pytest.mark.usefixtures("signed_in")
def test_a_policy_that_options_cannot_add_to_is_told(server: Server, command: Run, text: str) -> None:
    Path("file.json").write_text(text)
    assert "must be an object" in refused(server, command, JSON["create policy"], "file.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "is no plan"), ('{"format": 1}', "another version"),
        ('{"format": "certrelay-plan-1", "endpoint": "e", "vault": 1, "changes": []}', "is no plan"),
        ('{"format": "certrelay-plan-1", "endpoint": "e", "vault": "v", "changes": [{}]}', "is no plan"),
        ('{"format": "certrelay-plan-1", "endpoint": "e", "vault": "v", "changes": 7}', "is no plan"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_plan_is_told(text: str, told: str) -> None:
    Path("plan.json").write_text(text)
    with pytest.raises(Malformed, match=told):
        prepare.load(Path("plan.json"))


@pytest.mark.parametrize("reading", YAML)
@pytest.mark.usefixtures("signed_in")
def test_an_entry_that_nobody_could_issue_is_a_wrong_use(server: Server, command: Run, reading: str) -> None:
    Path("estate.yaml").write_text("vault: main\ncertificates: {a: {names: [b]}}")
    assert "needs an authority" in refused(server, command, YAML[reading], "estate.yaml")


@pytest.mark.usefixtures("signed_in")
def test_a_byte_order_mark_is_no_fault_and_standard_input_is_a_file(
    server: Server, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gives(403, {"detail": "not for you", "code": "NotPermitted"})
    content = b'\xef\xbb\xbf{"key_props": {}}'
    Path("policy.json").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    for file in ("policy.json", "-"):
        assert command("policy", "www", "--set", file).code == exits.REFUSED
    assert len(server.requests) == 2


def test_a_file_with_countless_faults_is_told_of_briefly() -> None:
    assert str(Malformed("f", ["x"] * (SHOWN + 5))).splitlines()[-1] == "f: … and 5 more"
