"""The HTTP side of the host: functions, their keys, the admin API, the Event Grid webhook. Raw ASGI.

Behaviour after Azure/azure-functions-host: AuthenticationLevelHandler.cs, AuthUtility.cs, SecretManager.cs,
FunctionsController.cs; and the HTTP extension in Azure/azure-webjobs-sdk-extensions.
"""

import asyncio
import hmac
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.host import eventgrid
from sandbox.host.configuration import Keys
from sandbox.host.invocations import Invocations
from sandbox.host.routes import RouteTable
from sandbox.host.sign_in import Request, SignIn
from sandbox.host.worker import Function

MAX_BODY = (
    100 * 1024 * 1024
)  # https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#limits

type Answer = tuple[int, dict[str, str], bytes]


class HttpHost:
    """The ASGI application."""

    def __init__(self, invocations: Invocations, keys: Keys, prefix: str, sign_in: SignIn | None = None) -> None:
        self._invocations, self._keys, self._sign_in = invocations, keys, sign_in
        functions = invocations.worker.functions
        self._functions = {function.name.lower(): function for function in functions}
        self._routes = RouteTable(
            (one.name, "/".join(filter(None, (prefix, str(one.trigger.get("route") or one.name)))),
             [str(method) for method in one.trigger.get("methods") or ()], one)
            for one in functions
            if one.kind == "httptrigger"
        )  # fmt: skip
        self._background: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            body += part.get("body", b"")
            more = part.get("more_body", False)
            if len(body) > MAX_BODY:
                await _send(send, (413, {}, b""))
                return
        await _send(send, await self._answer(scope, body))

    async def _answer(self, scope: dict[str, Any], body: bytes) -> Answer:
        path = scope["raw_path"].decode("ascii", "replace").split("?")[0]
        headers = _joined((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
        query = _joined(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=False))
        if self._sign_in:
            checked = self._sign_in.check(Request(scope["method"], path, query, headers, body))
            if isinstance(checked, tuple):
                return checked
            headers = checked
        lowered = path.lower().rstrip("/")
        if lowered == "/runtime/webhooks/eventgrid":
            return await self._event_grid(scope["method"], headers, query, body)
        if lowered.startswith("/admin/"):
            return self._admin(scope["method"], lowered.removeprefix("/admin/"), headers, query, body)
        return await self._function(scope, path, headers, query, body)

    async def _function(
        self, scope: dict[str, Any], path: str, headers: dict[str, str], query: dict[str, str], body: bytes
    ) -> Answer:
        method = scope["method"]
        picked = self._routes.pick(method, path)
        if picked is None:
            return 404, {}, b""
        function, values = picked
        if not self._permitted(str(function.trigger.get("authLevel", "function")).lower(), headers, query):
            return 401, {}, b""
        text = scope["query_string"].decode("latin-1")
        url = f"{scope['scheme']}://{headers.get('host', '')}{path}{'?' + text if text else ''}"
        value = self._invocations.worker.http(method, url, headers, values, query, body)
        result = await self._invocations.invoke(function, value)
        if not result.ok or not isinstance(result.returned, dict):
            return 500, {}, b""
        return result.returned["status"], result.returned["headers"], result.returned["body"]

    async def _event_grid(self, method: str, headers: dict[str, str], query: dict[str, str], body: bytes) -> Answer:
        if not self._has_key(headers, query, self._keys.master, self._keys.eventgrid):
            return 401, {}, b""
        name = query.get("functionName", "")
        function = self._functions.get(name.lower())
        if function is not None and function.kind != "eventgridtrigger":
            function = None
        return await eventgrid.receive(self._invocations, function, name, method, headers, body)

    def _admin(self, method: str, path: str, headers: dict[str, str], query: dict[str, str], body: bytes) -> Answer:
        if path == "host/ping":
            return 200, {}, b""
        if not self._has_key(headers, query, self._keys.master):
            return 401, {}, b""
        if path == "host/status":
            return _json({"id": "sandbox", "state": "Running", "version": "4", "processUptime": 0})
        if path == "functions":
            return _json([{"name": function.name, "config": function.trigger} for function in self._functions.values()])
        parts = path.split("/")
        function = self._functions.get(parts[1]) if parts[0] == "functions" and len(parts) > 1 else None
        if function is None:
            return 404, {}, b""
        if parts[2:] == ["status"]:
            return _json({"isDisabled": False})
        return self._run(function, method, body) if len(parts) == 2 else (404, {}, b"")

    def _run(self, function: Function, method: str, body: bytes) -> Answer:
        """202, and the function runs by itself (FunctionsController.Invoke)."""
        if method != "POST":
            return 405, {}, b""
        try:
            given = json.loads(body)["input"]
        except (ValueError, KeyError, TypeError):
            return 400, {}, b""
        worker = self._invocations.worker
        value = worker.value(
            given if given not in (None, "") or function.kind != "timertrigger" else {"IsPastDue": False}
        )
        task = asyncio.create_task(self._invocations.invoke(function, value))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return 202, {}, b""

    def _permitted(self, level: str, headers: dict[str, str], query: dict[str, str]) -> bool:
        if level == "anonymous":
            return True
        keys = [self._keys.master] + ([self._keys.function] if level == "function" else [])
        return self._has_key(headers, query, *keys)

    def _has_key(self, headers: dict[str, str], query: dict[str, str], *keys: str) -> bool:
        given = headers.get("x-functions-key", query.get("code", "")).split(",")[0]  # the header, even if it is empty
        return any(hmac.compare_digest(given.encode(), key.encode()) for key in keys)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What comes several times is one value, with commas between (GrpcMessageConversionExtensions.ToRpcHttp)."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: ",".join(filter(None, values)) for name, values in found.items()}


def _json(body: Any) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


async def _send(send: Any, answer: Answer) -> None:
    status, headers, body = answer
    listed = {name.lower(): value for name, value in headers.items()} | {"content-length": str(len(body))}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in listed.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
