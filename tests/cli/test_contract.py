"""The typed client and the OpenAPI document say the same: routes, parameters, fields."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest

from certrelay_client import Client, FunctionKey, request_models, response_models, service_models
from handlers import openapi

MODELS = (request_models, response_models, service_models)
HELPERS = {"close", "follow", "certificates"}

for module in Path(openapi.__file__).parent.glob("[a-z]*.py"):  # each declares its routes
    importlib.import_module(f"handlers.{module.stem}")
openapi.document.cache_clear()
DOCUMENT = openapi.document()
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]


def methods() -> set[str]:
    return {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")} - HELPERS


def known_fields(name: str) -> set[str]:
    [model] = [vars(module)[name] for module in MODELS if name in vars(module)]
    return set(model.__annotations__)


def test_the_client_has_a_method_for_each_route_and_no_other() -> None:
    assert methods() == set(OPERATIONS)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_method_sends_what_the_route_takes(name: str) -> None:
    method, path, operation = OPERATIONS[name]
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={})

    in_path = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    in_query = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
    parameters = inspect.signature(getattr(Client, name)).parameters
    named = {one for one, given in parameters.items() if given.kind is inspect.Parameter.KEYWORD_ONLY}
    assert named - {"idempotency_key"} == in_query.keys()
    assert list(parameters)[1 : len(in_path) + 1] == in_path
    assert ("body" in parameters) == ("requestBody" in operation)
    values = {one: f"a/{one}" for one in in_path} | dict.fromkeys(in_query, "1")
    if "body" in parameters:
        values["body"] = {"some": "thing"}  # type: ignore[assignment]
    with Client("https://app.example", FunctionKey("k"), transport=httpx.MockTransport(answer)) as client:
        getattr(client, name)(**values)
    [request] = sent
    expected = re.sub(r"\{(\w+)\}", lambda found: f"a%2F{found[1]}", path)
    assert (request.method, request.url.raw_path.decode().split("?")[0]) == (method, f"/api{expected}")
    assert request.url.params == httpx.QueryParams(dict.fromkeys(in_query, "1"))
    assert request.headers["x-functions-key"] == "k"


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_method_has_the_types_of_the_document(name: str) -> None:
    _, _, operation = OPERATIONS[name]
    hints = get_type_hints(getattr(Client, name))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        assert body["$ref"].rsplit("/", 1)[1] in str(hints["body"])
    answers = [answer for status, answer in operation["responses"].items() if status in ("200", "202")]
    schema = answers[0].get("content", {}).get("application/json", {}).get("schema")
    if schema:
        assert schema["$ref"].rsplit("/", 1)[1] in str(hints["return"])


@pytest.mark.parametrize("name", sorted(name for name, schema in SCHEMAS.items() if schema.get("properties")))
def test_each_field_is_known(name: str) -> None:
    schema = SCHEMAS[name]
    known, there = known_fields(name), set(schema["properties"])
    assert there <= known, f"the client lacks {there - known}"
    if schema.get("additionalProperties") is False:
        assert known == there


def test_a_value_cannot_lead_to_another_route() -> None:
    with Client("https://app.example", transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        for value in ("", ".", ".."):
            with pytest.raises(ValueError, match="must not be"):
                client.get_certificate("main", value)


def test_several_states_are_one_parameter_with_commas() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("state"))
        return httpx.Response(200, json={"value": [], "continuation": None})

    with Client("https://app.example", FunctionKey("k"), transport=httpx.MockTransport(answer)) as client:
        for states in ("due", ["expired", "due"], {"expired"}, None):
            client.list_certificates("main", state=states)
    assert asked == ["due", "due,expired", "expired", None]
