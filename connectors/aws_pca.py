"""AWS Private Certificate Authority, https://docs.aws.amazon.com/privateca/latest/APIReference/.

boto3 makes and signs the requests; they travel over a session of connectors/http.py, like everybody's. An order's
reference is the ARN of the certificate, which AWS names before it has made it.
"""

import hashlib
import io
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

import boto3
import requests
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import AssumeRoleWithWebIdentityCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader
from botocore.session import Session as CoreSession
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, SecretStr, model_validator
from requests.structures import CaseInsensitiveDict

from connectors.base import (
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
from connectors.http import AuthoritySession, AuthorityUrl, HttpSettings, failure, retry_after, sentence

# At DEBUG they log whole requests, session tokens among them.
for noisy in ("boto3", "botocore"):
    logging.getLogger(noisy).setLevel(logging.INFO)

CA_ARN = r"^arn:(aws[a-z-]*):acm-pca:([a-z0-9-]+):\d{12}:certificate-authority/[0-9a-f-]{36}$"
SUBORDINATE_CA_TEMPLATE = "template/SubordinateCACertificate_PathLen0/V1"
ISSUING_TIME = 2.0
LOADER = create_loader()  # of AWS's service descriptions, which are large: read once

REFUSALS = {"MalformedCSRException", "InvalidArgsException", "ValidationException"}
DENIALS = {
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


class AwsPcaSettings(HttpSettings):
    """One authority, and one of two ways to log in.

    An access key; or `role_arn` with `audience`: the app's managed identity presents a token for `audience` (an
    application ID URI) to AWS STS. `signing_algorithm` must fit the authority's key. `url` and `sts_url` are AWS's
    own regional addresses unless set (a VPC endpoint, say).
    """

    certificate_authority_arn: str = Field(pattern=CA_ARN)
    url: AuthorityUrl
    sts_url: AuthorityUrl
    template_arn: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:acm-pca:::template/[A-Za-z0-9_]+/V\d$")
    signing_algorithm: Literal[
        "SHA256WITHRSA",
        "SHA384WITHRSA",
        "SHA512WITHRSA",
        "SHA256WITHECDSA",
        "SHA384WITHECDSA",
        "SHA512WITHECDSA",
    ] = "SHA256WITHRSA"
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    role_arn: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$")
    audience: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _regional_addresses(cls, values: Any) -> Any:
        arn = values.get("certificate_authority_arn") if isinstance(values, dict) else None
        parts = arn.split(":") if isinstance(arn, str) else []
        if len(parts) < 4:
            return values
        domain = "amazonaws.com.cn" if parts[1] == "aws-cn" else "amazonaws.com"
        defaults = {"url": f"https://acm-pca.{parts[3]}.{domain}", "sts_url": f"https://sts.{parts[3]}.{domain}"}
        return {**defaults, **values}

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        names = ("access_key_id", "secret_access_key", "role_arn", "audience")
        given = {name for name in names if getattr(self, name)}
        if given not in ({"access_key_id", "secret_access_key"}, {"role_arn", "audience"}):
            raise ValueError("needs either access_key_id and secret_access_key, or role_arn and audience")
        return self

    @property
    def partition(self) -> str:
        return self.certificate_authority_arn.split(":")[1]

    @property
    def region(self) -> str:
        return self.certificate_authority_arn.split(":")[3]


class AwsPca:
    """Connector `aws_pca`. AWS takes a repeated order for the same one for five minutes only."""

    Settings: ClassVar[type[ConnectorSettings]] = AwsPcaSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.FINDS_EARLIER_ORDER}

    def __init__(self, settings: AwsPcaSettings, context: Context) -> None:
        self._settings = settings
        self._authority = {"CertificateAuthorityArn": settings.certificate_authority_arn}
        self._now = context.now
        self._client = _client(settings, context)

    def submit(self, request: SigningRequest) -> Outcome:
        order: dict[str, Any] = {
            **self._authority,
            "Csr": x509.load_der_x509_csr(request.csr).public_bytes(Encoding.PEM),
            "SigningAlgorithm": self._settings.signing_algorithm,
            "Validity": {"Type": "ABSOLUTE", "Value": int(request.not_after.astimezone(UTC).timestamp())},
            "IdempotencyToken": hashlib.sha256(request.operation_id.encode()).hexdigest()[:36],
        }
        if template := self._template(request):
            order["TemplateArn"] = template
        try:
            return Pending(self._client.issue_certificate(**order)["CertificateArn"], ISSUING_TIME)
        except ClientError as error:
            return _refusal(error, self._now())
        except Exception as error:
            return Unavailable(_failure(error))

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        try:
            answer = self._client.get_certificate(**self._authority, CertificateArn=reference)
            return Issued(f"{answer['Certificate']}\n{answer.get('CertificateChain') or ''}".encode())
        except ClientError as error:
            code = error.response["Error"].get("Code")
            if code == "RequestInProgressException":
                return Pending(reference, ISSUING_TIME)
            lost = code in ("RequestFailedException", "ResourceNotFoundException")
            return Unavailable(_refusal(error, self._now()).reason, restart=lost)
        except Exception as error:
            return Unavailable(_failure(error))

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        number = x509.load_der_x509_certificate(certificate).serial_number
        serial = number.to_bytes((number.bit_length() + 7) // 8).hex(":")
        if reason not in REASONS:
            raise ConnectorError(f"AWS Private CA knows no revocation reason {reason.value}")
        try:
            self._client.revoke_certificate(
                **self._authority, CertificateSerial=serial, RevocationReason=REASONS[reason]
            )
        except ClientError as error:
            if error.response["Error"].get("Code") != "RequestAlreadyProcessedException":
                raise ConnectorError(_refusal(error, self._now()).reason) from None
        except Exception as error:
            raise ConnectorError(_failure(error)) from None

    def check(self) -> None:
        try:
            answer = self._client.describe_certificate_authority(**self._authority)
            status = answer["CertificateAuthority"]["Status"]
        except ClientError as error:
            raise ConnectorError(_refusal(error, self._now()).reason) from None
        except Exception as error:
            raise ConnectorError(_failure(error)) from None
        if status != "ACTIVE":
            raise ConnectorError(f"the certificate authority is {status}, not ACTIVE")

    def _template(self, request: SigningRequest) -> str | None:
        if request.is_ca:
            return f"arn:{self._settings.partition}:acm-pca:::{SUBORDINATE_CA_TEMPLATE}"
        return self._settings.template_arn


def _client(settings: AwsPcaSettings, context: Context) -> Any:
    secret = settings.secret_access_key
    core = CoreSession()
    core.register_component("data_loader", LOADER)
    if settings.role_arn:
        _assume_role(core, settings, context)
    session = boto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.region,
        botocore_session=core,
    )
    client = session.client("acm-pca", endpoint_url=settings.url, config=_config())
    client.meta.events.register("before-send.acm-pca", _sender(settings))
    return client


def _config(**changes: Any) -> Config:
    """No retries: the reconciler makes them. Nothing from files or the environment that leads elsewhere."""
    return Config(retries={"total_max_attempts": 1}, proxies={}, ignore_configured_endpoint_urls=True, **changes)


def _assume_role(core: CoreSession, settings: AwsPcaSettings, context: Context) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""

    def identity_token() -> str:
        return str(context.credential().get_token(f"{settings.audience}/.default").token)

    def sts_client(service: str, config: Config) -> Any:
        client = core.create_client(
            service, settings.region, endpoint_url=settings.sts_url, config=_config().merge(config)
        )
        client.meta.events.register("before-send.sts", _sender(settings.model_copy(update={"url": settings.sts_url})))
        return client

    fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
        sts_client, identity_token, settings.role_arn, extra_args={"RoleSessionName": "certrelay"}
    )
    core._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role-with-web-identity")


