"""Tokens, and the endpoint through which a managed identity gets them.

The protocol is App Service's, api-version 2019-08-01:
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
Tokens are JWTs signed with a secret of the sandbox. They expire by the machine's clock, which is the one of the
clients that cache them.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.directory import write_whole

TENANT = "11111111-1111-1111-1111-111111111111"
SYSTEM_ASSIGNED = "22222222-2222-2222-2222-222222222222"
REGISTRATION = "33333333-3333-3333-3333-333333333333"
"""The client id under which the app itself is registered, with `requestedAccessTokenVersion` 2."""
APP_AUDIENCE = f"api://{REGISTRATION}"
APP_ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
Permissions = Mapping[str, list[str]]
"""Allowed operations by kind (`certificates`, `secrets`, `keys`), lower case."""


class InvalidTokenError(Exception):
    """A token that is malformed, forged, expired or for another audience; the message says which."""


@dataclass
class Identities:
    """The identities that may have tokens, their permissions, and the secret that signs the tokens.

    `permissions` maps client ids to permissions; None permits everything, as for the system-assigned identity.
    `roles` maps client ids to the application roles that are assigned to them for the app. `now` returns UNIX seconds.
    """

    header: str = field(default_factory=lambda: secrets.token_hex(16))
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    lifetime: float = 86400
    permissions: dict[str, Permissions | None] = field(default_factory=lambda: {SYSTEM_ASSIGNED: None})
    roles: dict[str, list[str]] = field(default_factory=dict)
    now: Callable[[], float] = time.time

    @classmethod
    def kept_in(cls, path: Path, now: Callable[[], float] = time.time) -> "Identities":
        """Load the header and the secret from this file, or create it: tokens stay valid across restarts."""
        if path.exists():
            kept = json.loads(path.read_text(encoding="ascii"))
            return cls(header=kept["header"], secret=bytes.fromhex(kept["secret"]), now=now)
        made = cls(now=now)
        write_whole(path, json.dumps({"header": made.header, "secret": made.secret.hex()}).encode())
        return made

    def token(self, audience: str, client_id: str = SYSTEM_ASSIGNED, lifetime: float | None = None) -> str:
        """A signed token for this audience. `lifetime` is in seconds.

        Key Vault gets a token of version 1. The app's registration asks for version 2: there the audience is the
        client id, `azp` names the caller's application, and `roles` are those that are assigned to it
        (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
        """
        lasts = self.lifetime if lifetime is None else lifetime
        common = {"oid": object_id(client_id), "sub": object_id(client_id), "tid": TENANT}
        if audience in (APP_AUDIENCE, REGISTRATION):
            roles = self.roles.get(client_id)
            return self.app_token(
                {**common, "azp": client_id, "azpacr": "2", "idtyp": "app"} | ({"roles": roles} if roles else {}), lasts
            )
        issuer = f"https://sts.windows.net/{TENANT}/"
        return self._signed({**common, "appid": client_id, "aud": audience, "iss": issuer, "ver": "1.0"}, lasts)

    def app_token(self, claims: Mapping[str, Any], lifetime: float) -> str:
        """A token of version 2 with these claims, for the app's registration. `lifetime` is in seconds."""
        return self._signed({**claims, "aud": REGISTRATION, "iss": APP_ISSUER, "ver": "2.0"}, lifetime)

    def _signed(self, claims: Mapping[str, Any], lifetime: float) -> str:
        now = int(self.now())
        dates = {"iat": now, "nbf": now, "exp": now + int(lifetime)}
        signed = f"{_encode({'typ': 'JWT', 'alg': 'HS256'})}.{_encode({**claims, **dates})}"
        return f"{signed}.{self._signature(signed)}"

    def claims(self, token: str, audiences: set[str]) -> dict[str, Any]:
        """The claims of a valid token. Raises InvalidTokenError."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            raise InvalidTokenError("AKV10000: Error validating token: the signature is invalid.")
        claims: dict[str, Any] = json.loads(_decode(signed.partition(".")[2]))
        if claims["exp"] <= self.now():
            raise InvalidTokenError("AKV10000: Error validating token: the token is expired.")
        if claims["aud"].rstrip("/") not in audiences:
            expected = ", ".join(sorted(audiences))
            raise InvalidTokenError(f"AKV10022: Invalid audience. Expected {expected}, found: {claims['aud']}.")
        return claims

    def _signature(self, text: str) -> str:
        digest = hmac.new(self.secret, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    async def endpoint(self, request: Request) -> Response:
        """`GET /msi/token?resource=…&api-version=2019-08-01[&client_id=…]` with the header X-IDENTITY-HEADER."""
        if not hmac.compare_digest(request.headers.get("x-identity-header", "").encode(), self.header.encode()):
            return _refusal(401, "Unauthorized", "The X-IDENTITY-HEADER is missing or wrong.")
        query = request.query_params
        if query.get("api-version") != "2019-08-01":
            return _refusal(400, "BadRequest", "api-version must be 2019-08-01.")
        resource = query.get("resource")
        if not resource:
            return _refusal(400, "BadRequest", "resource is missing.")
        client_id = query.get("client_id", SYSTEM_ASSIGNED)
        if client_id not in self.permissions:
            return _refusal(
                400, "BadRequest", "No User Assigned or Delegated Managed Identity found for that client_id."
            )
        now = int(self.now())
        return JSONResponse(
            {
                "access_token": self.token(resource, client_id),
                "client_id": client_id,
                "expires_on": str(now + int(self.lifetime)),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
            }
        )


def object_id(client_id: str) -> str:
    """The object id of a client id's principal."""
    return str(uuid.uuid5(uuid.UUID(TENANT), client_id))


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"statusCode": status, "code": code, "message": message}, status)


def _encode(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
