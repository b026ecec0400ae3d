"""How `apply` waits for orders: what it asks, how often, and what it says when nobody answers. Without an app."""

from typing import Any

import httpx
import pytest

from certrelay_cli.code.apply import PAGE, Outcome, Result, apply
from certrelay_cli.code.planner import Change, Kind, Plan
from certrelay_client import Client

COUNT = PAGE + 1


def operation(number: int, status: str = "inProgress") -> dict[str, Any]:
    return {"id": f"main.www-{number}.1", "name": f"www-{number}", "status": status, "status_details": "waits"}


class Orders:
    """An app at whose orders `looks` looks pass before all of them are completed."""

    def __init__(self, looks: int, list_status: int = 200) -> None:
        self.looks, self.list_status = looks, list_status
        self.requests: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            return httpx.Response(202, json=operation(int(request.url.path.split("/")[5].removeprefix("www-"))))
        if request.url.path == "/api/operations":
            return self.page(request)
        number = int(request.url.path.split(".")[1].removeprefix("www-"))
        return httpx.Response(200, json=operation(number, "inProgress" if self.looks > 0 else "completed"))

    def page(self, request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("continuation", 0))
        self.looks -= start == 0
        following = start + PAGE if start + PAGE < COUNT else None
        value = [operation(number) for number in range(start, min(start + PAGE, COUNT))] if self.looks > 0 else []
        body = {"value": value, "continuation": str(following) if value and following else None}
        return httpx.Response(self.list_status, json=body if self.list_status == 200 else {"detail": "no"})


def applied(orders: Orders, count: int = COUNT) -> list[Outcome]:
    changes = [Change(Kind.CREATE, f"www-{number}", ("",), "create_certificate", {}) for number in range(count)]
    transport = httpx.MockTransport(orders)
    with Client("https://app.example", sleep=lambda _: None, transport=transport) as client:
        return apply(client, Plan("main", tuple(changes)), 3600, lambda _: None)


def test_waiting_for_many_orders_takes_few_requests() -> None:
    orders = Orders(looks=10)
    assert {outcome.result for outcome in applied(orders)} == {Result.DONE}
    assert orders.requests.count("GET /api/operations") == 9 * 2 + 1
    assert len(orders.requests) == COUNT + 9 * 2 + 1 + COUNT, "an order's own requests: its creation and its end"


def test_waiting_for_one_order_does_not_read_all_that_are_open_in_the_vault() -> None:
    orders = Orders(looks=10)
    assert [outcome.result for outcome in applied(orders, count=1)] == [Result.DONE]
    assert orders.requests.count("GET /api/operations") == 10, "one page a look"


def test_who_may_not_list_operations_asks_for_each() -> None:
    orders = Orders(looks=2, list_status=403)
    assert {outcome.result for outcome in applied(orders)} == {Result.DONE}
    assert len(orders.requests) == COUNT + 2 + 2 * COUNT


@pytest.mark.parametrize(
    ("status", "result"), [(503, Result.UNREACHABLE), (500, Result.UNREACHABLE), (401, Result.NOT_SIGNED_IN)]
)
def test_an_app_that_no_longer_answers_is_not_asked_for_each_order(status: int, result: Result) -> None:
    orders = Orders(looks=2, list_status=status)
    assert {outcome.result for outcome in applied(orders)} == {result}
    assert not [one for one in orders.requests if one.startswith("GET /api/operations/")]


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("ObjectIsDeletedButRecoverable", "`certrelay recover www-0` brings it back"),
        ("RequestRejected", "a new plan tries it again"),
    ],
)
def test_an_order_that_failed_says_the_next_step(code: str, step: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(202, json=operation(0, "failed") | {"error": {"code": code, "message": "no"}})

    change = Change(Kind.CREATE, "www-0", ("",), "create_certificate", {})
    with Client("https://app.example", transport=httpx.MockTransport(answer)) as client:
        [outcome] = apply(client, Plan("main", (change,)), 60, lambda _: None)
    assert (outcome.result, outcome.detail) == (Result.FAILED, f"{code}: no; {step}")
