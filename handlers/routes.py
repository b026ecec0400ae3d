"""Declare HTTP functions once: method, path, role, models. They are registered, and OpenAPI is generated, from that."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict, Unpack

import azure.functions as func
from pydantic import BaseModel

from certrelay.errors import Fault, Invalid
from handlers import roles
from handlers.http import Answer, endpoint
from handlers.roles import Role

type Handler = Callable[[func.HttpRequest], Answer]


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter, for OpenAPI; the handler itself reads and checks it. `kind`: its JSON Schema type."""

    name: str
    description: str
    kind: str = "string"


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP function, for OpenAPI.

    `role`: the lowest role that may call it; None: anybody. `body`: the model of the request body. `answer`: the model
    of the response body with `status`; None: no JSON. `raw_body`, `raw_answer`: content types other than JSON.
    `errors`: the error statuses that it may have. `any_role`: whoever is signed in may call it, even without a role."""

    method: str
    path: str
    role: Role | None
    name: str
    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    query: tuple[Query, ...] = ()
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
    raw_body: tuple[str, ...]
    raw_answer: tuple[str, ...]
    errors: tuple[int, ...]
    any_role: bool


ROUTES: list[Route] = []


def route(
    blueprint: func.Blueprint,
    method: str,
    path: str,
    role: Role | None,
    **contract: Unpack[Contract],
) -> Callable[[Handler], Handler]:
    """Register the handler as an HTTP function. With `role` None anybody may call it, even without a key.

    The first line of the handler's docstring is the summary in OpenAPI and in docs/api.md."""

    def register(handler: Handler) -> Handler:
        summary = (handler.__doc__ or "").strip().split("\n")[0]
        ROUTES.append(Route(method, path, role, handler.__name__, summary, **contract))
        level = func.AuthLevel.ANONYMOUS if role is None else None  # else the app's (function_app.py)

        known = {query.name for query in contract.get("query", ())} | {"code"}  # the host's own: a function key

        @functools.wraps(handler)
        def permitted(req: func.HttpRequest) -> Answer:
            if role is None:  # a probe's own parameters are nobody's business
                return handler(req)
            if contract.get("any_role"):
                roles.caller_of(req)
            else:
                roles.require(req, role)
            if unknown := sorted(req.params.keys() - known):
                raise Invalid([Fault(f"/{name}", f"this route has no query parameter {name}") for name in unknown])
            return handler(req)

        blueprint.route(route=path, methods=[method], auth_level=level)(endpoint(permitted))
        return handler

    return register
