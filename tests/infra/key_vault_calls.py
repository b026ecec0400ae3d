"""What the app calls in Key Vault, found in its code, as operations of the sandbox's routes and as data actions."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from handlers import issuers, routes
from sandbox.vault.routes import ROUTES, find

ROOT = Path(__file__).parents[2]
CODE = [path for name in ("certrelay", "handlers") for path in sorted((ROOT / name).rglob("*.py"))]
# People run it, with rights of their own: `python3 dev.py private-ca`.
BY_PEOPLE = {"bootstrap.py", "__main__.py"}
SDK = {
    "create_ec_key": "POST /keys/x/create",
    "list_properties_of_key_versions": "GET /keys/x/versions",
    "get_key": "GET /keys/x/1",
    "update_key_properties": "PATCH /keys/x/1",
    "sign": "POST /keys/x/1/sign",
    "get_certificate": "GET /certificates/x",
    "get_certificate_version": "GET /certificates/x/1",
}
# https://learn.microsoft.com/azure/key-vault/general/rbac-migration#mapping-access-policies-to-azure-roles
ACTIONS = {
    "certificates/get": "certificates/read", "certificates/list": "certificates/read",
    "certificates/create": "certificates/create/action", "certificates/import": "certificates/import/action",
    "certificates/update": "certificates/update/action", "certificates/delete": "certificates/delete",
    "certificates/recover": "certificates/recover/action", "certificates/purge": "certificates/purge/action",
    "certificates/backup": "certificates/backup/action", "certificates/restore": "certificates/restore/action",
    "certificates/managecontacts": "certificatecontacts/write",
    "certificates/getissuers": "certificatecas/read", "certificates/listissuers": "certificatecas/read",
    "certificates/setissuers": "certificatecas/write", "certificates/deleteissuers": "certificatecas/delete",
    "keys/get": "keys/read", "keys/list": "keys/read", "keys/create": "keys/create/action",
    "keys/update": "keys/update/action", "keys/sign": "keys/sign/action", "keys/import": "keys/import/action",
    "keys/delete": "keys/delete",
    "secrets/get": "secrets/getSecret/action", "secrets/list": "secrets/readMetadata/action",
    "secrets/set": "secrets/setSecret/action", "secrets/delete": "secrets/delete",
}  # fmt: skip

assert issuers.blueprint  # it has declared its routes


def called() -> set[str]:
    """The data actions, without their common prefix."""
    return {action_of(method, path) for method, path in requests()}


def action_of(method: str, path: str) -> str:
    route, _ = find(method, urlsplit(path).path.strip("/").split("/"))
    return ACTIONS[route.permission]


def action_of_operation(operation: str) -> str:
    return ACTIONS[next(route.permission for route in ROUTES if route.operation == operation)]


@functools.cache
def requests() -> frozenset[tuple[str, str]]:
    return frozenset(_requests())


def _requests() -> Iterator[tuple[str, str]]:
    for path in CODE:
        if path.name in BY_PEOPLE:
            continue
        for node in _calls(ast.parse(path.read_text())):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name == "call" and len(node.args) >= 2:
                yield from ((method, one) for one in _paths(node.args[1]) for method in _methods(node.args[0], one))
            elif name in ("pages", "page") and node.args:
                yield from (("GET", one) for one in _paths(node.args[0]))
            elif name in SDK and not (name == "sign" and "remote" not in ast.unparse(node.func)):
                method, _, where = SDK[name].partition(" ")
                yield method, where


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _methods(node: ast.expr, path: str) -> set[str]:
    """A literal; or, of a parameter, the methods that the app's own routes to the same thing have."""
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    return {route.method for route in routes.ROUTES if path.split("/")[2] in route.path.split("/")}


def _paths(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.JoinedStr):
        text = "".join("x" if isinstance(part, ast.FormattedValue) else str(part.value) for part in node.values)  # type: ignore[attr-defined]
        return {re.sub(r"[?].*", "", text)}
    return set()  # a variable: the path of a list, which is read elsewhere by its literal
