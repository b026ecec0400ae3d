"""What the rooms share: the servers that are slow to start, one of each for a session, and a world of its own for each
test. Tests use names of their own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest

from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.openbao import OpenBao
from sandbox.vault import VaultServer
from tests.shared_azurite import azurite_for
from tests.world import World, make_world

# What the helpers of connectors assert is explained as in a test.
pytest.register_assert_rewrite("tests.connectors")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite_for(tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("openbao")) as running:
        yield running


@pytest.fixture(scope="session")
def one_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the first of certifi's roots: to read all of them takes longer than a request."""
    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("root") / "one.pem"
    file.write_text(certifi.contents().partition(end)[0] + end)
    return file


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with VaultServer(tmp_path_factory.mktemp("vault"), clock=Clock()) as server:
        yield server


@pytest.fixture
def world(vault_server: VaultServer, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> World:
    return connected(vault_server, azurite, monkeypatch)


@pytest.fixture
def lonely_world(tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """With a vault and a clock of its own."""
    with VaultServer(tmp_path, clock=Clock()) as server:
        yield connected(server, azurite, monkeypatch)


def connected(server: VaultServer, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world of a test, with the environment that its clients need."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_bundle))
    monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", server.identity_header)
    return make_world(server, azurite, server.clock)


type Webhook = tuple[str, list[tuple[dict[str, str], bytes]], Callable[[int], None]]


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook on loopback: its address, what it got, and how it is made to answer."""
    got: list[tuple[dict[str, str], bytes]] = []
    status = [204]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", got, lambda code: status.__setitem__(0, code)
    server.shutdown()
    thread.join()
    server.server_close()
