"""The screen Certificates, and what is edited on the screen of one: what is there, is found and stays."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.page.visitor import Visitor

type Visit = Callable[..., Visitor]


def test_a_name_is_in_the_list_before_it_has_its_first_version(visit: Visit) -> None:
    ada = visit()
    ada.order_unseen("first-to-come", "by-hand")
    page = ada.open("certificates?q=first-to-come", "Certificates")
    row = page.locator("tbody tr")
    for text in ("new", "by-hand", "waits for people", "its first version is being made", "has asked for it"):
        expect(row).to_contain_text(text)
    expect(row.get_by_role("checkbox")).to_have_count(0)
    page.get_by_label("State").select_option("new")
    expect(row).to_have_count(1)
    page.get_by_label("State").select_option("valid")
    expect(page.get_by_text("No certificate matches.")).to_be_visible()
    page.get_by_label("State").select_option("all")
    page.get_by_label("Choose all on this page").check()
    expect(page.locator(".bulk")).to_have_count(0)
    row.get_by_role("link", name="first-to-come").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("first-to-come")
    expect(page.get_by_text("There is no version yet.")).to_be_visible()


def test_a_first_version_that_is_ready_is_marked_and_after_a_refresh_a_certificate_like_others(visit: Visit) -> None:
    ada = visit(alone=True)
    ada.order_unseen("first-is-here", "by-hand")
    ada.page.clock.install()
    page = ada.open("certificates?q=first-is-here", "Certificates")
    row = page.locator("tbody tr")
    expect(row).to_contain_text("waits for people")
    ada.cancel_unseen("first-is-here")
    page.clock.run_for(20_000)
    expect(row).to_contain_text("has ended")
    row.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("No certificate matches.")).to_be_visible()


def test_an_edit_of_the_tags_keeps_the_endpoint_unless_it_is_what_was_edited(visit: Visit) -> None:
    ada, path = visit(), "vaults/main/certificates/tagged"
    allowed = ada.api("GET", "vaults")["value"][0]["endpoints"]
    ada.order_unseen("tagged", tags={"certrelay-endpoint": allowed[0], "team": "web"})
    page = ada.certificate("tagged")
    ada.button("Edit the tags…").click()
    field = page.get_by_label("Tags")
    expect(field).to_have_value(f'{{\n  "certrelay-endpoint": "{allowed[0]}",\n  "team": "web"\n}}')
    field.fill(f'{{"certrelay-endpoint": "{allowed[0]}", "team": "mail"}}')
    ada.button("Save").click()
    expect(page.locator(".tags", has_text="mail")).to_be_visible()
    tags = ada.api("GET", path)["tags"]
    assert (tags["certrelay-endpoint"], tags["team"], tags["certrelay-authority"]) == (allowed[0], "mail", "openbao")


def test_a_certificate_says_what_key_it_has(visit: Visit, seen: None) -> None:
    page = visit().certificate("seen")
    contents = page.locator(".card", has=page.get_by_role("heading", name="Contents", exact=True))
    expect(contents).to_contain_text("RSA, 2048 bits")


def test_a_first_order_that_failed_is_ordered_again_with_its_name_and_authority(visit: Visit) -> None:
    ada = visit()
    ada.order("once-more", "once-more.contoso.example", authority="by-hand")
    expect(ada.page.locator(".hand").first).to_be_visible()
    page = ada.page
    expect(page.get_by_role("link", name="Order it again")).to_have_count(0)
    ada.button("Cancel").click()
    ada.confirm("Cancel it")
    page.get_by_role("link", name="Order it again").click()
    expect(page.get_by_label("Name in Key Vault")).to_have_value("once-more")
    expect(page.get_by_label("Authority")).to_have_value("by-hand")
    expect(page.get_by_label("The request as JSON")).to_contain_text("by-hand")
