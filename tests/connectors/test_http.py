"""The session that all connectors share, where the hostile server does not reach."""

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from certrelay.connectors.http import (
    MAX_RETRY_AFTER,
    AuthoritySession,
    ForeignOrigin,
    _tls_context,
    failure,
    retry_after,
    sentence,
    tls_server_end_point,
)
from certrelay.connectors.http_settings import HttpSettings, origin
from tests.connectors.estserver import make_certificate, pem
from tests.connectors.hostile import HostileServer, closed_port_url, hostile_server, not_json, redirect
from tests.connectors.signing_requests import private_key

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "url",
    [
        "https://ca.example.com",
        "https://ca.example.com:8443/base",
        "http://127.0.0.1:8200",
        "http://localhost",
        "http://[::1]:80",
    ],
)
def test_https_is_taken_and_http_to_a_loopback_address(url: str) -> None:
    assert HttpSettings(url=f"{url}/").url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "https://",
        "https://user@ca.example.com",
        "https://ca.example.com?token=x",
        "https://ca.example.com:notaport",
        "https://b\u00fccher.example",
        "",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        HttpSettings(url=url)


def test_an_origin_is_scheme_host_and_port_and_nothing_else() -> None:
    assert origin("https://CA.example.com/x") == origin("https://ca.example.com:443/y?z")
    assert origin("https://ca.example.com") != origin("https://ca.example.com:8443")
    assert origin("https://ca.example.com") != origin("http://ca.example.com:443")


def test_a_request_outside_the_configured_origin_is_never_sent() -> None:
    with hostile_server(not_json) as server:
        session = AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates))
        with session, pytest.raises(ForeignOrigin) as caught:
            session.get(server.foreign_url)
        assert not server.foreign_requests
        assert failure(caught.value) == "it pointed to an origin other than the configured one"


def test_a_redirect_is_the_answer_even_where_the_caller_would_follow_it() -> None:
    with hostile_server(redirect) as server:
        with AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates)) as session:
            assert session.get(server.url, allow_redirects=True).status_code == 307
        assert not server.foreign_requests


def test_verification_cannot_be_switched_off_by_the_caller() -> None:
    with hostile_server(not_json) as server:
        other = trustme.CA().cert_pem.bytes().decode()
        with (
            AuthoritySession(HttpSettings(url=server.url, ca_certificates=other)) as session,
            pytest.raises(requests.exceptions.SSLError) as caught,
        ):
            session.get(server.url, verify=False)
        assert "unable to get local issuer certificate" in failure(caught.value)


def test_without_roots_of_ones_own_only_the_public_ones_are_trusted(public_root: Path) -> None:
    trusted = _tls_context(None, None).get_ca_certs(binary_form=True)
    assert trusted == [x509.load_pem_x509_certificate(public_root.read_bytes()).public_bytes(Encoding.DER)]
    with (
        hostile_server(not_json) as server,
        AuthoritySession(HttpSettings(url=server.url)) as session,
        pytest.raises(requests.exceptions.SSLError),
    ):
        session.get(server.url)


def a_page_with_a_cookie(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.protocol_version = "HTTP/1.1"
    cookie = handler.headers.get("Cookie", "none")
    handler.send_response(200)
    handler.send_header("Set-Cookie", "session=1; Path=/")
    handler.send_header("Content-Length", str(len(cookie)))
    handler.end_headers()
    handler.wfile.write(cookie.encode())


def said(answer: requests.Response) -> tuple[int, str, str | None]:
    return answer.status_code, answer.text, answer.headers.get("Link")


EARLY, PROCESSING = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["at-once", "later"])
@pytest.mark.parametrize(
    "interim",
    [[], [EARLY], [PROCESSING], [CONTINUE, EARLY], [EARLY, CONTINUE, PROCESSING, EARLY]],
    ids=["none", "early", "processing", "continue", "many"],
)
def test_a_response_belongs_to_its_request_whatever_the_server_says_before(interim: list[bytes], pause: float) -> None:
    """RFC 9110, section 15.2. An interim response that is taken for the final one leaves that to the next request."""

    def echo(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.close_connection = False
        for one in interim:
            handler.wfile.write(one)
            time.sleep(pause)
        body = handler.path.encode()
        handler.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with (
        hostile_server(echo) as server,
        AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates)) as session,
    ):
        answers = [said(session.get(f"{server.url}/{number}")) for number in range(3)]
    assert answers == [(201, f"/{number}", None) for number in range(3)]


def test_a_protocol_that_nobody_asked_for_is_no_response() -> None:
    def switch(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        handler.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01 what follows is no HTTP\r\n"
        )

    with (
        hostile_server(switch) as server,
        AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates)) as session,
        pytest.raises(requests.ConnectionError),
    ):
        session.get(server.url)


def test_interim_responses_without_end_are_given_up() -> None:
    def endless(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
        while not server.stopping.wait(0.01) and time.monotonic() < server.until:
            handler.wfile.write(EARLY)

    with hostile_server(endless) as server:
        settings = HttpSettings(url=server.url, ca_certificates=server.ca_certificates, timeout=0.5)
        with AuthoritySession(settings) as session, pytest.raises(requests.RequestException) as caught:
            session.get(server.url)
    assert failure(caught.value) == "it did not answer in time"


def test_a_server_that_never_begins_to_speak_tls_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = HttpSettings(url=f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        with AuthoritySession(settings) as session, pytest.raises(requests.RequestException) as caught:
            session.get(settings.url)
        assert failure(caught.value) == "it did not answer in time"


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_the_channel_binding_is_the_hash_of_the_servers_certificate(connection: str) -> None:
    def page(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        handler.wfile.write(f"HTTP/1.1 401 No\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n".encode())

    with hostile_server(page) as server:
        with AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates)) as session:
            binding = tls_server_end_point(session.get(server.url))
        host, port = "127.0.0.1", int(server.url.rpartition(":")[2])
        served = x509.load_pem_x509_certificate(ssl.get_server_certificate((host, port)).encode())
        assert served.signature_hash_algorithm is not None
        assert binding == b"tls-server-end-point:" + served.fingerprint(served.signature_hash_algorithm)


def test_neither_a_proxy_nor_a_netrc_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def echo(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
        login = handler.headers.get("Authorization", "no login").encode()
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(login)

    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_port_url().replace("https", "http"))
    with (
        hostile_server(echo) as server,
        AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates)) as session,
    ):
        assert session.get(server.url).text == "no login"


def test_no_cookie_is_kept() -> None:
    with (
        hostile_server(a_page_with_a_cookie) as server,
        AuthoritySession(HttpSettings(url=server.url, ca_certificates=server.ca_certificates)) as session,
    ):
        assert session.get(server.url).headers["Set-Cookie"]
        assert session.get(server.url).text == "none"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("99999999999", MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, NOW) == seconds


def test_words_of_an_authority_become_one_bounded_line() -> None:
    assert (
        sentence("  no\r\n2026-11-23 forged\x1b[31m line \u2028 here\u202e ") == "no 2026-11-23 forged [31m line here"
    )
    assert len(sentence("x" * 10_000)) == 500
    assert sentence("").isprintable()


def test_roots_that_are_not_pem_are_refused() -> None:
    certificate = make_certificate("a root", private_key(), None, private_key(), is_ca=True)
    assert HttpSettings(url="https://ca.example.com", ca_certificates=pem(certificate))
    with pytest.raises(ValidationError, match="certificates in PEM"):
        HttpSettings(url="https://ca.example.com", ca_certificates="-----BEGIN CERTIFICATE-----")
