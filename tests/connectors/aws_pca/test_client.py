"""How `aws_pca` logs in to AWS, which address it asks, and settings that cannot work."""

import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from pydantic import ValidationError

from certrelay.connectors.aws_pca.settings import AwsPcaSettings
from certrelay.connectors.base import Pending, Unavailable
from tests.connectors.aws_pca.moto import ARN, KEY, NAMES, Moto, aws_pca
from tests.connectors.hostile import TIMEOUT, HostileServer, closed_port_url, hang, hostile_server
from tests.connectors.signing_requests import signing_request

ROLE = {"role_arn": "arn:aws:iam::123456789012:role/certrelay", "audience": "api://aws"}


def test_the_managed_identity_takes_on_a_role(moto: Moto) -> None:
    asked: list[str] = []

    def get_token(scope: str) -> Any:
        asked.append(scope)
        return SimpleNamespace(token="header.payload.signature")

    connector = aws_pca(moto, credential=lambda: SimpleNamespace(get_token=get_token), **ROLE)
    assert asked == []
    connector.check()
    assert isinstance(connector.submit(signing_request(NAMES)), Pending)
    assert asked == ["api://aws/.default"]


def test_a_managed_identity_without_a_token_is_unavailable(moto: Moto) -> None:
    def get_token(_scope: str) -> Any:
        raise ClientAuthenticationError("a text that nobody needs to see")

    connector = aws_pca(moto, credential=lambda: SimpleNamespace(get_token=get_token), **ROLE)
    reason = "login: no token from the managed identity (ClientAuthenticationError)"
    assert connector.submit(signing_request(NAMES)) == Unavailable(reason)


def test_what_an_sts_says_reaches_the_log_in_one_line_only(moto: Moto, caplog: pytest.LogCaptureFixture) -> None:
    words = "<Code>AccessDenied</Code><Message>no&#10;CRITICAL a forged line</Message>"

    def refuse(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        body = f"<ErrorResponse><Error>{words}</Error></ErrorResponse>".encode()
        handler.send_response(403)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def get_token(_scope: str) -> Any:
        return SimpleNamespace(token="header.payload.signature")

    with hostile_server(refuse) as sts:
        served_by = {"sts_url": sts.url, "ca_certificates": sts.ca_certificates}
        connector = aws_pca(moto, credential=lambda: SimpleNamespace(get_token=get_token), **served_by, **ROLE)
        assert connector.submit(signing_request(NAMES)) == Unavailable("permission denied (AccessDenied)")
    assert "\nCRITICAL" not in caplog.text


def test_threads_do_not_wait_for_an_sts_that_hangs_one_after_the_other(moto: Moto) -> None:
    def get_token(_scope: str) -> Any:
        return SimpleNamespace(token="header.payload.signature")

    with hostile_server(hang) as sts, ThreadPoolExecutor(16) as pool:
        served_by = {"sts_url": sts.url, "ca_certificates": sts.ca_certificates, "timeout": TIMEOUT}
        connector = aws_pca(moto, credential=lambda: SimpleNamespace(get_token=get_token), **served_by, **ROLE)
        assert connector._client
        begin = time.monotonic()
        outcomes = list(pool.map(lambda _: connector.submit(signing_request(NAMES)), range(16)))
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 16
    assert time.monotonic() - begin < 16 * TIMEOUT


def test_neither_the_environment_nor_a_proxy_leads_elsewhere(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ACM_PCA", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, closed_port_url())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    aws_pca(moto).check()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "needs either access_key_id"),
        ({"access_key_id": "k"}, "needs either"),
        ({**KEY, "role_arn": "arn:aws:iam::123456789012:role/x", "audience": "a"}, "needs either"),
        ({**KEY, "certificate_authority_arn": "arn:aws:s3:::bucket"}, "certificate_authority_arn"),
        ({**KEY, "signing_algorithm": "MD5WITHRSA"}, "signing_algorithm"),
        ({**KEY, "template_arn": "EndEntityCertificate"}, "template_arn"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_their_values(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault) as caught:
        AwsPcaSettings.model_validate({"certificate_authority_arn": ARN, **settings})
    assert "top-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("partition", "region", "url"),
    [
        ("aws", "eu-west-1", "https://acm-pca.eu-west-1.amazonaws.com"),
        ("aws-cn", "cn-north-1", "https://acm-pca.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_address_is_that_of_the_authoritys_region(partition: str, region: str, url: str) -> None:
    arn = ARN.replace("arn:aws:", f"arn:{partition}:").replace("eu-west-1", region)
    assert AwsPcaSettings.model_validate({"certificate_authority_arn": arn, **KEY}).url == url
