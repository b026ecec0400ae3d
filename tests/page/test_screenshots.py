"""Pictures of the main screens, for the documents: only with `--screenshots DIRECTORY`."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from sandbox import estate
from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.app import until
from tests.page.visitor import PATIENCE, Visitor, arrive

SCREENS = {
    "now": ("now", 1000, ".need"), "certificates": ("certificates?sort=renewal_due", 900, "tbody tr"),
    "certificate": ("certificate/main/site-3", 1300, ".past"), "calendar": ("calendar", 760, ".year"),
}  # fmt: skip


def test_pictures_of_the_main_screens(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    wanted = request.config.getoption("--screenshots")
    if wanted is None:
        pytest.skip("only with --screenshots")
    with (
        Sandbox(tmp_path, Progress(), app_settings=estate.app_settings) as sandbox,
        httpx.Client(timeout=60, trust_env=False) as client,
    ):
        settings = sandbox.settings
        estate.fill(Progress(), settings)
        key = {"x-functions-key": settings["FUNCTION_KEY"]}
        failing = f"{settings['APP_URL']}/api/operations?state=failing&max=200"
        until(lambda: len(client.get(failing, headers=key).json()["value"]) >= 16)
        visitor = arrive(browser, settings["PAGE_URL"].rstrip("/"), Path())
        with_key(visitor, settings["FUNCTION_KEY"])
        for name, (screen, height, shown) in SCREENS.items():
            visitor.page.set_viewport_size({"width": 1280, "height": height})
            page = visitor.open(screen)
            expect(page.locator(shown).first).to_be_visible(timeout=PATIENCE)
            for text in ("Loading…", "Reading the vaults"):
                expect(page.get_by_text(text)).to_have_count(0)
            page.screenshot(path=Path(wanted) / f"page-{name}.png")
        visitor.context.close()


def with_key(visitor: Visitor, key: str) -> None:
    """Sign in where function keys open the app: a wrong key is refused, and the right one is kept for the tab."""
    page = visitor.page
    page.goto(visitor.address)
    page.get_by_label("Function key").fill("wrong")
    visitor.button("Continue").click()
    expect(page.get_by_text("This key does not open it.")).to_be_visible()
    page.get_by_label("Function key").fill(key)
    visitor.button("Continue").click()
    expect(page.locator("#who")).to_contain_text("Administrator")
