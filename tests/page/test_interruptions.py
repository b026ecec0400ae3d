"""What people do in the middle of something: they go back, and they press again what had no answer."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.page.visitor import Visitor

pytestmark = pytest.mark.slow

type Visit = Callable[..., Visitor]


def test_a_question_is_gone_when_its_screen_is_left(visit: Visit, seen: None) -> None:
    ada = visit()
    page = ada.open("certificates?q=seen", "Certificates")
    page.get_by_role("link", name="seen", exact=True).click()
    for question in ("Delete…", "Disable…"):
        ada.button(question).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("Certificates")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_contain_text("seen")
    assert ada.api("GET", "vaults/main/certificates/seen")["attributes"]["enabled"]


def unanswered(visitor: Visitor, path: str) -> list[str]:
    """The first request is done, and its answer lost. The Idempotency-Keys of all."""
    keys: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            route.fallback()
            return
        route.fetch()
        route.abort()

    visitor.page.route(path, lose)
    return keys


def test_a_replacement_whose_answer_is_lost_is_not_started_twice(visit: Visit, seen: None) -> None:
    ada = visit()
    page = ada.open("replace", "Replace")
    keys = unanswered(ada, "**/api/replacements")
    page.get_by_label("Names in Key Vault").fill("no-such-name")
    before = len(ada.api("GET", "replacements")["value"])
    for _ in "12":
        ada.button("Start…").click()
        ada.confirm("Start it")
        expect(page.locator(".fault", has_text="does not answer").or_(page.locator(".crumbs"))).to_be_visible()
        ada.until(lambda: len(ada.api("GET", "replacements")["value"]) > before)
        if len(keys) == 1:
            expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".crumbs")).to_be_visible()
    assert len(keys) == 2
    assert len(ada.api("GET", "replacements")["value"]) == before + 1
    ada.open("replace", "Replace")
    page.get_by_label("Names in Key Vault").fill("no-such-name")
    ada.button("Start…").click()
    ada.confirm("Start it")
    expect(page.locator(".crumbs")).to_be_visible()
    assert len(ada.api("GET", "replacements")["value"]) == before + 2, "the next one is another one"


def test_a_renewal_whose_answer_is_lost_is_not_ordered_twice(visit: Visit) -> None:
    ada = visit()
    ada.order_unseen("asked-twice")
    page = ada.certificate("asked-twice")
    keys = unanswered(ada, "**/asked-twice/renew")
    ada.button("Renew now").click()
    ada.confirm("Renew")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    versions = "vaults/main/certificates/asked-twice/versions"
    ada.until(lambda: len(ada.api("GET", versions)["value"]) == 2 and not ada.open_operations("asked-twice"))
    ada.button("Renew now").click()
    ada.confirm("Renew")
    ada.until(lambda: len(keys) == 2)
    assert keys[0] == keys[1]
    assert len(ada.api("GET", versions)["value"]) == 2


def test_a_tag_is_looked_for_as_it_is_written(visit: Visit) -> None:
    ada = visit()
    ada.order_unseen("with-note", tags={"note": "a=b="})
    page = ada.open("certificates", "Certificates")
    expect(page.locator("table.list tbody tr", has_text="with-note")).to_have_count(1)
    for tag, found in (
        ("note=a=b=", 1),
        ("note=a", 0),
        ("note=a=b==", 0),
        ("constructor", 0),
        ("note", 1),
        ("note=", 0),
    ):
        page.get_by_label("Tag", exact=True).fill(tag)
        expect(page.locator("table.list tbody tr", has_text="with-note")).to_have_count(found)
