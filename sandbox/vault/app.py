"""The vault's HTTPS API. Like Key Vault it checks authentication first, then API version, route and body."""

import asyncio
import json
import logging
import socket
import struct
import uuid
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.vault import lifecycle, management, routes
from sandbox.vault.auth import Gate
from sandbox.vault.call import API_VERSIONS, Answer, Call
from sandbox.vault.errors import KeyVaultError, bad_parameter
from sandbox.vault.faults import Fault, Faults, Requests
from sandbox.vault.vault import Vault

MAX_BODY = 512 * 1024

_log = logging.getLogger(__name__)
_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Content-Type": "application/json; charset=utf-8",
    "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "x-ms-keyvault-service-version": "1.9.378.1",
    "x-ms-keyvault-network-info": "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
}


class _ResetError(Exception):
    """Drop the connection without an answer."""


class VaultApp:
    """The ASGI application of the vault."""

    def __init__(self, vault: Vault, gate: Gate, faults: Faults, requests: Requests) -> None:
        self._vault = vault
        self._gate = gate
        self._faults = faults
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        counted = ["Invalid", ""]
        try:
            response = await self._respond(request, counted)
        except _ResetError:
            self._requests.count(counted[0], counted[1], 0)
            _drop(scope)
            return
        except ClientDisconnect:
            self._requests.count(counted[0], counted[1], 0)
            return
        self._requests.count(counted[0], counted[1], response.status_code)
        await response(scope, receive, send)

    async def _respond(self, request: Request, counted: list[str]) -> Response:
        try:
            answer = await self._answer(request, counted)
        except KeyVaultError as error:
            answer = Answer(error.body(), error.status, error.headers)
        except (_ResetError, ClientDisconnect):
            raise
        except Exception:
            _log.exception("%s failed", counted[0])
            answer = Answer(Fault(status=500).error().body(), 500)
        return self._rendered(request, answer)

    async def _answer(self, request: Request, counted: list[str]) -> Answer:
        counted[0] = "Challenge"
        claims = self._gate.claims(request.headers.get("authorization", ""))
        raw_path = request.scope.get("raw_path", b"").decode("latin-1")
        if routes.segments(raw_path) == management.PATH:
            counted[0] = "Subscriptions"
            return management.subscriptions()
        counted[0] = "Invalid"
        method = _method(request)
        query = _query(request)
        version = query.get("api-version", "")
        if version not in API_VERSIONS:
            raise bad_parameter(
                f"The api-version '{version[:40]}' is missing or not supported. Supported: {', '.join(API_VERSIONS)}"
            )
        route, params = routes.find(method, routes.segments(raw_path))
        counted[:] = route.operation, params.get("name", params.get("issuer", ""))
        self._gate.permit(claims, route.permission)
        await self._inject(route.operation, "before")
        self._faults.check_limits(route.operation)
        body = await _body(request) if method in ("POST", "PUT", "PATCH") else {}
        host = request.headers.get("host", "127.0.0.1")
        accept = request.headers.get("accept", "")
        call = Call(self._vault, f"https://{host}", params | {"method": method}, query, body, version, accept)
        answer = await asyncio.to_thread(self._run, route, call)
        await self._inject(route.operation, "after")
        return answer

    def _run(self, route: routes.Route, call: Call) -> Answer:
        if "name" in call.params:
            lifecycle.settle(self._vault, call.params["name"])
        return route.handler(call)

    async def _inject(self, operation: str, when: str) -> None:
        for fault in self._faults.take(operation, when):
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "reset":
                raise _ResetError
            else:
                raise fault.error()

    def _rendered(self, request: Request, answer: Answer) -> Response:
        response = Response(_encoded(answer.body), answer.status, _HEADERS)
        response.headers["date"] = formatdate(self._vault.clock.now(), usegmt=True)
        response.headers["x-ms-keyvault-region"] = self._vault.settings.region
        response.headers["x-ms-request-id"] = str(uuid.uuid4())
        if request.headers.get("x-ms-return-client-request-id", "").lower() == "true":
            response.headers["x-ms-client-request-id"] = request.headers.get("x-ms-client-request-id", "")
        if answer.body is None:
            del response.headers["content-type"]
        for name, value in answer.headers.items():
            response.headers[name] = value
        return response


def _encoded(body: Mapping[str, Any] | str | None) -> bytes:
    if body is None:
        return b""
    return (body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))).encode()


def _method(request: Request) -> str:
    """The method of the request. X-HTTP-METHOD overrides POST."""
    override = request.headers.get("x-http-method", "").upper()
    if request.method == "POST" and override in ("GET", "PUT", "PATCH", "DELETE"):
        return override
    return request.method


def _query(request: Request) -> dict[str, str]:
    text = request.scope["query_string"].decode("latin-1")
    try:
        return {key.lower(): value for key, value in parse_qsl(text, keep_blank_values=True, max_num_fields=100)}
    except ValueError:
        raise bad_parameter("The query string is malformed.") from None


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise KeyVaultError(413, "RequestEntityTooLarge", "The request body is too large.")
    if not data.strip():
        return {}
    try:
        body = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad_parameter("The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise bad_parameter("The request body is not a JSON object.")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _drop(scope: Scope) -> None:
    """Close the connection with a TCP reset."""
    transport = scope["state"]["transport"]
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
