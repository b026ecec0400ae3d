"""The sessions of the Azure SDKs: what they take from the environment, and what not."""

import contextlib
import gzip
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseTimeoutError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest

from certrelay import pooled
from sandbox.vault import VaultServer


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> requests.Session:
    for name, value in {"HTTPS_PROXY": "http://proxy.contoso.example:3128", "NO_PROXY": "127.0.0.1",
                        "REQUESTS_CA_BUNDLE": "/etc/roots.pem"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    made: Any = pooled.transport(5, 5).session
    return made  # type: ignore[no-any-return]


def settings(session: requests.Session, url: str) -> Any:
    return session.merge_environment_settings(url, {}, False, True, None)


def test_a_netrc_does_not_replace_what_the_sdk_signs_with(
    session: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    request = requests.Request("GET", "https://contoso.vault.azure.net/", headers={"Authorization": "Bearer x"})
    assert session.prepare_request(request).headers["Authorization"] == "Bearer x"
    assert str(requests.Session().prepare_request(request).headers["Authorization"]).startswith("Basic")


def test_proxies_and_roots_of_the_environment_apply_to_each_host(session: requests.Session) -> None:
    outside = settings(session, "https://contoso.vault.azure.net/certificates/a")
    assert outside["proxies"]["https"] == "http://proxy.contoso.example:3128"
    inside = settings(session, "https://127.0.0.1:8443/certificates/a")
    assert not inside["proxies"]
    assert outside["verify"] == inside["verify"] == "/etc/roots.pem"


def test_the_environment_is_read_once_for_each_host(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    proxies = requests.sessions.get_environ_proxies

    def counted(url: str, no_proxy: str | None = None) -> Any:
        read.append(url)
        return proxies(url, no_proxy=no_proxy)

    monkeypatch.setattr(requests.sessions, "get_environ_proxies", counted)
    for path in "abc":
        settings(session, f"https://contoso.vault.azure.net/{path}")["proxies"].clear()
        settings(session, f"https://127.0.0.1:8443/{path}")
    assert len(read) == 2
    assert settings(session, "https://contoso.vault.azure.net/")["proxies"], "nobody changes what is kept"


def whole(connection: socket.socket) -> bytes:
    """One request with its body."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65536)
    header, _, body = text.partition(b"\r\n\r\n")
    length = int((re.search(rb"Content-Length: (\d+)", header) or [0, 0])[1])
    while len(body) < length:
        body += connection.recv(65536)
    return header + b"\r\n\r\n" + body


@contextlib.contextmanager
def recorded(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that answers one request on each connection with this, and what it received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        received.append(whole(connection))
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


type Send = Callable[..., requests.Response]


def each_way(session: requests.Session) -> list[Send]:
    """The session's own way to send, and that of requests."""
    plain: Send = lambda *args, **options: requests.Session.request(session, *args, **options)  # noqa: E731
    return [session.request, plain]


CLOSED = b"Connection: close\r\nContent-Length: 2\r\n\r\nOK"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [None, "", b"", '{"a": "\u00e9"}', b'{"a": 1}'])
def test_what_is_sent_is_what_requests_would_send(
    session: requests.Session, method: str, body: str | bytes | None
) -> None:
    headers = {"Accept": "application/json", "If-Match": 'W/"1"', "user-agent": "azsdk-python"}
    with recorded(b"HTTP/1.1 200 OK\r\n" + CLOSED) as (url, received):
        path = "/t(PartitionKey='a%20b',RowKey='%C3%A9')?$filter=x%20eq%20'1'&b"
        for send in each_way(session):
            answer = send(method, url + path, headers=headers, data=body, allow_redirects=False, timeout=60)
            assert answer.status_code == 200
            answer.close()
    assert received[0] == received[1]
    assert b"azsdk-python" in received[0]
    assert b"python-requests" not in received[0]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_read_whole_and_its_connection_is_free(session: requests.Session, stream: bool) -> None:
    with recorded(b"HTTP/1.1 200 OK\r\n" + CLOSED) as (url, _):
        answer = session.request("GET", url, allow_redirects=False, stream=stream, timeout=60)
        assert answer.raw.isclosed()
        assert answer.content == b"".join(answer.iter_content(1)) == b"OK"


def test_no_redirect_is_followed(session: requests.Session) -> None:
    with recorded(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=b\r\n" + CLOSED) as (url, received):
        for send in each_way(session):
            answer = send("GET", f"{url}/", allow_redirects=False, timeout=60)
            assert (answer.status_code, answer.reason, answer.url) == (302, "Found", f"{url}/")
            assert answer.headers["location"] == "/other"
    assert len(received) == 2


def test_a_header_that_would_become_two_is_refused(session: requests.Session) -> None:
    for send in each_way(session):
        with pytest.raises(requests.exceptions.InvalidHeader):
            send("GET", "http://127.0.0.1:9", headers={"If-Match": "a\r\nb: c"}, allow_redirects=False)


def test_a_body_that_is_no_text_is_left_to_requests(session: requests.Session) -> None:
    with recorded(b"HTTP/1.1 200 OK\r\n" + CLOSED) as (url, received):
        session.request("POST", url, data={"a": "{}"}, allow_redirects=False, timeout=60)
    assert b"application/x-www-form-urlencoded" in received[0]


def test_an_answer_is_unpacked(session: requests.Session) -> None:
    packed = gzip.compress(b"OK")
    length = f"Content-Length: {len(packed)}\r\n\r\n".encode()
    with recorded(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n" + length + packed) as (url, _):
        for send in each_way(session):
            assert send("GET", url, allow_redirects=False, timeout=60).content == b"OK"


def fault(session: requests.Session, url: str, seconds: float = 60) -> type[Exception]:
    """What the SDKs make of a request that fails."""
    with pytest.raises(AzureError) as caught:
        RequestsTransport(session=session, read_timeout=seconds).send(HttpRequest("PUT", url, content=b"body")).read()
    return caught.type


NO_GZIP = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nOK"


@pytest.mark.parametrize(
    "answer", [b"", b"nothing of HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nOK", NO_GZIP]
)
def test_what_fails_after_it_was_sent_is_not_said_to_be_unsent(session: requests.Session, answer: bytes) -> None:
    """The SDKs would send it once more, whatever it is."""
    with recorded(answer) as (url, received):
        assert fault(session, url) is not ServiceRequestError
    assert len(received) == 1


def test_what_takes_too_long_may_have_been_done(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert fault(session, url, seconds=0.1) is ServiceResponseTimeoutError


def test_what_could_not_be_sent_is_said_to_be_unsent(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert fault(session, url) is ServiceRequestError


def test_a_server_whose_root_is_unknown_gets_nothing(
    vault_server: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    unknowing: Any = pooled.transport(5, 5).session
    assert fault(unknowing, f"{vault_server.url}/certificates") is ServiceRequestError
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(vault_server.ca_bundle))
    knowing: Any = pooled.transport(5, 5).session
    assert knowing.request("GET", f"{vault_server.url}/certificates", allow_redirects=False).status_code == 401


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorded(b"HTTP/1.1 200 OK\r\n" + CLOSED) as (proxy, received):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        made: Any = pooled.transport(5, 5).session
        assert made.request("GET", "http://storage.contoso.example/a", allow_redirects=False, timeout=60).ok
    assert received[0].startswith(b"GET http://storage.contoso.example/a HTTP/1.1\r\n")


def test_the_connections_to_a_host_are_looked_for_once(session: requests.Session) -> None:
    adapter: Any = session.get_adapter("https://")
    one, again, other, unproved = (
        adapter.get_connection_with_tls_context(requests.Request("GET", url).prepare(), verify)
        for url, verify in (
            ("https://a.example/1", True), ("https://a.example/2", True), ("https://b.example/", True),
            ("https://a.example/1", False),
        )
    )  # fmt: skip
    assert one is again
    assert len({id(one), id(other), id(unproved)}) == 3, "other hosts and other roots are not mixed up"
