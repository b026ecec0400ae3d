"""Plans and their outcomes for people: text, and Markdown for a pull request."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from certrelay_cli.code.apply import Outcome, Result
from certrelay_cli.code.planner import Change, Kind, Plan

SIGNS = {Kind.CREATE: ("+", "green"), Kind.RELEASE: ("-", "red")}
OTHERWISE = ("~", "yellow")
MAX_PART, MAX_NOTES = 25_000, 10


def lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """The text of a plan, line by line, each with its style."""
    for problem in plan.problems:
        yield f"! {problem}", "red"
    if plan.problems:
        yield "nothing is done, until these are mended", "bold red"
        return
    for change in plan.changes:
        sign, style = SIGNS.get(change.kind, OTHERWISE)
        yield f"{sign} {change.name}: {change.kind}", style
        for reason in change.why:
            yield f"    {reason}", ""
    for note in _first(plan.notes):
        yield f"  {note}", "dim"
    yield summary(plan), "bold"


def summary(plan: Plan) -> str:
    if not plan.changes:
        return f"nothing to do: {plan.unchanged} as wanted"
    counts = Counter(str(change.kind) for change in plan.changes)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) + f"; {plan.unchanged} as wanted"


def markdown(plan: Plan) -> str:
    """For a comment on a pull request. By its first line the next plan finds it."""
    marker = f"<!-- certrelay plan {_escaped(plan.vault)} -->"
    parts = [marker, f"### CertRelay: plan for vault {_escaped(plan.vault)}", ""]
    if plan.problems:
        parts += ["**It cannot be applied:**", "", *_fitting([f"- {_escaped(problem)}" for problem in plan.problems])]
        return "\n".join(parts) + "\n"
    if plan.changes:
        parts += ["| certificate | change | why |", "|---|---|---|"]
        parts += _fitting([_row(change) for change in plan.changes])
        parts.append("")
    parts += [f"- {_escaped(note)}" for note in _first(plan.notes)]
    return "\n".join([*parts, "", f"**{_escaped(summary(plan))}**"]) + "\n"


def _first(notes: Sequence[str]) -> list[str]:
    """Most vaults have more certificates than the file: what is to be done must not drown in them."""
    more = len(notes) - MAX_NOTES
    return [*notes[:MAX_NOTES], *([f"… and {more} more; --json has all"] if more > 0 else [])]


def to_json(plan: Plan) -> dict[str, Any]:
    changes = [
        {"name": one.name, "kind": str(one.kind), "why": list(one.why), "request": one.request, "body": one.body}
        for one in plan.changes
    ]
    return {
        "vault": plan.vault, "changes": changes, "problems": list(plan.problems), "notes": list(plan.notes),
        "unchanged": plan.unchanged,
    }  # fmt: skip


def outcomes_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {"name": one.change.name, "kind": str(one.change.kind), "result": str(one.result), "detail": one.detail}
        for one in outcomes
    ]


def outcome_lines(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    """What was not done, and a line with numbers."""
    for one in outcomes:
        if one.result is not Result.DONE:
            yield f"! {ended(one)}: {one.detail or 'it comes after another'}", "red"
    counts = Counter(str(one.result) for one in outcomes)
    yield ", ".join(f"{count} {result}" for result, count in counts.items()) or "nothing to do", "bold"


def ended(outcome: Outcome) -> str:
    """How a change ended, without why."""
    return f"{outcome.change.name}: {outcome.change.kind} {outcome.result}"


def interrupted(outcomes: Sequence[Outcome]) -> str:
    """What goes on after Ctrl-C, and what does not."""
    counts = Counter(map(_state, outcomes))
    told = "; ".join(f"{count} {state}" for state, count in counts.items())
    return f"interrupted: {told}; the same command again follows what was ordered, and does the rest"


def _state(outcome: Outcome) -> str:
    if outcome.is_open:
        return "ordered: CertRelay goes on with them"
    if outcome.has_ended:
        return str(outcome.result)
    return "sent and not answered yet" if outcome.sent else "not begun"


def progress(outcomes: Sequence[Outcome]) -> str:
    done = sum(one.has_ended for one in outcomes)
    waiting = [one.change.name for one in outcomes if one.is_open]
    more = f"; waiting for {', '.join(waiting[:3])}{' …' if len(waiting) > 3 else ''}" if waiting else ""
    return f"{done} of {len(outcomes)}{more}"


def _fitting(rows: list[str]) -> list[str]:
    """As many as a comment has room for: GitHub takes 65,536 characters."""
    length, fitting = 0, 0
    for row in rows:
        length += len(row) + 1
        if length > MAX_PART:
            break
        fitting += 1
    more = len(rows) - fitting
    return rows[:fitting] + ([f"\n… and {more} more"] if more else [])


def _row(change: Change) -> str:
    why = "<br>".join(map(_escaped, change.why))
    return f"| {_escaped(change.name)} | {change.kind} | {why} |"


def _escaped(text: str) -> str:
    """Text from elsewhere, which must not become markup, a mention or a link."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return "".join(f"&#{ord(one)};" if one in "<>&|*_`[]()@#~\\!" else one for one in plain)
