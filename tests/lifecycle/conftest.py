"""One sandbox vault for all of lifecycle's tests, and a world of its own for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.vault import VaultServer
from tests.lifecycle.world import World, make_world


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[VaultServer]:
    directory: Path = tmp_path_factory.mktemp("vault")
    with VaultServer(directory, clock=clock) as server:
        yield server


@pytest.fixture
def world(
    vault_server: VaultServer, azurite: Azurite, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(vault_server.ca_bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(vault_server.ca_bundle))
    monkeypatch.setenv("IDENTITY_ENDPOINT", vault_server.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", vault_server.identity_header)
    yield make_world(vault_server, azurite, clock)
