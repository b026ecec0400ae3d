"""What people see at a glance: words that say one thing once, and nothing cut off, on a desk and on a phone."""

import re
from collections.abc import Callable

from playwright.sync_api import Route, expect

from tests.app import App
from tests.page.visitor import Visitor

type Visit = Callable[..., Visitor]

PHONE = {"width": 375, "height": 760}
DAY = 86_400
# Tables that are wider than their place, and words that are broken in two: a line that has no space at its end.
CUT_OFF = """() => [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.getAttribute("aria-label"))"""


def seeded(visitor: Visitor, app: App, prefix: str, age: int, tags: dict[str, str]) -> None:
    body = {"count": 1, "prefix": prefix, "validity_months": 3, "age": age * DAY, "tags": tags}
    app.client.post(f"{app.settings['VAULT_ADMIN_URL']}/seed", json=body).raise_for_status()


def test_on_a_phone_no_table_is_cut_off_and_the_frame_is_two_lines(visit: Visit, seen: None) -> None:
    visitor = visit(viewport=PHONE, name="Augusta Ada King-Noel, Countess of Lovelace")
    cut = []
    for screen, heading in (("calendar", "Calendar"), ("certificate/main/seen", "seen"), ("replace", "Replace")):
        page = visitor.open(screen, heading)
        expect(page.get_by_text("Loading…")).to_have_count(0)
        if screen == "replace":
            page.get_by_label("Renewed by").select_option("openbao")
        expect(page.locator(".scroll table").first).to_be_attached()
        cut += page.evaluate(CUT_OFF)
        brand, role = page.locator(".brand").bounding_box(), page.locator("#who .role").bounding_box()
        assert brand and role
        assert role["y"] < brand["y"] + brand["height"], "beside the name, not below it"
    assert cut == []


def test_an_expired_certificate_is_never_said_to_be_without_trouble(visit: Visit, app: App) -> None:
    ada = visit()
    for prefix, age in (("gone", 100), ("going", 85)):
        seeded(ada, app, prefix, age, {})
    page = ada.open("certificates?authority=none", "Certificates")
    for name in ("gone-00000", "going-00000"):
        expect(page.locator("tbody tr", has_text=name)).to_contain_text("nothing is under way")


def test_now_says_what_becomes_of_a_certificate_that_nobody_renews(visit: Visit, app: App) -> None:
    ada = visit()
    for prefix, age in (("over", 100), ("ending", 85)):
        seeded(ada, app, prefix, age, {})
    page = ada.open("now", "What needs you now")
    for more in page.get_by_role("button", name="Show the other").all():
        more.click()
    for name, text in (("over", "Adopt it, or delete it."), ("ending", "Adopt it, or let it expire.")):
        expect(page.locator(".need", has_text=f"{name}-00000")).to_contain_text(f"Nobody renews it. {text}")
    expect(page.locator("main")).to_contain_text(f"CertRelay {ada.api('GET', 'status')['version']}")


def test_an_authority_says_why_it_is_down_once_and_whether_it_can_be_asked(visit: Visit, app: App) -> None:
    ada = visit()
    ada.order("once", "once.contoso.example", authority="down")
    notice = ada.page.locator(".notice.warn")
    expect(notice).to_contain_text("dropped the connection. Next try in")
    app.run("poll_operations")
    ada.until(lambda: any(one["down_since"] for one in ada.api("GET", "status")["authorities"]))
    page = ada.open("authorities", "Authorities")
    card = page.locator(".card", has=page.get_by_role("heading", name="down", exact=True))
    expect(card).to_contain_text("does not answer")
    expect(card.get_by_text("could not be reached")).to_have_count(1)
    people = page.locator(".card", has=page.get_by_role("heading", name="by-hand", exact=True))
    expect(people).to_contain_text("is asked by orders only")
    expect(people).not_to_contain_text(" ms")


def test_an_authority_counts_its_certificates_by_state(visit: Visit) -> None:
    visitor = visit()

    def counted(route: Route) -> None:
        """As the last sweep of a larger estate would have counted them."""
        response = route.fetch()
        counts = [
            {"authority": "busy", "state": state, "count": count} for state, count in (("due", 3), ("valid", 1200))
        ]
        route.fulfill(response=response, json=response.json() | {"certificates": counts})

    visitor.page.route("**/api/status", counted)
    page = visitor.open("authorities", "Authorities")
    for name, text in (("busy", "3 due, 1,200 valid"), ("openbao", "show them")):
        card = page.locator(".card", has=page.get_by_role("heading", name=name, exact=True))
        link = card.get_by_role("link", name=text, exact=True)
        expect(link).to_have_attribute("href", f"#/certificates?authority={name}")


def test_a_certificate_has_the_thumbprint_that_key_vault_shows(visit: Visit, seen: None) -> None:
    ada = visit()
    newest = ada.api("GET", "vaults/main/certificates/seen")["version"]
    versions = {one["version"]: one for one in ada.api("GET", "vaults/main/certificates/seen/versions")["value"]}
    thumbprint = versions[newest]["thumbprint"].upper()
    pairs = ":".join(thumbprint[at : at + 2] for at in range(0, 40, 2))
    page = ada.certificate("seen")
    contents = page.locator(".card", has=page.get_by_role("heading", name="Contents", exact=True))
    expect(contents.get_by_text(pairs)).to_be_visible()


def test_a_replacement_says_that_it_is_still_reading_and_asks_only_when_it_knows_how_many(
    visit: Visit, seen: None
) -> None:
    ada, held = visit(), list[Route]()
    ada.page.route("**/vaults/main/certificates?*", lambda route: held.append(route), times=1)
    page = ada.open("replace", "Replace")
    page.get_by_label("Renewed by").select_option("openbao")
    expect(page.get_by_text("The vaults are still being read: it may be more.")).to_be_visible()
    ada.button("Start…").click()
    expect(page.get_by_text("the question comes when all of them are")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    ada.until(lambda: bool(held))
    held[0].continue_()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(re.compile(r"Up to [1-9]\d* certificates? will be renewed"))
    expect(page.get_by_text("still being read")).to_have_count(0)
    dialog.get_by_role("button", name="Cancel").click()
