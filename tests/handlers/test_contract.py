"""The contract: OpenAPI, roles, conditional requests, and what never appears anywhere (checks 36 to 39, 45)."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate

from certrelay.errors import NotPermitted
from handlers import actions, certificates, fleet, issuers, openapi, queries, roles, service, status
from handlers.routes import ROUTES, Route
from tests.app import App
from tests.handlers.in_process import ALLOWED

MODULES = (service, issuers, certificates, actions, queries, fleet, status)  # their import registers the routes
ANYBODY = {"health"}
READ_ONLY = ("GET",)
ADMINISTRATION = {
    "admin_set_issuer",
    "admin_update_issuer",
    "admin_delete_issuer",
    "admin_set_contacts",
    "admin_delete_contacts",
}
ADMINISTRATION |= {"start_replacement", "cancel_replacement", "roll_over_account_key"}
REQUESTING = {"create_certificate", "import_certificate", "renew_certificate", "cancel_certificate_operation"}
ANY_ROLE = {"get_me"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_needs_the_role_that_this_table_says(route: Route) -> None:
    """A new route must be thought about here."""
    if route.path in ANYBODY:
        assert route.role is None
    elif route.name in ANY_ROLE:
        assert route.any_role
    elif route.method in READ_ONLY:
        assert route.role is roles.Role.READER
    elif route.name in ADMINISTRATION:
        assert route.role is roles.Role.ADMINISTRATOR
    elif route.name in REQUESTING:
        assert route.role is roles.Role.REQUESTER
    else:
        assert route.role is roles.Role.OPERATOR
    assert route.any_role is (route.name in ANY_ROLE)


def principal(*granted: str, role_type: str = "roles", **changes: Any) -> str:
    claims = [{"typ": role_type, "val": one} for one in granted] + [{"typ": "oid", "val": "8d1c"}]
    found = {"auth_typ": "aad", "role_typ": role_type, "claims": claims, **changes}
    return base64.b64encode(json.dumps(found).encode()).decode()


def asked(header: str | None) -> func.HttpRequest:
    headers = {} if header is None else {"X-MS-CLIENT-PRINCIPAL": header}
    return func.HttpRequest("GET", "http://x/", headers=headers, body=b"")


@pytest.fixture
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    on = type(
        "Settings", (), {"app_service_authentication": True, "function_key_role": "Administrator", "grants": None}
    )
    monkeypatch.setattr(roles, "settings", lambda: on)


@pytest.mark.usefixtures("switched_on")
class TestRoles:
    @pytest.mark.parametrize(
        ("granted", "needed", "allowed"),
        [
            (("CertRelay.Reader",), roles.Role.READER, True),
            (("CertRelay.Reader",), roles.Role.REQUESTER, False),
            (("CertRelay.Administrator",), roles.Role.READER, True),
            (("CertRelay.Operator", "Other.Role"), roles.Role.OPERATOR, True),
            (("Operator", "certrelay.operator", "CertRelay.Owner"), roles.Role.READER, False),
            ((), roles.Role.READER, False),
        ],
    )
    def test_a_role_includes_the_ones_before_it(
        self, granted: tuple[str, ...], needed: roles.Role, allowed: bool
    ) -> None:
        if allowed:
            roles.require(asked(principal(*granted)), needed)
        else:
            with pytest.raises(NotPermitted):
                roles.require(asked(principal(*granted)), needed)

    @pytest.mark.parametrize("header", [None, "", "%%%", "bm90IGpzb24=", "W10=", "eyJjbGFpbXMiOiA3fQ==", "bnVsbA=="])
    def test_a_principal_that_is_missing_or_unreadable_is_nobody(self, header: str | None) -> None:
        with pytest.raises(roles.NotAuthenticated):
            roles.require(asked(header), roles.Role.READER)

    @pytest.mark.parametrize("kind", ["facebook", "AAD", "", None, 7])
    def test_only_microsoft_entra_id_is_believed(self, kind: Any) -> None:
        with pytest.raises(roles.NotAuthenticated):
            roles.require(asked(principal("CertRelay.Administrator", auth_typ=kind)), roles.Role.READER)

    def test_a_principal_of_any_depth_is_refused_not_an_error(self) -> None:
        deep = base64.b64encode(b'{"auth_typ": "aad", "claims": ' + b"[" * 100_000 + b"]" * 100_000 + b"}").decode()
        with pytest.raises(roles.NotAuthenticated):
            roles.require(asked(deep), roles.Role.READER)

    def test_the_history_names_the_principal(self) -> None:
        assert roles.caller(asked(principal("CertRelay.Reader"))) == "8d1c"


@pytest.mark.parametrize(("role", "allowed"), [("Reader", False), ("Operator", True), ("Administrator", True)])
def test_who_calls_with_a_function_key_has_the_role_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, role: str, allowed: bool
) -> None:
    off = type("Settings", (), {"app_service_authentication": False, "function_key_role": role, "grants": None})
    monkeypatch.setattr(roles, "settings", lambda: off)
    forged = asked(principal("CertRelay.Administrator"))
    assert roles.caller(forged) == "function key"
    if allowed:
        roles.require(forged, roles.Role.OPERATOR)
    else:
        with pytest.raises(NotPermitted, match="function keys have the role Reader here; Operator is needed"):
            roles.require(forged, roles.Role.OPERATOR)


@pytest.mark.parametrize(("signed_in", "level"), [("true", "ANONYMOUS"), ("false", "FUNCTION")])
def test_with_entra_id_no_function_needs_a_key_and_without_it_all_do(signed_in: str, level: str) -> None:
    values = json.loads(Path("local.settings.sample.json").read_text())["Values"]
    values |= {"CERTRELAY_APP_SERVICE_AUTHENTICATION": signed_in, "WEBSITE_AUTH_ENABLED": signed_in.title()}
    program = """
