"""The PKI secrets engine of OpenBao and HashiCorp Vault.

https://openbao.org/api-docs/secret/pki/#sign-certificate: it answers at once, so there is never anything to collect,
and it cannot find an earlier order.
"""

from collections.abc import Callable
from datetime import UTC
from typing import Any, ClassVar

import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hvac.adapters import JSONAdapter
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
from certrelay.connectors.http import AuthoritySession, failure
from certrelay.connectors.vault_pki.login import Login, Refused, json_object
from certrelay.connectors.vault_pki.settings import VaultPkiSettings

USER_PRINCIPAL_NAME = "1.3.6.1.4.1.311.20.2.3"


class VaultPki:
    """Connector `vault_pki`."""

    Settings: ClassVar[type[ConnectorSettings]] = VaultPkiSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.FINDS_EARLIER_ORDER}

    def __init__(self, settings: VaultPkiSettings, context: Context) -> None:
        self._settings = settings
        self._now = context.now
        self._session = AuthoritySession(settings)
        self._login = Login(settings, context, self._adapter)

    def submit(self, request: SigningRequest) -> Outcome:
        try:
            answer = self._ask(lambda adapter: self._sign(adapter, request))
        except requests.RequestException as error:
            return Unavailable(failure(error))
        except Refused as refusal:
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

        Raises requests.RequestException, Refused."""
        try:
            token = self._login.token()
            answer = call(self._adapter(token))
            if getattr(answer, "status_code", None) == requests.codes.forbidden and self._login.forget(token):
                answer = call(self._adapter(self._login.token()))
        except RecursionError:
            raise Refused(requests.codes.ok, "its answer is JSON that is nested too deeply", None) from None
        return json_object(answer, self._now())

    def _ask_or_raise(self, call: Callable[[JSONAdapter], Any]) -> dict[str, Any]:
        try:
            return self._ask(call)
        except requests.RequestException as error:
            raise ConnectorError(failure(error)) from None
        except Refused as refusal:
            raise ConnectorError(refusal.reason) from None


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
    """What there is: the verification says what is missing. A CSR that is sent again gets another certificate."""
    chain = [one.strip() for one in data.get("ca_chain") or [data.get("issuing_ca")] if isinstance(one, str)]
    return "\n".join(dict.fromkeys([data["certificate"].strip(), *filter(None, chain)])).encode()
