"""The screen of one certificate: which authority signed it, what its endpoint serves, and what stays while it is drawn
anew."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Locator, expect

from tests.app import App
from tests.page.visitor import Visitor
from tests.renewal.servers import Served, Server, context

type Visit = Callable[..., Visitor]


def test_a_version_says_which_fall_back_signed_it_and_why(visit: Visit) -> None:
    ada = visit()
    ada.order("by-fall-back", "by-fall-back.contoso.example", authority="busy")
    page = ada.page
    expect(page.locator(".transitions .completed").first).to_be_visible()
    lead = page.locator(".lead")
    expect(lead).to_contain_text("Renewed by busy")
    expect(lead).to_contain_text("This version was signed by openbao, a fall-back of busy since ")
    expect(lead).to_contain_text("HTTP 503")
    expect(page.locator(".transitions").first).to_contain_text("openbao is asked, a fall-back of busy")
    page = ada.open("authorities", "Authorities")
    expect(page.locator(".card", has=page.get_by_role("heading", name="busy"))).to_contain_text("openbao")


@dataclass
class Endpoint:
    """The certificate `served-here`, and the server on loopback that its tag names."""

    ada: Visitor
    app: App
    server: Server

    def put(self, served: Served) -> None:
        """Import a version."""
        body = {"value": served.pem.decode(), "tags": {"certrelay-endpoint": str(self.server.endpoint)}}
        self.ada.api("POST", "vaults/main/certificates/served-here/import", body)

    def seen(self, state: str) -> Locator:
        """The card on the certificate's screen, when a sweep has found the endpoint in this state."""
        self.app.run("sweep_certificates")
        path = "vaults/main/certificates/served-here"
        self.ada.until(lambda: self.ada.api("GET", path)["endpoint"]["state"] == state)
        page = self.ada.certificate("served-here")
        page.reload()
        return page.locator(".card", has=page.get_by_role("heading", name="Where it is served"))


def test_an_endpoint_says_which_version_it_serves_and_since_when_there_is_a_newer_one(
    visit: Visit, app: App, tls_server: Server
) -> None:
    endpoint = Endpoint(visit(), app, tls_server)
    first, second = (Served(ends=datetime.now(UTC) + timedelta(days=days, hours=1)) for days in (29, 79))
    tls_server.context = context(first)
    endpoint.put(first)
    card = endpoint.seen("deployed")
    expect(card).to_contain_text(f"{tls_server.endpoint} serves the newest version.")
    expect(card.get_by_text(":".join(first.thumbprint.upper()[i : i + 2] for i in range(0, 40, 2)))).to_be_visible()
    endpoint.put(second)
    card = endpoint.seen("pending")
    for text in ("an earlier version", "in 29 days", "Newest version since", "To be served by", "Looked at"):
        expect(card).to_contain_text(text)
    tls_server.context = context(second)
    expect(endpoint.seen("deployed")).not_to_contain_text("an earlier version")


def test_what_is_typed_for_an_order_of_people_stays_with_the_focus_while_it_is_followed(visit: Visit) -> None:
    ada = visit()
    ada.order_unseen("typed", "by-hand")
    page = ada.certificate("typed")
    field = page.get_by_label("Certificate and chain", exact=True)
    with page.expect_response(lambda answer: "/pending?request_id" in answer.url):
        field.fill("half of it")
    page.evaluate("document.querySelector('.operation').dataset.old = ''")
    expect(page.locator(".operation:not([data-old])")).to_be_visible()
    expect(field).to_have_value("half of it")
    expect(field).to_be_focused()
    ada.button("Cancel").click()
    ada.confirm("Cancel it")
    expect(field).to_have_count(0)
