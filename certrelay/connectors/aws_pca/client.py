"""Logging in to AWS: the settings of `aws_pca`, and the boto3 client that they make.

boto3 makes and signs the requests; they travel over a session of certrelay/connectors/http.py, like everybody's.
"""

import functools
import io
import logging
from collections.abc import Callable
from typing import Any, Literal, Self

import urllib3
from pydantic import Field, SecretStr, model_validator

from certrelay.connectors.base import Context
from certrelay.connectors.http import AuthoritySession, AuthorityUrl, HttpSettings
from certrelay.connectors.single_flight import SingleFlight

# At DEBUG they log whole requests, session tokens among them.
for noisy in ("boto3", "botocore"):
    logging.getLogger(noisy).setLevel(logging.INFO)
# At WARNING it logs whatever STS answered, with all its lines; the outcome says it in one.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)

CA_ARN = r"^arn:(aws[a-z-]*):acm-pca:([a-z0-9-]+):\d{12}:certificate-authority/[0-9a-f-]{36}$"


class LoginFailed(Exception):
    """There is nothing to log in with; its text is fit for the caller."""


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


@functools.cache
def _loader() -> Any:
    """Of AWS's descriptions of its services, which are large: read once."""
    from botocore.loaders import create_loader

    return create_loader()


def pca_client(settings: AwsPcaSettings, context: Context) -> Any:
    import boto3
    from botocore.session import Session

    core = Session()
    core.register_component("data_loader", _loader())
    if settings.role_arn:
        _assume_role(core, settings, context)
    secret = settings.secret_access_key
    session = boto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.region,
        botocore_session=core,
    )
    client = session.client("acm-pca", endpoint_url=settings.url, config=_config())
    client.meta.events.register("before-send.acm-pca", _sender(settings))
    return client


def _config() -> Any:
    """No retries: the reconciler makes them. Nothing from files or the environment that leads elsewhere."""
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1}, proxies={}, ignore_configured_endpoint_urls=True)


def _assume_role(core: Any, settings: AwsPcaSettings, context: Context) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""
    from botocore.credentials import AssumeRoleWithWebIdentityCredentialFetcher, DeferredRefreshableCredentials

    flight = SingleFlight()

    class SharedCredentials(DeferredRefreshableCredentials):  # type: ignore[misc]
        def _refresh(self) -> None:
            """Where nobody can go on without the refresh, those who waited for another's share its failure."""
            refresh = super()._refresh
            if self.refresh_needed(self._mandatory_refresh_timeout):
                flight.do(refresh)
            else:
                refresh()

    def identity_token() -> str:
        try:
            return str(context.credential().get_token(f"{settings.audience}/.default").token)
        except Exception as error:
            reason = f"login: no token from the managed identity ({type(error).__name__})"
            raise LoginFailed(reason) from None

    def sts_client(service: str, config: Any) -> Any:
        client = core.create_client(
            service, settings.region, endpoint_url=settings.sts_url, config=_config().merge(config)
        )
        client.meta.events.register("before-send.sts", _sender(settings.model_copy(update={"url": settings.sts_url})))
        return client

    fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
        sts_client, identity_token, settings.role_arn, extra_args={"RoleSessionName": "certrelay"}
    )
    core._credentials = SharedCredentials(fetcher.fetch_credentials, "assume-role-with-web-identity")


def _sender(settings: HttpSettings) -> Callable[..., Any]:
    """botocore's hook for sending a request, through a session with our limits."""
    from botocore.awsrequest import AWSResponse

    session = AuthoritySession(settings)

    def send(request: Any, **_event: Any) -> Any:
        answer = session.request(request.method, request.url, data=request.body, headers=dict(request.headers.items()))
        raw = urllib3.HTTPResponse(io.BytesIO(answer.content), preload_content=False)
        return AWSResponse(answer.url, answer.status_code, answer.headers, raw)

    return send
