"""`aws_pca` against moto's server.

moto really signs. But it ignores the validity, the signing algorithm and the idempotency token that it is asked for,
does not check the CSR's signature, knows no pending order, and revokes whatever serial it is given. What it cannot
show is shown by what is sent to it, and by playing AWS's documented answers.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError

from certrelay.connectors.aws_pca.client import AwsPcaSettings
from certrelay.connectors.aws_pca.connector import AwsPca
from certrelay.connectors.base import (
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    RevocationReason,
    Revokes,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from sandbox.processes import free_ports
from tests.connectors.conformance import Authority, Conformance, context, issue
from tests.connectors.hostile import TIMEOUT, HostileConformance, HostileServer, closed_port_url, hang, hostile_server
from tests.connectors.signing_requests import private_key, self_signed, signing_request

NAMES = SubjectNames("a.example.com", ("a.example.com",))
ARN = "arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/11111111-2222-3333-4444-555555555555"
ROOT_TEMPLATE = "arn:aws:acm-pca:::template/RootCACertificate/V1"
KEY = {"access_key_id": "AKIATESTTESTTESTTEST", "secret_access_key": "top-secret"}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/certrelay", "audience": "api://aws"}


@dataclass(frozen=True)
class Moto:
    url: str
    arn: str
    root: x509.Certificate
    pca: Any


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """moto's server with one active root authority."""
    [port] = free_ports(1)
    program = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        server = subprocess.Popen(program, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url)
        pca = boto3.client("acm-pca", "eu-west-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="y")
        arn, root = make_authority(pca)
        yield Moto(url, arn, root, pca)
        pca.close()
    finally:
        server.terminate()
        server.wait(10)


def wait_until_it_answers(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            requests.get(f"{url}/moto-api/", timeout=5)
            return
        except requests.RequestException:
            time.sleep(0.05)
    raise AssertionError("moto does not answer")


def make_authority(pca: Any, activate: bool = True) -> tuple[str, x509.Certificate]:
    configuration = {
        "KeyAlgorithm": "RSA_2048",
        "SigningAlgorithm": "SHA256WITHRSA",
        "Subject": {"CommonName": "moto root"},
    }
    arn = pca.create_certificate_authority(
        CertificateAuthorityConfiguration=configuration, CertificateAuthorityType="ROOT"
    )["CertificateAuthorityArn"]
    csr = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"]
    certificate = pca.issue_certificate(
        CertificateAuthorityArn=arn,
        Csr=csr.encode(),
        SigningAlgorithm="SHA256WITHRSA",
        TemplateArn=ROOT_TEMPLATE,
        Validity={"Type": "DAYS", "Value": 100},
    )["CertificateArn"]
    pem = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=certificate)["Certificate"].encode()
    if activate:
        pca.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=pem)
    return str(arn), x509.load_pem_x509_certificate(pem)


def aws_pca(moto: Any, credential: Any = None, **changes: Any) -> AwsPca:
    login = {} if "role_arn" in changes else KEY
    settings = {"certificate_authority_arn": moto.arn, "url": moto.url, "sts_url": moto.url, **login, **changes}
    made = context("aws")
    return AwsPca(AwsPcaSettings.model_validate(settings), replace(made, credential=credential or made.credential))


def sent_by(connector: AwsPca, operation: str) -> list[dict[str, Any]]:
    """What goes into every later call of `operation`, as it goes."""
    calls: list[dict[str, Any]] = []

    def remember(params: dict[str, Any], **_event: Any) -> None:
        calls.append(params)

    connector._client.meta.events.register(f"provide-client-params.acm-pca.{operation}", remember)
    return calls


