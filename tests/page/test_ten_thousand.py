"""Thousands of certificates: what is asked before the first rows, what is drawn and what is kept do not grow with them.

The last file of the folder: from here on the vault has more than a thousand. Ten times as many are shown to the tests
of what the page does with them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.page.visitor import Door, Visitor, visiting

type Visit = Callable[..., Visitor]

REAL, TIMES, SHOWN = 1100, 10, 50
MANY = REAL * TIMES
MOST_NODES, MOST_MEMORY = 2500, 64 * 1024 * 1024  # bytes
MOST_FLOORS = 10  # about one was measured
WHOLE = re.compile(rf"^{MANY:,} (of \S+ )?certificates$")
LISTS = "**/certificates?*"
FURTHER = "**/certificates?*continuation=*"
# Milliseconds of one change of a field (with all that it draws), and of the least that is needed for it: to look at as
# many texts, sort what is found, and make as many rows. The best of some tries each.
MEASURE = """([label, texts]) => {
    const field = [...document.querySelectorAll(".filters label")].find((one) => one.textContent === label).lastChild;
    const best = (work) => Math.min(...texts.map((text) => {
        const begun = performance.now();
        work(text);
        return performance.now() - begun;
    }));
    const change = best((text) => {
        field.value = text;
        field.dispatchEvent(new Event("input"));
    });
    const lines = Array.from({length: COUNT}, (_, number) => `${number * 7919 % COUNT} many web`);
    const floor = best((text) => {
        const found = lines.filter((line) => line.includes("many")).sort((a, b) => (a < b ? -1 : 1)).slice(0, 50);
        const table = document.createElement("table");
        for (const line of found) {
            const row = table.insertRow();
            for (let cell = 0; cell < 9; cell++) row.insertCell().append(line, document.createElement("small"));
        }
        document.body.append(table);
        document.body.offsetHeight;
        table.remove();
    });
    return [change, floor];
}""".replace("COUNT", str(MANY))


MOST_MILLISECONDS = 10_000  # less than 700 were measured
# Notes the milliseconds from the beginning of the navigation to the first frame that shows such an element.
FIRST = """new MutationObserver((_, observer) => {
    if (!document.querySelector("SELECTOR")) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.shownAfter = performance.now(); }));
}).observe(document, {childList: true, subtree: true});"""


@pytest.fixture(scope="module")
def many(settings: dict[str, str]) -> None:
    tags = {"certrelay-authority": "openbao", "team": "web"}
    body = {"count": REAL, "prefix": "lots", "tags": tags}
    httpx.post(f"{settings['VAULT_ADMIN_URL']}/seed", json=body, timeout=900, trust_env=False).raise_for_status()


@pytest.fixture(scope="module")
def reader(door: Door, many: None) -> Iterator[Visitor]:
    with visiting(door) as visited:
        visitor = visited()
        visitor.page.route(LISTS, multiplied)
        yield visitor


def multiplied(route: Route) -> None:
    """The answer with each certificate ten times: with another digit at the end of its name."""
    answer = route.fetch()
    found = answer.json()
    lines = [{**line, "name": f"{line['name']}{digit}"} for line in found["value"] for digit in range(TIMES)]
    route.fulfill(response=answer, json=found | {"value": lines})


@pytest.fixture
def whole(reader: Visitor) -> Visitor:
    """Somebody before the whole list. It is drawn anew; what the page keeps of it, it does not read again."""
    reader.open("new", "New certificate")
    page = reader.open("certificates?q=lots-", "Certificates")
    expect(page.locator("p[role=status]", has_text=WHOLE)).to_be_visible()
    return reader


def asked_by(page: Page) -> list[str]:
    """What is asked of the API from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/api/" in request.url:
            asked.append(request.url)

    page.on("request", note)
    return asked


def lists(asked: list[str]) -> list[str]:
    """The requests for lists of certificates; what else is asked is asked once in a while."""
    return [url for url in asked if "/certificates?" in url]


