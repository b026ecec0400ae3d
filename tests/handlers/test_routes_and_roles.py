"""Who is let in by which route: every route, for every kind of caller, on a name of team A and on another one."""

import itertools
import re

import pytest

from handlers import actions, certificates, fleet, issuers, queries, service, status
from handlers.routes import ROUTES, Route
from tests.handlers.people import (
    A_ADMINISTRATOR,
    A_OPERATOR,
    ADMINISTRATOR,
    ALICE,
    ITS_USER,
    MAIN_ADMINISTRATOR,
    NOBODY,
    OPERATOR,
    OTHER_ADMINISTRATOR,
    READER,
    SERVICE,
    TEAM_A,
    Shared,
)

MODULES = (service, issuers, certificates, actions, queries, fleet, status)  # their import registers the routes
EVERYWHERE = {"reader": (READER, 1), "requester": (ALICE, 2), "operator": (OPERATOR, 3), "admin": (ADMINISTRATOR, 4)}
IN_A = {"team a": (TEAM_A, 2), "operator of a": (A_OPERATOR, 3)}
OTHERS = {"admin of main": (MAIN_ADMINISTRATOR, 4), "admin of a": (A_ADMINISTRATOR, 4),
          "admin of other": (OTHER_ADMINISTRATOR, 4), "service": (SERVICE, 2),
          "its user": (ITS_USER, 0), "nobody": (NOBODY, 0)}  # fmt: skip
CALLERS = {**EVERYWHERE, **IN_A, **OTHERS}
OF_EVERYTHING = ("status", "doctor", "poison", "poison/{id}", "poison/{id}/retry")  # not for who has a part of it
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
    values = {"vault": "main", "name": name, "issuer": "digicert", "authority": "by-hand", "version": "0" * 32}
    values["id"] = f"main.{name}.{'0' * 32}" if route.path.startswith("operations") else "0" * 32
    slow = "?unknown=1" if route.path in ("forecast", "health/ready") else ""  # refused after the role is checked
    return "/api/" + re.sub(r"\{(\w+)(:[^}]*)?\}", lambda match: values[match[1]], route.path) + slow


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_lets_in_who_has_its_role_for_what_its_path_names(shared: Shared, route: Route) -> None:
    names = NAMES if "{name}" in route.path or "{id}" in route.path else NAMES[:1]
    for caller, name in itertools.product(CALLERS, names):
        answer = shared.call(CALLERS[caller][0], route.method, path(route, name), {} if route.body else None)
        in_vain = answer.status_code == 403 and answer.json()["code"] == "Forbidden"
        assert in_vain is not let_in(route, caller, name), f"{caller} {route.method} {name}: {answer.text}"
    status = shared.call(None, route.method, path(route, "a-nothing")).status_code
    assert (status == 401) is (route.role is not None)


def test_a_refusal_says_which_role_is_missing_where(shared: Shared) -> None:
    detail = shared.of(TEAM_A, "x-1", "/renew", "POST", {}).json()["detail"]
    assert detail == "no grant of yours has the role Requester for certificate x-1 in vault main"
    detail = shared.call(A_ADMINISTRATOR, "DELETE", "/api/vaults/main/certificates/contacts").json()["detail"]
    assert detail == "no grant of yours has the role Administrator for vault main"
