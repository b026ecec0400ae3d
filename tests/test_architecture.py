"""The shape of the code, held: arrows between packages, who imports what, what importing costs, timeouts that fit."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from certrelay.connectors.registry import CONNECTORS
from certrelay.operations.lease import LEASE
from handlers import request_models
from tests.syntax import imported, imports, statements

DEPLOYED = ("function_app.py", "handlers", "certrelay")
AT_HOME = {
    "azure.functions": {"function_app.py", "handlers/"},
    "azure.data": {"certrelay/storage/tables.py"},
    "azure.storage.queue": {"certrelay/storage/tables.py"},
    "os.environ": {"certrelay/settings.py"},
}


def modules(*roots: str) -> Iterator[Path]:
    for root in map(Path, roots):
        yield from [root] if root.is_file() else sorted(root.rglob("*.py"))


def test_imports_point_one_way_and_the_sandbox_is_unknown() -> None:
    for path in modules(*DEPLOYED):
        for name in imported(path):
            assert name.split(".")[0] not in ("sandbox", "tests", "dev"), f"{path} imports {name}"


def test_each_library_is_imported_where_it_is_at_home() -> None:
    for path, (name, homes) in product(modules(*DEPLOYED), AT_HOME.items()):
        if not any(str(path).startswith(home) for home in homes):
            assert not any(found.startswith(name) for found in imported(path)), f"{path} imports {name}"
            text = path.read_text()
            assert name != "os.environ" or ("os.environ" not in text and "getenv" not in text), path


LAZY = {
    ("certrelay/services.py", "connect"): "the SDKs of Azure take longer to import than the rest of the app",
    ("certrelay/notifications/deliver.py", "_post"): "requests is imported by the worker that has somebody to tell",
    ("handlers/__init__.py", "_services"): "the app starts with the settings, and without what works with them",
    ("certrelay/connectors/http_settings.py", "certificates_pem"): "settings without certificates need no cryptography",
    ("certrelay/connectors/http_settings.py", "certificate_and_key"): "the same",
    ("certrelay/connectors/acme/settings.py", "_account_key"): "the same",
    ("certrelay/connectors/acme/settings.py", "_name"): "the same",
    ("certrelay/connectors/private_ca/settings.py", "_object_identifiers"): "the same",
    ("certrelay/connectors/acme/session.py", "make_solver"): "an authority uses the library of one DNS service",
}


def test_nothing_is_imported_inside_a_function_but_at_the_boundaries_that_are_named() -> None:
    """Besides these, certrelay.connectors.registry imports the code of a connector by its name, and handlers.functions
    that of a function."""
    found = {
        (str(path), function.name)
        for path in modules(*DEPLOYED)
        for function in statements(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and imports(function)
    }
    assert found == LAZY.keys()


MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 300, 40, 6


@pytest.mark.parametrize("root", [*DEPLOYED, "sandbox", "bench", "tools", "cli"])
def test_modules_functions_and_parameter_lists_stay_small(root: str) -> None:
    """A longer function, or one with more parameters, gives its reason in its docstring: `Long: …`. A command has a
    parameter for each of its options, and a method of the client one for each of its route's."""
    for path in modules(root):
        text = path.read_text()
        assert len(text.splitlines()) <= MAX_LINES, path
        nodes = list(statements(ast.parse(text)))
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        routes = {one.lineno for node in classes if node.name.endswith("Routes") for one in node.body}
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_long_for_a_reason(node):
                parameters = parameters_of(node)
                of_http = path.parts[0] == "cli" and (parameters[:1] == ["ctx"] or node.lineno in routes)
                assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{path}:{node.name}"
                assert of_http or len(parameters) <= MAX_PARAMETERS, f"{path}:{node.name}"


