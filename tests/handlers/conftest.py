"""The whole sandbox with the app in it, once for all tests of the HTTP API."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import App


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the whole sandbox is slow."""
    for item in items:
        if item.path.parent == Path(__file__).parent and "app" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    directory = tmp_path_factory.mktemp("sandbox")
    with Sandbox(directory, Progress()) as sandbox, httpx.Client(timeout=30, trust_env=False) as client:
        yield App(sandbox.settings, client)
