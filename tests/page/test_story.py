"""The page's main job in a real browser: order, watch it merge, refuse, renew, cancel, bring an answer, import."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import expect

from sandbox.demo import make_pfx
from tests.app import App
from tests.page.others import signed_in_pem
from tests.page.visitor import Visitor

type Visit = Callable[..., Visitor]


def test_an_order_is_watched_until_it_is_merged_then_renewed(visit: Visit) -> None:
    ada = visit()
    ada.order("story-www", "www.contoso.example", "shop.contoso.example")
    page = ada.page
    expect(page).to_have_url(re.compile("#/certificate/main/story-www$"))
    expect(page.locator(".transitions .completed").first).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("valid")
    expect(page.locator(".operation-title").first).to_contain_text("asked by you (")
    for text in ("shop.contoso.example", "Contoso Root CA", re.compile("in (89|90) days")):
        expect(page.locator("main")).to_contain_text(text)
    ada.button("Renew now").click()
    ada.confirm("Renew")
    expect(page.locator(".past").nth(1)).to_be_visible()
    expect(page.locator("table tbody tr")).to_have_count(2)
    expect(page.locator("table tbody")).to_contain_text("newest")


def test_the_form_begins_with_the_first_program_of_the_settings(visit: Visit) -> None:
    page = visit().open("new", "New certificate")
    expect(page.get_by_label("Authority")).to_have_value("openbao")


def test_what_the_authority_refuses_is_shown_in_its_words_and_needs_somebody_now(visit: Visit) -> None:
    ada = visit()
    ada.order("story-fabrikam", "www.fabrikam.example")
    expect(ada.page.locator(".notice.bad")).to_contain_text("www.fabrikam.example not allowed")
    ada.open("now")
    expect(ada.page.locator(".need", has_text="story-fabrikam")).to_contain_text("not allowed")


def test_faults_of_a_request_are_shown_at_their_fields_and_nothing_is_ordered(visit: Visit) -> None:
    ada = visit()
    ada.order("story-faults", "good.contoso.example", "not a name")
    names = ada.page.get_by_label("DNS names")
    expect(names).to_have_attribute("aria-invalid", "true")
    expect(ada.page.locator("#f-dns_names-fault")).to_contain_text("Line 2")
    assert ada.context.request.get(f"{ada.address}/api/vaults/main/certificates/story-faults").status == 404


def test_an_operation_that_waits_is_canceled(visit: Visit) -> None:
    ada = visit()
    ada.order_unseen("story-never", "by-hand")
    ada.certificate("story-never")
    ada.button("Cancel").click()
    ada.confirm("Cancel it")
    expect(ada.page.locator(".operation .badge").first).to_have_text("canceled")


def test_people_take_the_csr_and_bring_the_certificate_back(visit: Visit, tmp_path: Path) -> None:
    ada = visit()
    ada.order("story-paper", "paper.contoso.example", authority="by-hand")
    csr = ada.page.get_by_label("CSR", exact=True).inner_text()
    ada.open("now")
    ada.page.locator(".need", has_text="story-paper").get_by_role("link", name="Open the CSR").click()
    ada.page.get_by_label("Certificate and chain", exact=True).fill("this is no certificate")
    ada.button("Hand it in").click()
    expect(ada.page.locator(".hand .fault")).not_to_be_empty()
    file = tmp_path / "answer.pem"
    file.write_text(signed_in_pem(csr))
    ada.page.get_by_label("File with the certificate").set_input_files(file)
    expect(ada.page.locator(".transitions .completed").first).to_be_visible()


def test_a_file_with_a_key_is_imported_and_not_kept(visit: Visit, tmp_path: Path) -> None:
    ada = visit()
    _, pfx, password = make_pfx("old.contoso.example", datetime.now(UTC))
    file = tmp_path / "old.contoso.pfx"
    file.write_bytes(pfx)
    page = ada.open("import", "Import")
    page.get_by_label("Drop the file here").set_input_files(file)
    expect(page.get_by_label("Name in Key Vault")).to_have_value("old-contoso")
    page.get_by_label("Name in Key Vault").fill("story-imported")
    page.get_by_label("Password").fill("wrong")
    ada.button("Import it").click()
    expect(page.locator(".notice.bad")).to_contain_text("password")
    page.get_by_label("Password").fill(password)
    ada.button("Import it").click()
    expect(page.get_by_role("heading", name="Imported")).to_be_visible()
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert stored == "[{},{}]"
    page.get_by_role("link", name="story-imported").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("valid")
    ada.button("Adopt…").click()
    page.get_by_role("dialog").get_by_label("Authority").select_option("openbao")
    ada.confirm("Adopt")
    expect(page.locator(".lead")).to_contain_text("Renewed by openbao")


def test_everything_of_an_authority_is_replaced_and_watched(visit: Visit, app: App) -> None:
    ada = visit()
    ada.order_unseen("replaced-one")
    page = ada.open("replace", "Replace everything")
    ada.button("Start…").click()
    expect(page.locator("form .fault")).to_contain_text("Choose by which authority")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("Names in Key Vault").fill("replaced-*")
    expect(page.get_by_text("1 certificate gets a new version.")).to_be_visible()
    ada.button("Start…").click()
    ada.confirm("Start it")
    settled = "replacements?state=settled"
    ada.until(lambda: app.run("poll_operations") == 202 and bool(ada.api("GET", settled)["value"]))
    expect(page.get_by_role("heading", level=1)).to_contain_text("settled")
    expect(page.locator(".tile.good")).to_contain_text("1")
