"""Who sees what: each role, nobody, the keyboard alone, a phone, hostile names, an API that is down and comes back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from handlers.roles import Role
from tests.app import App
from tests.handlers.people import pem
from tests.page.visitor import SCREENS, Visitor

type Visit = Callable[..., Visitor]

OFFERED = {
    Role.READER: set(),
    Role.REQUESTER: {"New"},
    Role.OPERATOR: {"New", "Renew now", "Revoke…", "Delete…"},
    Role.ADMINISTRATOR: {"New", "Renew now", "Revoke…", "Delete…", "Replace"},
}  # fmt: skip
OF_COLOURS = ("color-contrast", "link-in-text-block")  # all that a colour scheme changes
HOSTILE = ["<script>alert(1)</script>.example", "a\u202egnp.exe.example", "\u05d0\u05d1.example"]


@pytest.mark.parametrize("role", Role)
def test_each_role_is_offered_what_it_may_do_and_nothing_else(visit: Visit, seen: None, role: Role) -> None:
    visitor = visit(role)
    page = visitor.certificate("seen")
    expect(page.locator(".path")).to_be_visible()
    words = {"New", "Renew now", "Revoke…", "Delete…", "Replace"}
    texts = set(page.locator("nav a, .heading button").all_inner_texts())
    assert texts & words == OFFERED[role]


def test_who_is_not_signed_in_is_sent_to_the_sign_in_and_back(visit: Visit) -> None:
    stranger = visit(None)
    page = stranger.page
    page.goto(stranger.address)
    page.get_by_label("CertRelay.Reader").check()
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#who")).to_contain_text("Reader")
    expect(page.get_by_role("heading", level=1)).to_contain_text("ow")


def test_a_person_without_a_role_is_told_so(visit: Visit) -> None:
    stranger = visit(None)
    form: dict[str, Any] = {"name": "Nobody", "kind": "person"}
    stranger.context.request.post(f"{stranger.address}/.auth/login/aad/callback?post_login_redirect_uri=/", form=form)
    stranger.page.goto(stranger.address)
    expect(stranger.page.get_by_role("heading", level=1)).to_have_text("You have no role here")


def test_axe_finds_no_violation_on_any_screen_light_or_dark(visit: Visit, seen: None) -> None:
    visitor, found = visit(), list[str]()
    for screen, heading in SCREENS.items():
        page = visitor.open(screen, heading)
        expect(page.get_by_text("Loading…").first).to_be_hidden()
        found += [f"{screen}: {text}" for text in visitor.violations()]
        page.emulate_media(color_scheme="dark")
        found += [f"{screen} in the dark: {text}" for text in visitor.violations(OF_COLOURS)]
        page.emulate_media(color_scheme="light")
    assert found == []


def test_the_keyboard_alone_orders_a_certificate(visit: Visit) -> None:
    ada = visit()
    page = ada.open("now", "ow")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.get_by_role("link", name="New", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New certificate")
    expect(page.locator("main")).to_be_focused()
    for _ in range(4):  # a link, the vault, the authority, the name
        page.keyboard.press("Tab")
    page.keyboard.type("by-keys")
    page.keyboard.press("Tab")
    page.keyboard.type("keys.contoso.example")
    expect(page.get_by_label("DNS names")).to_have_value("keys.contoso.example")
    page.get_by_label("Name in Key Vault").press("Enter")
    expect(page.locator(".transitions .completed").first).to_be_visible()
    ada.button("Renew now").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_people_are_shown_by_name_and_a_name_is_never_markup(visit: Visit) -> None:
    ada = visit(name="Ada <b>Lovelace")
    identifier, name = ada.api("GET", "me")["name"], "ada.<b>lovelace@sandbox.example"
    ada.order_unseen("by-name")
    ada.certificate("by-name")
    expect(ada.page.locator(".lead")).to_contain_text(f"Owned by you ({name})")
    expect(ada.page.locator("#who")).to_contain_text(name)
    other = visit(Role.READER)
    page = other.open("history?name=by-name", "History")
    cell = page.locator("tbody td", has_text=name)
    expect(cell).to_have_text(name)
    expect(cell.get_by_title(identifier)).to_be_visible()
    page.get_by_role("button", name="Steps of by-name").click()
    page.get_by_text("Details", exact=True).click()
    expect(page.locator(".operation")).to_contain_text(identifier)
    page = other.open("certificates?q=lovelace", "Certificates")
    expect(page.locator("tbody tr", has_text="by-name")).to_contain_text(name)
    expect(other.certificate("by-name").locator(".card", has_text="History")).to_contain_text(f"created by {name}")
    assert page.locator("main b").count() == 0


def test_hostile_names_are_text_and_thousands_of_them_are_few_at_first(visit: Visit, app: App) -> None:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    ada = visit()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTILE[0])])
    many = [f"n{number}.a" for number in range(4000)]
    ada.api("POST", "vaults/main/certificates/hostile/import", pem(*many, subject=subject))
    page = ada.certificate("hostile")
    expect(page.get_by_role("heading", name="Contents", exact=True).locator("..")).to_contain_text(
        r"\<script\>alert(1)"
    )  # as RFC 4514 escapes it
    expect(page.get_by_text("DNS names (4,000)").first).to_be_visible()
    assert page.locator(".names li").count() < 100
    assert page.locator("main script").count() == 0
    page.get_by_role("button", name="Show all 4,000").first.click()
    expect(page.get_by_text("n3999.a").first).to_be_attached()
    tags = {"<b>bold</b>": HOSTILE[1], "rtl": HOSTILE[2]}
    ada.api("PATCH", "vaults/main/certificates/hostile", {"tags": tags})
    page.reload()
    expect(page.locator(".tags bdi", has_text="<b>bold</b>")).to_be_visible()
    assert page.locator("main b").count() == 0


def test_the_page_says_that_the_api_is_down_and_goes_on_when_it_is_back(visit: Visit) -> None:
    ada = visit()
    ada.order_unseen("down", "by-hand")
    page = ada.certificate("down")
    expect(page.get_by_role("heading", name="Happening now")).to_be_visible()

    def down(route: Route) -> None:
        route.abort("connectionrefused")

    page.route("**/api/**", down)
    expect(page.locator("#banner")).to_contain_text("does not answer")
    page.unroute("**/api/**", down)
    expect(page.locator("#banner")).to_be_hidden()
    ada.button("Cancel").click()
    ada.confirm("Cancel it")
    expect(page.locator(".operation .badge").first).to_have_text("canceled")


def test_the_list_is_searched_sorted_and_paged_and_its_address_keeps_that(visit: Visit, app: App) -> None:
    url = f"{app.settings['VAULT_ADMIN_URL']}/seed"
    tags = {"certrelay-authority": "openbao", "team": "web"}
    app.client.post(url, json={"count": 120, "prefix": "many", "tags": tags}).raise_for_status()
    ada = visit()
    page = ada.open("certificates?q=many&sort=-name", "Certificates")
    expect(page.locator("p[role=status]", has_text="120 of")).to_be_visible()
    expect(page.locator("table tbody tr")).to_have_count(50)
    expect(page.locator("table tbody tr").first).to_contain_text("many-00119")
    ada.button("Next").click()
    expect(page.locator("table tbody tr").first).to_contain_text("many-00069")
    page.reload()
    expect(page.locator("table tbody tr").first).to_contain_text("many-00069")
    page.get_by_label("Search").fill("many-0001 web")
    expect(page.locator("table tbody tr")).to_have_count(10)
    assert "q=many-0001+web" in page.url


def test_a_day_of_the_calendar_lists_what_is_planned_on_it_on_whatever_page(visit: Visit) -> None:
    visitor, asked = visit(), list[str]()
    for name, days in (("planned-second", 11), ("planned-first", 8)):  # before what other tests have made
        visitor.order_unseen(name, validity_days=days)

    def one_at_a_time(route: Route) -> None:
        asked.append(route.request.url)
        route.continue_(url=route.request.url.replace("max=1000", "max=1"))

    visitor.page.route("**/api/forecast?*", one_at_a_time)
    page = visitor.open("calendar", "Calendar")
    planned = page.get_by_role("group", name="renewals of a year").locator("rect:not([aria-label$=' 0 renewals'])")
    expect(planned.first).to_be_visible()
    assert len(asked) == 1
    planned.nth(1).click()
    expect(page.get_by_role("heading", name="1 renewal planned")).to_be_visible()
    expect(page.locator(".tags bdi", has_text="planned-second")).to_be_visible()
    assert len(asked) > 1


def test_a_day_with_more_renewals_than_a_vaults_rate_allows_stands_out(visit: Visit) -> None:
    visitor = visit()

    def crowded(route: Route) -> None:
        """As with a `rate` of the vault, which would hold up all other tests."""
        response = route.fetch()
        date = (datetime.now(UTC) + timedelta(days=300)).date().isoformat()
        day = {"date": date, "vault": "main", "renewals": 9, "capacity": 4}
        route.fulfill(response=response, json=response.json() | {"vault_days": [day]})

    visitor.page.route("**/api/forecast?*", crowded)
    page = visitor.open("calendar", "Calendar")
    expect(page.locator("rect.over[aria-label$='more than a rate allows']")).to_have_count(1)
    expect(page.get_by_role("region", name="Crowded days")).to_contain_text("vault main94")
    page.get_by_label("Authority").select_option("openbao")
    expect(page.locator("rect.over[aria-label]")).to_have_count(0)
