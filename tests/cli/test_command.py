"""The command without an app: sign-in, configuration, exit codes, retries, and what it prints."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from certrelay.keyvault import tags
from certrelay_cli import exits
from certrelay_cli.code import actual
from certrelay_cli.config import Config
from certrelay_cli.session import printable
from certrelay_client import Client, EntraId, FunctionKey, NoSuchRoute, NotSignedIn, Refused, TimedOut, Unreachable
from certrelay_client.transport import TRIES
from sandbox.vault import VaultServer
from tests.cli.conftest import Run, Server
from tests.cli.pages import PAGE

PROBLEM = "application/problem+json"


def test_login_saves_what_was_tried_for_its_owner_alone(
    server: Server, command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gives(401)
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    file = tmp_path / "config" / "config.json"
    assert command("--function-key-file", str(key), "login", server.url).code == 4
    assert not file.exists()
    server.answers = [(200, {"value": [{"name": "main", "url": "u", "authorities": []}]}, {})]
    done = command("--function-key-file", str(key), "login", server.url)
    assert done.code == 0
    assert "s3cret" not in done.out + done.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert command("vaults").code == 0
    assert server.requests[-1][2]["x-functions-key"] == "s3cret"
    assert command("logout").code == 0
    assert command("whoami").code == 4


def test_a_saved_key_goes_to_no_other_endpoint(server: Server, command: Run, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    saved = {"endpoint": "https://elsewhere.example", "function_key": "s3cret", "vault": "main"}
    (tmp_path / "config" / "config.json").write_text(json.dumps(saved))
    done = command("--endpoint", server.url, "vaults")
    assert done.code == 4
    assert server.requests == []


@pytest.mark.parametrize("content", [b"[]", b"not JSON", b'"text"', b"\xff", b""])
def test_a_broken_configuration_says_what_to_do(command: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_bytes(content)
    done = command("vaults")
    assert done.code == 2
    assert "certrelay login" in " ".join(done.err.split())


def test_a_broken_configuration_holds_up_no_help(command: Run, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text("{")
    assert command("list", "--help").code == 0


@pytest.mark.parametrize("key", ["s3cret\nsecond line", "s3crét", "s3cret\t"])
def test_what_is_no_function_key_is_told_without_it(
    server: Server, command: Run, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CERTRELAY_FUNCTION_KEY", key + "x")
    done = command("--endpoint", server.url, "vaults")
    assert done.code == 2
    assert "s3cr" not in done.out + done.err
    assert server.requests == []


def test_an_option_wins_over_the_environment_over_what_is_saved() -> None:
    flag, environment, saved = Config("a"), Config("a", "scope", "", "v"), Config("a", "", "key", "w")
    assert flag.over(environment).over(saved) == Config("a", "scope", "", "v")
    assert Config().over(Config()).over(saved) == saved
    assert "key" not in repr(saved)


@pytest.mark.parametrize(
    "endpoint", ["http://app.example", "https://app.example/x", "https://a:b@app.example", "https://"]
)
def test_a_credential_goes_only_over_tls_to_an_app(
    command: Run, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("CERTRELAY_FUNCTION_KEY", "s3cret")
    assert command("--endpoint", endpoint, "vaults").code == 2


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (
            400,
            {"detail": "not valid", "errors": [{"pointer": "/tags/a", "detail": "is too long"}]},
            3,
            "/tags/a: is too",
        ),
        (403, {"detail": "vault main does not allow RSA keys", "code": "NotAllowedByRules"}, 3, "NotAllowedByRules"),
        (404, {"detail": "there is no certificate", "code": "CertificateNotFound"}, 3, "there is no certificate"),
        (409, {"detail": "busy", "code": "NameBusy"}, 3, "busy"),
        (404, None, 3, "this deployment of CertRelay does not have"),
        (401, None, 4, "certrelay login"),
        (500, {"title": "Internal error"}, 5, "Internal error"),
        (302, None, 5, "redirects"),
    ],
)
@pytest.mark.usefixtures("signed_in")
def test_each_answer_has_its_exit_code(
    server: Server, command: Run, status: int, body: Any, code: int, text: str
) -> None:
    server.gives(status, body)
    done = command("show", "www")
    assert done.code == code
    assert text in done.err
    assert "s3cret" not in done.out + done.err


def test_an_app_that_is_not_there_is_unreachable(server: Server) -> None:
    waits: list[float] = []
    with Client("http://127.0.0.1:9", FunctionKey("k"), sleep=waits.append) as client, pytest.raises(Unreachable):
        client.list_vaults()
    assert waits == [1, 2, 4]


@pytest.mark.parametrize(("text", "told"), [("", "ReadTimeout"), ("timed out", "timed out")])
def test_a_failure_without_a_text_is_told_by_its_kind(text: str, told: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout(text)

    client = Client("https://app.example", sleep=lambda _: None, transport=httpx.MockTransport(fail))
    with client, pytest.raises(Unreachable, match=f"does not answer: {told}$"):
        client.list_vaults()


def test_what_is_safe_to_repeat_is_repeated_and_nothing_else(server: Server) -> None:
    waits: list[float] = []
    with Client(server.url, FunctionKey("k"), sleep=waits.append) as client:
        server.gives(503, {"detail": "not now"}, Retry_After="7")
        with pytest.raises(Unreachable, match="not now"):
            client.list_vaults()
        assert len(server.requests) == TRIES
        assert waits == [7, 7, 7]
        server.requests.clear()
        with pytest.raises(Unreachable):
            client.adopt_certificate("main", "www", {"authority": "corp"})
        assert len(server.requests) == 1
        server.requests.clear()
        with pytest.raises(Unreachable):
            client.create_certificate("main", "www", {"authority": "corp"}, idempotency_key="k1")
        assert [headers["idempotency-key"] for _, _, headers in server.requests] == ["k1"] * TRIES


def test_an_operation_that_does_not_end_times_out_and_one_that_fails_is_told() -> None:
    with Client("http://127.0.0.1:9", sleep=lambda _: None) as client:
        operation: Any = {
            "id": "1",
            "name": "www",
            "status": "inProgress",
            "step": "submitted",
            "status_details": "waits",
        }
        with pytest.raises(TimedOut, match="submitted"):
            client.follow(operation, timeout=0)


@pytest.mark.usefixtures("signed_in")
def test_who_stops_waiting_is_told_that_the_operation_goes_on(
    server: Server, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "follow", stopped)
    server.gives(202, {"id": "1", "name": "www", "vault": "main", "status": "inProgress", "step": "requested"})
    done = command("renew", "www")
    assert done.code == 130
    assert "www: the operation goes on; `certrelay operation www` follows it" in done.err


@pytest.mark.usefixtures("signed_in")
def test_a_list_is_read_page_by_page(server: Server, command: Run) -> None:
    line: dict[str, Any] = {
        "enabled": True,
        "expires": None,
        "authority": None,
        "renewal_due": None,
        "thumbprint": "",
        "tags": {},
    }
    server.gives(200, {"value": [{"name": "a", **line}], "continuation": "next"})
    server.gives(200, {"value": [], "continuation": "last"})
    server.gives(200, {"value": [{"name": "b", **line}], "continuation": None})
    assert [one["name"] for one in json.loads(command("list", "--json").out)] == ["a", "b"]
    assert [re.search("continuation=(\\w+)", path) is not None for _, path, _ in server.requests] == [False, True, True]


@pytest.mark.usefixtures("signed_in")
def test_text_from_elsewhere_is_neither_markup_nor_control(server: Server, command: Run) -> None:
    server.gives(200, {"value": [{"name": "[red]a\x1b[31m", "url": "u", "authorities": []}]})
    done = command("vaults")
    assert "[red]a" in done.out
    assert "\x1b" not in done.out
    assert printable("a\x1b[31m\x07") == "a\ufffd[31m\ufffd"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "--nonsense"], 1), (["apply"], 2), (["create", "www", "--nonsense"], 2), (["update", "www"], 2),
        (["create", "www", "--key", "RSA-1024"], 2), (["create", "www", "--tag", "x"], 2), (["replace", "--yes"], 2),
        (["create", "www", "--renew", "soon"], 2), (["delete", "www"], 2), (["import", "www", "nowhere.pfx"], 2),
        (["plan", "-f", "nowhere.yaml"], 1), (["apply", "-f", "nowhere.yaml"], 2), (["nonsense"], 2),
        (["show", "plan", "--nonsense"], 2), (["--nonsense", "plan"], 1), (["show", ""], 2), (["show", "\udcff"], 2),
        (["--request-timeout", "0", "vaults"], 2),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("signed_in")
def test_a_wrong_use_has_its_code_and_sends_nothing(
    server: Server, command: Run, arguments: list[str], code: int
) -> None:
    server.gives(500)
    assert command(*arguments).code == code
    assert server.requests == []


@pytest.mark.parametrize("option", ["--out", "--markdown"])
@pytest.mark.usefixtures("signed_in")
def test_a_plan_that_cannot_be_written_says_where(server: Server, command: Run, tmp_path: Path, option: str) -> None:
    (tmp_path / "certificates.yaml").write_text("vault: main\n")
    server.gives(200, {"value": [{"name": "main", "url": "u", "authorities": [], "endpoints": []}]})
    server.gives(200, {"value": []})
    server.gives(200, {"value": [], "continuation": None})
    done = command("plan", option, "nowhere/plan")
    assert done.code == 1
    assert "nowhere/plan: No such file" in done.err


def test_a_token_of_entra_id_is_sent(
    server: Server, command: Run, vault_server: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the identity endpoint of the sandbox, as a managed identity gets it."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", vault_server.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", vault_server.identity_header)
    server.gives(200, {"value": []})
    done = command("--endpoint", server.url, "--scope", "https://vault.azure.net/.default", "vaults")
    assert done.code == 0, done.err
    assert server.requests[0][2]["authorization"].startswith("Bearer ey")


def test_without_an_identity_it_says_how_to_sign_in() -> None:
    class Nobody:
        def get_token(self, *_: str) -> Any:
            raise RuntimeError("no identity here\nlong list")

    told = pytest.raises(NotSignedIn, match="no identity here; sign in with `az login`")
    with Client("https://app.example", EntraId("api://x/.default", Nobody())) as client, told as caught:
        client.list_vaults()
    assert "long list" not in str(caught.value)


def test_the_client_knows_the_tags_of_the_app() -> None:
    managed = tags.managed_tags("corp", 90, {"days_before_expiry": 3})
    assert managed.keys() == set(actual.OWN_TAGS)
    found = actual.from_detail({"name": "a", "version": "1", "tags": {**managed, "team": "x"}})
    assert (found.authority, found.days, found.trigger, found.tags) == (
        "corp",
        90,
        ("days_before_expiry", 3),
        {"team": "x"},
    )


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_an_answer_of_something_else_is_told_in_a_sentence(server: Server, command: Run, body: Any) -> None:
    server.gives(200, body)
    done = command("vaults")
    assert done.code == 5
    assert done.err == f"certrelay: {server.url} answers without JSON of CertRelay: is it its address?\n"


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": [{"x": 1}]}, {"value": 5}])
def test_an_answer_of_another_shape_is_no_traceback(
    server: Server, command: Run, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gives(200, body)
    done = command("vaults")
    assert done.code == 1
    assert re.fullmatch(r"certrelay: an answer that this version .*Error\); CERTRELAY_DEBUG=1 shows where\n", done.err)
    monkeypatch.setenv("CERTRELAY_DEBUG", "1")
    with pytest.raises((LookupError, TypeError)):
        command("vaults")


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("errors", [{"name": ["is wrong"]}, ["text"], 5, None])
def test_a_refusal_by_something_else_is_told(server: Server, command: Run, errors: Any) -> None:
    server.gives(403, {"errors": errors})
    done = command("vaults")
    assert done.code == 3
    assert "HTTP 403 without CertRelay's reason: does something in front of it answer" in done.err


def test_the_version_is_told(command: Run) -> None:
    assert re.fullmatch(r"certrelay (\d+\.\d+\.\d+|of a checkout, which is not installed)\n", command("--version").out)


def test_every_exit_code_is_on_the_page() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    known = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)}
    assert known == codes - {exits.UNEXPECTED, exits.RAISED_FOR_CHANGES}


def test_what_a_command_needs_not_is_not_imported() -> None:
    code = (
        "import sys, certrelay_cli.main; print([n for n in ('azure.identity', 'pydantic', 'yaml') if n in sys.modules])"
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[2] / "cli")}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_names_the_route_that_is_missing() -> None:
    assert isinstance(NoSuchRoute("GET", "/api/me"), Refused)
    assert "GET /api/me" in str(NoSuchRoute("GET", "/api/me"))
