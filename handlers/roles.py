"""Authorization: the caller's role, from Microsoft Entra ID or, for function keys, from the settings.

With App Service authentication, HTTP functions need no function key: the platform refuses callers who are not signed
in. It describes the caller in the header X-MS-CLIENT-PRINCIPAL, and removes that header from incoming requests
(https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities). Without it, the Functions host
requires a function key, and the header is never read.
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

    @property
    def value_in_entra(self) -> str:
        """The `value` of the application role."""
        return f"{PREFIX}{self.name.capitalize()}"


class NotAuthenticated(NotPermitted):
    code = "NotAuthenticated"


@dataclass(frozen=True, slots=True)
class Principal:
    name: str
    role: Role | None


def require(req: func.HttpRequest, role: Role) -> None:
    """Raise NotAuthenticated or NotPermitted unless the caller has the role."""
    principal = _principal(req)
    if principal.role is None or principal.role < role:
        has = principal.role.name.capitalize() if principal.role else "no role"
        log.warning("%s has %s; %s is needed", principal.name, has, role.value_in_entra)
        if not settings().app_service_authentication:
            raise NotPermitted(f"function keys have the role {has} here; {role.name.capitalize()} is needed")
        raise NotPermitted(f"the application role {role.value_in_entra} is needed")


def caller(req: func.HttpRequest) -> str:
    """The caller's name, for the history: the object or client id in Entra ID, or `function key`."""
    return _principal(req).name


def _principal(req: func.HttpRequest) -> Principal:
    known = settings()
    if not known.app_service_authentication:
        return Principal("function key", Role[known.function_key_role.upper()])
    header = req.headers.get(HEADER)
    if not header:
        raise NotAuthenticated("App Service authentication names no caller")
    try:
        claims = _claims(header)
    except (binascii.Error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotAuthenticated("the caller's principal cannot be read") from None
    roles = [role for role in Role if ("roles", role.value_in_entra) in claims]
    name = next((value for kind in ID_CLAIMS for claim, value in claims if claim == kind), "unknown")
    return Principal(name if name.isprintable() else "unknown", max(roles, default=None))


def _claims(header: str) -> list[tuple[str, str]]:
    """The claims as (type, value); the type of role claims is always `roles`.

    Raises ValueError, LookupError, TypeError, AttributeError or RecursionError for a malformed header."""
    principal = json.loads(base64.b64decode(header, validate=True))
    if principal["auth_typ"] != "aad":
        raise ValueError("not Microsoft Entra ID")
    role_type = principal.get("role_typ") or "roles"
    claims = [(str(claim["typ"]), str(claim["val"])) for claim in principal["claims"]]
    return [("roles" if kind == role_type else kind, value) for kind, value in claims]
