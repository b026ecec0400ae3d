"""One browser and one sandbox, with App Service authentication, for all tests of the page."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import PROMPT, App
from tests.fixtures import webhook
from tests.page.browser import CannotFetch, installed
from tests.page.others import busy_authority
from tests.page.visitor import PATIENCE, Door, Visitor, visiting
from tests.renewal.last_mile import LOOPBACK
from tests.renewal.servers import Served, Server, context, tls


def pytest_itemcollected(item: pytest.Item) -> None:
    """What needs a browser is slow."""
    if "browser" in getattr(item, "fixturenames", ()):
        item.add_marker("slow")


@pytest.fixture(scope="package")
def chromium() -> Path:
    try:
        return installed()
    except CannotFetch as error:
        pytest.skip(f"no Chromium can be had here: {error}")


@pytest.fixture(scope="package")
def browser(chromium: Path) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium / "chromium")
        yield running
        running.close()
    asyncio._set_running_loop(None)  # Playwright's own loop is left behind as this thread's running one


@pytest.fixture(scope="package")
def tls_server() -> Iterator[Server]:
    """Where a certificate may be served."""
    with tls(context(Served())) as server:
        yield server


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory, chromium: Path, tls_server: Server) -> Iterator[dict[str, str]]:
    """With the authorities `busy`, in whose place `openbao` is asked at once, and `down`, for which nobody is."""
    targets = {"ops": {"kind": "webhook", "url": "@OPS_URL"}, "chat": {"kind": "slack", "url": "@CHAT_URL"}}
    rule = {"pattern": str(tls_server.endpoint), "networks": LOOPBACK}
    directory = tmp_path_factory.mktemp("page")
    with webhook() as (url, _, _), busy_authority() as busy:

        def more(given: Mapping[str, str]) -> dict[str, str]:
            known = json.loads(given["CERTRELAY_AUTHORITIES"])
            known["busy"] = {**known["openbao"], "url": busy, "fallback": ["openbao"]}
            known["down"] = {**known["openbao"], "url": "http://127.0.0.1:9"}
            return {
                **PROMPT,
                "CERTRELAY_AUTHORITIES": json.dumps(known),
                "CERTRELAY_NOTIFICATIONS": json.dumps(targets),
                "CERTRELAY_ENDPOINTS": json.dumps([rule]),
                "OPS_URL": url,
                "CHAT_URL": "http://127.0.0.1:9/canary",
            }

        with Sandbox(directory, Progress(), app_settings=more, sign_in="RedirectToLoginPage") as sandbox:
            yield sandbox.settings


@pytest.fixture
def app(settings: dict[str, str]) -> Iterator[App]:
    """For what the page does not do: the vault's admin API."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield App(settings, client)


@pytest.fixture(scope="package")
def door(browser: Browser, settings: dict[str, str], chromium: Path) -> Door:
    return Door(browser, settings["APP_URL"], chromium)


@pytest.fixture
def visit(door: Door) -> Iterator[Callable[..., Visitor]]:
    with visiting(door) as visited:
        yield visited


@pytest.fixture(scope="package")
def seen(door: Door) -> None:
    """There is a certificate with the name `seen`, which no test changes."""
    with visiting(door) as visited:
        ada = visited()
        ada.order("seen", "seen.contoso.example")
        expect(ada.page.locator(".transitions .completed").first).to_be_visible()
