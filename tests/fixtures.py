"""What the rooms share: one sandbox vault for a session, and a world of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.vault import VaultServer
from tests.world import World, make_world


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with VaultServer(tmp_path_factory.mktemp("vault"), clock=Clock()) as server:
        yield server


@pytest.fixture
def world(vault_server: VaultServer, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> World:
    return _world(vault_server, azurite, monkeypatch)


@pytest.fixture
def lonely_world(tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """With a vault and a clock of its own."""
    with VaultServer(tmp_path, clock=Clock()) as server:
        yield _world(server, azurite, monkeypatch)


def _world(server: VaultServer, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_bundle))
    monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", server.identity_header)
    return make_world(server, azurite, server.clock)
