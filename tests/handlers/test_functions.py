"""What Azure is told when the app starts is what the modules say, which are imported later."""

import inspect
from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest

from handlers import events, functions, notifications, openapi, page, queue, routes, schedule
from handlers.functions import ANYBODY, HTTP

TRIGGERED = (queue, schedule, events, notifications)


@pytest.fixture(scope="module")
def registered() -> dict[str, Callable[..., Any]]:
    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
    functions.register(app)
    return {str(one.get_function_name()): one.get_user_function() for one in app.get_functions()}


def test_every_http_function_is_declared_as_its_module_says() -> None:
    declared = [(name, *where) for module in HTTP.values() for name, where in module.items()]
    assert declared == [(route.name, route.method, route.path) for route in routes.every_route()]
    assert {route.name for route in routes.every_route() if route.role is None} | page.blueprint.keys() == ANYBODY
    for name, module in zip(HTTP, functions.modules(), strict=True):
        assert module.blueprint.keys() == HTTP[name].keys()


def test_every_triggered_function_is_declared_with_its_argument(registered: dict[str, Callable[..., Any]]) -> None:
    written = {
        name: one
        for module in TRIGGERED
        for name, one in vars(module).items()
        if inspect.isfunction(one) and one.__module__ == module.__name__
    }
    over_http = {name for module in HTTP.values() for name in module} | page.blueprint.keys()
    assert registered.keys() == written.keys() | over_http
    for name, one in written.items():
        [bound], [argument] = (inspect.signature(each).parameters.values() for each in (registered[name], one))
        assert (bound.name, bound.annotation) == (argument.name, argument.annotation), name


def test_a_declared_function_calls_the_one_in_its_module(registered: dict[str, Callable[..., Any]]) -> None:
    request = func.HttpRequest("GET", "https://host/api/health", headers={}, params={}, route_params={}, body=b"")
    assert registered["get_health"](req=request).get_body() == b'{"status": "ok"}'


def test_the_document_has_every_route_in_the_same_order_whatever_was_called_first() -> None:
    named = [one["operationId"] for path in openapi.document()["paths"].values() for one in path.values()]
    assert sorted(named) == sorted(name for module in HTTP.values() for name in module)
    before = routes.ROUTES.copy()
    try:
        routes.ROUTES.reverse()
        assert routes.every_route() == sorted(before, key=lambda route: named_at(route.name))
    finally:
        routes.ROUTES[:] = before


def named_at(name: str) -> int:
    return [one for module in HTTP.values() for one in module].index(name)
