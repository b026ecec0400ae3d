"""On a phone nothing is wider than the screen, however long the texts of authorities, people and settings are."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.page.visitor import SCREENS, Visitor

type Visit = Callable[..., Visitor]

LONG = "/subscriptions/0123456789abcdef" * 12  # nothing in it may be broken
TIME = "2026-11-28T06:00:00+00:00"
# What others write, by the name of the field. The rest are words of the API, times and numbers.
WRITTEN = {
    "detail", "mend", "what", "message", "reason", "subject", "host", "schedule", "next_step", "requested_by",
    "owner", "by", "display_name", "requested_by_name", "owner_name", "by_name", "status_details", "issuer",
    "dns_names", "uris", "tags", "url", "connector", "names", "outcome", "event",
}  # fmt: skip
STICKS_OUT = """() => [...document.querySelectorAll("body *")].filter((one) => {
    if (one.closest(".scroll, .year, pre, nav, .skip, .visually-hidden, table.list thead")) return false;
    return one.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map((one) => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 60)}`)"""


def lengthened(value: Any, written: bool = False) -> Any:
    """The answer with a long text behind each text that others write."""
    if isinstance(value, dict):
        return {key: lengthened(one, written or key in WRITTEN) for key, one in value.items()}
    if isinstance(value, list):
        return [lengthened(one, written) for one in value]
    return value + LONG if written and isinstance(value, str) else value


def lengthen(route: Route) -> None:
    answer = route.fetch()
    try:
        found = lengthened(answer.json())
    except ValueError:
        route.fulfill(response=answer)
        return
    if route.request.url.endswith("/doctor"):
        found["findings"] = [{"what": LONG, "ok": ok, "detail": LONG, "mend": f"az {LONG}"} for ok in (True, False)]
    if route.request.url.endswith("/status"):
        found["incidents"] = [{**dict.fromkeys(("event", "subject", "detail", "next_step"), LONG), "since": TIME}]
    if route.request.url.endswith("/poison"):
        found["value"] = [{**dict.fromkeys(("id", "queue", "subject", "reason", "outcome"), LONG), "at": TIME}]
    route.fulfill(response=answer, body=json.dumps(found))


def seen_by(visitor: Visitor, screen: str, heading: str | None) -> list[str]:
    page = visitor.open(screen, heading)
    expect(page.get_by_text("Loading…").first).to_be_hidden()
    expect(page.get_by_text("Examining").first).to_be_hidden()
    width = page.evaluate("document.documentElement.scrollWidth")
    return [f"{screen}: {one}" for one in page.evaluate(STICKS_OUT)] + ([f"{screen}: {width}"] if width > 360 else [])


@pytest.mark.parametrize("long", [False, True], ids=["as it is", "long texts"])
def test_every_screen_fits_a_phone(visit: Visit, seen: None, long: bool) -> None:
    visitor = visit(viewport={"width": 360, "height": 700})
    if long:
        visitor.page.route("**/api/**", lengthen)
    assert [fault for screen, heading in SCREENS.items() for fault in seen_by(visitor, screen, heading)] == []


def test_on_a_phone_the_list_is_not_below_its_filters(visit: Visit, seen: None) -> None:
    visitor = visit(viewport={"width": 360, "height": 700})
    page = visitor.open("certificates", "Certificates")
    expect(page.locator("tbody tr").first).to_be_in_viewport()
    expect(page.get_by_label("Tag", exact=True)).to_be_hidden()
    visitor.button("More filters").click()
    expect(page.get_by_label("Tag", exact=True)).to_be_visible()
    expect(page.get_by_label("Authority")).to_be_focused()
    page = visitor.open("certificates?tag=team", "Certificates")
    expect(page.get_by_label("Tag", exact=True)).to_have_value("team")
    expect(page.get_by_label("Tag", exact=True)).to_be_visible()


def test_a_refusal_with_a_long_text_fits_a_phone(visit: Visit) -> None:
    visitor = visit(viewport={"width": 360, "height": 700})
    problem = json.dumps({"detail": LONG, "correlation_id": LONG})
    visitor.page.route(
        "**/api/notifications",
        lambda route: route.fulfill(status=400, body=problem, content_type="application/problem+json"),
    )
    assert seen_by(visitor, "notifications", "That did not work") == []
