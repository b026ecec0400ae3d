"""The real host tries HTTP functions in the order of their names: whatever is in a path, it picks the right one."""

import itertools
import re
from collections.abc import Iterator

import pytest

from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import Invalid
from handlers import actions, certificates, fleet, issuers, queries, service, status
from handlers.functions import FILE, PREFIX, ROOT
from handlers.routes import ROUTES, Route
from sandbox.host.routes import RouteTable
from tests.world import ALIAS, World

MODULES = (service, issuers, certificates, actions, queries, fleet, status)  # their import registers the routes
TABLE = RouteTable((route.name, route.path, [route.method], route) for route in ROUTES)
ALONE = [(route, RouteTable([(route.name, route.path, [route.method], route)])) for route in ROUTES]
METHODS = sorted({route.method for route in ROUTES})
LITERALS = sorted({part for route in ROUTES for part in route.path.split("/") if not part.startswith("{")})
SPECIAL = (*LITERALS, *(text.upper() for text in LITERALS), "0" * 32, "0123456789abcdef" * 2, "www", "a..b", "%2e%2e")


def filled(route: Route) -> Iterator[str]:
    """The route's path with every special text in each of its parameters; the others have a plain one."""
    parameters = re.findall(r"\{[^}]+\}", route.path)
    for index, text in itertools.product(range(max(len(parameters), 1)), SPECIAL):
        path = route.path
        for number, parameter in enumerate(parameters):
            plain = "f" * 32 if "length(32)" in parameter else "plain"
            path = path.replace(parameter, text if number == index else plain, 1)
        yield path


def specific(method: str, path: str) -> str | None:
    """The function that is meant: of those that match, the one with a literal where the others take anything."""
    found = [route for route, table in ALONE if table.pick(method, path)]
    literal = sorted(found, key=lambda route: [part.startswith("{") for part in route.path.split("/")])
    return literal[0].name if literal else None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_function_that_is_meant_is_the_one_that_the_host_picks(route: Route) -> None:
    for method, path in itertools.product(METHODS, set(filled(route))):
        picked = TABLE.pick(method, path)
        assert (picked[0].name if picked else None) == specific(method, path), f"{method} {path}"


def test_contacts_and_issuers_are_not_taken_for_certificates() -> None:
    """So it was: GET reached get_certificate, and DELETE deleted the contacts with a lesser role."""
    for method, path in [("GET", "contacts"), ("DELETE", "contacts"), ("GET", "issuers"), ("DELETE", "issuers/policy")]:
        picked = TABLE.pick(method, f"vaults/main/certificates/{path}")
        assert picked is not None
        assert picked[0].name.startswith("admin_"), (method, path)


@pytest.mark.parametrize("name", ["contacts", "issuers", "Issuers"])
def test_a_name_that_a_route_owns_is_no_certificates_name(world: World, name: str) -> None:
    spec = CertificateSpec(authority="test-ca", dns_names=("www.contoso.example",))
    with pytest.raises(Invalid, match="a certificate cannot be called"):
        create.create(world.services, ALIAS, name, spec, requested_by="test")


def test_the_page_is_at_the_root_and_takes_nothing_else() -> None:
    """With the empty prefix of host.json the host sees `api/` in each route of the API."""
    api = [(route.name, f"{PREFIX}/{route.path}", [route.method], route.name) for route in ROUTES]
    pages = [("web_page", ROOT), ("web_page_file", FILE)]
    table: RouteTable[str] = RouteTable([*api, *((name, path, ["GET"], name) for name, path in pages)])
    meant = {"/": "web_page", "": "web_page", "/page/1/app.js": "web_page_file", "/api/health": "get_health"}
    for path, name in meant.items():
        picked = table.pick("GET", path)
        assert picked is not None, path
        assert picked[0] == name
    for path in ("/index.html", "/page/1", "/page/1/2/3", "/admin/host/status", "/runtime/webhooks/x", "/api"):
        assert table.pick("GET", path) is None, path
    assert table.pick("POST", "/") is None
