"""The little of the Kusto query language that the alerts and the workbook use, run on rows of this process.

A query is `TABLE | where CONDITION | …`, or `union (QUERY), (QUERY)`; what follows the conditions is not evaluated."""

import re
from collections.abc import Callable
from typing import Any

type Row = dict[str, Any]
type Rows = dict[str, list[Row]]  # by table

_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[()]|==|=~|!=|>|<|,|!has\b|[\w.]+""")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda value, given: bool(value == given),
    "=~": lambda value, given: str(value).lower() == str(given).lower(),
    "!=": lambda value, given: bool(value != given),
    ">": lambda value, given: value is not None and value > given,
    "startswith": lambda value, given: str(value).lower().startswith(str(given).lower()),
    "has": lambda value, given: re.search(rf"\b{re.escape(given)}\b", str(value), re.IGNORECASE) is not None,
    "!has": lambda value, given: re.search(rf"\b{re.escape(given)}\b", str(value), re.IGNORECASE) is None,
    "in": lambda value, given: value in given,
}  # fmt: skip


def parts(query: str) -> list[str]:
    """The queries of a union, or the query itself."""
    if not query.startswith("union "):
        return [query]
    return [part.strip() for part in re.split(r"\)\s*,\s*\((?=App)", query.removeprefix("union ").strip()[1:-1])]


def found(query: str, rows: Rows) -> list[Row]:
    """The rows that the query's conditions let through."""
    kept: list[Row] = []
    for part in parts(query):
        table, *steps = (step.strip() for step in part.split("|"))
        conditions = [step.removeprefix("where ") for step in steps if step.startswith("where ")]
        kept += [row for row in rows.get(table, []) if all(_Condition(text).holds(row) for text in conditions)]
    return kept


class _Condition:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        left_over = re.sub(r"\s+", "", _TOKEN.sub("", text))
        assert not left_over, f"{left_over!r} of {text!r} is not understood"

    def holds(self, row: Row) -> bool:
        rest = list(self._tokens)
        result = _either(rest, row)
        assert not rest, f"{rest} is not understood"
        return result


def _either(rest: list[str], row: Row) -> bool:
    result = _both(rest, row)
    while rest and rest[0] == "or":
        rest.pop(0)
        result = _both(rest, row) or result
    return result


def _both(rest: list[str], row: Row) -> bool:
    result = _one(rest, row)
    while rest and rest[0] == "and":
        rest.pop(0)
        result = _one(rest, row) and result
    return result


def _one(rest: list[str], row: Row) -> bool:
    first = rest.pop(0)
    if first == "(":
        result = _either(rest, row)
        assert rest.pop(0) == ")"
        return result
    if first == "tostring":
        assert rest.pop(0) == "("
        first = rest.pop(0)
        assert rest.pop(0) == ")"
    value: Any = row
    for name in first.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    operator = rest.pop(0)
    return _OPERATORS[operator](value, _given(rest))


def _given(rest: list[str]) -> Any:
    token = rest.pop(0)
    if token == "(":
        values = []
        while (token := rest.pop(0)) != ")":
            values += [] if token == "," else [_literal(token)]
        return values
    return _literal(token)


def _literal(token: str) -> Any:
    if token[0] in "'\"":
        return token[1:-1]
    return {"true": True, "false": False}[token] if token in ("true", "false") else float(token)
