"""What is wrong with JSON that somebody wrote, in our words: what to write instead, with an example.

pydantic finds the faults. Their sentences follow from the JSON Schema of the place where they are, so that a request
and a setting are explained alike, and each end of a range is named.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from certrelay.errors import MAX_FAULTS, Fault, first_faults

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"  # one line, without control characters
ALIAS = re.compile(r"[a-z][a-z0-9-]{0,22}[a-z0-9]")  # of a vault or an authority, in the settings
VERSION = "^[0-9a-f]{32}$"  # of a certificate, as Key Vault writes it

MAX_NAME = 256  # characters of a field's name in a pointer: the longest that there is, of a tag
SINGULAR = {"characters": "character", "entries": "entry"}

type Json = dict[str, Any]


class Twice(ValueError):
    """An object has `name` twice, so that a reader would take one of both, and drop the other."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name[:MAX_NAME]


def unique(pairs: list[tuple[str, Any]]) -> Json:
    """An object of JSON, for `object_pairs_hook`. Raises Twice (RFC 8259, section 4: names should be unique)."""
    found: Json = {}
    for name, value in pairs:
        if name in found:
            raise Twice(name)
        found[name] = value
    return found


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """The first faults that pydantic found, with JSON pointers (RFC 6901). No value is repeated: it may be a secret."""
    schema = _schema(model)
    found = error.errors(include_url=False, include_input=False)
    return [*first_faults([_fault(details, schema) for details in found[:MAX_FAULTS]], len(found))]


def expected(schema: Json) -> str:
    """What a value of this JSON Schema is: `a whole number from 1 to 99`."""
    if "const" in schema or "enum" in schema:
        known = [json.dumps(value).strip('"') for value in schema.get("enum", [schema.get("const")])]
        return known[0] if len(known) == 1 else f"one of {', '.join(known)}"
    describe = _KINDS.get(schema.get("type", ""))
    return describe(schema) if describe else "of another form"


def example(schema: Json) -> Any:
    """A value of this JSON Schema."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type")
    if kind == "array":
        return [example(schema.get("items", {}))]
    if kind == "object" and "properties" in schema:
        shown = schema.get("required") or list(schema["properties"])[:1]
        return {name: example(schema["properties"][name]) for name in shown}
    if kind in ("integer", "number"):
        return schema.get("minimum", max(1, schema.get("exclusiveMinimum", 0)))
    return {"boolean": True, "object": {"name": "text"}}.get(str(kind), "text")


def _fault(details: Any, schema: Json) -> Fault:
    path, found = _at(schema, details["loc"])
    names = (str(part)[:MAX_NAME].replace("~", "~0").replace("/", "~1") for part in path)
    pointer = "".join("/" + name for name in names)
    wanted = _either([expected(option) for option in found])
    kind = details["type"]
    if kind == "extra_forbidden":
        return Fault(pointer, "is not a known field")
    if kind in ("value_error", "assertion_error"):
        return Fault(pointer, str(details["ctx"]["error"]))
    if kind == "json_invalid":
        place = re.search(r"line (\d+) column (\d+)", str(details["ctx"]["error"]))
        return Fault(pointer, "is not JSON" + (f": see line {place[1]}, column {place[2]}" if place else ""))
    return Fault(pointer, f"is missing; it must be {wanted}" if kind == "missing" else f"must be {wanted}")


def _either(sentences: list[str]) -> str:
    first, *others = dict.fromkeys(sentences) or ["of another form"]
    return " or ".join([first, *(other.removeprefix("an object, such as ") for other in others)])


def _at(schema: Json, place: Sequence[int | str]) -> tuple[list[int | str], list[Json]]:
    """What may stand at a place, and the place without pydantic's own words for the branches of a union."""
    path: list[int | str] = []
    found, above = _options([schema]), [schema]
    for part in place:
        if part == "[key]":  # not the value, but its name is wrong
            return path, [option["propertyNames"] for option in above if "propertyNames" in option]
        within = [inner for option in found for inner in _within(option, part)]
        tagged = [option for option in found if part in [inner.get("const") for inner in _properties(option)]]
        if within or (isinstance(part, int) or not (tagged or len(found) > 1)):
            path.append(part)
            found, above = _options(within), found
        else:
            found = tagged or found
    return path, found


def _within(schema: Json, part: int | str) -> list[Json]:
    if isinstance(part, int):
        return [inner for inner in [schema.get("items")] if inner]
    inner = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
    return [inner] if isinstance(inner, dict) else []


def _properties(schema: Json) -> list[Json]:
    return list(schema.get("properties", {}).values())


def _options(schemas: Iterable[Json]) -> list[Json]:
    """The branches of unions, without null."""
    found: list[Json] = []
    for schema in schemas:
        branches = schema.get("anyOf") or schema.get("oneOf")
        kept = {key: schema[key] for key in ("examples",) if key in schema}
        found += [{**branch, **kept} for branch in _options(branches)] if branches else [schema]
    return [schema for schema in found if schema.get("type") != "null"]


@functools.cache
def _schema(model: type[BaseModel]) -> Json:
    """The model's JSON Schema with its references resolved; empty if it has none (a connector of somebody's own)."""
    try:
        schema = model.model_json_schema()
    except PydanticUserError:
        return {}
    definitions = schema.pop("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return resolved(definitions[value["$ref"].rsplit("/", 1)[-1]])
        return {key: resolved(item) for key, item in value.items() if key != "discriminator"}

    found: Json = resolved(schema)
    return found


def _number(schema: Json) -> str:
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    least, most, above = (schema.get(end) for end in ("minimum", "maximum", "exclusiveMinimum"))
    least, most, above = (f"{end:.15g}" if isinstance(end, float) else end for end in (least, most, above))
    ends = [
        f"from {least}" if least is not None and most is not None else "",
        f"of at least {least}" if least is not None and most is None else "",
        f"above {above}" if above is not None else "",
        ("to" if least is not None else "and at most" if above is not None else "of at most") + f" {most}"
        if most is not None
        else "",
    ]
    return " ".join(filter(None, [kind, *ends]))


def _text(schema: Json) -> str:
    if schema.get("format") == "password":
        return 'a text: write "@NAME", and put it into the setting NAME'
    if schema.get("format") == "date-time":
        return "a time with its zone, such as 2026-01-31T12:00:00Z"
    counted = _count(schema, "Length", "characters")
    pattern, such_as = schema.get("pattern"), f", such as {_short(example(schema))}" if schema.get("examples") else ""
    written = "a text in quotation marks" + (f" of {counted}" if counted else "")
    if pattern == PRINTABLE:
        return f"{written} on one line, without control characters{such_as}"
    if pattern == VERSION:
        return "32 hexadecimal digits, in lower case"
    if pattern and not such_as:
        return f"{written} that matches {pattern}"
    return written + (such_as or ("" if counted else ', such as "text"'))


def _list(schema: Json) -> str:
    counted = _count(schema, "Items", "entries")
    return "a list" + (f" of {counted}" if counted else "") + f", such as {_short(example(schema))}"


def _object(schema: Json) -> str:
    counted = _count(schema, "Properties", "entries")
    return "an object" + (f" of {counted}" if counted else "") + f", such as {_short(example(schema))}"


def _count(schema: Json, what: str, unit: str) -> str:
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if most is None:
        return "" if not least else f"at least {least} {unit}" if least > 1 else f"at least one {SINGULAR[unit]}"
    return f"{least} to {most} {unit}" if least else f"at most {most} {unit}"


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_KINDS: dict[str, Callable[[Json], str]] = {
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": lambda _: "true or false",
    "array": _list,
    "object": _object,
}
