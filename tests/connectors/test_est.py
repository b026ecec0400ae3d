"""`est` against Cisco's libest `estserver` of Debian trixie, and pages of our own where it has no such answer."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from pydantic import SecretStr, ValidationError

from certrelay.connectors.base import (
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    Unavailable,
)
from certrelay.connectors.est.connector import Est
from certrelay.connectors.est.settings import EstSettings
from certrelay.pki.subject import SubjectNames
from tests.connectors.conformance import Authority, Conformance, context, issue
from tests.connectors.estserver import PASSWORD, USERNAME, EstServer, est_server, key_pem, make_certificate, why_not
from tests.connectors.hostile import HostileConformance, HostileServer, closed_port_url, hostile_server
from tests.connectors.signing_requests import malformed, private_key, signing_request
from tests.pki import builders, files

pytestmark = pytest.mark.slow

NAMES = SubjectNames("a.example.com", ("a.example.com",))


def est(url: str, ca_certificates: str, **changes: Any) -> Est:
    login = {} if "client_certificate" in changes else {"username": USERNAME, "password": PASSWORD}
    settings = {"url": url, "ca_certificates": ca_certificates, **login, **changes}
    return Est(EstSettings.model_validate(settings), context("est"))


@pytest.fixture(scope="module")
def estserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    if reason := why_not():
        pytest.skip(reason)
    with est_server(tmp_path_factory.mktemp("est"), "-o") as server:
        yield server


@pytest.fixture(scope="module")
def slow_estserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    """It approves a request one second after it came first."""
    if reason := why_not():
        pytest.skip(reason)
    with est_server(tmp_path_factory.mktemp("slow-est"), "-m", "1") as server:
        yield server


class TestEst(Conformance):
    undeclared = frozenset({Feature.REQUESTED_VALIDITY, Feature.FINDS_EARLIER_ORDER, Feature.CERTIFICATE_AUTHORITY})
    abilities = frozenset({ChecksHealth})

    @pytest.fixture
    def authority(self, estserver: EstServer, slow_estserver: EstServer) -> Authority:
        return Authority(
            connect=lambda: est(estserver.url, estserver.root_pem),
            unreachable=lambda: est(closed_port_url(), estserver.root_pem),
            pending=lambda: est(slow_estserver.url, slow_estserver.root_pem),
            roots=[estserver.root],
            secrets=[PASSWORD],
            key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
        )


class TestEstAgainstAHostileServer(HostileConformance):
    secrets = ("top-secret",)

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        return est(url, ca_certificates, timeout=timeout, password="top-secret")


def test_a_client_certificate_logs_in(estserver: EstServer) -> None:
    connector = est(estserver.url, estserver.root_pem, client_certificate=estserver.client_certificate)
    connector.check()
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)


def test_a_client_certificate_of_a_stranger_is_unavailable(estserver: EstServer) -> None:
    key = private_key("ec-384")
    stranger = make_certificate("a stranger", key, None, key, is_ca=False)
    pem = stranger.public_bytes(serialization.Encoding.PEM).decode() + key_pem(key)
    outcome = est(estserver.url, estserver.root_pem, client_certificate=pem).submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)


def test_a_wrong_password_is_unavailable_for_it_may_be_put_right(estserver: EstServer) -> None:
    outcome = est(estserver.url, estserver.root_pem, password="wrong").submit(signing_request(NAMES))
    assert outcome == Unavailable("permission denied (HTTP 401)")


def test_the_chain_comes_with_the_certificate(estserver: EstServer) -> None:
    outcome = est(estserver.url, estserver.root_pem).submit(signing_request(NAMES))
    assert isinstance(outcome, Issued)
    leaf, root = x509.load_pem_x509_certificates(outcome.answer)
    assert root == estserver.root
    leaf.verify_directly_issued_by(root)


def test_a_renewal_with_the_same_names_is_a_reenrollment(estserver: EstServer) -> None:
    asked = []
    connector = est(estserver.url, estserver.root_pem)
    connector._session.hooks["response"].append(lambda answer, **_: asked.append(answer.url.rpartition("/")[2]))
    authority = Authority(lambda: connector, lambda: connector, [estserver.root])
    old = issue(authority, signing_request(NAMES)).public_bytes(serialization.Encoding.DER)
    issue(authority, signing_request(NAMES, replaces=old))
    more_names = SubjectNames("a.example.com", ("a.example.com", "b.example.com"))
    issue(authority, signing_request(more_names, replaces=old))
    assert [operation for operation in asked if operation != "cacerts"] == [
        "simpleenroll",
        "simplereenroll",
        "simpleenroll",
    ]


def test_a_renewal_of_a_certificate_that_cannot_be_read_is_an_enrollment(estserver: EstServer) -> None:
    old = malformed(NAMES).public_bytes(serialization.Encoding.DER)
    assert isinstance(est(estserver.url, estserver.root_pem).submit(signing_request(NAMES, replaces=old)), Issued)


@pytest.mark.parametrize("version", [2, 7])
def test_so_is_that_of_one_whose_version_is_not_known(version: int) -> None:
    key = builders.ec_key()
    made = builders.sign(key, builders.subject("a"), key.public_key(), builders.subject("a"))
    old = files.signed_again(made, key, files.of_version(version))
    connector = est("https://est.example", builders.pem(made).decode())
    assert connector._operation(signing_request(NAMES, replaces=old)) == "simpleenroll"


def test_reenrollment_can_be_switched_off(estserver: EstServer) -> None:
    connector = est(estserver.url, estserver.root_pem, reenroll=False)
    assert connector._operation(signing_request(NAMES, replaces=b"not even looked at")) == "simpleenroll"


def test_a_request_that_waits_for_approval_is_pending_for_as_long_as_the_server_says(
    slow_estserver: EstServer,
) -> None:
    outcome = est(slow_estserver.url, slow_estserver.root_pem).submit(signing_request(NAMES))
    assert isinstance(outcome, Pending)
    assert outcome.retry_after == 3600


def test_a_csr_that_the_server_refuses_is_rejected(estserver: EstServer) -> None:
    request = replace(signing_request(NAMES), csr=b"\x30\x03\x02\x01\x00")
    assert isinstance(est(estserver.url, estserver.root_pem).submit(request), Rejected)


def test_a_label_that_the_server_does_not_know_is_not_issued(estserver: EstServer) -> None:
    outcome = est(estserver.url, estserver.root_pem, label="printers").submit(signing_request(NAMES))
    assert not isinstance(outcome, (Issued, Pending))


# Answers that estserver does not give


def scripted(
    enroll: Callable[[BaseHTTPRequestHandler], None],
) -> Callable[[BaseHTTPRequestHandler, HostileServer], None]:
    """A server with a good cacerts answer, and this one to everything else."""

    def behave(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
        if handler.path.endswith("/cacerts"):
            roots = x509.load_pem_x509_certificates(server.ca_certificates.encode())
            answer(handler, 200, pkcs7.serialize_certificates(roots, serialization.Encoding.DER))
        else:
            enroll(handler)

    return behave


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def outcome_of(enroll: Callable[[BaseHTTPRequestHandler], None], **settings: Any) -> tuple[Outcome, HostileServer]:
    with hostile_server(scripted(enroll)) as server:
        return est(server.url, server.ca_certificates, **settings).submit(signing_request(NAMES)), server


def test_the_reason_of_a_rejection_is_the_servers_if_it_is_meant_for_people() -> None:
    outcome, _ = outcome_of(lambda page: answer(page, 400, b"CN is\nnot yours\x1b", Content_Type="text/plain"))
    assert outcome == Rejected("CN is not yours")
    outcome, _ = outcome_of(lambda page: answer(page, 400, b"<b>no</b>", Content_Type="text/html"))
    assert outcome == Rejected("the server refused the request (HTTP 400)")


def test_pending_without_a_time_is_asked_again_in_a_minute() -> None:
    outcome, _ = outcome_of(lambda page: answer(page, 202, b""))
    assert isinstance(outcome, Pending)
    assert outcome.retry_after == 60


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_an_error_that_is_not_about_the_csr_is_unavailable(status: int) -> None:
    outcome, _ = outcome_of(lambda page: answer(page, status, b"", Retry_After="7"))
    assert isinstance(outcome, Unavailable)
    assert str(status) in outcome.reason


def test_an_answer_without_our_certificate_is_left_to_the_verification_and_asked_for_once() -> None:
    key = private_key("ec-384")
    other = make_certificate("a.example.com", key, None, key, is_ca=False)
    body = base64.b64encode(pkcs7.serialize_certificates([other], serialization.Encoding.DER))
    for odd in (body, b"", b"hello", body[:40], pkcs7.serialize_certificates([other], serialization.Encoding.PEM)):
        with hostile_server(
            scripted(partial(answer, status=200, body=odd, Content_Type="application/pkcs7"))
        ) as server:
            outcome = est(server.url, server.ca_certificates).submit(signing_request(NAMES))
        assert outcome == Issued(odd)


def test_a_page_to_sign_in_is_no_answer_and_asked_for_again() -> None:
    page = b"<!DOCTYPE html><html>Sign in</html>"
    outcome, _ = outcome_of(lambda handler: answer(handler, 200, page, Content_Type="text/html; charset=utf-8"))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason.startswith("it answered a web page in the place of a certificate: this is a web page (HTML)")


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "DER": bytes,
    "base64 in one line": base64.b64encode,
    "base64 with line ends": lambda der: base64.encodebytes(der).replace(b"\n", b"\r\n"),
    "base64 after a byte order mark": lambda der: b"\xef\xbb\xbf" + base64.b64encode(der),
    "PEM": lambda der: files.pem_block("PKCS7", der),
    "PEM in UTF-16": lambda der: files.pem_block("PKCS7", der).decode().encode("utf-16"),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_certificates_are_read_in_every_form_that_servers_write(form: str) -> None:
    root = builders.Authority.root()
    leaf = root.sign(private_key().public_key(), x509.Name([]))
    write, broken = WRITTEN[form], files.critical_false(builders.Authority.root("Odd").certificate, builders.ec_key())

    def behave(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        found = [builders.der(root.certificate), broken] if handler.path.endswith("/cacerts") else [builders.der(leaf)]
        answer(handler, 200, write(files.pkcs7(*found)))

    with hostile_server(behave) as server:
        outcome = est(server.url, server.ca_certificates).submit(signing_request(NAMES))
    assert isinstance(outcome, Issued)
    assert x509.load_pem_x509_certificates(outcome.answer) == [leaf, root.certificate]


def test_a_certificate_with_a_key_of_an_unknown_kind_does_not_keep_the_others() -> None:
    """It has a GOST key."""
    strange = (Path(cryptography_vectors.__file__).parent / "x509" / "e-trust.ru.der").read_bytes()
    root_key, request = private_key("ec-384"), signing_request(NAMES)
    root = make_certificate("root", root_key, None, root_key, is_ca=True)
    leaf = make_certificate("a.example.com", private_key(), root, root_key, is_ca=False)
    body = pkcs7.serialize_certificates(
        [x509.load_der_x509_certificate(strange), leaf, root], serialization.Encoding.DER
    )
    with hostile_server(scripted(lambda page: answer(page, 200, body))) as server:
        outcome = est(server.url, server.ca_certificates).submit(request)
    assert isinstance(outcome, Issued)
    assert x509.load_pem_x509_certificates(outcome.answer) == [leaf, root]


def test_an_older_certificate_of_the_authority_in_cacerts_does_not_make_the_chain() -> None:
    root = builders.Authority.root()
    issuing = root.intermediate()
    # The shortest comes first in a PKCS#7 (SET OF): it has no key usage.
    older = root.intermediate(key=issuing.key, begins=builders.NOW - timedelta(days=400), days=365, usages=())
    leaf = issuing.sign(private_key().public_key(), x509.Name([]))
    authorities = [one.certificate for one in (older, issuing, root)]

    def behave(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        found = authorities if handler.path.endswith("/cacerts") else [leaf]
        answer(handler, 200, pkcs7.serialize_certificates(found, serialization.Encoding.DER))

    with hostile_server(behave) as server:
        outcome = est(server.url, server.ca_certificates).submit(signing_request(NAMES))
    assert isinstance(outcome, Issued)
    assert x509.load_pem_x509_certificates(outcome.answer) == [leaf, issuing.certificate, root.certificate]


def test_the_label_is_part_of_every_path() -> None:
    _, server = outcome_of(lambda page: answer(page, 202, b""), label="printers")
    assert server.requests == ["/.well-known/est/printers/cacerts", "/.well-known/est/printers/simpleenroll"]


def test_the_health_check_reports_a_refused_login() -> None:
    refusing = scripted(lambda page: answer(page, 401, b""))
    with hostile_server(refusing) as server, pytest.raises(ConnectorError, match="permission denied"):
        est(server.url, server.ca_certificates).check()


# Settings


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "username and password, or client_certificate"),
        ({"username": "u"}, "go together"),
        ({"password": "p"}, "go together"),
        ({"client_certificate": "top-secret"}, "must hold a certificate"),
        ({"username": "u", "password": "p", "label": "a/b"}, "label"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_their_values(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault) as caught:
        EstSettings.model_validate({"url": "https://est.example.com", **settings})
    assert "top-secret" not in str(caught.value)


def test_a_client_certificate_and_the_key_of_another_are_refused() -> None:
    key = private_key("ec-384")
    certificate = make_certificate("a", key, None, key, is_ca=False)
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode() + key_pem(private_key("ec-256"))
    with pytest.raises(ValidationError, match="start with the certificate of its key"):
        EstSettings(url="https://est.example.com", client_certificate=SecretStr(pem))
