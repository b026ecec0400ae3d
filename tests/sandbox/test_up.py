"""`dev.py up`: everything runs until it is told to end, and then nothing does."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from sandbox.app_settings import app_settings
from sandbox.environment import own_environment
from sandbox.ports import accepts_connections, free_ports
from sandbox.processes import Processes
from sandbox.progress import Progress
from sandbox.up import Sandbox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OF_THE_VAULT = {
    "VAULT_URL",
    "VAULT_ADMIN_URL",
    "CA_BUNDLE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "CLOCK_FILE",
}
OF_THE_APP = {
    "STORAGE_CONNECTION_STRING",
    "APP_URL",
    "PAGE_URL",
    "FUNCTION_KEY",
    "MASTER_KEY",
    "EVENTGRID_WEBHOOK_URL",
    "CA_ADDRESS",
    "CA_ROOT_CERTIFICATE",
}


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sandbox.up", "--directory", str(directory), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def running(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A sandbox that is up, and its settings."""
    process = start(directory, *arguments)
    try:
        deadline = time.monotonic() + 300
        while not (directory / "env").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it did not get ready"
            time.sleep(0.05)
        lines = (directory / "env").read_text().splitlines()
        yield process, dict(line.split("=", 1) for line in lines)
    finally:
        process.terminate()
        process.communicate(timeout=300)


def ports_of(settings: dict[str, str]) -> set[int]:
    return {int(port) for value in settings.values() for port in re.findall(r"://127\.0\.0\.1:(\d+)", value)}


