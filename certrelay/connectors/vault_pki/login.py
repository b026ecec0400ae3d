"""Login at OpenBao and HashiCorp Vault, and what their responses mean."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from azure.core.exceptions import AzureError
from hvac.adapters import JSONAdapter
from hvac.api.auth_methods import JWT, AppRole

from certrelay.connectors.base import Context
from certrelay.connectors.http import retry_after, sentence
from certrelay.connectors.single_flight import SingleFlight
from certrelay.connectors.vault_pki.settings import VaultPkiSettings

MAX_TOKEN_USE = timedelta(hours=12)


class Refused(Exception):
    """The server's response was not a JSON object with status 200."""

    def __init__(self, status: int, reason: str, wait: float | None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.wait = status, reason, wait


class Login:
    """The token that all threads share. After two thirds of its lease it is renewed or, if that fails, replaced."""

    def __init__(
        self, settings: VaultPkiSettings, context: Context, adapter: Callable[[str | None], JSONAdapter]
    ) -> None:
        self._settings, self._context, self._adapter = settings, context, adapter
        self._flight, self._lock = SingleFlight(), threading.Lock()
        self._given = settings.token.get_secret_value() if settings.token else None
        self._token = self._given
        self._fresh_until = datetime.min.replace(tzinfo=UTC)

    def token(self) -> str:
        """Raises requests.RequestException, Refused."""
        return self._flight.do(self._good_token)

    def _good_token(self) -> str:
        token = self._token
        return self._refresh(token) if token is None or self._context.now() >= self._fresh_until else token

    def forget(self, token: str) -> bool:
        """Whether a new login may get a better token than this one."""
        with self._lock:
            if self._given is None and self._token == token:
                self._token = None
            return self._given is None

    def _refresh(self, old: str | None) -> str:
        answer = self._adapter(old).post("/v1/auth/token/renew-self", json={}) if old else None
        if not isinstance(answer, dict):
            answer = self._unrenewed(answer) if self._given else self._log_in()
        match answer:
            case {"auth": {"client_token": str(token), **rest}}:
                lease = rest.get("lease_duration") or 0
            case _:
                raise Refused(requests.codes.ok, "login: the answer holds no token", None)
        with self._lock:
            self._token = self._given or token
        longest = int(MAX_TOKEN_USE.total_seconds())
        seconds = min(lease * 2 // 3, longest) if isinstance(lease, int) and lease > 0 else longest
        self._fresh_until = self._context.now() + timedelta(seconds=seconds)
        return self._given or token

    def _unrenewed(self, answer: Any) -> dict[str, Any]:
        """A configured token that may not be renewed can still be valid: the call itself will show. After an outage,
        by contrast, renewal must be tried again in time. Raises Refused."""
        if getattr(answer, "status_code", None) not in (requests.codes.bad_request, requests.codes.forbidden):
            return json_object(answer, self._context.now())
        return {"auth": {"client_token": self._given}}

    def _log_in(self) -> dict[str, Any]:
        settings, adapter = self._settings, self._adapter(None)
        if settings.role_id:
            secret_id = settings.secret_id.get_secret_value() if settings.secret_id else None
            mount = settings.auth_mount or "approle"
            answer = AppRole(adapter).login(settings.role_id, secret_id, False, mount)
        else:
            answer = JWT(adapter).jwt_login(
                settings.jwt_role, self._managed_identity_token(), False, settings.auth_mount
            )
        try:
            return json_object(answer, self._context.now())
        except Refused as refusal:
            # A refused login is about our credentials, never about the order.
            raise Refused(requests.codes.forbidden, f"login: {refusal.reason}", refusal.wait) from None

    def _managed_identity_token(self) -> str:
        try:
            return str(self._context.credential().get_token(f"{self._settings.jwt_audience}/.default").token)
        except AzureError as error:
            raise Refused(0, f"login: no token from the managed identity ({type(error).__name__})", None) from None


def json_object(answer: Any, now: datetime) -> dict[str, Any]:
    """hvac returns the JSON of a 200, and the `requests.Response` of anything else. Raises Refused."""
    if isinstance(answer, dict):
        return answer
    if not isinstance(answer, requests.Response):
        raise Refused(requests.codes.ok, "its answer is not a JSON object", None)
    reason = {
        requests.codes.forbidden: "permission denied",
        requests.codes.unauthorized: "permission denied",
    }.get(answer.status_code, f"it answered HTTP {answer.status_code}")
    raise Refused(answer.status_code, _errors(answer) or reason, retry_after(answer.headers, now))


def _errors(answer: requests.Response) -> str | None:
    """The server's own reasons: `{"errors": ["…"]}`."""
    try:
        errors = answer.json()["errors"]
        return sentence("; ".join(errors)) if errors else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
