"""Declare the HTTP functions: role, models, parameters. OpenAPI is generated from that.

Method and path are in handlers.functions, which Azure reads at start without the modules."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import azure.functions as func
from pydantic import BaseModel

from certrelay.errors import Fault, Invalid
from certrelay.operations.waiting import LONGEST_WAIT
from certrelay.validation import PRINTABLE, expected
from handlers import functions, roles
from handlers.http import Answer, endpoint
from handlers.roles import Role

type Handler = Callable[[func.HttpRequest], Answer]
type Blueprint = dict[str, Callable[[func.HttpRequest], func.HttpResponse]]  # a module's HTTP functions, by name


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter: its JSON Schema is in OpenAPI, and a value that does not meet it is refused.

    `schema`: `type` is string, integer, boolean or array; an integer has `minimum` and `maximum`, a string `enum` or
    `maxLength`, an array `items` with `enum`, and `maxItems`."""

    name: str
    description: str
    schema: dict[str, Any]

    def expected(self) -> str:
        """What a value is, in words."""
        if self.schema["type"] != "array":
            return expected(self.schema)
        return f"one or more of {', '.join(self.schema['items']['enum'])}, with commas between them"

    def is_met(self, value: str) -> bool:
        """Whether a value is in its range."""
        if self.schema["type"] == "boolean":
            return value in ("true", "false")
        if self.schema["type"] == "array":
            parts = value.split(",")
            return len(parts) <= self.schema["maxItems"] and set(parts) <= set(self.schema["items"]["enum"])
        if self.schema["type"] == "integer":
            whole = re.fullmatch(r"[0-9]{1,9}", value, re.ASCII)
            return whole is not None and self.schema["minimum"] <= int(value) <= self.schema["maximum"]
        fits = 1 <= len(value) <= self.schema.get("maxLength", len(value))
        return value in self.schema.get("enum", (value,)) and fits and re.match(PRINTABLE, value) is not None


def text(name: str, description: str, longest: int = 2000) -> Query:
    """A query parameter with any text on one line."""
    return Query(name, description, {"type": "string", "minLength": 1, "maxLength": longest, "pattern": PRINTABLE})


def choice(name: str, description: str, *values: str) -> Query:
    """A query parameter with one of these values."""
    return Query(name, description, {"type": "string", "enum": list(values)})


def choices(name: str, description: str, *values: str) -> Query:
    """A query parameter with one or more of these values, with commas between them."""
    items = {"type": "string", "enum": list(values)}
    return Query(name, description, {"type": "array", "items": items, "minItems": 1, "maxItems": len(values)})


def whole(name: str, description: str, lowest: int, highest: int) -> Query:
    """A query parameter with a whole number."""
    return Query(name, description, {"type": "integer", "minimum": lowest, "maximum": highest})


def flag(name: str, description: str) -> Query:
    """A query parameter that is true or false, by default false."""
    return Query(name, description, {"type": "boolean", "default": False})


@dataclass(frozen=True, slots=True)
class Header:
    """One request header, for OpenAPI; the handler checks its value."""

    name: str
    description: str
    schema: dict[str, Any]


PREFER = Header(
    "Prefer",
    f"`wait=N`: answer when the operation has ended, or after N seconds (at most {LONGEST_WAIT}; RFC 7240).",
    {"type": "string", "maxLength": 2000},
)


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP function, for OpenAPI.

    `role`: the lowest role that may call it; None: anybody. `body`: the model of the request body. `answer`: the model
    of the response body with `status`; None: no JSON. `raw_body`, `raw_answer`: content types other than JSON.
    `headers`: request headers that change the answer. `errors`: the error statuses that it may have. `any_role`:
    whoever is signed in may call it, even without a role."""

    method: str
    path: str
    role: Role | None
    name: str
    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    query: tuple[Query, ...] = ()
    headers: tuple[Header, ...] = ()
    raw_body: tuple[str, ...] = ()
    raw_answer: tuple[str, ...] = ()
    errors: tuple[int, ...] = (400, 401, 403, 404, 409, 503)
    any_role: bool = False


class Contract(TypedDict, total=False):
    """The fields of Route that have defaults."""

    body: type[BaseModel] | None
    answer: type[BaseModel] | None
    status: int
    query: tuple[Query, ...]
    headers: tuple[Header, ...]
    raw_body: tuple[str, ...]
    raw_answer: tuple[str, ...]
    errors: tuple[int, ...]
    any_role: bool


ROUTES: list[Route] = []  # of the modules that are imported


def every_route() -> list[Route]:
    """All routes, in the order of handlers.functions."""
    functions.modules()
    order = [name for module in functions.HTTP.values() for name in module]
    return sorted(ROUTES, key=lambda route: order.index(route.name))


def route(
    blueprint: Blueprint,
    role: Role | None,
    **contract: Unpack[Contract],
) -> Callable[[Handler], Handler]:
    """Put the handler into the blueprint as an HTTP function. With `role` None anybody may call it, even without a key.
    Its method and path are those of its name in handlers.functions.

    The first line of the handler's docstring is the summary in OpenAPI and in docs/api.md."""

    def register(handler: Handler) -> Handler:
        method, path = functions.HTTP[handler.__module__.rpartition(".")[2]][handler.__name__]
        summary = (handler.__doc__ or "").strip().split("\n")[0]
        ROUTES.append(Route(method, path, role, handler.__name__, summary, **contract))

        @functools.wraps(handler)
        def permitted(req: func.HttpRequest) -> Answer:
            if role is None:  # a probe's own parameters are nobody's business
                return handler(req)
            if contract.get("any_role"):
                roles.caller_of(req)
            else:
                roles.require(req, role)
            if faults := _query_faults(req, contract.get("query", ())):
                raise Invalid(faults)
            return handler(req)

        blueprint[handler.__name__] = endpoint(permitted)
        return handler

    return register


def _query_faults(req: func.HttpRequest, queries: tuple[Query, ...]) -> list[Fault]:
    known = {query.name for query in queries} | {"code"}  # the host's own: a function key
    unknown = [
        Fault(f"/{name}", f"this route has no query parameter {name}")
        for name in sorted(name[:100] for name in req.params.keys() - known)
    ]
    wrong = [query for query in queries if query.name in req.params and not query.is_met(req.params[query.name])]
    return unknown + [Fault(f"/{query.name}", f"must be {query.expected()}") for query in wrong]
