"""Who is let in by which route: every route, for every kind of caller, on a name of team A and on another one.

In the test's own process, with the settings of the fixture `shared`: there are too many pairs for the sandbox."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handlers.routes import ROUTES, Route
from sandbox.azurite import Azurite
from sandbox.vault import VaultServer
from tests.fixtures import connected
from tests.handlers.in_process import InProcess, Response, path_of
from tests.handlers.people import (
    A_ADMINISTRATOR,
    A_OPERATOR,
    ADMINISTRATOR,
    ALICE,
    GRANTS,
    ITS_USER,
    MAIN_ADMINISTRATOR,
    NOBODY,
    OPERATOR,
    OTHER_ADMINISTRATOR,
    READER,
    SERVICE,
    TEAM_A,
    Person,
)
from tests.world import make_world

EVERYWHERE = {"reader": (READER, 1), "requester": (ALICE, 2), "operator": (OPERATOR, 3), "admin": (ADMINISTRATOR, 4)}
IN_A = {"team a": (TEAM_A, 2), "operator of a": (A_OPERATOR, 3)}
OTHERS = {"admin of main": (MAIN_ADMINISTRATOR, 4), "admin of a": (A_ADMINISTRATOR, 4),
          "admin of other": (OTHER_ADMINISTRATOR, 4), "service": (SERVICE, 2),
          "its user": (ITS_USER, 0), "nobody": (NOBODY, 0)}  # fmt: skip
CALLERS = {**EVERYWHERE, **IN_A, **OTHERS}
# Not for who has a part of it.
OF_EVERYTHING = ("status", "doctor", "notifications", "notifications/{target}/test", "poison", "poison/{id}",
                 "poison/{id}/retry")  # fmt: skip
NAMES = ("a-nothing", "x-nothing")


def let_in(route: Route, caller: str, name: str) -> bool:
    """What has to be, said again without the code's own words."""
    rank = CALLERS[caller][1]
    if route.role is None or route.any_role:
        return True
    if rank < route.role:
        return False
    of_certificate = "{name}" in route.path or route.path == "operations/{id}"
    of_vault = "{vault}" in route.path
    if caller in EVERYWHERE:
        return True
    if route.path in OF_EVERYTHING:
        return False
    if caller == "admin of other":
        return not of_vault and not of_certificate and route.name != "roll_over_account_key"
    if caller == "service":
        return not of_certificate
    if caller == "admin of main":
        return route.name != "roll_over_account_key"
    if route.role == 4 or (caller in IN_A and "{issuer}" in route.path):
        return False
    return not of_certificate or name.startswith("a-")


def path(route: Route, name: str) -> str:
    values = {"issuer": "digicert", "authority": "by-hand"}
    if route.path.startswith("operations"):
        values["id"] = f"main.{name}.{'0' * 32}"
    slow = "?unknown=1" if route.path in ("forecast", "health/ready") else ""  # refused after the role is checked
    return path_of(route, name, **values) + slow


type Call = Callable[[Person | None, str, str, Any], Response]


@pytest.fixture(scope="module")
def call(azurite: Azurite, vault_server: VaultServer) -> Iterator[Call]:
    """Calls a function with what the platform says of the caller."""
    environment = {
        "CERTRELAY_APP_SERVICE_AUTHENTICATION": "true",
        "WEBSITE_AUTH_ENABLED": "True",
        "CERTRELAY_GRANTS": json.dumps(GRANTS),
        "CERTRELAY_VAULTS": json.dumps({"main": {"url": vault_server.url}, "other": {"url": "https://127.0.0.1:9"}}),
    }
    by_hand = ', "openbao": {"connector": "manual"}, "by-hand": {"connector": "manual"}'
    with pytest.MonkeyPatch.context() as monkeypatch:
        connected(vault_server, azurite, monkeypatch)
        world = make_world(vault_server, azurite, vault_server.clock, by_hand, **environment)
        functions = InProcess(world, monkeypatch)

        def answered(who: Person | None, method: str, path: str, body: Any = None) -> Response:
            headers = {"x-ms-client-principal": who.header} if who else {}
            answer = functions.call(method, path, body, **headers)
            assert answer is not None
            return answer

        yield answered


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_lets_in_who_has_its_role_for_what_its_path_names(call: Call, route: Route) -> None:
    names = NAMES if "{name}" in route.path or "{id}" in route.path else NAMES[:1]
    for caller, name in itertools.product(CALLERS, names):
        answer = call(CALLERS[caller][0], route.method, path(route, name), {} if route.body else None)
        in_vain = answer.status == 403 and answer.json()["code"] == "Forbidden"
        assert in_vain is not let_in(route, caller, name), f"{caller} {route.method} {name}: {answer.body!r}"
    nobody = call(None, route.method, path(route, "a-nothing"), None)
    assert (nobody.status == 401) is (route.role is not None)


def test_a_refusal_says_which_role_is_missing_where(call: Call) -> None:
    detail = call(TEAM_A, "POST", "vaults/main/certificates/x-1/renew", {}).json()["detail"]
    assert detail == "no grant of yours has the role Requester for certificate x-1 in vault main"
    detail = call(A_ADMINISTRATOR, "DELETE", "vaults/main/certificates/contacts", None).json()["detail"]
    assert detail == "no grant of yours has the role Administrator for vault main"
