"""A connector of one's own: CFSSL's authenticated signing API. `docs/connectors.md` explains it line by line."""

import base64
import hashlib
import hmac
import json
from typing import Any, ClassVar

import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from certrelay.connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Rejected,
    SigningRequest,
    Unavailable,
)
from certrelay.connectors.http import AuthoritySession, failure, sentence, unavailable
from certrelay.connectors.http_settings import HttpSettings

UNEXPECTED = (ValueError, LookupError, TypeError, RecursionError)
UNAUTHENTICATED = 400  # CFSSL's own code for a wrong key; it says nothing about the CSR


class CfsslSettings(HttpSettings):
    """`key` in hexadecimal is the one of the profile's `auth_key`."""

    profile: str
    key: SecretStr


class Cfssl:
    Settings: ClassVar[type[ConnectorSettings]] = CfsslSettings
    features: ClassVar[frozenset[Feature]] = frozenset(
        {Feature.WILDCARD, Feature.IP_ADDRESS, Feature.EMAIL, Feature.URI, Feature.RSA, Feature.EC}
    )

    def __init__(self, settings: CfsslSettings, context: Context) -> None:
        self._settings = settings
        self._now = context.now
        self._session = AuthoritySession(settings)

    def submit(self, request: SigningRequest) -> Outcome:
        csr = x509.load_der_x509_csr(request.csr).public_bytes(Encoding.PEM).decode()
        order = json.dumps({"certificate_request": csr, "profile": self._settings.profile}).encode()
        token = hmac.digest(bytes.fromhex(self._settings.key.get_secret_value()), order, hashlib.sha256)
        try:
            issuer = self._post("info", {"label": ""})
            if not issuer.ok:
                return unavailable(issuer, self._now())
            answer = self._post("authsign", {"token": _base64(token), "request": _base64(order)})
            if answer.status_code == requests.codes.bad_request:
                error = answer.json()["errors"][0]
                refused = Unavailable if error["code"] == UNAUTHENTICATED else Rejected
                return refused(sentence(error["message"]))
            if not answer.ok:
                return unavailable(answer, self._now())
            return Issued(f"{_certificate(answer)}\n{_certificate(issuer)}".encode())
        except requests.RequestException as error:
            return Unavailable(failure(error))
        except UNEXPECTED:
            return Unavailable("its answer is not one of CFSSL's")

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        return Unavailable("CFSSL answers at once", restart=True)

    def check(self) -> None:
        try:
            _certificate(self._post("info", {"label": ""}))
        except requests.RequestException as error:
            raise ConnectorError(failure(error)) from None
        except UNEXPECTED:
            raise ConnectorError("its answer is not one of CFSSL's") from None

    def _post(self, endpoint: str, body: dict[str, Any]) -> requests.Response:
        return self._session.post(f"{self._settings.url}/api/v1/cfssl/{endpoint}", json=body)


def _certificate(answer: requests.Response) -> str:
    return str(answer.json()["result"]["certificate"])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
