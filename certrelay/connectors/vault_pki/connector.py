"""The PKI secrets engine of OpenBao and HashiCorp Vault.

https://openbao.org/api-docs/secret/pki/#sign-certificate: it answers at once, so there is never anything to collect,
and it cannot find an earlier order.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import requests
from azure.core.exceptions import AzureError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hvac.adapters import JSONAdapter
from hvac.api.auth_methods import JWT, AppRole
from hvac.api.secrets_engines import Pki

from certrelay.connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Rejected,
    RevocationReason,
    SigningRequest,
    Unavailable,
)
from certrelay.connectors.http import AuthoritySession, failure, retry_after, sentence
from certrelay.connectors.single_flight import SingleFlight
from certrelay.connectors.vault_pki.settings import VaultPkiSettings

USER_PRINCIPAL_NAME = "1.3.6.1.4.1.311.20.2.3"
MAX_TOKEN_USE = timedelta(hours=12)


class _Refused(Exception):
    """The server's response was not a JSON object with status 200."""

    def __init__(self, status: int, reason: str, wait: float | None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.wait = status, reason, wait


class VaultPki:
    """Connector `vault_pki`."""

    Settings: ClassVar[type[ConnectorSettings]] = VaultPkiSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.FINDS_EARLIER_ORDER}

    def __init__(self, settings: VaultPkiSettings, context: Context) -> None:
        self._settings = settings
        self._now = context.now
        self._session = AuthoritySession(settings)
        self._login = _Login(settings, context, self._adapter)

    def submit(self, request: SigningRequest) -> Outcome:
        try:
            answer = self._ask(lambda adapter: self._sign(adapter, request))
        except requests.RequestException as error:
            return Unavailable(failure(error))
        except _Refused as refusal:
            if refusal.status == requests.codes.bad_request:
                return Rejected(refusal.reason)
            return Unavailable(refusal.reason, refusal.wait)
        try:
            return Issued(_chain(answer["data"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return Unavailable("its answer holds no certificate")

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        """There is never anything to collect: submit again."""
        return Unavailable("orders are answered at once and never stored", restart=True)

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        """The engine records no reason. It gets the certificate itself: with `no_store` it does not know the serial."""
        pem = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM).decode()
        self._ask_or_raise(
            lambda adapter: adapter.post(f"/v1/{self._settings.mount}/revoke", json={"certificate": pem})
        )

    def check(self) -> None:
        path = f"{self._settings.mount}/{self._signing_path()}"
        answer = self._ask_or_raise(lambda adapter: adapter.post("/v1/sys/capabilities-self", json={"paths": [path]}))
        if not {"update", "root"} & set(answer.get("capabilities") or ()):
            raise ConnectorError(f"permission denied: the token may not update {path}")

    def _signing_path(self) -> str:
        return f"{'sign-verbatim' if self._settings.verbatim else 'sign'}/{self._settings.role}"

    def _sign(self, adapter: JSONAdapter, request: SigningRequest) -> Any:
        pki: Any = Pki(adapter)
        csr = x509.load_der_x509_csr(request.csr).public_bytes(Encoding.PEM).decode()
        asked = _parameters(request)
        if not self._settings.send_not_after:
            del asked["not_after"]
        mount, common_name = self._settings.mount, request.names.common_name or ""
        if request.is_ca:
            return pki.sign_intermediate(csr, common_name, {**asked, "use_csr_values": True}, mount)
        if self._settings.verbatim:
            return pki.sign_verbatim(csr, self._settings.role, asked, mount)
        return pki.sign_certificate(self._settings.role, csr, common_name, asked, mount)

    def _adapter(self, token: str | None = None) -> JSONAdapter:
        return JSONAdapter(
            base_uri=self._settings.url,
            token=token,
            session=self._session,
            namespace=self._settings.namespace,
            ignore_exceptions=True,
        )

    def _ask(self, call: Callable[[JSONAdapter], Any]) -> dict[str, Any]:
        """One call with a valid token. A token that is denied may have been revoked: log in again, once.

        Raises requests.RequestException, _Refused."""
        try:
            token = self._login.token()
            answer = call(self._adapter(token))
            if getattr(answer, "status_code", None) == requests.codes.forbidden and self._login.forget(token):
                answer = call(self._adapter(self._login.token()))
        except RecursionError:
            raise _Refused(requests.codes.ok, "its answer is JSON that is nested too deeply", None) from None
        return _json_object(answer, self._now())

    def _ask_or_raise(self, call: Callable[[JSONAdapter], Any]) -> dict[str, Any]:
        try:
            return self._ask(call)
        except requests.RequestException as error:
            raise ConnectorError(failure(error)) from None
        except _Refused as refusal:
            raise ConnectorError(refusal.reason) from None


class _Login:
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
        """Raises requests.RequestException, _Refused."""
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
                raise _Refused(requests.codes.ok, "login: the answer holds no token", None)
        with self._lock:
            self._token = self._given or token
        longest = int(MAX_TOKEN_USE.total_seconds())
        seconds = min(lease * 2 // 3, longest) if isinstance(lease, int) and lease > 0 else longest
        self._fresh_until = self._context.now() + timedelta(seconds=seconds)
        return self._given or token

    def _unrenewed(self, answer: Any) -> dict[str, Any]:
        """A configured token that may not be renewed can still be valid: the call itself will show. After an outage,
        by contrast, renewal must be tried again in time. Raises _Refused."""
        if getattr(answer, "status_code", None) not in (requests.codes.bad_request, requests.codes.forbidden):
            return _json_object(answer, self._context.now())
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
            return _json_object(answer, self._context.now())
        except _Refused as refusal:
            # A refused login is about our credentials, never about the order.
            raise _Refused(requests.codes.forbidden, f"login: {refusal.reason}", refusal.wait) from None

    def _managed_identity_token(self) -> str:
        try:
            return str(self._context.credential().get_token(f"{self._settings.jwt_audience}/.default").token)
        except AzureError as error:
            raise _Refused(0, f"login: no token from the managed identity ({type(error).__name__})", None) from None


def _parameters(request: SigningRequest) -> dict[str, Any]:
    """The names too, so that a role that ignores those of the CSR (`use_csr_sans=false`) issues the same ones."""
    names = request.names
    return {
        "alt_names": ",".join(names.dns_names + names.email_addresses),
        "ip_sans": list(names.ip_addresses),
        "uri_sans": list(names.uris),
        "other_sans": [f"{USER_PRINCIPAL_NAME};UTF8:{name}" for name in names.user_principal_names],
        "exclude_cn_from_sans": True,
        "not_after": request.not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _chain(data: dict[str, Any]) -> bytes:
    chain = data.get("ca_chain") or [data["issuing_ca"]]
    return "\n".join(dict.fromkeys(pem.strip() for pem in [data["certificate"], *chain])).encode()


def _json_object(answer: Any, now: datetime) -> dict[str, Any]:
    """hvac returns the JSON of a 200, and the `requests.Response` of anything else. Raises _Refused."""
    if isinstance(answer, dict):
        return answer
    if not isinstance(answer, requests.Response):
        raise _Refused(requests.codes.ok, "its answer is not a JSON object", None)
    reason = {
        requests.codes.forbidden: "permission denied",
        requests.codes.unauthorized: "permission denied",
    }.get(answer.status_code, f"it answered HTTP {answer.status_code}")
    raise _Refused(answer.status_code, _errors(answer) or reason, retry_after(answer.headers, now))


def _errors(answer: requests.Response) -> str | None:
    """The server's own reasons: `{"errors": ["…"]}`."""
    try:
        errors = answer.json()["errors"]
        return sentence("; ".join(errors)) if errors else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
