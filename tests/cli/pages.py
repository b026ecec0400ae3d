"""What docs/cli.md and cli/README.md say: the blocks to run, and the commands that they name."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from certrelay_cli.main import app as commands

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "cli.md", ROOT / "cli" / "README.md"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"(?<![\w.\"/-])certrelay (?=[a-z-])([^|;&<>`)#\n]*)")
OPTION = re.compile(r"--[a-z][a-z-]+")


@dataclass(frozen=True)
class Block:
    """An `sh` block. `sign_in`: `key` or `entra`, as its `with=` says. `codes`: the exit codes that are right."""

    text: str
    sign_in: str
    codes: frozenset[int]


def blocks(page: str) -> list[Block]:
    found = []
    for info, text in FENCE.findall(page):
        language, *options = info.split() or [""]
        if language == "sh":
            given = dict(option.split("=") for option in options)
            codes = frozenset(int(code) for code in given.get("exit", "0").split(","))
            found.append(Block(text, given.get("with", "key"), codes))
    return found


def every_command() -> dict[str, Any]:
    """All commands by their names; of those of a group with the group's."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(commands).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None) or {"": command}
        found |= {f"{name} {one}".strip(): of_group for one, of_group in inner.items()}
    return found


def called(text: str, known: Iterable[str]) -> Iterator[str]:
    """The names of the commands that a line or a block calls; of one that there is not, its first word."""
    names = set(known)
    for arguments in CALL.findall(text):
        words = [word for word in arguments.split() if not word.startswith("-")]
        candidates = [*map(" ".join, pairwise(words)), *words]
        if words:
            yield next((one for one in candidates if one in names), words[0])


def faults(pages: Iterable[str], known: Iterable[str]) -> list[str]:
    """What the pages name and do not run, and the commands of `known` that none of them runs."""
    texts, names = list(pages), set(known)
    run = "".join(block.text for page in texts for block in blocks(page))
    commands_run, options_run = set(called(run, names)) & names, set(OPTION.findall(run))
    others = [text for page in texts for info, text in FENCE.findall(page) if info.split()[:1] != ["sh"]]
    spans = [span for page in texts for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", page))]
    spans = [span for span in spans if span.startswith(("certrelay ", "--"))]
    named = {name for text in [*others, *spans] for name in called(text, names)} - commands_run
    named |= {option for span in spans for option in OPTION.findall(span)} - options_run
    missing = [f"no page runs {name}" for name in sorted(names - commands_run)]
    return missing + [f"{one} is named and not run" for one in sorted(named)]
