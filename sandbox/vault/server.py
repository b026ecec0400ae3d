"""Runs the vault and its control server in threads of the calling process."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.clock import Clock
from sandbox.directory import write_whole
from sandbox.identity import Identities
from sandbox.ports import listen
from sandbox.vault import lifecycle
from sandbox.vault.admin import Admin, control_app
from sandbox.vault.app import VaultApp
from sandbox.vault.auth import Gate
from sandbox.vault.faults import Faults, Requests
from sandbox.vault.feed import EventFeed
from sandbox.vault.store import MemoryStore, SqliteStore
from sandbox.vault.vault import Settings, Vault

_log = logging.getLogger(__name__)
_POLL = 0.2  # seconds between checks of a clock that another process may move


class _Protocol(H11Protocol):
    """Exposes the transport, so that a fault can reset the connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}

    def shutdown(self) -> None:
        # An idle client does not answer a close_notify; waiting for it only delays the shutdown.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            super().shutdown()


class _Server(uvicorn.Server):
    """Waits to be told of its end: uvicorn looks ten times a second, as long as the vault runs."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)  # the next ones would only renew a Date header, which is the vault's own here
        await self._ended.wait()

    def end(self) -> None:
        """Let it end, from another thread."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._ended.set)


class VaultServer:
    """Context manager: the sandbox vault runs until the block ends.

    directory: holds its root, identity and `vault.json`; created if missing. data: an SQLite file that keeps the state
    across restarts; None keeps the state in memory. ports: of the vault and of its control server; 0 is a free one.
    webhook: the URL to which events go from the start.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock | None = None,
        data: Path | None = None,
        *,
        ports: tuple[int, int] = (0, 0),
        webhook: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.clock = clock or Clock()
        self.settings = settings or Settings()
        self.faults = Faults(self.clock.now)
        self.requests = Requests()
        self.identities = Identities.kept_in(directory / "identity.json")
        self.ca_bundle = directory / "ca.pem"
        self._data = data
        self._webhook = webhook
        self._ports = ports
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        sockets = _listen_all(self._ports)
        self.port, self.control_port = (item.getsockname()[1] for item in sockets)
        self.url = f"https://127.0.0.1:{self.port}"
        # For a vault at 127.0.0.1 the SDKs accept a resource whose host is what follows a dot in it.
        self.resource = f"https://0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.control_port}/admin"
        self.identity_endpoint = f"http://127.0.0.1:{self.control_port}/msi/token"
        self.identity_header = self.identities.header
        self.settings.url = self.url
        store = SqliteStore(self._data) if self._data else MemoryStore()
        self.vault = Vault(self.clock, store, self.settings)
        self.feed = EventFeed(self.vault)
        self._serve(sockets)
        self.vault.keys.start()
        self.feed.start(self._webhook)
        self._clockwork = threading.Thread(target=self._watch_clock, name="vault-clock", daemon=True)
        self._clockwork.start()
        self._write_description()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._clockwork.join()
        for server in self._servers:
            server.end()
        self._thread.join()
        self.feed.stop()
        self.vault.close()

    # -- threads --------------------------------------------------------------------------------------------------

    def _watch_clock(self) -> None:
        while not self._stopping.wait(self._pause()):
            try:
                lifecycle.run_due(self.vault)
            except Exception:
                _log.exception("work that became due has failed")

    def _pause(self) -> float:
        due = self.vault.next_due()
        return _POLL if due is None else min(max(due - self.clock.now(), 0.01), _POLL)

    def _serve(self, sockets: list[socket.socket]) -> None:
        gate = Gate(self.identities, self.resource, self.settings)
        app = VaultApp(self.vault, gate, self.faults, self.requests)
        common: dict[str, Any] = {
            "http": _Protocol,
            "ws": "none",
            "lifespan": "off",
            "log_level": "error",
            "access_log": False,
            "server_header": False,
            "date_header": False,  # the vault's own, by its clock
            "timeout_graceful_shutdown": 2,
            "timeout_keep_alive": 60,
            "log_config": None,
        }
        tls = uvicorn.Config(app, **common, ssl_certfile=str(self._certificate()))
        tls.load()
        admin = Admin(self.vault, gate, self.faults, self.requests, self.feed)
        control = uvicorn.Config(control_app(self.identities, admin), **common)
        self._servers = [_Server(tls), _Server(control)]
        self._thread = threading.Thread(target=self._run_servers, args=(sockets,), name="vault-http", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 120  # a busy machine takes long
        while not all(server.started for server in self._servers):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the sandbox vault did not start")
            time.sleep(0.005)

    def _run_servers(self, sockets: list[socket.socket]) -> None:
        async def run() -> None:
            # `serve` takes over signals only in the main thread, which this is not.
            await asyncio.gather(*(server.serve([item]) for server, item in zip(self._servers, sockets, strict=True)))

        asyncio.run(run())

    def _certificate(self) -> Path:
        """The server's certificate (PEM file), issued by a root that is kept: clients trust a restarted vault."""
        key_file, server_file = self.directory / "ca-key.pem", self.directory / "server.pem"
        if key_file.exists() and self.ca_bundle.exists():
            authority = trustme.CA.from_pem(self.ca_bundle.read_bytes(), key_file.read_bytes())
        else:
            authority = trustme.CA(organization_name="CertRelay sandbox")
            self.ca_bundle.unlink(missing_ok=True)  # it comes last: with it, the key is its own
            write_whole(key_file, authority.private_key_pem.bytes())
            write_whole(self.ca_bundle, authority.cert_pem.bytes(), 0o644)
        issued = authority.issue_cert("127.0.0.1", "localhost", "::1")
        write_whole(server_file, issued.private_key_and_cert_chain_pem.bytes())
        return server_file

    def _write_description(self) -> None:
        description = {
            "vault_url": self.url,
            "ca_bundle": str(self.ca_bundle.resolve()),
            "identity_endpoint": self.identity_endpoint,
            "identity_header": self.identity_header,
            "admin_url": self.admin_url,
        }
        write_whole(self.directory / "vault.json", json.dumps(description, indent=2).encode())


def _listen_all(ports: tuple[int, ...]) -> list[socket.socket]:
    """Listening sockets on these ports of 127.0.0.1, all or none. Raises OSError."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(contextlib.closing(listen(port))) for port in ports]
        opened.pop_all()
        return sockets
