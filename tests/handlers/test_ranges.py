"""Every field of the OpenAPI document has its ends; what is past one is refused with the field's name and range."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from certrelay.errors import StorageNotReady
from handlers import openapi
from handlers.routes import ROUTES, Query, Route
from tests.handlers.fields import BodyField, body_fields
from tests.handlers.in_process import InProcess, Response, path_of
from tests.world import World

DIGITS = 10**399
SINGLE_LINE = ("a\nb", "a\r\n", "a\x00", "\x7f", "\u2028", "\x1b[31m")
OURS = re.compile(r"(is|must|needs|at most|there is) ")
FIELDS = {f"{field.route.name} {field.pointer}": field for field in body_fields()}
MODELS = {f"{field.route.body.__name__} {field.pointer}": field for field in FIELDS.values() if field.route.body}
QUERIES = {f"{route.name} {query.name}": (route, query) for route in ROUTES for query in route.query}


@pytest.fixture
def functions(world: World, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Nothing may be asked of Key Vault or written before a request is known to be good."""
    monkeypatch.setattr(world.vault._client, "send_request", lambda *_, **__: pytest.fail("Key Vault was asked"))
    return InProcess(world, monkeypatch)


def wrong(schema: dict[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    """Values that are past an end of the schema or of another type, and what the fault must name."""
    kind, ends = schema["type"], [schema[key] for key in ENDS if key in schema]
    named = [str(end) for end in ends]
    others: dict[str, Any] = {"string": "x", "integer": 7, "boolean": True, "array": [], "object": {}}
    for other, value in others.items():
        if other != kind:
            yield value, named
    yield 1.5, named
    yield from _past_the_ends(kind, schema, named)


ENDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties")


def _past_the_ends(kind: str, schema: dict[str, Any], named: list[str]) -> Iterator[tuple[Any, list[str]]]:
    past = {"integer": _numbers, "string": _texts, "array": _lists, "object": _objects}.get(kind, lambda _: ())
    for value, also_named in past(schema):
        yield value, also_named or named


def _numbers(schema: dict[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    yield from ((value, []) for value in (schema["minimum"] - 1, schema["maximum"] + 1, DIGITS, -DIGITS, -5))


def _texts(schema: dict[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    known = schema.get("enum", [])
    yield from ((value, known) for text in known[:1] for value in ("", "other", text + "\n", text + "x"))
    yield from (("", []) for _ in range(schema.get("minLength", 0) and 1))
    yield from (("1" * (longest + 1), []) for longest in [schema.get("maxLength")] if longest)
    yield from ((text, []) for text in SINGLE_LINE if "pattern" in schema)
    if schema.get("format") == "date-time":
        yield from ((text, ["2026-01-31T12:00:00Z"]) for text in ("", "2026-01-31T12:00:00", "9999999-01-01T00:00Z"))


def _lists(schema: dict[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    yield from (([], []) for _ in range(schema.get("minItems", 0) and 1))
    yield [None] * (schema["maxItems"] + 1), []


def _objects(schema: dict[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    if "maxProperties" not in schema:
        yield {"\x00unknown": 1}, ["is not a known field"]
        return
    yield {str(number): "x" for number in range(schema["maxProperties"] + 1)}, []
    yield {"": "x"}, ["1 to 256"]
    yield from ((tags, ["256"]) for tags in ({"a": "x" * 257}, {"a" * 257: "x"}, {"a": 7}))


def asked(functions: InProcess, field: BodyField, value: Any) -> Response:
    answer = functions.call(field.route.method, path_of(field.route, "www"), field.body(value))
    assert answer is not None
    return answer


@pytest.mark.parametrize("place", MODELS)
def test_what_is_past_an_end_is_refused_with_the_fields_name_and_its_range(functions: InProcess, place: str) -> None:
    field = MODELS[place]
    for value, named in wrong(field.schema):
        answer = asked(functions, field, value)
        told = f"{str(value)[:60]!r}: {answer.body.decode()}"
        assert answer.status == 400, told
        faults = [fault for fault in answer.json()["errors"] if fault["pointer"].startswith(field.pointer)]
        assert faults, told
        assert all(OURS.match(fault["detail"]) for fault in faults), told
        assert any(all(part in fault["detail"] for part in named) for fault in faults), told
        assert len(answer.body) < 8000, "no value is sent back"


def ended(schema: dict[str, Any]) -> bool:
    """Whether a schema says where a value ends."""
    if "enum" in schema or "const" in schema or schema["type"] == "boolean":
        return True
    needed = {"integer": ("minimum", "maximum"), "string": ("maxLength",), "array": ("maxItems",)}
    if schema["type"] == "object":
        return schema.get("additionalProperties") is False or "maxProperties" in schema
    return all(key in schema for key in needed[schema["type"]]) or schema.get("format") == "date-time"


def test_every_field_and_every_parameter_of_the_document_has_its_ends() -> None:
    parameters = {
        f"{operation['operationId']} {parameter['name']}": parameter["schema"]
        for path in openapi.document()["paths"].values()
        for operation in path.values()
        for parameter in operation["parameters"]
    }
    schemas = {place: field.schema for place, field in FIELDS.items()} | parameters
    assert [place for place, schema in schemas.items() if not ended(schema)] == []
    assert len(schemas) > 150


def wrong_text(query: Query) -> Iterator[tuple[str, list[str]]]:
    for value, named in _past_the_ends(query.schema["type"], {**query.schema, "minLength": 0}, []):
        ends = [str(query.schema[key]) for key in ("minimum", "maximum", "maxLength") if key in query.schema]
        yield str(value), named or ends
    if query.schema["type"] != "string":
        for text in ("1.0", "x", "\u0661", "1 ", "+1", "0x1", "True", "TRUE", "1e3", "1\n"):
            yield text, []


@pytest.mark.parametrize("place", QUERIES)
def test_a_query_parameter_past_its_end_is_refused_with_its_name_and_its_range(
    functions: InProcess, place: str
) -> None:
    route, query = QUERIES[place]
    for value, named in wrong_text(query):
        if value == "":
            continue  # the host leaves empty parameters out
        answer = functions.call(route.method, f"{path_of(route, 'www')}?{query.name}={quote(value)}")
        assert answer is not None
        assert (answer.status, answer.pointers) == (400, [f"/{query.name}"]), (value, answer)
        (fault,) = answer.json()["errors"]
        assert fault["detail"].startswith("must be ")
        assert all(part in fault["detail"] for part in named), (value, fault)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_unknown_query_parameters_and_fields_are_named_all_at_once(functions: InProcess, route: Route) -> None:
    if route.role is None:
        return
    answer = functions.call(route.method, f"{path_of(route, 'www')}?stat=1&%0A=2&{'n' * 5000}=3")
    assert answer is not None
    assert (answer.status, answer.pointers) == (400, ["/\n", f"/{'n' * 100}", "/stat"])
    if route.body is not None:
        answer = functions.call(route.method, path_of(route, "www"), {"one": 1, "two": {"three": []}})
        assert answer is not None
        assert answer.status == 400
        assert {"/one", "/two"} <= set(answer.pointers)


IDENTIFIERS = (
    "a/b",
    "main.www.a/b",
    "main.www.../../x",
    "main.www.\n",
    "main.www.a#b",
    "main.www." + "0" * 500,
    "..",
    "\\",
)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_an_id_that_no_operation_can_have_is_not_looked_up(
    functions: InProcess, world: World, monkeypatch: pytest.MonkeyPatch, identifier: str
) -> None:
    """A table's key cannot have a slash: storage refused it four times, for 4.8 seconds, and the answer was a 503."""

    def unasked(*_: object) -> None:
        raise StorageNotReady("asked")

    for table in (
        world.services.storage._operations,
        world.services.storage._history,
        world.services.storage.replacements,
    ):
        monkeypatch.setattr(table, "get", unasked)
        monkeypatch.setattr(table, "query", unasked)
    for path in (f"operations/{quote(identifier, safe='')}", f"replacements/{quote(identifier, safe='')}"):
        answer = functions.call("GET", path)
        assert answer is not None
        assert answer.status == 404, answer
    asked = functions.call("GET", f"vaults/main/certificates/www/pending?request_id={quote(identifier, safe='')}")
    assert asked is not None
    assert asked.status in (400, 404), asked


@pytest.mark.parametrize("key", ["", "a b", "a\n", "\u00e9", "k" * 256])
def test_an_idempotency_key_is_visible_ascii(functions: InProcess, key: str) -> None:
    body = {"authority": "test-ca", "dns_names": ["www.contoso.example"]}
    answer = functions.call("POST", "vaults/main/certificates/www/create", body, **{"idempotency-key": key})
    assert answer is not None
    assert answer.status == 400
    assert "1 to 255 visible ASCII characters" in answer.json()["detail"]
