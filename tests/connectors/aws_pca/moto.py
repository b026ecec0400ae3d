"""moto's server, connectors for it and for a server that plays AWS's documented answers.

moto really signs. But it ignores the validity, the signing algorithm and the idempotency token that it is asked for,
does not check the CSR's signature, knows no pending order, and revokes whatever serial it is given. What it cannot
show is shown by what is sent to it, and by playing AWS's documented answers.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import requests
from cryptography import x509

from certrelay.connectors.aws_pca.connector import AwsPca
from certrelay.connectors.aws_pca.settings import AwsPcaSettings
from certrelay.connectors.base import Outcome
from certrelay.pki.subject import SubjectNames
from tests.connectors.conformance import context
from tests.connectors.hostile import HostileServer, hostile_server
from tests.connectors.signing_requests import signing_request

NAMES = SubjectNames("a.example.com", ("a.example.com",))
ARN = "arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/11111111-2222-3333-4444-555555555555"
ROOT_TEMPLATE = "arn:aws:acm-pca:::template/RootCACertificate/V1"
KEY = {"access_key_id": "AKIATESTTESTTESTTEST", "secret_access_key": "top-secret"}


@dataclass(frozen=True)
class Moto:
    url: str
    arn: str
    root: x509.Certificate
    pca: Any


def wait_until_it_answers(url: str) -> None:
    end = time.monotonic() + 300
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
