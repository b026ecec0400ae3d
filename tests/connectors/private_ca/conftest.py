"""A vault, storage and an authority, for the tests that need none of their own."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509

from sandbox.azurite import Azurite
from tests.connectors.private_ca.private_authority import World, running_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("vault"), azurite) as running:
        yield running


@pytest.fixture(scope="module")
def shared(world: World) -> tuple[str, x509.Certificate, dict[str, str]]:
    """A root and containers for tests that only issue."""
    return (*world.root("EC-256", validity=timedelta(days=100)), world.containers())
