"""The statements of a module: imports and definitions are among them, and expressions are most of its syntax tree."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")


def statements(within: ast.AST) -> Iterator[ast.AST]:
    """All that stand in it, at any depth."""
    waiting = [within]
    while waiting:
        holder = waiting.pop()
        found = [node for block in BLOCKS for node in getattr(holder, block, ())]
        yield from found
        waiting += found


def imports(within: ast.AST) -> list[str]:
    """The full names of what is imported in it."""
    found = []
    for node in statements(within):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@cache
def imported(path: Path) -> list[str]:
    """The full names of what a module imports."""
    return imports(ast.parse(path.read_text()))