def all_closed(ports: set[int]) -> bool:
    deadline = time.monotonic() + 300
    while any(map(accepts_connections, ports)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Running(NamedTuple):
    directory: Path
    settings: dict[str, str]


@pytest.fixture(scope="module")
def only_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox of the vault alone, for tests that change nothing about it."""
    directory = tmp_path_factory.mktemp("vault")
    with running(directory, "--only", "vault") as (_, settings):
        yield Running(directory, settings)


def test_only_the_vault_can_be_started(only_vault: Running) -> None:
    settings = only_vault.settings
    assert set(settings) == OF_THE_VAULT
    token = httpx.get(
        settings["IDENTITY_ENDPOINT"],
        params={"resource": "https://vault.azure.net", "api-version": "2019-08-01"},
        headers={"x-identity-header": settings["IDENTITY_HEADER"]},
    )
    assert token.status_code == 200
    # The challenge: nobody gets in without a token.
    trusted = ssl.create_default_context(cafile=settings["CA_BUNDLE"])
    answer = httpx.get(f"{settings['VAULT_URL']}/certificates?api-version=2025-07-01", verify=trusted)
    assert answer.status_code == 401


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_not_read_the_settings(only_vault: Running) -> None:
    assert (only_vault.directory / "env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_everything(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path, "--only", "vault") as (process, settings):
        process.send_signal(number)
        assert process.wait(timeout=300) == code
        assert all_closed(ports_of(settings))
        assert not (tmp_path / "env").exists(), "others would take it for a sandbox that runs"


def test_sigint_ends_what_a_shell_has_put_in_the_background(tmp_path: Path) -> None:
    # There SIGINT is ignored from the start.
    program = f"trap '' INT; exec {sys.executable} -m sandbox.up --only vault --directory {tmp_path}"
    with subprocess.Popen(["sh", "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("These and the keys"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 0


def test_even_sigkill_ends_everything(tmp_path: Path) -> None:
    with running(tmp_path, "--only", "vault") as (process, settings):
        process.kill()
        process.wait()
        assert all_closed(ports_of(settings))


def test_a_sandbox_that_was_killed_is_no_obstacle_to_the_next(tmp_path: Path) -> None:
    with running(tmp_path, "--only", "vault") as (process, first):
        process.kill()
        process.wait()
        (tmp_path / "clock").write_text("86400")
        second = start(tmp_path, "--only", "vault")
        try:
            assert second.stdout is not None
            for line in second.stdout:
                if line.startswith("These and the keys"):
                    break
            assert (tmp_path / "env").read_text() != "".join(f"{k}={v}\n" for k, v in first.items())
            assert not (tmp_path / "clock").exists(), "the clock of the last sandbox goes on"
        finally:
            second.terminate()
            second.communicate(timeout=300)


def test_two_run_side_by_side_on_given_ports_but_not_in_one_directory_or_on_one_port(
    only_vault: Running, tmp_path: Path
) -> None:
    vault, control = free_ports(2)
    given = ["--vault-port", str(vault), "--control-port", str(control)]
    with running(tmp_path / "two", "--only", "vault", *given) as (_, two):
        assert two["VAULT_URL"] == f"https://127.0.0.1:{vault}"
        assert ports_of(two) == {vault, control}
        assert ports_of(only_vault.settings).isdisjoint(ports_of(two))
        for directory, options, reason in (
            (only_vault.directory, [], "already; give another --directory"),
            (tmp_path / "third", given, f"in use already on 127.0.0.1: port {vault}, {control}"),
        ):
            third = start(directory, "--only", "vault", *options)
            assert reason in third.communicate(timeout=300)[1]
            assert third.returncode == 1
        assert (only_vault.directory / "env").exists()
        assert all(map(accepts_connections, ports_of(only_vault.settings) | ports_of(two)))


def test_the_end_of_a_part_ends_everything_with_its_last_words(tmp_path: Path) -> None:
    with running(tmp_path, "--only", "vault") as (process, settings):
        vault = subprocess.run(
            ["pgrep", "-P", str(process.pid), "-f", "sandbox.vault"], capture_output=True, check=True
        )
        os.kill(int(vault.stdout), signal.SIGKILL)
        assert "vault ended unexpectedly. Its log" in process.communicate(timeout=300)[1]
        assert process.returncode == 1
        assert all_closed(ports_of(settings))


def test_the_apps_host_ends_while_the_others_serve_it_and_then_they_end_side_by_side(tmp_path: Path) -> None:
    told = []

    class Part(Processes):
        def __init__(self, name: str) -> None:
            self.name = name

        def terminate(self) -> None:
            told.append(f"{self.name}, end")

        def stop(self) -> None:
            told.append(f"{self.name} ends")

    sandbox = Sandbox(tmp_path, Progress())
    sandbox._parts, sandbox._stack = [Part("vault"), Part("storage"), Part("host")], contextlib.ExitStack()
    for part in sandbox._parts:
        sandbox._stack.enter_context(part)
    sandbox.__exit__(None, None, None)
    assert told == ["host ends", "vault, end", "storage, end", "host ends", "storage ends", "vault ends"]


def test_settings_of_the_developer_do_not_reach_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ["AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT", "CERTRELAY_VAULTS", "https_proxy", "HTTP_PROXY", "BAO_TOKEN"]
    for name in foreign:
        monkeypatch.setenv(name, "of the developer")
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert set(foreign).isdisjoint(own_environment())
    assert own_environment()["LANG"] == "C.UTF-8"


def test_the_app_settings_hold_the_secret_of_the_authority_only_by_reference() -> None:
    from sandbox.openbao import OpenBao

    authority = OpenBao(ROOT, 1)
    authority.secret_id = "the-secret"
    settings = app_settings(dict.fromkeys(OF_THE_VAULT | OF_THE_APP, "x"), authority)
    assert [name for name, value in settings.items() if "the-secret" in value] == ["OPENBAO_SECRET_ID"]
    assert '"@OPENBAO_SECRET_ID"' in settings["CERTRELAY_AUTHORITIES"]


def test_the_whole_sandbox_runs_and_is_gone_even_after_sigkill(tmp_path: Path) -> None:
    with running(tmp_path) as (process, settings):
        assert set(settings) == OF_THE_VAULT | OF_THE_APP
        ports = ports_of(settings)
        assert len(ports) == 7
        status = f"{settings['APP_URL']}/admin/host/status"
        assert httpx.get(status).status_code == 401
        assert httpx.get(status, headers={"x-functions-key": settings["MASTER_KEY"]}).json()["state"] == "Running"
        unknown = httpx.get(
            f"{settings['APP_URL']}/api/vaults/main/certificates/unknown/pending",
            headers={"x-functions-key": settings["FUNCTION_KEY"]},
        )
        assert unknown.status_code == 404
        events = httpx.get(f"{settings['VAULT_ADMIN_URL']}/events").json()
        assert events["validated"]
        assert events["subscription"]["webhook"] == settings["EVENTGRID_WEBHOOK_URL"]
        logs = "".join(log.read_text() for log in (tmp_path / "logs").iterdir())
        process.kill()
        output = process.communicate()[0]
        assert settings["APP_URL"] in output
        account_key = settings["STORAGE_CONNECTION_STRING"].split("AccountKey=")[1].split(";")[0]
        for secret in (*(settings[name] for name in ("FUNCTION_KEY", "MASTER_KEY", "IDENTITY_HEADER")), account_key):
            assert secret not in output + logs
        assert "code=" not in output + logs
        assert all_closed(ports)
