"""Somebody before the page: a browser's tab, signed in with a role, and what is seen on it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from handlers.roles import Role

SCREENS = {
    "now": "ow", "certificates": "Certificates", "certificate/main/seen": "seen", "new": "New certificate",
    "import": "Import", "calendar": "Calendar", "authorities": "Authorities", "history": "History",
    "replace": "Replace", "doctor": "Doctor", "notifications": "Notifications",
}  # fmt: skip  # and the heading of each
AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
PATIENCE = 120_000  # milliseconds: a busy machine is no failure


@dataclass
class Visitor:
    """`faults`: what the browser's console complained about, a violation of the Content-Security-Policy for one."""

    page: Page
    context: BrowserContext
    address: str
    axe: Path
    faults: list[str] = field(default_factory=list)

    def open(self, screen: str, heading: str | None = None) -> Page:
        """Go to a screen, and wait until it is there."""
        self.page.goto(f"{self.address}/#/{screen}")
        if heading is not None:
            expect(self.page.get_by_role("heading", level=1)).to_contain_text(heading)
        return self.page

    def certificate(self, name: str) -> Page:
        return self.open(f"certificate/main/{quote(name)}", name)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def order(self, name: str, *dns_names: str, authority: str = "openbao") -> None:
        """Fill the form and send it."""
        self.open("new", "New certificate")
        self.page.get_by_label("Authority").select_option(authority)
        self.page.get_by_label("Name in Key Vault").fill(name)
        self.page.get_by_label("DNS names").fill("\n".join(dns_names))
        self.button("Order it").click()

    def confirm(self, action: str) -> None:
        self.page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API as this visitor, past the page."""
        headers = {"origin": self.address, "x-requested-with": "test"}
        answer = self.context.request.fetch(f"{self.address}/api/{path}", method=method, data=body, headers=headers)
        assert answer.ok, answer.text()
        return answer.json()

    def cancel_unseen(self, name: str) -> None:
        """Cancel the operation of a certificate without the page, as somebody else would, and wait for its end."""
        self.api("PATCH", f"vaults/main/certificates/{name}/pending", {"cancellation_requested": True})
        self.until(lambda: not self.api("GET", f"operations?state=open&name={name}")["value"])

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that is not to be seen on the page."""
        for _ in range(PATIENCE // 200):
            if condition():
                return
            self.page.wait_for_timeout(200)
        raise AssertionError("it never came to pass")

    def violations(self, only: Sequence[str] = AXE_TAGS) -> list[str]:
        """What axe-core finds on the screen. `only`: tags or names of its rules; by default WCAG 2.2 A and AA."""
        # As text: the page's policy lets no script in.
        if self.page.evaluate("typeof axe === 'undefined'"):
            self.page.evaluate(self.axe.read_text() + "; 1")
        run = "only => axe.run({runOnly: only, resultTypes: ['violations']}).then((found) => found.violations)"
        found = self.page.evaluate(run, only)
        return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def arrive(browser: Browser, address: str, axe: Path, **options: Any) -> Visitor:
    """A new tab with nothing in it. In it nothing moves: what does is drawn sixty times a second while a test waits."""
    defaults: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    context = browser.new_context(**{**defaults, **options})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    visitor = Visitor(page, context, address, axe)
    page.on("pageerror", lambda error: visitor.faults.append(str(error)))
    page.on("console", lambda said: visitor.faults.append(said.text) if is_fault(said.type, said.text) else None)
    return visitor


def is_fault(kind: str, text: str) -> bool:
    """A refusal of the API is in the console, too, and is no fault of the page."""
    return kind == "error" and not re.search(r"Failed to load resource", text)


@contextmanager
def visiting(browser: Browser, address: str, chromium: Path) -> Iterator[Callable[..., Visitor]]:
    """Opens tabs, each signed in with a role. At the end no tab's console may have complained."""
    visitors: list[Visitor] = []
    axe = chromium / "node_modules" / "axe-core" / "axe.min.js"

    def visited(role: Role | None = Role.ADMINISTRATOR, name: str = "", **options: Any) -> Visitor:
        visitor = arrive(browser, address, axe, **options)
        visitors.append(visitor)
        if role is not None:
            form: dict[str, Any] = {"name": name or f"Ada {role.title}", "kind": "person", "role": role.value_in_entra}
            sign_in = f"{address}/.auth/login/aad/callback?post_login_redirect_uri=/api/health"
            assert visitor.context.request.post(sign_in, form=form).ok
        return visitor

    yield visited
    for visitor in visitors:
        visitor.context.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []
