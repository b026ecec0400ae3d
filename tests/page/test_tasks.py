"""Ten tasks, tried as somebody would who sees the page for the first time: from the front page, by its words alone.

docs/page.md says how many steps each takes: a link, a button, a choice, a field that is filled in."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from handlers.roles import Role
from tests.app import App
from tests.page.others import signed_in_pem
from tests.page.visitor import Visitor
from tests.renewal.servers import Served, Server, context

type Visit = Callable[..., Visitor]

DAY = 86_400
DOCUMENT = Path(__file__).parents[2] / "docs" / "page.md"
STEPS = {task: int(steps) for task, steps in re.findall(r"^\| ([^|]+[.?]) \| (\d+) \|$", DOCUMENT.read_text(), re.M)}


@dataclass
class Newcomer:
    """Somebody before the front page; `ada` has prepared what there is to see."""

    visitor: Visitor
    ada: Visitor
    app: App
    server: Server
    steps: int = 0

    def start(self) -> None:
        self.visitor.open("now", "ow")

    def go(self, name: str) -> None:
        self.press(self.visitor.page.get_by_role("link", name=name, exact=True).first)

    def push(self, name: str) -> None:
        self.press(self.visitor.button(name))

    def agree(self, name: str) -> None:
        self.press(self.visitor.page.get_by_role("dialog").get_by_role("button", name=name, exact=True))

    def press(self, what: Locator) -> None:
        self.steps += 1
        what.click()

    def fill(self, label: str, text: str) -> None:
        self.steps += 1
        self.visitor.page.get_by_label(label).fill(text)

    def choose(self, label: str, value: str) -> None:
        self.steps += 1
        self.visitor.page.get_by_label(label).select_option(value)

    def sees(self, *texts: str) -> None:
        for text in texts:
            expect(self.visitor.page.locator("main")).to_contain_text(text)

    def row(self, name: str) -> Locator:
        return self.visitor.page.locator("tbody tr", has_text=name)


def expiring(who: Newcomer) -> None:
    seeded(who, "late", 80, {"certrelay-authority": "down"})
    renewal = who.ada.api("POST", "vaults/main/certificates/late-00000/renew", {})
    tried(who, renewal)
    who.start()
    friday = datetime.now(UTC) + timedelta(days=15)
    who.go("Certificates")
    who.fill("Expires before", friday.date().isoformat())
    expect(who.row("late-00000")).to_contain_text("could not be reached")


def answer(who: Newcomer) -> None:
    who.ada.order_unseen("task-paper", "by-hand")
    who.start()
    who.press(who.visitor.page.locator(".need", has_text="task-paper").get_by_role("link", name="Open the CSR"))
    csr = who.visitor.page.get_by_label("CSR", exact=True).inner_text()
    who.fill("Certificate and chain", signed_in_pem(csr))
    who.push("Hand it in")
    expect(who.visitor.page.locator(".transitions .completed").first).to_be_visible()


def replacing(who: Newcomer) -> None:
    seeded(who, "task-everything", 1, {"certrelay-authority": "openbao"})
    who.start()
    who.go("Replace")
    who.choose("Renewed by", "openbao")
    who.sees("a new version", "The last one", "Too late")


def asked_by(who: Newcomer) -> None:
    who.ada.order_unseen("task-whose")
    who.start()
    who.go("History")
    who.fill("Name begins with", "task-whose")
    who.visitor.page.keyboard.press("Enter")
    expect(who.visitor.page.locator("tbody tr")).to_have_count(1)
    expect(who.row("task-whose")).to_contain_text(who.ada.api("GET", "me")["display_name"])
    expect(who.visitor.page.get_by_label("Name begins with")).to_be_focused()


def down_since(who: Newcomer) -> None:
    name = "task-down"
    asks = {"authority": "down", "dns_names": [f"{name}.contoso.example"]}
    operation = who.ada.api("POST", f"vaults/main/certificates/{name}/create", asks)
    tried(who, operation)
    who.app.run("poll_operations")
    who.ada.until(lambda: any(one["down_since"] for one in who.ada.api("GET", "status")["authorities"]))
    who.start()
    badge = who.visitor.page.locator(".badge", has_text=re.compile("^(authority-)?down$"))
    expect(who.visitor.page.locator(".need", has=badge).first).to_contain_text(re.compile("since .* UTC"))
    who.go("Authorities")
    who.sees("Down since", "operations wait")


def renewing(who: Newcomer) -> None:
    who.ada.order_unseen("task-renew")
    find(who, "task-renew")
    who.push("Renew now")
    who.agree("Renew")
    expect(who.visitor.page.locator(".past")).to_have_count(2)


def ordering(who: Newcomer) -> None:
    who.start()
    who.go("New")
    who.fill("Name in Key Vault", "task-new")
    who.fill("DNS names", "task-new.contoso.example")
    who.push("Order it")
    expect(who.visitor.page.locator(".transitions .completed").first).to_be_visible()


def serving(who: Newcomer) -> None:
    served = Served(ends=datetime.now(UTC) + timedelta(days=30))
    who.server.context = context(served)
    body = {"value": served.pem.decode(), "tags": {"certrelay-endpoint": str(who.server.endpoint)}}
    who.ada.api("POST", "vaults/main/certificates/task-served/import", body)
    who.app.run("sweep_certificates")
    path = "vaults/main/certificates/task-served"
    who.ada.until(lambda: who.ada.api("GET", path)["endpoint"]["state"] == "deployed")
    find(who, "task-served")
    who.sees("Where it is served", str(who.server.endpoint), "serves the newest version")


def recovering(who: Newcomer) -> None:
    seeded(who, "task-deleted", 1, {"certrelay-authority": "openbao"})
    who.ada.api("DELETE", "vaults/main/certificates/task-deleted-00000")
    who.start()
    who.go("Authorities")
    who.push("Show what was deleted")
    line = who.visitor.page.locator("li", has_text="task-deleted")
    who.press(line.get_by_role("button", name="Recover"))
    who.agree("Recover")
    who.sees("task-deleted-00000 is recovered.")


def listing(who: Newcomer) -> None:
    seeded(who, "task-team", 1, {"team": "auditors"})
    who.start()
    who.go("Certificates")
    who.fill("Tag", "team=auditors")
    with who.visitor.page.expect_download() as download:
        who.push("CSV")
    assert [line.split(",")[1] for line in download.value.path().read_text().splitlines()] == [
        '"name"', '"task-team-00000"',
    ]  # fmt: skip


def tried(who: Newcomer, operation: dict[str, Any]) -> None:
    """Its authority has been asked once, in vain."""
    who.ada.until(lambda: who.ada.api("GET", f"operations/{operation['id']}").get("last_error") is not None)


def seeded(who: Newcomer, prefix: str, age: int, tags: dict[str, str]) -> None:
    body = {"count": 1, "prefix": prefix, "validity_months": 3, "age": age * DAY, "tags": tags}
    who.app.client.post(f"{who.app.settings['VAULT_ADMIN_URL']}/seed", json=body).raise_for_status()


def find(who: Newcomer, name: str) -> None:
    who.start()
    who.go("Certificates")
    who.fill("Search", name)
    who.go(name)


DOING: dict[str, Callable[[Newcomer], None]] = {
    "Which certificates expire before Friday, and why were they not renewed?": expiring,
    "Bring the answer for this order.": answer,
    "What happens if we replace everything of this CA?": replacing,
    "Who asked for this certificate, and when?": asked_by,
    "Since when is this authority down, and what waits for it?": down_since,
    "Renew this certificate now, and watch.": renewing,
    "Order a certificate for a new server.": ordering,
    "Does the server serve the newest version?": serving,
    "Somebody has deleted a certificate: bring it back.": recovering,
    "Give the auditors a list of all certificates of a team.": listing,
}


def test_the_document_names_the_tasks_that_are_tried() -> None:
    assert list(STEPS) == list(DOING)


@pytest.mark.parametrize("task", DOING)
def test_a_newcomer_needs_as_many_steps_as_the_document_says(
    visit: Visit, app: App, tls_server: Server, task: str
) -> None:
    ada, newcomer = visit(name="Ada Prepares"), visit(Role.ADMINISTRATOR, "Nina New")
    who = Newcomer(newcomer, ada, app, tls_server)
    DOING[task](who)
    assert who.steps == STEPS[task]
