"""AWS Private Certificate Authority, https://docs.aws.amazon.com/privateca/latest/APIReference/.

An order's reference is the certificate's ARN, which AWS returns before the certificate exists.
"""

import functools
import hashlib
from datetime import UTC, datetime
from typing import Any, ClassVar

import requests
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from requests.structures import CaseInsensitiveDict

from certrelay.connectors.aws_pca.client import LoginFailed, pca_client
from certrelay.connectors.aws_pca.settings import AwsPcaSettings
from certrelay.connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    RevocationReason,
    SigningRequest,
    Unavailable,
)
from certrelay.connectors.http import failure, retry_after, sentence

SUBORDINATE_CA_TEMPLATE = "template/SubordinateCACertificate_PathLen0/V1"
ISSUING_TIME = 2.0

REFUSALS = {"MalformedCSRException", "InvalidArgsException", "ValidationException"}
DENIALS = {
    "AccessDenied",
    "IDPRejectedClaim",
    "InvalidIdentityToken",
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
}
REASONS = {
    RevocationReason.UNSPECIFIED: "UNSPECIFIED",
    RevocationReason.KEY_COMPROMISE: "KEY_COMPROMISE",
    RevocationReason.CA_COMPROMISE: "CERTIFICATE_AUTHORITY_COMPROMISE",
    RevocationReason.AFFILIATION_CHANGED: "AFFILIATION_CHANGED",
    RevocationReason.SUPERSEDED: "SUPERSEDED",
    RevocationReason.CESSATION_OF_OPERATION: "CESSATION_OF_OPERATION",
    RevocationReason.PRIVILEGE_WITHDRAWN: "PRIVILEGE_WITHDRAWN",
}


class AwsPca:
    """Connector `aws_pca`. AWS recognizes a repeated order for five minutes only."""

    Settings: ClassVar[type[ConnectorSettings]] = AwsPcaSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.FINDS_EARLIER_ORDER}

    def __init__(self, settings: AwsPcaSettings, context: Context) -> None:
        self._settings, self._context = settings, context

    @functools.cached_property
    def _client(self) -> Any:
        """Created when first needed, since that takes a tenth of a second."""
        return pca_client(self._settings, self._context)

    def submit(self, request: SigningRequest) -> Outcome:
        order: dict[str, Any] = {
            "Csr": x509.load_der_x509_csr(request.csr).public_bytes(Encoding.PEM),
            "SigningAlgorithm": self._settings.signing_algorithm,
            "Validity": {"Type": "ABSOLUTE", "Value": int(request.not_after.astimezone(UTC).timestamp())},
            "IdempotencyToken": hashlib.sha256(request.operation_id.encode()).hexdigest()[:36],
        }
        if template := self._template(request):
            order["TemplateArn"] = template
        try:
            match self._ask("issue_certificate", **order):
                case {"CertificateArn": str(reference)}:
                    return Pending(reference, ISSUING_TIME)
            return Unavailable("its answer names no certificate ARN")
        except _Failed as failed:
            return failed.outcome

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        try:
            match self._ask("get_certificate", CertificateArn=reference):
                case {"Certificate": str(leaf), **rest}:
                    return Issued(f"{leaf}\n{rest.get('CertificateChain') or ''}".encode())
            return Unavailable("its answer holds no certificate")
        except _Failed as failed:
            if failed.code == "RequestInProgressException":
                return Pending(reference, ISSUING_TIME)
            lost = failed.code in ("RequestFailedException", "ResourceNotFoundException")
            return Unavailable(failed.outcome.reason, getattr(failed.outcome, "retry_after", None), restart=lost)

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        number = x509.load_der_x509_certificate(certificate).serial_number
        serial = number.to_bytes((number.bit_length() + 7) // 8).hex(":")
        if reason not in REASONS:
            raise ConnectorError(f"AWS Private CA has no revocation reason {reason.value}")
        try:
            self._ask("revoke_certificate", CertificateSerial=serial, RevocationReason=REASONS[reason])
        except _Failed as failed:
            if failed.code != "RequestAlreadyProcessedException":
                raise ConnectorError(failed.outcome.reason) from None

    def check(self) -> None:
        try:
            answer = self._ask("describe_certificate_authority")
        except _Failed as failed:
            raise ConnectorError(failed.outcome.reason) from None
        match answer:
            case {"CertificateAuthority": {"Status": "ACTIVE"}}:
                return
            case {"CertificateAuthority": {"Status": str(status)}}:
                raise ConnectorError(f"the certificate authority is {sentence(status)}, not ACTIVE")
        raise ConnectorError("its answer does not say the certificate authority's status")

    def _template(self, request: SigningRequest) -> str | None:
        if request.is_ca:
            return f"arn:{self._settings.partition}:acm-pca:::{SUBORDINATE_CA_TEMPLATE}"
        return self._settings.template_arn

    def _ask(self, operation: str, **parameters: Any) -> Any:
        """Raises _Failed. On a malformed response, boto3 may raise anything or return any shape."""
        try:
            arn = self._settings.certificate_authority_arn
            return getattr(self._client, operation)(CertificateAuthorityArn=arn, **parameters)
        except LoginFailed as failed:
            raise _Failed(Unavailable(str(failed))) from None
        except Exception as error:
            raise _failed(error, self._context.now()) from None


class _Failed(Exception):
    """A call without a usable response: the outcome, and AWS's error code, if any."""

    def __init__(self, outcome: Rejected | Unavailable, code: str | None = None) -> None:
        super().__init__(outcome.reason)
        self.outcome, self.code = outcome, code


def _failed(error: Exception, now: datetime) -> _Failed:
    match error:
        case ClientError():
            return _refused(error.response, now)
        case requests.RequestException():
            return _Failed(Unavailable(failure(error)))
        case BotoCoreError():
            return _Failed(Unavailable(f"the request failed ({type(error).__name__})"))
    return _Failed(Unavailable(f"its answer is not one of AWS Private CA ({type(error).__name__})"))


def _refused(response: Any, now: datetime) -> _Failed:
    details, metadata = response.get("Error") or {}, response.get("ResponseMetadata") or {}
    code, message = str(details.get("Code")), str(details.get("Message") or "")
    words = sentence(f"{code}: {message}") if message else f"it answered HTTP {metadata.get('HTTPStatusCode')}"
    if code in DENIALS:
        return _Failed(Unavailable(f"permission denied ({code})"), code)
    if code in REFUSALS:
        return _Failed(Rejected(words), code)
    wait = retry_after(CaseInsensitiveDict(metadata.get("HTTPHeaders") or {}), now)
    return _Failed(Unavailable(words, wait), code)
