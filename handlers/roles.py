"""Who may do what. A function key opens the door; with App Service authentication a role decides about the rest.

The platform puts the caller into X-MS-CLIENT-PRINCIPAL, and removes that header from what callers send, only while App
Service authentication is on (https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities).
So the header counts only with CERTRELAY_APP_SERVICE_AUTHENTICATION=true, and then it must be there.
"""

import base64
import binascii
import enum
import json
from dataclasses import dataclass

import azure.functions as func

from certrelay.errors import NotPermitted
from certrelay.log import logger
from handlers import settings

HEADER = "x-ms-client-principal"
PREFIX = "CertRelay."
ID_CLAIMS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid", "azp", "appid")

log = logger("roles")


class Role(enum.IntEnum):
    """Application roles of Microsoft Entra ID (`CertRelay.Reader` …); each includes the ones before it."""

    READER = 1
    REQUESTER = 2
    OPERATOR = 3
    ADMINISTRATOR = 4


class NotAuthenticated(NotPermitted):
    code = "NotAuthenticated"


@dataclass(frozen=True, slots=True)
class Principal:
    name: str
    role: Role | None


def require(req: func.HttpRequest, role: Role) -> None:
    """Raise NotAuthenticated or NotPermitted unless the caller has the role; does nothing while roles are off."""
    if not settings().app_service_authentication:
        return
    principal = _principal(req)
    if principal.role is None or principal.role < role:
        log.warning(
            "%s wants %s and has %s", principal.name, role.name, principal.role.name if principal.role else "no role"
        )
        raise NotPermitted(f"the application role {PREFIX}{role.name.capitalize()} is needed")


def caller(req: func.HttpRequest) -> str:
    """Who asks, for the history."""
    return _principal(req).name if settings().app_service_authentication else "function key"


def _principal(req: func.HttpRequest) -> Principal:
    header = req.headers.get(HEADER)
    if not header:
        raise NotAuthenticated("App Service authentication tells of no caller")
    try:
        found = json.loads(base64.b64decode(header, validate=True))
        role_type = found.get("role_typ") or "roles"
        claims = [(str(claim["typ"]), str(claim["val"])) for claim in found["claims"]]
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        raise NotAuthenticated("the caller's principal cannot be read") from None
    granted = [value for kind, value in claims if kind in (role_type, "roles")]
    roles = [role for role in Role if f"{PREFIX}{role.name.capitalize()}" in granted]
    name = next((value for kind in ID_CLAIMS for found_kind, value in claims if found_kind == kind), "unknown")
    return Principal(name if name.isprintable() else "unknown", max(roles, default=None))
