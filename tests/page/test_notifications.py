"""Who is told of what, on the page: each target, a test message, and never an address."""

from collections.abc import Callable

from playwright.sync_api import expect

from handlers.roles import Role
from tests.page.visitor import Visitor

type Visit = Callable[..., Visitor]


def test_a_test_message_is_sent_to_a_target_and_its_answer_is_shown(visit: Visit) -> None:
    operator = visit(Role.OPERATOR)
    page = operator.open("notifications", "Notifications")
    ops, chat = (page.locator(".card", has=page.get_by_role("heading", name=name)) for name in ("ops", "chat"))
    ops.get_by_role("button", name="Send a test message").click()
    expect(ops.locator("li").first).to_contain_text("answered with status 204")
    chat.get_by_role("button", name="Send a test message").click()
    expect(chat.locator("li").first).to_contain_text("no answer")
    page.reload()
    expect(ops.locator("li").first).to_contain_text("test")
    expect(chat.locator(".badge.bad")).to_have_text("not delivered")
    assert "canary" not in page.content()


def test_a_reader_sees_the_targets_and_sends_nothing(visit: Visit) -> None:
    page = visit(Role.READER).open("notifications", "Notifications")
    expect(page.get_by_role("heading", name="ops")).to_be_visible()
    expect(page.get_by_role("button", name="Send a test message")).to_have_count(0)