def _sender(settings: HttpSettings) -> Callable[..., AWSResponse]:
    """botocore's hook for sending a request, through a session with our limits."""
    session = AuthoritySession(settings)

    def send(request: AWSPreparedRequest, **_event: Any) -> AWSResponse:
        answer = session.request(request.method, request.url, data=request.body, headers=dict(request.headers.items()))
        raw = urllib3.HTTPResponse(io.BytesIO(answer.content), preload_content=False)
        return AWSResponse(answer.url, answer.status_code, answer.headers, raw)

    return send


def _refusal(error: ClientError, now: datetime) -> Rejected | Unavailable:
    details, metadata = error.response.get("Error") or {}, error.response.get("ResponseMetadata") or {}
    code, message = str(details.get("Code")), str(details.get("Message") or "")
    words = sentence(f"{code}: {message}") if message else f"it answered HTTP {metadata.get('HTTPStatusCode')}"
    if code in DENIALS:
        return Unavailable(f"permission denied ({code})")
    if code in REFUSALS:
        return Rejected(words)
    return Unavailable(words, retry_after(CaseInsensitiveDict(metadata.get("HTTPHeaders") or {}), now))


def _failure(error: Exception) -> str:
    """boto3 parses what it gets into whatever shape it has, and raises what comes of it."""
    if isinstance(error, requests.RequestException):
        return failure(error)
    if isinstance(error, BotoCoreError):
        return f"the request failed ({type(error).__name__})"
    return f"its answer is not that of AWS Private CA ({type(error).__name__})"
