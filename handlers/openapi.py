"""The OpenAPI 3.1 document, made from the routes and their models."""

import functools
import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from handlers import response_models
from handlers.routes import ROUTES, Query, Route

VERSION = "0.1.0"
REFERENCE = "#/components/schemas/{model}"
ENTRA_ID = (
    "An access token of Microsoft Entra ID for the app's registration, where App Service authentication is on. The "
    "caller's application role (x-role) decides; no function key is needed."
)
TITLES = {
    400: "The request is not valid; every fault is named.",
    401: "No function key, or no caller.",
    403: "The caller, the rules or Key Vault do not allow it.",
    404: "There is no such thing.",
    409: "The name is busy, deleted, or not in a state for this.",
    503: "Key Vault, the storage account or an authority cannot now; see Retry-After.",
}

type Json = dict[str, Any]


@functools.cache
def document() -> Json:
    """The whole contract."""
    paths: Json = {}
    for one in ROUTES:
        paths.setdefault("/" + re.sub(r":[^}]*", "", one.path), {})[one.method.lower()] = _operation(one)
    bodies: list[type[BaseModel]] = [response_models.Problem]
    bodies += [model for one in ROUTES for model in (one.body, one.answer) if model is not None]
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


def _operation(one: Route) -> Json:
    operation: Json = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [_in_path(name, kind) for name, kind in re.findall(r"\{(\w+)(:[^}]*)?\}", one.path)]
        + [_in_query(query) for query in one.query],
        "responses": _responses(one),
    }
    if one.body is not None:
        content = {"application/json": {"schema": _reference(one.body)}}
        content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in one.raw_body}
        operation["requestBody"] = {"required": True, "content": content}
    if one.role is None:
        operation["security"] = []
    else:
        operation["x-role"] = f"CertRelay.{one.role.name.capitalize()}"
    return operation


def _responses(one: Route) -> Json:
    content = {"application/json": {"schema": _reference(one.answer)}} if one.answer else {}
    content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in one.raw_answer}
    found: Json = {str(one.status): {"description": one.summary, "content": content}}
    if one.status == 202:
        found["202"]["headers"] = {name: {"schema": {"type": "string"}} for name in ("Location", "Retry-After")}
    if one.method == "GET":
        found["304"] = {"description": "Not changed since the ETag in If-None-Match."}
    if one.method == "DELETE" and one.path.endswith("/pending"):
        found["204"] = {"description": "A pending operation that was not CertRelay's is deleted."}
    problem = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    if one.role is not None:
        # The Functions host itself answers 401 without a body when the key is missing.
        found |= {str(status): {"description": TITLES[status], "content": problem} for status in one.errors}
    if one.path == "health/ready":
        found["503"] = {"description": TITLES[503], "content": content}
    if 401 in one.errors and one.role is not None:
        found["401"] = {"description": TITLES[401]}
    return found


def _in_path(name: str, constraint: str) -> Json:
    schema: Json = {"type": "string", "minLength": 1}
    if constraint:
        schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    if name in ("name", "issuer"):
        schema["pattern"] = "^[0-9A-Za-z-]{1,127}$"
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(query: Query) -> Json:
    schema = {"type": query.kind}
    return {"name": query.name, "in": "query", "description": query.description, "schema": schema}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": REFERENCE.format(model=model.__name__)}
