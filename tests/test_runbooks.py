"""docs/operations.md has an entry for every event, error code, error line of the log, and metric."""

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from certrelay.setting_models import ALL_BUT_COMPLETED, NotificationEvent, ServiceEvent

PAGE = Path("docs/operations.md").read_text(encoding="utf-8")
EVENTS = sorted({name for part in get_args(NotificationEvent) for name in (get_args(part) or (part,))})


LOGGED = ("error", "exception", "critical")


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """The calls of classes and of LOGGED in what is deployed, with the name of what is called."""
    found = []
    for path in (*Path("certrelay").rglob("*.py"), *Path("handlers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                name = str(getattr(called, "id", "") or getattr(called, "attr", ""))
                found += [(name, node)] if name in LOGGED or name[:1].isupper() else []
    return found


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement assigns a text."""
    value = line.value if isinstance(line, ast.Assign) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


@cache
def error_classes() -> dict[str, str]:
    """The code of each class of errors, where it has one of its own."""
    found: dict[str, str] = {}
    for path in (Path("certrelay/errors.py"), *Path("handlers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                codes = [line.value.value for line in node.body if _is_text(line)]  # type: ignore[attr-defined]
                if codes:
                    found[node.name] = codes[0]
    return found


@cache
def codes() -> set[str]:
    raised = {*error_classes(), "Failure"}
    given = {
        value.value
        for name, call in calls()
        if name in raised
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
    return {text for text in given if re.fullmatch("([A-Z][a-z]+)+", text)} | set(error_classes().values())


@cache
def error_lines() -> set[str]:
    return {
        str(call.args[0].value)
        for name, call in calls()
        if name in LOGGED
        and isinstance(call.func, ast.Attribute)
        and getattr(call.func.value, "id", "") in ("log", "logger")
        and isinstance(call.args[0], ast.Constant)
    }


def metrics() -> set[str]:
    source = Path("certrelay/telemetry.py").read_text(encoding="utf-8")
    return set(re.findall(r'create_\w+\(\s*"(certrelay\.[a-z_.]+)"', source))


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_an_entry(event: str) -> None:
    assert f"\n### `{event}`\n" in PAGE


@pytest.mark.parametrize(("kind", "search"), [("code", codes), ("line", error_lines)], ids=["code", "line"])
def test_every_error_code_and_every_error_line_of_the_log_has_an_entry(
    kind: str, search: Callable[[], set[str]]
) -> None:
    found = search()
    assert len(found) > 20
    assert sorted(text for text in found if f"\n| `{text}` |" not in PAGE) == [], f"docs/operations.md lacks a {kind}"


ALERTS = (
    "No sweep for three hours", "No poll for ten minutes", "Poison messages", "Operations failed",
    "A certificate is inside its last sixth", "A vault is unreadable", "An authority is down",
    "A new version is not deployed", "Requests end with 5xx",
)  # fmt: skip


def test_every_alert_has_an_entry() -> None:
    templates = "".join(path.read_text(encoding="utf-8") for path in Path().glob("infra/alerts.bicep"))
    titles = {*ALERTS, *re.findall(r"^\s+title: '([^']+)'", templates, re.MULTILINE)}
    assert sorted(title for title in titles if f"\n| {title} |" not in PAGE) == []


def test_every_metric_is_described() -> None:
    assert len(metrics()) >= 12
    assert sorted(name for name in metrics() if f"`{name}`" not in PAGE) == []


def test_the_page_has_no_entry_for_what_is_gone() -> None:
    known = {*codes(), *error_lines()}
    entries = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(entry for entry in entries if entry not in known and not entry.startswith("certrelay.")) == []
    assert sorted(re.findall(r"^### `([^`]+)`$", PAGE, re.MULTILINE)) == EVENTS


def test_every_link_to_an_entry_leads_somewhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*Path("docs").glob("*.md"), *Path().glob("infra/**/*.*"))]
    anchors = {match for text in texts for match in re.findall(r"operations\.md#([\w-]+)", text)}
    anchors |= set(re.findall(r"\]\(#([\w-]+)\)", PAGE))
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    assert sorted(anchors - headings) == []


def test_a_receiver_hears_of_everything_but_successes_unless_it_says_otherwise() -> None:
    assert sorted(ALL_BUT_COMPLETED) == [event for event in EVENTS if event != "completed"]
    assert set(get_args(ServiceEvent)) <= set(ALL_BUT_COMPLETED)
