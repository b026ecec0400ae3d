"""The whole sandbox and the app in it: `python3 dev.py up`."""

import argparse
import contextlib
import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Never, Self

import httpx

from sandbox import registration
from sandbox.app_settings import app_settings
from sandbox.azurite import Azurite, is_installed
from sandbox.clock import Clock
from sandbox.directory import clear, only_one_in, write_whole
from sandbox.environment import own_environment
from sandbox.openbao import OpenBao
from sandbox.ports import free_ports, require_free
from sandbox.processes import KILLED_GRACE, Child, ProcessError, Processes, end_process, exit_on_signals
from sandbox.progress import Progress

ROOT = Path(__file__).absolute().parent.parent
DEFAULT_DIRECTORY = ROOT / ".sandbox"
PORTS = ("vault", "control", "app", "ca", "blob", "queue", "table")
# Output may end up in a log: no keys.
SHOWN = ("PAGE_URL", "APP_URL", "SIGN_IN_URL", "VAULT_URL", "VAULT_ADMIN_URL", "CA_ADDRESS")

type MoreSettings = Mapping[str, str] | Callable[[Mapping[str, str]], Mapping[str, str]]


class Sandbox:
    """Context manager: everything runs, and `settings` (the content of `directory/env`) says where.

    `ports` are those of PORTS that must not be just any free one; `app_settings` are added to the app's own, or
    replace them; a function gets the app's own. `sign_in` turns App Service authentication on: it is the action for
    callers who have not signed in (auth_settings.ACTIONS). Raises ProcessError when a part does not start.
    """

    _host: Child  # the first one

    def __init__(
        self,
        directory: Path,
        progress: Progress,
        ports: Mapping[str, int] | None = None,
        only_vault: bool = False,
        app_settings: MoreSettings | None = None,
        sign_in: str | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.settings: dict[str, str] = {}
        self._progress, self._only_vault, self._more = progress, only_vault, app_settings or {}
        self._sign_in, self._sign_in_file = sign_in, self.directory / "sign-in.json"
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True)) | dict(ports or {})
        self._clock = self.directory / "clock"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(only_one_in(self.directory))
            require_free(self._ports.values())
            clear(self.directory)
            processes = stack.enter_context(Processes(self.directory / "logs"))
            self._parts: list[Processes | Azurite | OpenBao] = [processes]
            vault = self._start_vault(processes)
            if not self._only_vault:
                self._start_app(stack, vault)
            stack.callback((self.directory / "env").unlink, missing_ok=True)
            self._write_settings()
            self._stack = stack.pop_all()
        return self

    def check(self) -> None:
        """Raises ProcessError when a part has ended."""
        for part in self._parts:
            part.check()

    def watch(self) -> Never:
        """Until Ctrl-C. Raises ProcessError when a part has ended."""
        while True:
            self.check()
            time.sleep(0.5)

    def add_host(self) -> str:
        """Start one more host of the app on the same storage account. Returns its URL."""
        (port,) = free_ports(1)
        self._start_host(*self._host_arguments, port)
        return f"http://127.0.0.1:{port}"

    def replace_host(self, later: float) -> None:
        """Kill the app's host wherever it is, as a machine that fails would, and start another one `later` seconds
        later, by the sandbox's clock."""
        self._host.signal_group(signal.SIGKILL)
        self._host.wait(KILLED_GRACE)
        Clock(self._clock).advance(later)
        self._host = self._start_host(*self._host_arguments, self._ports["app"])

    def _start_vault(self, processes: Processes) -> dict[str, str]:
        directory = self.directory / "vault"
        ports = ["--port", str(self._ports["vault"]), "--control-port", str(self._ports["control"])]
        with self._progress.step("Start the vault and the identity endpoint"):
            child = _start(processes, "vault", ["--directory", str(directory), *ports, "--clock", str(self._clock)])
            answer = directory / "vault.json"
            health = f"http://127.0.0.1:{self._ports['control']}/health"
            with _client() as client:
                child.wait_until(lambda: answer.exists() and _answers(client, health))
        vault: dict[str, str] = json.loads(answer.read_text())
        self.settings |= {
            "VAULT_URL": vault["vault_url"],
            "VAULT_ADMIN_URL": vault["admin_url"],
            "CA_BUNDLE": vault["ca_bundle"],
            "IDENTITY_ENDPOINT": vault["identity_endpoint"],
            "IDENTITY_HEADER": vault["identity_header"],
            "CLOCK_FILE": str(self._clock),
        }
        return vault

    def _start_app(self, stack: contextlib.ExitStack, vault: Mapping[str, str]) -> None:
        ports = self._ports
        first = "" if is_installed() else "; npm installs it first"
        with self._progress.step(f"Start Azurite{first}"):
            storage = Azurite(self.directory / "logs", (ports["blob"], ports["queue"], ports["table"]))
            stack.enter_context(storage)
        with self._progress.step("Start OpenBao, with a root, an intermediate and a role"):
            authority = stack.enter_context(OpenBao(self.directory / "logs", ports["ca"]))
        self._parts += [storage, authority]
        (self.directory / "ca.pem").write_text(authority.root_certificate_pem)
        keys = {name: secrets.token_hex(24) for name in ("master", "function", "eventgrid")}
        app_url = f"http://127.0.0.1:{ports['app']}"
        self.settings |= {
            "STORAGE_CONNECTION_STRING": storage.connection_string,
            "PAGE_URL": f"{app_url}/",
            "APP_URL": app_url,
            "FUNCTION_KEY": keys["function"],
            "MASTER_KEY": keys["master"],
            "EVENTGRID_WEBHOOK_URL": f"{app_url}/runtime/webhooks/EventGrid"
            f"?functionName=certificate_events&code={keys['eventgrid']}",
            "CA_ADDRESS": authority.address,
            "CA_ROOT_CERTIFICATE": str(self.directory / "ca.pem"),
        }
        with self._progress.step("Start the Functions host and the app in it"):
            processes = stack.enter_context(Processes(self.directory / "logs"))
            self._parts.append(processes)
            own = app_settings(self.settings, authority)
            if self._sign_in:
                registration.write(self._sign_in_file, self._sign_in, self.directory / "vault" / "identity.json")
                self.settings |= {
                    "APP_AUDIENCE": registration.APP_AUDIENCE,
                    "SIGN_IN_URL": f"{app_url}/.auth/login/aad",
                }
                own["CERTRELAY_APP_SERVICE_AUTHENTICATION"] = "true"
            more = self._more(own) if callable(self._more) else self._more
            self._host_arguments = processes, keys, {**own, **more}
            self._host = self._start_host(*self._host_arguments, ports["app"])
        with self._progress.step("Subscribe the app to the vault's events"):
            self._subscribe(f"{vault['admin_url']}/events")

    def _start_host(
        self, processes: Processes, keys: Mapping[str, str], settings: Mapping[str, str], port: int
    ) -> Child:
        options = ["--app", str(ROOT), "--port", str(port), "--clock", str(self._clock)]
        options += [f"--{name}-key={key}" for name, key in keys.items()]
        if self._sign_in:
            options += ["--sign-in", str(self._sign_in_file)]
        host = _start(processes, "host", options, settings)
        with _client() as client:
            host.wait_until(lambda: _answers(client, f"http://127.0.0.1:{port}/admin/host/ping"))
        return host

    def _subscribe(self, events: str) -> None:
        with _client() as client:
            answer = client.put(events, json={"webhook": self.settings["EVENTGRID_WEBHOOK_URL"]})
            if answer.is_error:
                raise ProcessError(f"the vault does not take the subscription: {answer.text[:500]}")
            self._host.wait_until(lambda: client.get(events).json()["validated"])

    def _write_settings(self) -> None:
        """All at once, so that whoever waits for the file finds it whole."""
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        write_whole(self.directory / "env", "".join(lines).encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._progress.step("Stop everything"), self._stack:
            *others, last = self._parts  # the app's host drains while the others still answer; they end side by side
            if isinstance(last, Processes):
                last.stop()
            for part in others:
                part.terminate()


def _start(processes: Processes, part: str, options: list[str], settings: Mapping[str, str] | None = None) -> Child:
    return processes.start(
        part, [sys.executable, "-m", f"sandbox.{part}", *options], ROOT, {**own_environment(), **(settings or {})}
    )


def _client() -> httpx.Client:
    """One for many requests: to make it takes longer than to ask, for it reads all root certificates."""
    return httpx.Client(timeout=30, trust_env=False)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py up", description="The sandbox and the app, until Ctrl-C.")
    parser.add_argument("--only", choices=["vault"], help="start only the vault and the identity endpoint")
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY, help="for logs, certificates and `env`")
    parser.add_argument(
        "--sign-in", nargs="?", choices=registration.ACTIONS, const=registration.ACTIONS[0], metavar="ACTION",
        help="App Service authentication with a sign-in page instead of function keys; ACTION, for callers who have "
        f"not signed in: {', '.join(registration.ACTIONS)} (default: the first)",
    )  # fmt: skip
    for name in PORTS:
        parser.add_argument(f"--{name}-port", type=int, metavar="PORT", help="default: a free one")
    options = parser.parse_args(arguments)
    if options.only and options.sign_in:
        parser.error("--sign-in needs the app, and --only vault leaves it out")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    ports = {name: port for name in PORTS if (port := getattr(options, f"{name}_port"))}
    progress = Progress()
    exit_on_signals()
    try:
        with Sandbox(options.directory, progress, ports, options.only == "vault", sign_in=options.sign_in) as sandbox:
            progress.line()
            for name in [name for name in SHOWN if name in sandbox.settings]:
                progress.line(f"{name:<16}{sandbox.settings[name]}")
            progress.line(f"\nThese and the keys are in {sandbox.directory / 'env'}. Ctrl-C stops everything.")
            sandbox.watch()
    except KeyboardInterrupt:
        return 0
    except ProcessError as error:
        print(f"dev.py up: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    end_process(main())
