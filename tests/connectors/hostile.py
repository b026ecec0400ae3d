"""A server that misbehaves in one way at a time, and what every connector that speaks HTTP must make of it.

    class TestExampleAgainstAHostileServer(HostileConformance):
        def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
            return Example(ExampleSettings(url=url, ca_certificates=ca_certificates, timeout=timeout), context("x"))

Each test starts the server with one of BEHAVIOURS; whatever path is asked, the server does just that.
"""

import contextlib
import functools
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    Connector,
    ConnectorError,
    Pending,
    Rejected,
    RevocationReason,
    Revokes,
    SuggestsRenewal,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from sandbox.ports import free_ports
from tests.connectors.signing_requests import signing_request

MAX_SENT = 40_000_000
TIMEOUT = 0.8  # for what would last for ever
PATIENCE = 5.0  # for what is answered at once, unless the machine is busy
MAX_DELAY = 15  # of a slow machine


@dataclass
class HostileServer:
    url: str
    ca_certificates: str
    foreign_url: str
    sent: int = 0
    requests: list[str] = field(default_factory=list)
    foreign_requests: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    until: float = field(default_factory=lambda: time.monotonic() + TIMEOUT + MAX_DELAY + 3)


type Behaviour = Callable[[BaseHTTPRequestHandler, HostileServer], None]


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def endless_body(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    while server.sent < MAX_SENT and not server.stopping.is_set():
        server.sent += handler.wfile.write(b" " * 100_000)


def endless_error_body(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.send_response(503)
    handler.end_headers()
    while server.sent < MAX_SENT and not server.stopping.is_set():
        server.sent += handler.wfile.write(b"x" * 100_000)


@functools.cache
def _bomb() -> bytes:
    return zlib.compress(b" " * 10_000_000, 9)


def compressed_bomb(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, _bomb(), {"Content-Encoding": "deflate"})


def dripping_body(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not server.stopping.wait(0.1) and time.monotonic() < server.until:
        handler.wfile.write(b" ")


def dripping_header(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not server.stopping.wait(0.1) and time.monotonic() < server.until:
        handler.wfile.write(b"x")


def dripping_chunk(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
    while not server.stopping.wait(0.1) and time.monotonic() < server.until:
        handler.wfile.write(b"x")


def endless_trailer(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    while not server.stopping.wait(0.01) and time.monotonic() < server.until:
        handler.wfile.write(b"X-Trailer: x\r\n")


def endless_header(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while server.sent < MAX_SENT and not server.stopping.is_set():
        server.sent += handler.wfile.write(b"X-Header: x\r\n" * 1000)


def redirect(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 307, b"", {"Location": server.foreign_url + "/redirected"})


def redirect_on_the_same_origin(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 302, b"", {"Location": server.url + "/redirected"})


def foreign_location(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    foreign = server.foreign_url
    headers = {"Location": foreign + "/order", "Link": f'<{foreign}/chain>;rel="alternate"', "Retry-After": "0"}
    _answer(handler, 201, b"{}", {"Content-Type": "application/json", **headers})


def not_json(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, b"<html>Sign in to the guest network</html>", {"Content-Type": "text/html"})


def json_of_another_shape(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, b'["data", null, {"auth": 5}]', {"Content-Type": "application/json"})


def json_with_nulls(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, b'{"data": null, "auth": null}', {"Content-Type": "application/json"})


def deep_json(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, b"[" * 200_000, {"Content-Type": "application/json"})


def not_utf8(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, b"\xff\xfe\x00\xd8" * 10, {"Content-Type": "application/json; charset=utf-8"})


def empty_answer(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 200, b"", {})


def internal_error(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 500, b'{"errors": ["a\\u001b[31m\\nforged log line"]}', {"Content-Type": "application/json"})


def too_many_requests(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 429, b"{}", {"Retry-After": "17"})


def deep_json_error(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    _answer(handler, 500, b"[" * 200_000, {"Content-Type": "application/json"})


def hang(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    server.stopping.wait(TIMEOUT + MAX_DELAY + 3)


def broken_off(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
    handler.connection.shutdown(socket.SHUT_RDWR)


def not_http(handler: BaseHTTPRequestHandler, server: HostileServer) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


BEHAVIOURS: list[Behaviour] = [
    endless_body,
    endless_error_body,
    compressed_bomb,
    endless_header,
    redirect,
    redirect_on_the_same_origin,
    foreign_location,
    not_json,
    json_of_another_shape,
    json_with_nulls,
    deep_json,
    not_utf8,
    empty_answer,
    internal_error,
    deep_json_error,
    too_many_requests,
    broken_off,
    not_http,
]
WITHOUT_END: list[Behaviour] = [dripping_body, dripping_header, dripping_chunk, endless_trailer, hang]
QUICK: list[Behaviour] = [
    *(endless_body, compressed_bomb, redirect, foreign_location, not_json, json_of_another_shape, json_with_nulls),
    *(deep_json, not_utf8, empty_answer, internal_error, deep_json_error, broken_off),
]


@functools.cache
def some_certificate() -> bytes:
    """DER, of an authority that nobody asks."""
    issued = trustme.CA().issue_cert("host.example.com").cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(issued).public_bytes(Encoding.DER)


@contextmanager
def _listening(
    handle: Behaviour | None, seen: Callable[[str], None], certificate: trustme.LeafCert, server: HostileServer
) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            self.close_connection = True
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            seen(self.path)
            try:
                if handle:
                    handle(self, server)
            except OSError:
                return  # the client has had enough

        def log_message(self, *_args: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "HEAD", "LIST"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def get_request(self) -> tuple[socket.socket, object]:
            connection, address = self.socket.accept()
            connection.settimeout(5)
            return tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a refused handshake

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(tls)
    with Server(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield http.server_port
        finally:
            server.stopping.set()
            http.shutdown()
            thread.join()


@contextmanager
def hostile_server(behaviour: Behaviour, host_in_certificate: str = "127.0.0.1") -> Iterator[HostileServer]:
    """A TLS server that does `behaviour` to every request, and a foreign one that nobody may ever talk to."""
    authority = trustme.CA()
    server = HostileServer("", authority.cert_pem.bytes().decode(), "")
    own, foreign = authority.issue_cert(host_in_certificate), authority.issue_cert("127.0.0.1")
    with (
        _listening(None, server.foreign_requests.append, foreign, server) as foreign_port,
        _listening(behaviour, server.requests.append, own, server) as port,
    ):
        server.url, server.foreign_url = f"https://127.0.0.1:{port}", f"https://127.0.0.1:{foreign_port}"
        yield server


def closed_port_url() -> str:
    """An https URL on which nobody listens."""
    return f"https://127.0.0.1:{free_ports(1)[0]}"


class HostileConformance:
    """Inherit, and give `connect`."""

    names = SubjectNames("host.example.com", ("host.example.com",))
    secrets: tuple[str, ...] = ()

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        """The connector for this authority URL, trusting these roots only."""
        raise NotImplementedError

    def verify_unavailable(self, server: HostileServer, connector: Connector) -> Unavailable:
        begin = time.monotonic()
        outcome = connector.submit(signing_request(self.names))
        assert isinstance(outcome, Unavailable)
        assert time.monotonic() - begin < TIMEOUT + MAX_DELAY
        assert server.sent < MAX_SENT // 2
        assert not server.foreign_requests
        assert outcome.reason.isprintable()
        assert len(outcome.reason) <= 1000
        assert not [secret for secret in self.secrets if secret in outcome.reason]
        return outcome

    @pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: str(behaviour.__name__))
    def test_it_is_unavailable_with(self, behaviour: Behaviour) -> None:
        self.verify_behaviour(behaviour, PATIENCE)

    def test_it_is_unavailable_with_what_would_last_for_ever(self) -> None:
        """All at the same time: each takes until the connector gives up."""
        with ThreadPoolExecutor(len(WITHOUT_END)) as pool:
            list(pool.map(lambda behaviour: self.verify_behaviour(behaviour, TIMEOUT), WITHOUT_END))

    def verify_behaviour(self, behaviour: Behaviour, timeout: float) -> None:
        with hostile_server(behaviour) as server:
            connector = self.connect(server.url, server.ca_certificates, timeout)
            outcome = self.verify_unavailable(server, connector)
            if not server.requests:  # the machine stood still for so long that nothing could be asked
                outcome = self.verify_unavailable(server, connector)
            assert server.requests, behaviour.__name__
            assert not [path for path in server.requests if "redirected" in path]
            if behaviour is too_many_requests:
                assert outcome.retry_after == 17

    @pytest.mark.parametrize("behaviour", QUICK, ids=lambda behaviour: str(behaviour.__name__))
    def test_whatever_it_is_asked_ends_as_the_contract_says_with(self, behaviour: Behaviour) -> None:
        request = signing_request(self.names)
        with hostile_server(behaviour) as server:
            connector = self.connect(server.url, server.ca_certificates, TIMEOUT)
            begin = time.monotonic()
            assert isinstance(connector.collect(request, "17"), Pending | Rejected | Unavailable)
            with contextlib.suppress(ConnectorError):
                if isinstance(connector, Cancels):
                    connector.cancel("17")
            with contextlib.suppress(ConnectorError):
                if isinstance(connector, Revokes):
                    connector.revoke(some_certificate(), RevocationReason.SUPERSEDED)
            with contextlib.suppress(ConnectorError):
                if isinstance(connector, SuggestsRenewal):
                    assert connector.renewal_window(some_certificate()) is None
            assert time.monotonic() - begin < 4 * TIMEOUT + MAX_DELAY
            assert not server.foreign_requests

    def test_threads_do_not_wait_for_a_server_that_hangs_one_after_the_other(self) -> None:
        with hostile_server(hang) as server, ThreadPoolExecutor(16) as pool:
            connector = self.connect(server.url, server.ca_certificates, TIMEOUT)
            begin = time.monotonic()
            outcomes = list(pool.map(lambda _: connector.submit(signing_request(self.names)), range(16)))
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            assert time.monotonic() - begin < 16 * TIMEOUT

    @pytest.mark.parametrize("behaviour", [endless_body, redirect, not_json, hang], ids=lambda b: str(b.__name__))
    def test_its_health_check_fails_with(self, behaviour: Behaviour) -> None:
        with hostile_server(behaviour) as server:
            connector = self.connect(server.url, server.ca_certificates, TIMEOUT)
            assert isinstance(connector, ChecksHealth)
            with pytest.raises(ConnectorError):
                connector.check()
            assert not server.foreign_requests

    def test_a_tls_certificate_for_another_name_is_not_accepted(self) -> None:
        with hostile_server(not_json, "other.example.com") as server:
            outcome = self.verify_unavailable(server, self.connect(server.url, server.ca_certificates, PATIENCE))
            assert not server.requests
            assert "TLS certificate" in outcome.reason

    def test_a_tls_certificate_of_another_root_is_not_accepted(self) -> None:
        with hostile_server(not_json) as server:
            other_root = trustme.CA().cert_pem.bytes().decode()
            outcome = self.verify_unavailable(server, self.connect(server.url, other_root, PATIENCE))
            assert not server.requests
            assert "TLS certificate" in outcome.reason

    def test_the_environment_cannot_replace_the_configured_roots(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with hostile_server(not_json) as server:
            bundle = tmp_path_factory.mktemp("roots") / "bundle.pem"
            bundle.write_text(server.ca_certificates)
            for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
                monkeypatch.setenv(name, str(bundle))
            self.verify_unavailable(server, self.connect(server.url, trustme.CA().cert_pem.bytes().decode(), TIMEOUT))
            assert not server.requests
