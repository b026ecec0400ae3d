"""The boto3 client of an AWS Private CA authority, and its login.

boto3 builds and signs the requests; a session of certrelay/connectors/http.py, with its limits, sends them.
"""

import functools
import io
import logging
from collections.abc import Callable
from typing import Any

import boto3
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.credentials import AssumeRoleWithWebIdentityCredentialFetcher, DeferredRefreshableCredentials
from botocore.loaders import create_loader
from botocore.session import Session

from certrelay.connectors.aws_pca.settings import AwsPcaSettings
from certrelay.connectors.base import Context
from certrelay.connectors.http import AuthoritySession
from certrelay.connectors.http_settings import HttpSettings
from certrelay.connectors.single_flight import SingleFlight

# At DEBUG they log whole requests, including session tokens.
for noisy in ("boto3", "botocore"):
    logging.getLogger(noisy).setLevel(logging.INFO)
# At WARNING it logs the whole response of STS, which may have many lines; the outcome says it in one.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)


class LoginFailed(Exception):
    """There is no token to log in with; the text is fit for the caller."""


@functools.cache
def _loader() -> Any:
    """Loads AWS's service descriptions, which are large, once."""
    return create_loader()


def pca_client(settings: AwsPcaSettings, context: Context) -> Any:
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
    """No retries, since the reconciler retries. No endpoint or proxy from files or the environment."""
    return Config(retries={"total_max_attempts": 1}, proxies={}, ignore_configured_endpoint_urls=True)


class _SharedCredentials(DeferredRefreshableCredentials):  # type: ignore[misc]
    """Credentials of all threads. If a mandatory refresh fails, the threads that waited for it share the failure."""

    def __init__(self, fetch: Callable[[], Any], method: str) -> None:
        super().__init__(fetch, method)
        self._flight = SingleFlight()

    def _refresh(self) -> None:
        refresh = super()._refresh
        if self.refresh_needed(self._mandatory_refresh_timeout):
            self._flight.do(refresh)
        else:
            refresh()


def _assume_role(core: Any, settings: AwsPcaSettings, context: Context) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""

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
    core._credentials = _SharedCredentials(fetcher.fetch_credentials, "assume-role-with-web-identity")


def _sender(settings: HttpSettings) -> Callable[..., Any]:
    """A hook for botocore that sends a request through a session with our limits."""
    session = AuthoritySession(settings)

    def send(request: Any, **_event: Any) -> Any:
        answer = session.request(request.method, request.url, data=request.body, headers=dict(request.headers.items()))
        raw = urllib3.HTTPResponse(io.BytesIO(answer.content), preload_content=False)
        return AWSResponse(answer.url, answer.status_code, answer.headers, raw)

    return send