@contextmanager
def playing(code: str, message: str = "words of AWS", status: int = 400, **headers: str) -> Iterator[AwsPca]:
    """A connector for a server that answers every request with this error of AWS's JSON protocol."""

    def behave(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        body = json.dumps({"__type": f"com.amazonaws.acmpca#{code}", "message": message}).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    with hostile_server(behave) as server:
        settings = {"url": server.url, "ca_certificates": server.ca_certificates, **KEY}
        yield AwsPca(AwsPcaSettings.model_validate({"certificate_authority_arn": ARN, **settings}), context("aws"))


def submitted(code: str, message: str = "words of AWS", **answer: Any) -> Outcome:
    with playing(code, message, **answer) as connector:
        return connector.submit(signing_request(NAMES))


def collected(code: str) -> Outcome:
    with playing(code) as connector:
        return connector.collect(signing_request(NAMES), f"{ARN}/certificate/1")


class TestAwsPca(Conformance):
    undeclared = frozenset({Feature.FINDS_EARLIER_ORDER})
    abilities = frozenset({Revokes, ChecksHealth})

    @pytest.fixture
    def authority(self, moto: Moto) -> Authority:
        return Authority(
            connect=lambda: aws_pca(moto),
            unreachable=lambda: aws_pca(moto, url=closed_port_url()),
            pending=lambda: aws_pca(moto),
            roots=[moto.root],
            secrets=["top-secret"],
            key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
        )

    def test_it_is_valid_now_and_until_the_requested_time(self, authority: Authority, names: SubjectNames) -> None:
        """moto always gives a year: so what AWS is asked for is looked at."""
        connector = authority.connect()
        assert isinstance(connector, AwsPca)
        orders = sent_by(connector, "IssueCertificate")
        request = signing_request(names)
        leaf = issue(authority, request, connector)
        assert leaf.not_valid_before_utc <= datetime.now(UTC) + timedelta(seconds=2)
        assert orders[0]["Validity"] == {"Type": "ABSOLUTE", "Value": int(request.not_after.timestamp())}

    def test_a_certificate_authority_gets_a_ca_certificate(self, authority: Authority, host: str) -> None:
        """moto knows no template for subordinate authorities: so what AWS is asked for is looked at."""
        connector = authority.connect()
        assert isinstance(connector, AwsPca)
        orders = sent_by(connector, "IssueCertificate")
        connector.submit(signing_request(SubjectNames(host), private_key("rsa-2048"), is_ca=True))
        assert orders[0]["TemplateArn"] == "arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1"

    def test_a_certificate_is_revoked_once_and_again(self, authority: Authority, names: SubjectNames) -> None:
        """moto does not tell which certificates are revoked: so what AWS is asked for is looked at."""
        connector = authority.connect()
        assert isinstance(connector, AwsPca)
        calls = sent_by(connector, "RevokeCertificate")
        leaf = issue(authority, signing_request(names), connector)
        for _ in range(2):
            connector.revoke(leaf.public_bytes(serialization.Encoding.DER), RevocationReason.KEY_COMPROMISE)
        assert [call["RevocationReason"] for call in calls] == ["KEY_COMPROMISE"] * 2
        assert {int(call["CertificateSerial"].replace(":", ""), 16) for call in calls} == {leaf.serial_number}

    def test_a_certificate_of_a_stranger_cannot_be_revoked(self, authority: Authority, names: SubjectNames) -> None:
        """moto revokes any serial number: so AWS's documented refusal is played."""
        stranger = self_signed(names).public_bytes(serialization.Encoding.DER)
        with playing("ResourceNotFoundException") as connector, pytest.raises(ConnectorError, match="ResourceNotFound"):
            connector.revoke(stranger, RevocationReason.UNSPECIFIED)

    def test_a_csr_that_is_none_is_never_issued(self, authority: Authority, names: SubjectNames) -> None:
        """moto does not look at the CSR's signature: so AWS's documented refusal is played."""
        assert submitted("MalformedCSRException", "not a CSR") == Rejected("MalformedCSRException: not a CSR")


class TestAwsPcaAgainstAHostileServer(HostileConformance):
    secrets = ("top-secret",)

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        settings = {"url": url, "ca_certificates": ca_certificates, "timeout": timeout, **KEY}
        return AwsPca(AwsPcaSettings.model_validate({"certificate_authority_arn": ARN, **settings}), context("aws"))


# Orders


def test_an_order_is_pending_under_its_arn_and_then_issued_with_the_chain(moto: Moto) -> None:
    request = signing_request(NAMES)
    pending = aws_pca(moto).submit(request)
    assert isinstance(pending, Pending)
    assert pending.reference.startswith(f"{moto.arn}/certificate/")
    issued = aws_pca(moto).collect(request, pending.reference)
    assert isinstance(issued, Issued)
    assert x509.load_pem_x509_certificates(issued.answer)[1:] == [moto.root]


def test_the_same_operation_has_the_same_idempotency_token(moto: Moto) -> None:
    connector = aws_pca(moto)
    orders = sent_by(connector, "IssueCertificate")
    first, second = signing_request(NAMES), signing_request(NAMES)
    for request in (first, first, second):
        connector.submit(request)
    tokens = [order["IdempotencyToken"] for order in orders]
    assert tokens[0] == tokens[1] != tokens[2]
    assert all(len(token) <= 36 for token in tokens)


def test_template_and_signing_algorithm_are_those_of_the_settings(moto: Moto) -> None:
    template = "arn:aws:acm-pca:::template/EndEntityCertificate/V1"
    connector = aws_pca(moto, template_arn=template, signing_algorithm="SHA384WITHRSA")
    orders = sent_by(connector, "IssueCertificate")
    connector.submit(signing_request(NAMES))
    assert (orders[0]["TemplateArn"], orders[0]["SigningAlgorithm"]) == (template, "SHA384WITHRSA")


def test_an_authority_that_is_not_active_is_not_healthy(moto: Moto) -> None:
    arn, _ = make_authority(moto.pca, activate=False)
    with pytest.raises(ConnectorError, match="PENDING_CERTIFICATE, not ACTIVE"):
        aws_pca(moto, certificate_authority_arn=arn).check()


# AWS's documented answers, played


def test_an_order_in_progress_is_pending_under_the_same_reference() -> None:
    assert collected("RequestInProgressException") == Pending(f"{ARN}/certificate/1", 2.0)


@pytest.mark.parametrize("code", ["RequestFailedException", "ResourceNotFoundException"])
def test_an_order_that_is_lost_is_placed_anew(code: str) -> None:
    assert collected(code) == Unavailable(f"{code}: words of AWS", restart=True)


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"])
def test_a_refused_login_is_unavailable_for_it_may_be_put_right(code: str) -> None:
    assert submitted(code) == Unavailable(f"permission denied ({code})")


@pytest.mark.parametrize("code", ["InvalidStateException", "LimitExceededException", "ThrottlingException"])
def test_a_state_that_passes_is_unavailable(code: str) -> None:
    assert submitted(code) == Unavailable(f"{code}: words of AWS")


def test_the_time_that_aws_names_is_obeyed() -> None:
    outcome = submitted("ThrottlingException", status=429, Retry_After="30")
    assert outcome == Unavailable("ThrottlingException: words of AWS", 30)


def test_a_certificate_that_is_revoked_already_is_no_error() -> None:
    der = self_signed(NAMES).public_bytes(serialization.Encoding.DER)
    with playing("RequestAlreadyProcessedException") as connector:
        connector.revoke(der, RevocationReason.SUPERSEDED)


def test_a_reason_that_aws_does_not_know_is_refused_before_anything_is_sent() -> None:
    der = self_signed(NAMES).public_bytes(serialization.Encoding.DER)
    with playing("InvalidRequestException") as connector, pytest.raises(ConnectorError, match="certificateHold"):
        connector.revoke(der, RevocationReason.CERTIFICATE_HOLD)


# Logging in


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


# Settings


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