import function_app
for one in function_app.app.get_functions():
    if one.get_trigger().type == "httpTrigger":
        print(one.get_function_name(), one.get_trigger().auth_level.name)
"""
    done = subprocess.run([sys.executable, "-c", program], env=values, capture_output=True, text=True, check=True)
    levels = dict(line.split() for line in done.stdout.splitlines())
    assert {levels.pop(name) for name in ("get_health", "web_page", "web_page_file")} == {"ANONYMOUS"}
    assert set(levels.values()) == {level}


def test_a_forged_principal_is_worthless_while_roles_are_off(app: App) -> None:
    url = f"{app.settings['APP_URL']}/api/vaults"
    forged = {"x-ms-client-principal": principal("CertRelay.Administrator")}
    assert app.client.get(url, headers=forged).status_code == 401
    good = {"x-functions-key": app.settings["FUNCTION_KEY"], "x-ms-client-principal": "%%%"}
    assert app.client.get(url, headers=good).status_code == 200


def test_the_document_is_valid_openapi_and_names_every_route() -> None:
    document = openapi.document()
    validate(document)
    named = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert named == {route.name for route in ROUTES}


def test_what_did_not_change_is_not_sent_again(app: App) -> None:
    first = app.call("GET", "/api/openapi.json")
    headers = {"x-functions-key": app.settings["FUNCTION_KEY"], "if-none-match": first.headers["etag"]}
    again = app.client.get(f"{app.settings['APP_URL']}/api/openapi.json", headers=headers)
    assert (again.status_code, again.content) == (304, b"")


def test_health_tells_without_a_key_and_readiness_names_every_part(app: App) -> None:
    assert app.call("GET", "/api/health", key="").json() == {"status": "ok"}
    ready = app.call("GET", "/api/health/ready").json()
    assert ready["status"] == "ok", ready
    assert {part["what"] for part in ready["parts"]} == {
        "storage",
        "vault main",
        "authority openbao",
        "authority by-hand",
    }
    listed = app.call("GET", "/api/authorities").json()["value"]
    assert "revoke" in next(one for one in listed if one["name"] == "openbao")["abilities"]


def test_a_correlation_id_comes_back_and_a_bad_one_is_replaced(app: App) -> None:
    url, key = f"{app.settings['APP_URL']}/api/vaults", {"x-functions-key": app.settings["FUNCTION_KEY"]}
    assert app.client.get(url, headers={**key, "x-correlation-id": "abc-1"}).headers["x-correlation-id"] == "abc-1"
    assert len(app.client.get(url, headers={**key, "x-correlation-id": "a b"}).headers["x-correlation-id"]) == 32


def test_a_body_that_is_no_json_object_or_too_large_is_refused(app: App) -> None:
    url = f"{app.settings['APP_URL']}/api/vaults/main/certificates/www/create"
    headers = {"x-functions-key": app.settings["FUNCTION_KEY"]}
    deep = b"[" * 50_000 + b"]" * 50_000
    for content in (b"{", b"[]", b"7", b"\xff\xfe", deep, b'{"tags": "' + b"x" * 2_000_000 + b'"}', b'{"a": 1e999}'):
        answer = app.client.post(url, content=content, headers=headers)
        assert answer.status_code == 400, content[:20]
        assert answer.json()["errors"]


NAMES = ("fuzzed", "fuzzed-imported", "absent", "contoso")


def _narrowed() -> dict[str, Any]:
    """The contract with path parameters that often exist, so that more than 404 is seen."""
    document: dict[str, Any] = json.loads(json.dumps(openapi.document()))
    values = {"vault": ["main", "main", "gone"], "name": NAMES, "issuer": ["fuzzed", "absent"]}
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"] in values:
                    parameter["schema"] = {"enum": sorted(set(values[parameter["name"]]))}
    return document


def test_no_request_ends_in_a_5xx_or_outside_the_contract(app: App) -> None:
    """schemathesis makes the requests, a few of each; the contract is what is checked."""
    import schemathesis  # here, since it takes seconds
    from schemathesis import checks

    app.create("fuzzed", dns_names=["fuzzed.contoso.example"])
    app.ended("fuzzed")
    schema = schemathesis.openapi.from_dict(_narrowed())
    schema.config.update(base_url=app.settings["APP_URL"] + "/api")
    headers = {"x-functions-key": app.settings["FUNCTION_KEY"]}
    chosen = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    seen: set[int] = set()
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]

        @settings(
            max_examples=15 if operation.body else 6,  # without a body there is less to vary
            deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def run(case: Any) -> None:
            seen.add(case.call_and_validate(headers=headers, checks=chosen).status_code)

        given(case=operation.as_strategy())(run)()
    assert {200, 202, 400, 404} <= seen


LOGS = ("host.log",)


def test_no_secret_is_in_any_log(app: App) -> None:
    """Check 45: after all of the above, the host's log holds no key, password, token or credential."""
    logs = Path(app.settings["CLOCK_FILE"]).parent / "logs"
    text = "".join((logs / name).read_text(errors="replace") for name in LOGS)
    assert "succeeded" in text
    secrets = [app.settings[name] for name in ("FUNCTION_KEY", "MASTER_KEY", "IDENTITY_HEADER")]
    account_key = re.search("AccountKey=([^;]+)", app.settings["STORAGE_CONNECTION_STRING"])
    assert account_key is not None
    for canary in (*secrets, account_key[1], "canary", "PRIVATE KEY", "Bearer ey"):
        assert canary not in text


