"""The admin API: clock, faults, request counts, identities, events, issuers, seeds, emails. HTTP, no token."""

import asyncio
import dataclasses
import datetime
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.eventgrid import Subscription
from sandbox.identity import Identities
from sandbox.vault import lifecycle, seed
from sandbox.vault.auth import Gate
from sandbox.vault.errors import KeyVaultError
from sandbox.vault.faults import Fault, Faults, Requests
from sandbox.vault.feed import EventFeed
from sandbox.vault.vault import Vault

Json = dict[str, Any]
_LATEST = 221_845_392_000  # the year 9000
_CHANGEABLE = {
    "self_delay",
    "partnered_delay",
    "cancel_delay",
    "delete_delay",
    "recover_delay",
    "purge_delay",
    "retention_days",
    "purge_protection",
    "merge_expired",
}


async def _body(request: Request) -> Json:
    data = await request.body()
    body = json.loads(data) if data.strip() else {}
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")
    return body


def _endpoint(work: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer the result of `work` as JSON, and a bad request with 400 and the reason."""

    async def endpoint(request: Request) -> Response:
        try:
            result = await work(request)
        except (ValueError, TypeError, KeyError, AttributeError, KeyVaultError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)
        return Response(status_code=204) if result is None else JSONResponse(result)

    return endpoint


def parse_moment(value: object) -> float:
    """The UNIX time of a number (UNIX seconds) or a text (ISO 8601, UTC if it has no offset). Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("a time must be UNIX seconds or ISO 8601")
    moment = datetime.datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


class Admin:
    """One method for each resource. It returns the JSON to answer; None is 204."""

    def __init__(self, vault: Vault, gate: Gate, faults: Faults, requests: Requests, feed: EventFeed) -> None:
        self._identities = gate.identities
        self._vault = vault
        self._resource = gate.resource
        self._faults = faults
        self._requests = requests
        self._feed = feed

    async def health(self, _: Request) -> Json:
        """`GET /health`."""
        return {"status": "ok", "vault_url": self._vault.settings.url}

    async def clock(self, request: Request) -> Json:
        """`POST {"advance": seconds}` or `{"now": UNIX seconds or ISO 8601}`; what becomes due happens first."""
        clock = self._vault.clock
        if request.method == "POST":
            body = await _body(request)
            moment = parse_moment(body["now"]) if "now" in body else clock.now() + float(body["advance"])
            if not 0 <= moment < _LATEST:
                raise ValueError("the time must be between 1970 and 9000")
            clock.set(moment)
            await asyncio.to_thread(lifecycle.run_due, self._vault)
        now = clock.now()
        iso = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat()
        return {"now": now, "iso": iso, "offset": clock.offset}

    async def requests(self, request: Request) -> Json | None:
        """Request counts by operation, and the latest requests. DELETE resets them."""
        requests = self._requests
        if request.method == "DELETE":
            requests.clear()
            return None
        return {"counts": requests.counts(), "total": requests.total(), "recent": requests.recent()}

    async def faults(self, request: Request) -> Json | None:
        """The active faults. POST adds one (see `Fault`), DELETE removes all."""
        if request.method == "DELETE":
            self._faults.clear()
            return None
        if request.method == "POST":
            self._faults.add(Fault(**await _body(request)))
        return self._faults.listed()

    async def throttle(self, request: Request) -> Json:
        """`POST {"limits": {group: number}?, "retry_after": seconds?}` enforces limits (see `Faults.throttle`)."""
        body = await _body(request)
        self._faults.throttle(body.get("limits"), body.get("retry_after"))
        return self._faults.listed()

    async def identities(self, request: Request) -> Json:
        """Permissions and application roles by client id.

        `PUT {"permissions"?: {"certificates": ["get", …], …}, "roles"?: ["CertRelay.Reader", …]}` sets those that it
        has; null permits everything. A new identity has no permission."""
        known = self._identities
        if request.method == "PUT":
            body, client_id = await _body(request), request.path_params["client_id"]
            if not body.keys() <= {"permissions", "roles"} or not body:
                raise ValueError("the body has permissions, roles or both")
            permissions = body.get("permissions", known.permissions.get(client_id, {}))
            if permissions is not None:
                permissions = {str(kind): [str(item) for item in items] for kind, items in permissions.items()}
            if "roles" in body:
                known.roles[client_id] = [str(role) for role in body["roles"]]
            known.permissions[client_id] = permissions
        return {"identities": known.permissions, "roles": known.roles}

    async def token(self, request: Request) -> Json:
        """`POST {"client_id"?, "audience"?, "lifetime"?}` issues a token, on request an expired or a foreign one."""
        body = await _body(request)
        arguments = {key: body[key] for key in ("client_id", "lifetime") if key in body}
        audience = body.get("audience", self._resource)
        return {"access_token": self._identities.token(audience, **arguments)}

    async def events(self, request: Request) -> Json:
        """The state of delivery and the events raised. PUT subscribes (see `Subscription`), DELETE unsubscribes."""
        if request.method == "PUT":
            self._feed.subscribe(Subscription(**await _body(request)))
        elif request.method == "DELETE":
            self._feed.subscribe(None)
        return self._feed.publisher.status() | {"raised": list(self._feed.raised)[-1000:]}

    async def issuer(self, request: Request) -> Json:
        """`PUT {"delay": seconds?, "error": {"code", "message"}?}` by issuer name, provider or `*`; DELETE."""
        key = request.path_params["issuer"].lower()
        behaviours = self._vault.settings.issuers
        if request.method == "DELETE":
            behaviours.pop(key, None)
        else:
            body = await _body(request)
            behaviour: Json = {"delay": float(body["delay"])} if "delay" in body else {}
            if body.get("error"):
                behaviour["error"] = {name: str(body["error"][name]) for name in ("code", "message")}
            behaviours[key] = behaviour
        return {"issuers": behaviours}

    async def settings(self, request: Request) -> Json:
        """The vault's settings. PATCH changes some of them."""
        settings = self._vault.settings
        if request.method == "PATCH":
            changes = await _body(request)
            checked = {name: self._setting(name, value) for name, value in changes.items()}
            for name, value in checked.items():
                setattr(settings, name, value)
        return dataclasses.asdict(settings)

    def _setting(self, name: str, value: object) -> object:
        if name not in _CHANGEABLE:
            raise ValueError(f"no such setting: {name}")
        kind = type(getattr(self._vault.settings, name))
        if not isinstance(value, int | float) or isinstance(value, bool) != (kind is bool) or value < 0:
            raise ValueError(f"invalid value for {name}")
        return kind(value)

    async def mails(self, request: Request) -> Json:
        """The emails to the certificate contacts. DELETE discards them."""
        if request.method == "DELETE":
            for key, _ in self._vault.documents("mail"):
                self._vault.put_document("mail", key, None)
        return {"mails": [mail for _, mail in self._vault.documents("mail")]}

    async def seed(self, request: Request) -> Json:
        """`POST {"count", …}` (see `Seed`) creates that many completed EC certificates and raises no events."""
        request_seed = seed.Seed(**await _body(request))
        return await asyncio.to_thread(seed.seed, self._vault, request_seed)


def control_app(identities: Identities, admin: Admin) -> Starlette:
    """The control server: `/msi/token`, `/health` and `/admin/…`."""
    resources: list[tuple[str, Callable[[Request], Awaitable[Any]], list[str]]] = [
        ("/health", admin.health, ["GET"]),
        ("/admin/clock", admin.clock, ["GET", "POST"]),
        ("/admin/requests", admin.requests, ["GET", "DELETE"]),
        ("/admin/faults", admin.faults, ["GET", "POST", "DELETE"]),
        ("/admin/throttle", admin.throttle, ["POST"]),
        ("/admin/identities", admin.identities, ["GET"]),
        ("/admin/identities/{client_id}", admin.identities, ["PUT"]),
        ("/admin/token", admin.token, ["POST"]),
        ("/admin/events", admin.events, ["GET", "PUT", "DELETE"]),
        ("/admin/issuers/{issuer}", admin.issuer, ["PUT", "DELETE"]),
        ("/admin/settings", admin.settings, ["GET", "PATCH"]),
        ("/admin/mails", admin.mails, ["GET", "DELETE"]),
        ("/admin/seed", admin.seed, ["POST"]),
    ]
    routes = [Route(path, _endpoint(work), methods=methods) for path, work, methods in resources]
    return Starlette(routes=[Route("/msi/token", identities.endpoint), *routes])
