"""The OpenAPI 3.1 document, generated from the routes and their models."""

import functools
import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from certrelay import validation
from certrelay.storage.operation import CERTIFICATE_NAME
from handlers import response_models
from handlers.routes import PREFER, Header, Query, Route, every_route

VERSION = "0.1.0"
REFERENCE = "#/components/schemas/{model}"
ENTRA_ID = (
    "An access token of Microsoft Entra ID for the app's registration, where App Service authentication is on. The "
    "caller's application role (x-role) decides; no function key is needed."
)
TITLES = {
    400: "The request is not valid; `errors` lists every fault.",
    401: "No function key, or no authenticated caller.",
    403: "The caller's role or grants, the owner, the rules or Key Vault do not allow it.",
    404: "The vault, certificate, operation, authority or replacement does not exist.",
    409: "The certificate is busy, deleted, or not in a state that allows it.",
    503: "Key Vault, the storage account or an authority is not available now; see Retry-After.",
}

type Json = dict[str, Any]


@functools.cache
def document() -> Json:
    """The OpenAPI document of all routes."""
    paths: Json = {}
    routes = every_route()
    for route in routes:
        paths.setdefault("/" + re.sub(r":[^}]*", "", route.path), {})[route.method.lower()] = _operation(route)
    bodies: list[type[BaseModel]] = [response_models.Problem]
    bodies += [model for route in routes for model in (route.body, route.answer) if model is not None]
    unique = list(dict.fromkeys(bodies))
    inputs = [(model, "validation") for model in unique]
    _, schemas = models_json_schema(inputs, ref_template=REFERENCE)  # type: ignore[arg-type]
    schemes = {
        "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
        "entraId": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": ENTRA_ID},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "CertRelay", "version": VERSION, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/api"}],
        "security": [{"functionKey": []}, {"entraId": []}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": schemes},
    }


def _operation(route: Route) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [_in_path(name, kind) for name, kind in re.findall(r"\{(\w+)(:[^}]*)?\}", route.path)]
        + [_parameter("query", query) for query in route.query]
        + [_parameter("header", header) for header in route.headers],
        "responses": _responses(route),
    }
    if route.body is not None:
        content = {"application/json": {"schema": _reference(route.body)}}
        content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in route.raw_body}
        operation["requestBody"] = {"required": True, "content": content}
    if route.role is None:
        operation["security"] = []
    elif not route.any_role:
        operation["x-role"] = f"CertRelay.{route.role.name.capitalize()}"
    return operation


def _responses(route: Route) -> Json:
    content = {"application/json": {"schema": _reference(route.answer)}} if route.answer else {}
    content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in route.raw_answer}
    responses: Json = {str(route.status): {"description": route.summary, "content": content}}
    if route.status == 202:
        responses["202"]["headers"] = {name: {"schema": {"type": "string"}} for name in ("Location", "Retry-After")}
    if PREFER in route.headers:
        applied = {"Preference-Applied": {"schema": {"type": "string"}}}
        ended = {"description": f"{route.summary} It ended while the caller waited.", "content": content}
        responses["200"] = {**responses.get("200", ended), "headers": applied}
    if route.method == "GET":
        responses["304"] = {"description": "Not changed since the ETag in If-None-Match."}
    if route.method == "DELETE" and route.path.endswith("/pending"):
        responses["204"] = {"description": "A pending operation that CertRelay did not create was deleted."}
    problem = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    if route.role is not None:
        responses |= {
            str(status): {"description": TITLES[status], "content": problem} for status in (400, *route.errors)
        }
    if route.path == "health/ready":
        responses["503"] = {"description": TITLES[503], "content": content}
    if (
        401 in route.errors and route.role is not None
    ):  # the Functions host itself answers a missing key, without a body
        responses["401"] = {"description": TITLES[401]}
    return responses


def _in_path(name: str, constraint: str) -> Json:
    pattern = {"name": CERTIFICATE_NAME.pattern, "issuer": CERTIFICATE_NAME.pattern}.get(name)
    schema: Json = {"type": "string", "minLength": 1, "maxLength": 200}
    if pattern or constraint:
        schema["pattern"] = pattern or validation.VERSION
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameter(place: str, declared: Query | Header) -> Json:
    described = {"name": declared.name, "in": place, "description": declared.description, "schema": declared.schema}
    return described | ({"style": "form", "explode": False} if declared.schema["type"] == "array" else {})


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": REFERENCE.format(model=model.__name__)}