def test_key_vault_is_asked_for_nothing_but_what_the_readme_says(app: App) -> None:
    """Check 46: no secret is read, nothing is purged, whatever the tests above asked for."""
    counts: dict[str, Any] = dict(app.vault_requests())
    assert set(counts.get("counts", counts)) <= ALLOWED


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_documentation_lists_every_route_with_its_role(route: Route) -> None:
    role = "whoever is let in" if route.any_role else route.role.title if route.role else "anybody"
    path = re.sub(":[^}]*", "", route.path)
    assert f"| `{route.method} /api/{path}` | {role} | {route.summary} |" in Path("docs/api.md").read_text()


def test_a_query_parameter_that_is_none_of_the_routes_is_refused_and_named(app: App) -> None:
    """A mistyped filter would otherwise answer with everything."""
    refused = app.call("GET", "/api/vaults/main/certificates?stat=due&max=5")
    assert refused.status_code == 400
    assert refused.json()["errors"] == [{"pointer": "/stat", "detail": "this route has no query parameter stat"}]
    assert app.call("GET", "/api/vaults/main/certificates?state=due&max=5").status_code == 200


def test_the_manifest_of_application_roles_is_what_the_code_knows() -> None:
    manifest = json.loads(Path("docs/app-roles.json").read_text())
    assert [role["value"] for role in manifest] == [role.value_in_entra for role in roles.Role]
    assert len({role["id"] for role in manifest}) == len(manifest)
    page = Path("docs/sign-in.md").read_text()
    assert [role["value"] for role in manifest if f"`{role['value']}`" not in page] == []


def test_whoever_calls_is_known_to_all_that_a_route_does() -> None:
    """Services without a caller may do everything: they are for timers, queues and events."""
    for module in MODULES:
        source = Path(str(module.__file__)).read_text()
        assert "services()" not in source, module.__name__
        assert not re.search(r"from handlers import .*\bservices\b", source), module.__name__