def held_of(page: Page, pattern: str) -> list[Route]:
    """The next request for such an address, which is not sent."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(pattern, hold, times=1)
    return held


def test_the_first_rows_are_there_before_the_second_page_of_the_list_is(visit: Visit, many: None) -> None:
    ada = visit()
    page, asked = ada.page, asked_by(ada.page)
    held = held_of(page, FURTHER)
    ada.open("certificates", "Certificates")
    expect(page.locator("tbody tr")).to_have_count(25)
    expect(page.get_by_text("so far, reading the vaults")).to_be_visible()
    ada.until(lambda: bool(held))
    paths = sorted(re.sub(r".*/api/|\?.*", "", url) for url in asked)
    assert paths == ["authorities", "me", "operations", *["vaults/main/certificates"] * 2], "one of them is held"
    held[0].continue_()
    expect(page.get_by_text("so far, reading the vaults")).to_have_count(0)
    assert len(lists(asked)) <= REAL / 100 + 3


@pytest.mark.parametrize(("screen", "selector"), [("certificates", "tbody tr"), ("now", ".tiles")])
def test_what_is_useful_is_painted_soon(visit: Visit, many: None, screen: str, selector: str) -> None:
    ada = visit()
    ada.page.add_init_script(FIRST.replace("SELECTOR", selector))
    ada.open(screen)
    ada.until(lambda: ada.page.evaluate("window.shownAfter") is not None)
    shown = ada.page.evaluate("window.shownAfter")
    assert shown < MOST_MILLISECONDS


def test_the_screen_now_does_not_wait_for_the_list_and_takes_nothing_for_well_before_it_is_read(
    visit: Visit, many: None
) -> None:
    ada = visit()
    held = held_of(ada.page, FURTHER)
    page = ada.open("now", "ow")
    expect(page.get_by_text("Reading the vaults")).to_be_visible()
    expect(page.locator(".tile", has_text="operations running")).to_be_visible()
    expect(page.locator(".tile", has_text="about to expire")).to_contain_text("…")
    expect(page.get_by_text("All is well")).to_have_count(0)
    ada.until(lambda: bool(held))
    held[0].continue_()
    expect(page.get_by_text("Reading the vaults")).to_have_count(0)


def test_few_elements_are_drawn_and_little_is_kept(whole: Visitor) -> None:
    page = whole.page
    expect(page.locator("tbody tr")).to_have_count(SHOWN)
    assert page.evaluate("document.querySelectorAll('*').length") < MOST_NODES
    session: Any = whole.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    assert session.send("Runtime.getHeapUsage")["usedSize"] < MOST_MEMORY


@pytest.mark.parametrize(
    ("label", "texts"),
    [("Search", ["lots-0", "lots-00", "web", "lots-09", ""]), ("Tag", ["team=web", "team", "", "team=web", "none"])],
)
def test_a_search_reads_no_list_and_costs_little_more_than_it_has_to(
    whole: Visitor, label: str, texts: list[str]
) -> None:
    asked = asked_by(whole.page)
    change, floor = whole.page.evaluate(MEASURE, [label, texts])
    assert lists(asked) == []
    assert change < MOST_FLOORS * floor, (change, floor)


def test_sorting_and_turning_pages_read_no_list(whole: Visitor) -> None:
    page, asked = whole.page, asked_by(whole.page)
    for name, first in (("Name", "lots-000000"), ("Name", "lots-010999")):
        page.get_by_role("columnheader", name=name).get_by_role("button").click()
        expect(page.locator("tbody tr").first).to_contain_text(first)
        expect(page.get_by_role("columnheader", name=name).get_by_role("button")).to_be_focused()
    whole.button("Last").click()
    expect(page.locator("tbody tr").first).to_contain_text("lots-000049")
    assert lists(asked) == []


def test_the_screen_now_reads_the_list_once_and_ends(whole: Visitor) -> None:
    asked = asked_by(whole.page)
    whole.open("now", "ow")
    expect(whole.page.get_by_text("Reading the vaults")).to_have_count(0)
    assert len(lists(asked)) <= REAL / 1000 + 1, "a thousand certificates cost one request"
