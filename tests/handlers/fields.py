"""Every field of the OpenAPI document's request bodies: where it is, what it may be, and a body that has it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from handlers import openapi
from handlers.routes import ROUTES, Route

type Json = dict[str, Any]


@dataclass(frozen=True)
class BodyField:
    """One field, or an item of a list: its route, the keys and positions that lead to it, and its schema."""

    route: Route
    path: tuple[str | int, ...]
    schema: Json

    @property
    def pointer(self) -> str:
        return "".join(f"/{part}" for part in self.path)

    def body(self, value: Any) -> Any:
        """A body with this value in the field, and the smallest values in all others that it needs."""
        return _placed(_schema(self.route), self.path, value)


def body_fields() -> list[BodyField]:
    """All fields of all bodies, those of nested objects and the items of lists included."""
    return [
        BodyField(route, path, schema)
        for route in ROUTES
        if route.body is not None
        for path, schema in _fields(_schema(route), ())
    ]


def resolved(schema: Json) -> Json:
    """The schema behind a reference, and of `X or null` the X."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = openapi.document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        else:
            schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
    return schema


def _schema(route: Route) -> Json:
    assert route.body is not None
    schema: Json = openapi.document()["components"]["schemas"][route.body.__name__]
    return schema


def _fields(schema: Json, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    for name, written in schema.get("properties", {}).items():
        found = resolved(written)
        yield (*path, name), found
        yield from _fields(found, (*path, name))
        if "items" in found:
            item = resolved(found["items"])
            yield (*path, name, 0), item
            yield from _fields(item, (*path, name, 0))


def _placed(schema: Json, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    first, *rest = path
    if isinstance(first, int):
        return [_placed(resolved(schema["items"]), tuple(rest), value)]
    body = {name: _smallest(schema["properties"][name]) for name in schema.get("required", ()) if name != first}
    return body | {first: _placed(resolved(schema["properties"][first]), tuple(rest), value)}


def _smallest(schema: Json) -> Any:
    schema = resolved(schema)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema["type"]
    if kind == "object":
        return {name: _smallest(schema["properties"][name]) for name in schema.get("required", ())}
    if kind == "array":
        return [_smallest(schema["items"])] * schema.get("minItems", 0)
    return {"string": "x" * schema.get("minLength", 0), "integer": schema.get("minimum", 0), "boolean": True}[kind]