def is_long_for_a_reason(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return "Long: " in (ast.get_docstring(function) or "")


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [one.arg for one in given if one.arg not in ("self", "cls")]


MAX_TEST_LINES = 400


def test_a_test_module_stays_small_and_what_it_shares_is_in_a_helper_module() -> None:
    for path in modules("tests"):
        assert len(path.read_text().splitlines()) <= MAX_TEST_LINES, path
        for name in imported(path):
            assert not (name.startswith("tests.") and ".test_" in name), f"{path} imports {name}"


@pytest.mark.parametrize("room", sorted({path.parent for path in Path("tests").rglob("test_*.py")}), ids=str)
def test_tests_stand_in_the_same_rooms_as_the_code(room: Path) -> None:
    inside = room.relative_to("tests")
    rooms = [Path("certrelay", inside), inside]
    assert any(one.is_dir() for one in rooms), f"{room} mirrors no room of the code"


def test_no_request_body_has_room_for_an_address_that_the_app_would_ask() -> None:
    """Check 38: authorities, vaults and receivers are called by name; only the settings say where they are."""
    in_certificates = {"uris", "ipAddresses", "ip_addresses", "email_addresses"}
    bodies = [
        found
        for found in vars(request_models).values()
        if isinstance(found, type) and issubclass(found, request_models.Body)
    ]
    assert len(bodies) > 20
    for body in bodies:
        assert body.model_config.get("extra") == "forbid", body
        for name in body.model_fields.keys() - in_certificates:
            assert not re.search("ur[il]|href|host|address|endpoint|hook|server|callback", name, re.I), (
                f"{body}: {name}"
            )


def test_the_lease_outlives_every_function() -> None:
    hours, minutes, seconds = map(int, json.loads(Path("host.json").read_text())["functionTimeout"].split(":"))
    assert LEASE.total_seconds() > hours * 3600 + minutes * 60 + seconds


AUTHORITIES: dict[str, dict[str, object]] = {
    "acme": {
        "url": "https://ca.example.com",
        "account_key_vault_url": "https://contoso.vault.azure.net",
        "account_key_name": "acme",
        "dns": {"provider": "lexicon", "service": "cloudflare", "secrets": {"auth_token": "@SECRET"}},
    },
    "adcs": {"url": "https://ca.example.com", "template": "Web", "username": "relay", "password": "@SECRET"},
    "aws_pca": {
        "certificate_authority_arn": "arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/" + "0" * 36,
        "access_key_id": "relay",
        "secret_access_key": "@SECRET",
    },
    "est": {"url": "https://ca.example.com", "username": "relay", "password": "@SECRET"},
    "manual": {},
    "private_ca": {
        "vault_url": "https://contoso.vault.azure.net",
        "ca_certificate_name": "root",
        "storage_connection_string": "@SECRET",
    },
    "vault_pki": {"url": "https://ca.example.com", "role": "web", "token": "@SECRET"},
}


def test_importing_the_app_loads_no_connectors_library_and_no_client() -> None:
    """Cold start: what is not used yet is not imported, whatever authorities there are."""
    assert AUTHORITIES.keys() == CONNECTORS.keys()
    values = json.loads(Path("local.settings.sample.json").read_text())["Values"]
    authorities = {name.replace("_", "-"): {"connector": name, **own} for name, own in AUTHORITIES.items()}
    values |= {"CERTRELAY_AUTHORITIES": json.dumps(authorities), "SECRET": "c2VjcmV0", "CERTRELAY_GRANTS": ""}
    heavy: tuple[str, ...] = (
        "hvac",
        "acme",
        "josepy",
        "dns",
        "lexicon",
        "boto3",
        "botocore",
        "spnego",
        "requests",
        "azure.core",
        "cryptography",
        "opentelemetry",
        "certrelay.storage",
        "certrelay.operations",
        "azure.identity",
        "azure.storage",
    )
    heavy += ("azure.data", "azure.keyvault", "azure.mgmt", "certrelay.keyvault.client", "certrelay.storage.tables")
    program = f"import sys, function_app; print([name for name in sys.modules if name.startswith({heavy})])"
    done = subprocess.run([sys.executable, "-c", program], env=values, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
