"""The whole sandbox with the app in it, and once more for callers who sign in. It ends with these tests: it is never
idle, and its host asks its queues all the time."""

import json
from collections.abc import Iterator

import httpx
import pytest

from sandbox.ports import free_ports
from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests import distribution
from tests.app import PROMPT, App
from tests.handlers.people import GRANTS, Shared


def pytest_itemcollected(item: pytest.Item) -> None:
    """What needs the whole sandbox is slow."""
    if {"app", "shared"} & {*getattr(item, "fixturenames", ())}:
        item.add_marker("slow")
        if distribution.group_of(item.nodeid) not in distribution.TOGETHER.values():
            raise pytest.UsageError(f"{item.nodeid}: tests/distribution.py does not group its file")


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    directory = tmp_path_factory.mktemp("sandbox")
    with (
        Sandbox(directory, Progress(), app_settings=PROMPT) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        yield App(sandbox.settings, client)


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """With Microsoft Entra ID and grants. What a caller's token says is in the header that the platform would set."""
    [port] = free_ports(1)
    rate = {"requests": 1000, "seconds": 10}  # so many are ordered here that at the usual rate they would wait in line
    vaults = {"main": {"url": f"https://127.0.0.1:{port}", "rate": rate}, "other": {"url": "https://127.0.0.1:9"}}
    app_settings = {
        **PROMPT,
        "CERTRELAY_APP_SERVICE_AUTHENTICATION": "true",
        "WEBSITE_AUTH_ENABLED": "True",
        "CERTRELAY_GRANTS": json.dumps(GRANTS),
        "CERTRELAY_VAULTS": json.dumps(vaults),
    }
    directory = tmp_path_factory.mktemp("shared")
    with (
        Sandbox(directory, Progress(), {"vault": port}, app_settings=app_settings) as sandbox,
        httpx.Client(timeout=30, trust_env=False) as client,
    ):
        yield Shared(App(sandbox.settings, client))
