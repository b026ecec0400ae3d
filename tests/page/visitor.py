"""Somebody before the page: a browser's tab, signed in with a role, and what is seen on it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
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
EC = {"key_props": {"kty": "EC", "crv": "P-256"}}
PATIENCE = 120_000  # milliseconds: a busy machine is no failure
# The page looks again after the seconds that the API asks for. A test waits for a quarter of them.
HASTE = """{
    const whole = setTimeout;
    window.setTimeout = (work, delay) => whole(work, delay >= 2000 && delay <= 10_000 ? delay / 4 : delay);
}"""


@dataclass
class Visitor:
    """`faults`: what the browser's console complained about, a violation of the Content-Security-Policy for one."""

    context: BrowserContext
    address: str
    axe: Path
    faults: list[str] = field(default_factory=list)

    @cached_property
    def page(self) -> Page:
        """The tab. Who only calls the API has none."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if is_fault(said.type, said.text) else None)
        return page

    def leave(self) -> None:
        if "page" in self.__dict__:
            self.page.close()

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

    def order_unseen(self, name: str, authority: str = "openbao", **more: Any) -> None:
        """Order one without the page, and wait until it is there; of people, until they are asked."""
        asks = {"authority": authority, "dns_names": [f"{name}.contoso.example"], "policy": EC, **more}
        self.api("POST", f"vaults/main/certificates/{name}/create", asks)
        self.until(lambda: all(one["step"] == "submitted" for one in self.open_operations(name)))

    def open_operations(self, name: str) -> list[dict[str, Any]]:
        """An ended one is among them until all is done about it."""
        found = self.api("GET", f"operations?state=open&name={name}")["value"]
        return [one for one in found if one["name"] == name]

    def cancel_unseen(self, name: str) -> None:
        """Cancel the operation of a certificate without the page, as somebody else would, and wait for its end."""
        self.api("PATCH", f"vaults/main/certificates/{name}/pending", {"cancellation_requested": True})
        self.until(lambda: not self.open_operations(name))

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
    """Somebody new. In their tabs nothing moves: what does is drawn sixty times a second while a test waits."""
    defaults: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    context = browser.new_context(**{**defaults, **options})
    context.set_default_timeout(PATIENCE)
    return Visitor(context, address, axe)


def is_fault(kind: str, text: str) -> bool:
    """A refusal of the API is in the console, too, and is no fault of the page."""
    return kind == "error" and not re.search(r"Failed to load resource", text)


@dataclass
class Door:
    """Where people come in. Who has been here before has their cookie already, and the page's files."""

    browser: Browser
    address: str
    chromium: Path
    known: dict[str, BrowserContext] = field(default_factory=dict)

    def let_in(self, role: Role, name: str, **options: Any) -> Visitor:
        """Somebody who is signed in with a role, in a tab of their own."""
        key = f"{role} {name} {options}"
        if key in self.known:
            return Visitor(self.known[key], self.address, self._axe)
        visitor = self.let_in_alone(role, name, **options)
        visitor.context.add_init_script(HASTE)
        self.known[key] = visitor.context
        return visitor

    def let_in_alone(self, role: Role | None, name: str, **options: Any) -> Visitor:
        """Nobody else has their context: it may be signed out, and its clock may stand still."""
        visitor = arrive(self.browser, self.address, self._axe, **options)
        if role is not None:
            form: dict[str, Any] = {"name": name, "kind": "person", "role": role.value_in_entra}
            sign_in = f"{self.address}/.auth/login/aad/callback?post_login_redirect_uri=/api/health"
            assert visitor.context.request.post(sign_in, form=form).ok
        return visitor

    @property
    def _axe(self) -> Path:
        return self.chromium / "node_modules" / "axe-core" / "axe.min.js"


@contextmanager
def visiting(door: Door) -> Iterator[Callable[..., Visitor]]:
    """Opens tabs, each signed in with a role. At the end no tab's console may have complained."""
    visitors: list[Visitor] = []

    def visited(role: Role | None = Role.ADMINISTRATOR, name: str = "", alone: bool = False, **options: Any) -> Visitor:
        if role is None or alone:
            visitors.append(door.let_in_alone(role, name or "Ada", **options))
        else:
            visitors.append(door.let_in(role, name or f"Ada {role.title}", **options))
        return visitors[-1]

    yield visited
    for visitor in visitors:
        visitor.leave()
        if visitor.context not in door.known.values():
            visitor.context.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []
