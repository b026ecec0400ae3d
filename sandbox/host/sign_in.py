"""App Service authentication: the gate before every request, its sessions, and its endpoints under `/.auth/`.

https://learn.microsoft.com/azure/app-service/overview-authentication-authorization
https://learn.microsoft.com/azure/app-service/configure-authentication-customize-sign-in-out
Who may sign in, and with which roles, is chosen on a page of the sandbox instead of Microsoft Entra ID.
"""

import datetime
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from sandbox.host import principal
from sandbox.host.auth_settings import AuthSettings
from sandbox.host.clock import machine_time
from sandbox.host.sign_in_page import HEADERS, Choice, page, sign_in_page
from sandbox.identity import Identities, InvalidTokenError

COOKIE = "AppServiceAuthSession"
SESSION_SECONDS = 8 * 3600  # the platform's default, before refreshing
_LOGIN, _CALLBACK = "/.auth/login/aad", "/.auth/login/aad/callback"
_LOGGED_IN, _LOGGED_OUT = "/.auth/login/done", "/.auth/logout/complete"
_REFUSED = b"You do not have permission to view this directory or page."

type Answer = tuple[int, dict[str, str], bytes]


class Request(NamedTuple):
    """`path` as it was sent, still percent-encoded; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Session:
    claims: dict[str, Any]
    id_token: str


class SignIn:
    """`roles` are the values of the app's roles. Sessions are in memory and end with the host."""

    def __init__(self, settings: AuthSettings, identities: Identities, roles: Sequence[str]) -> None:
        self.settings, self._identities, self._roles = settings, identities, roles
        self._sessions: dict[str, _Session] = {}

    @classmethod
    def read(cls, file: Path) -> "SignIn":
        """From a JSON file: `settings` (authsettingsV2), and the paths of the manifest of the `app_roles` and of the
        `identity` whose tokens are believed. Raises OSError or ValueError."""
        known = json.loads(file.read_text())
        roles = [role["value"] for role in json.loads(Path(known["app_roles"]).read_text())]
        return cls(
            AuthSettings.read(known["settings"]), Identities.kept_in(Path(known["identity"]), machine_time), roles
        )

    def app_settings(self) -> dict[str, str]:
        """The application settings by which the platform says that authentication is on."""
        return {
            "WEBSITE_AUTH_ENABLED": "True",
            "WEBSITE_AUTH_CLIENT_ID": self.settings.client_id,
            "WEBSITE_AUTH_OPENID_ISSUER": self.settings.issuer,
        }

    def check(self, request: Request) -> Answer | dict[str, str]:
        """The headers with which a request reaches the app, or the answer that it gets instead."""
        headers = principal.without(request.headers)
        if request.path.lower().startswith("/.auth/"):
            return self._endpoint(request)
        if self.settings.excludes(request.path):
            return headers
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            claims = self._valid(token.strip())
            return self._refuse(request, 401) if claims is None else headers | principal.headers(claims)
        session = self._session(request)
        if session is None:
            return headers if self.settings.action == "AllowAnonymous" else self._unauthenticated(request)
        if _is_forged(request):
            return 403, {}, _REFUSED
        return headers | principal.headers(session.claims, session.id_token)

    def _valid(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that the identity endpoint issued for this app; None for any other."""
        try:
            claims = self._identities.claims(token, set(self.settings.audiences))
        except InvalidTokenError:
            return None
        return claims if claims["iss"] == self.settings.issuer else None

    def _session(self, request: Request) -> _Session | None:
        session = self._sessions.get(_cookie(request))
        # The token in it ends with it, by the machine's clock.
        return session if session and self._valid(session.id_token) else None

    def _unauthenticated(self, request: Request) -> Answer:
        if self.settings.action == "Return403":
            return self._refuse(request, 403)
        browser = request.headers.get("user-agent", "").startswith("Mozilla")
        if self.settings.action == "Return401" or not browser or "x-requested-with" in request.headers:
            return self._refuse(request, 401)
        target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        return _redirect(f"{_LOGIN}?{urlencode({'post_login_redirect_uri': target})}")

    def _refuse(self, request: Request, status: int) -> Answer:
        realm = request.headers.get("host", "").replace('"', "")
        issuer = self.settings.issuer.removesuffix("/v2.0")
        challenge = f'Bearer realm="{realm}" authorization_uri="{issuer}/oauth2/v2.0/authorize" '
        challenge += f'resource_id="{self.settings.client_id}"'
        return status, {"WWW-Authenticate": challenge} if status == 401 else {}, _REFUSED

    def _endpoint(self, request: Request) -> Answer:
        path = request.path.lower()
        if (request.method, path) == ("POST", _CALLBACK):
            return self._sign_in(request)
        if path == "/.auth/logout" and request.method in ("GET", "POST"):
            return self._sign_out(request)
        if request.method != "GET":
            return 404, {}, b""
        if path == _LOGIN:
            redirect = request.query.get("post_login_redirect_uri", _LOGGED_IN)
            return 200, HEADERS, sign_in_page(_CALLBACK, redirect, self._roles)
        if path == "/.auth/me":
            return self._me(request)
        texts = {_LOGGED_IN: "You have signed in.", _LOGGED_OUT: "You have signed out."}
        return (200, HEADERS, page("Sandbox", texts[path])) if path in texts else (404, {}, b"")

    def _sign_in(self, request: Request) -> Answer:
        if not _is_same_origin(request.headers.get("origin") or request.headers.get("referer"), request):
            return 403, {}, _REFUSED
        try:
            choice = Choice.read(request.body, self._roles)
            target = _local(request.query.get("post_login_redirect_uri", _LOGGED_IN))
        except ValueError as error:
            return 400, HEADERS, page("You cannot sign in so", str(error))
        id_token = self._identities.app_token(choice.claims(), SESSION_SECONDS)
        claims = self._valid(id_token)
        if claims is None:
            return 500, HEADERS, page("You cannot sign in", "The settings name another issuer or audience.")
        key = secrets.token_urlsafe(32)
        # A new key for each sign-in; those that are over go.
        self._sessions.pop(_cookie(request), None)
        self._sessions = {one: kept for one, kept in self._sessions.items() if self._valid(kept.id_token)}
        self._sessions[key] = _Session(claims, id_token)
        return _redirect(target, f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Lax")

    def _sign_out(self, request: Request) -> Answer:
        self._sessions.pop(_cookie(request), None)
        try:
            target = _local(request.query.get("post_logout_redirect_uri", _LOGGED_OUT))
        except ValueError:
            target = _LOGGED_OUT
        return _redirect(target, f"{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")

    def _me(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return self._refuse(request, 401)
        expires = datetime.datetime.fromtimestamp(session.claims["exp"], datetime.UTC)
        found = {
            "expires_on": expires.isoformat().replace("+00:00", "Z"),
            "id_token": session.id_token,
            "provider_name": "aad",
            "user_claims": principal.claims(session.claims),
            "user_id": session.claims.get("preferred_username", session.claims["oid"]),
        }
        answer = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
        return 200, answer, json.dumps([found]).encode()


def _cookie(request: Request) -> str:
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _is_forged(request: Request) -> bool:
    """Whether another site may have made a signed-in browser send this: the platform refuses a POST with a session's
    cookie from a browser whose Origin or Referer is missing or foreign."""
    if request.method != "POST" or not request.headers.get("user-agent", "").startswith("Mozilla"):
        return False
    return not _is_same_origin(request.headers.get("origin") or request.headers.get("referer") or "null", request)


def _is_same_origin(origin: str | None, request: Request) -> bool:
    """None, no browser sent the request, counts as the same."""
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _local(target: str) -> str:
    """Raises ValueError unless this is a path of this host: a redirect must not lead elsewhere."""
    if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isascii() or not target.isprintable():
        raise ValueError("The address to go to after signing in must be a path of this app.")
    return target


def _redirect(target: str, cookie: str | None = None) -> Answer:
    headers = {"Location": target, "Cache-Control": "no-store"}
    return 302, headers | ({"Set-Cookie": cookie} if cookie else {}), b""
