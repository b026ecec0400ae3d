"""Authorization: the caller's role, from Microsoft Entra ID or, for function keys, from the settings.

With App Service authentication, HTTP functions need no function key: the platform refuses callers who are not signed
in. It describes the caller in the header X-MS-CLIENT-PRINCIPAL, and removes that header from incoming requests
(https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities). Without it, the Functions host
requires a function key, and the header is never read.
"""

import base64
import binascii
import json
from dataclasses import replace

import azure.functions as func

from certrelay.access import grants
from certrelay.callers import FUNCTION_KEY, PREFIX, Caller, Role, grants_for
from certrelay.errors import NotPermitted
from certrelay.log import logger
from certrelay.services import Services
from certrelay.setting_models import Settings
from handlers import services, settings

__all__ = ["PREFIX", "Role", "acting_for", "caller", "caller_of", "require"]

HEADER = "x-ms-client-principal"
OBJECT_ID = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")
APPLICATION_ID = ("azp", "appid")
SCHEMAS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
SUBJECT = ("sub", f"{SCHEMAS}nameidentifier")
SCOPE = ("scp", "http://schemas.microsoft.com/identity/claims/scope")
# What people are called, in the order of preference; the platform gives some of these claims long names:
# https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
NAMES = ("preferred_username", "upn", f"{SCHEMAS}upn", "unique_name", f"{SCHEMAS}name", "name", "app_displayname")
MAX_NAME = 100  # characters
GROUPS = ("groups", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups")
# In place of the groups, if a token would be too large with them:
# https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference#groups-overage-claim
GROUPS_LEFT_OUT = ("_claim_names", "hasgroups", "http://schemas.microsoft.com/claims/groups.link")

type Claims = list[tuple[str, str]]

log = logger("roles")


class NotAuthenticated(NotPermitted):
    code = "NotAuthenticated"


def require(req: func.HttpRequest, role: Role) -> None:
    """Raise NotAuthenticated or NotPermitted unless the caller has the role for what the path names."""
    principal = caller_of(req)
    named = req.route_params
    authority = named.get("authority") or named.get("issuer")
    try:
        grants.require(principal, role, named.get("vault"), named.get("name"), authority)
    except NotPermitted as error:
        log.warning("%s: %s", principal.name, error)
        raise


def acting_for(req: func.HttpRequest) -> Services:
    """The services, on behalf of the caller. Raises NotAuthenticated."""
    return replace(services(), caller=caller_of(req))


def caller(req: func.HttpRequest) -> str:
    """The caller's name, for the history: the object or client id in Entra ID, or `function key`."""
    return caller_of(req).name


def caller_of(req: func.HttpRequest) -> Caller:
    """Who calls. Raises NotAuthenticated if App Service authentication names nobody, or not readably."""
    known = settings()
    if not known.app_service_authentication:
        role = Role[known.function_key_role.upper()]
        return _caller(known, Caller(FUNCTION_KEY, role, (FUNCTION_KEY,)))
    header = req.headers.get(HEADER)
    if not header:
        raise NotAuthenticated("App Service authentication names no caller")
    try:
        claims = _claims(header)
    except (binascii.Error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotAuthenticated("the caller's principal cannot be read") from None
    roles = [role for role in Role if ("roles", role.value_in_entra) in claims]
    ids = _ids(claims)
    named = next((value for kind in (*OBJECT_ID, *APPLICATION_ID) for value in _values(claims, kind)), "unknown")
    groups = frozenset(value.lower() for kind in GROUPS for value in _values(claims, kind))
    left_out = any(kind in GROUPS_LEFT_OUT for kind, _ in claims)
    name = named if named.isprintable() else "unknown"
    shown = _display_name(claims, ids)
    return _caller(known, Caller(name, max(roles, default=None), ids, groups, left_out, display_name=shown))


def _caller(known: Settings, principal: Caller) -> Caller:
    """The caller with its grants."""
    applying = grants_for(known.grants, principal.role, principal.groups | set(principal.ids))
    return replace(principal, by_grants=known.grants is not None, grants=applying)


def _display_name(claims: Claims, ids: tuple[str, ...]) -> str:
    """What people call the caller; an application without a name is known by its application id."""
    said = [*(value for kind in NAMES for value in _values(claims, kind)), *ids[1:]]
    shown = ("".join(filter(str.isprintable, value)).strip()[:MAX_NAME] for value in said)
    return next(filter(None, shown), "")


def _ids(claims: Claims) -> tuple[str, ...]:
    """The object id and, of an application that acts by itself, its application id.

    A person's token names an application, too: the one that the person uses. The token of an application has no scope,
    and its subject is its own object id
    (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference)."""
    found = [value for kind in OBJECT_ID for value in _values(claims, kind)][:1]
    itself = ("idtyp", "app") in claims or any(value in found for kind in SUBJECT for value in _values(claims, kind))
    if itself and not any(kind in SCOPE for kind, _ in claims):
        found += [value for kind in APPLICATION_ID for value in _values(claims, kind)][:1]
    return tuple(dict.fromkeys(value.lower() for value in found if value.isprintable() and value))


def _values(claims: Claims, kind: str) -> list[str]:
    return [value for claim, value in claims if claim == kind]


def _claims(header: str) -> Claims:
    """The claims as (type, value); the type of role claims is always `roles`.

    Raises ValueError, LookupError, TypeError, AttributeError or RecursionError for a malformed header."""
    principal = json.loads(base64.b64decode(header, validate=True))
    if principal["auth_typ"] != "aad":
        raise ValueError("not Microsoft Entra ID")
    role_type = principal.get("role_typ") or "roles"
    claims = [(str(claim["typ"]), str(claim["val"])) for claim in principal["claims"]]
    return [("roles" if kind == role_type else kind, value) for kind, value in claims]
