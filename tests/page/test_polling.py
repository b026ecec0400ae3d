"""What an open tab asks of the API while time passes: once for each vault, and nothing while nobody can see it."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from sandbox.identity import SYSTEM_ASSIGNED
from tests.app import App
from tests.page.visitor import Visitor

type Visit = Callable[..., Visitor]

LONG = 3_600_000  # milliseconds
MARK = "document.querySelector('h1').dataset.old = ''"
TURN = """state => {
    Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def clock(visit: Visit) -> Visitor:
    """Somebody before the screen Now, whose clock stands still."""
    ada = visit(alone=True)
    ada.page.clock.install()
    expect(ada.open("now", "ow").get_by_text("Reading the vaults")).to_have_count(0)
    ada.page.clock.pause_at(ada.page.evaluate("Date.now() / 1000") + 1)
    return ada


def drawn_again(page: Page, act: Callable[[], object]) -> None:
    """Do something, and wait until the screen was drawn anew."""
    page.evaluate(MARK)
    act()
    expect(page.locator("h1:not([data-old])")).to_be_visible()


def lists(visitor: Visitor) -> list[dict[str, list[str]]]:
    """The queries for lists of certificates from now on, each by its first page."""
    asked: list[dict[str, list[str]]] = []
    address = re.compile("/api/vaults/[^/]+/certificates$")

    def note(url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        if address.search(parts.path) and "continuation" not in query:
            asked.append(query)

    visitor.page.on("request", lambda request: note(request.url))
    return asked


def test_each_vault_is_read_once_each_time_and_never_while_the_tab_is_hidden(clock: Visitor) -> None:
    page, asked = clock.page, lists(clock)
    drawn_again(page, lambda: page.clock.run_for(20_000))
    assert [one["state"] for one in asked] == [["expired,expiring"]]
    page.evaluate(TURN, "hidden")
    page.evaluate(MARK)
    page.clock.run_for(LONG)
    expect(page.locator("h1[data-old]")).to_be_visible()
    assert len(asked) == 1
    drawn_again(page, lambda: page.evaluate(TURN, "visible"))
    assert len(asked) == 2, "it catches up at once, and once"


def test_what_has_the_focus_keeps_it_when_the_screen_is_drawn_anew(clock: Visitor) -> None:
    page = clock.page
    link = page.locator("main").get_by_role("link", name="operations running")
    link.focus()
    drawn_again(page, lambda: page.clock.run_for(20_000))
    expect(link).to_be_focused()


@pytest.fixture
def forbidden(app: App) -> Iterator[None]:
    """The app may no longer read the vault."""
    permissions = f"{app.settings['VAULT_ADMIN_URL']}/identities/{SYSTEM_ASSIGNED}"
    app.client.put(permissions, json={"permissions": {"certificates": ["get"]}}).raise_for_status()
    yield
    app.client.put(permissions, json={"permissions": None}).raise_for_status()


def test_a_vault_that_cannot_be_read_is_told_at_once_and_never_taken_for_well(visit: Visit, forbidden: None) -> None:
    ada = visit()
    page = ada.open("now", "What needs you now")
    expect(page.locator(".need", has_text="main").first).to_contain_text("Key Vault Certificates Officer")
    for screen, heading in (("certificates", "Certificates"), ("replace", "Replace")):
        expect(ada.open(screen, heading).get_by_text("The vault main cannot be read")).to_be_visible()


def test_the_list_says_what_has_ended_since_it_was_read_and_stays_as_it_is(visit: Visit) -> None:
    ada = visit(alone=True)
    for authority in ("openbao", "by-hand"):
        ada.order_unseen("ends-meanwhile", authority)
    ada.page.clock.install()
    page = ada.open("certificates?q=ends-meanwhile", "Certificates")
    row = page.locator("tbody tr")
    expect(row).to_contain_text("waits for people")
    ada.cancel_unseen("ends-meanwhile")
    asked = lists(ada)
    page.clock.run_for(20_000)
    expect(row).to_contain_text("has ended")
    assert asked == []
    row.get_by_role("button", name="Refresh").click()
    expect(row).to_contain_text("no trouble")
    assert len(asked) == 1


def test_no_certificate_is_said_to_be_well_before_its_operations_are_known(visit: Visit) -> None:
    ada, held = visit(), list[Route]()

    def hold(route: Route) -> None:
        held.append(route)

    ada.page.route("**/api/operations?*", hold)
    page = ada.open("certificates?state=failing", "Certificates")
    expect(page.locator(".filters")).to_be_visible()
    ada.until(lambda: bool(held))
    expect(page.get_by_text("Reading the vaults…", exact=True)).to_be_visible()
    expect(page.get_by_text("No certificate matches.")).to_have_count(0)
    held[0].continue_()
    expect(page.get_by_text("Reading the vaults…", exact=True)).to_have_count(0)
