"""The HTTP functions, called in the test's own process: the host's order of routes, its decoding, no sockets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import pytest

import handlers
from handlers import actions, certificates, fleet, issuers, queries, service, status
from handlers.routes import ROUTES, Route
from sandbox.host.routes import RouteTable
from tests.world import World

MODULES = (service, issuers, certificates, actions, queries, fleet, status)
PLAIN = {
    "vault": "main",
    "issuer": "contoso",
    "authority": "test-ca",
    "version": "0" * 32,
    "id": "0" * 32,
    "target": "ops",
}
# What Key Vault may be asked for; the README names the role for it.
ALLOWED = {
    "Challenge",
    "CreateCertificate",
    "ImportCertificate",
    "MergeCertificate",
    "GetCertificate",
    "GetCertificates",
    "GetCertificateVersion",
    "GetCertificateVersions",
    "UpdateCertificate",
    "GetCertificatePolicy",
    "UpdateCertificatePolicy",
    "GetCertificateOperation",
    "UpdateCertificateOperation",
    "DeleteCertificateOperation",
    "DeleteCertificate",
    "GetDeletedCertificates",
    "RecoverDeletedCertificate",
    "GetCertificateIssuers",
    "GetCertificateIssuer",
    "SetCertificateIssuer",
    "UpdateCertificateIssuer",
    "DeleteCertificateIssuer",
    "GetCertificateContacts",
    "SetCertificateContacts",
    "DeleteCertificateContacts",
}


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def pointers(self) -> list[str]:
        """The JSON pointers of all faults."""
        return [fault["pointer"] for fault in self.json()["errors"]]


class InProcess:
    """The functions with the services of a world; who calls has a function key, and with it the role Administrator."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers, "_services", lambda: world.services)
        monkeypatch.setattr(handlers, "settings", lambda: world.services.settings)
        monkeypatch.setattr("handlers.roles.settings", lambda: world.services.settings)
        functions = {name: function for module in MODULES for name, function in module.blueprint.items()}
        self._table = RouteTable((route.name, route.path, [route.method], functions[route.name]) for route in ROUTES)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response | None:
        """Call what the host would pick for this path, which is percent-encoded and has the query; None if nothing."""
        path, _, query = path.partition("?")
        picked = self._table.pick(method, path)
        if picked is None:
            return None
        function, values = picked
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = func.HttpRequest(
            method, f"https://host/api/{path}?{query}", headers=headers, params=dict(parse_qsl(query)),
            route_params=values, body=content,
        )  # fmt: skip
        answer: func.HttpResponse = function(request)
        return Response(answer.status_code, dict(answer.headers), answer.get_body())


def path_of(route: Route, name: str, **values: str) -> str:
    """A route's path for a certificate; `values` replace those of other parameters, and are percent-encoded."""
    path = route.path.replace("{version:length(32)}", "{version}")
    return path.format_map({**PLAIN, "name": name, **values})
