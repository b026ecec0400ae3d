"""docs/security.md: each of the 48 promises names tests, and those exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "security.md").read_text())


@cache
def names_in(path: Path) -> frozenset[str]:
    """`name`, or `Class::name`, of every test in a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {prefix + one.name for one in members if isinstance(one, ast.FunctionDef)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


def test_every_check_has_one_row() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 49))


@pytest.mark.parametrize(("number", "tests"), [(number, tests) for number, _, tests in ROWS])
def test_every_test_that_the_page_names_exists(number: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)`", tests)
    assert named, f"check {number} names no test"
    for one in named:
        path, _, name = one.partition("::")
        assert (ROOT / path).is_file(), one
        assert name in names_in(ROOT / path), one
