"""HTTP to one certificate authority: only its configured origin, TLS always verified, every response bounded.

A session raises `requests.RequestException` for what it refuses or cuts off; `failure` describes that in a clause. It
ignores the environment: REQUESTS_CA_BUNDLE (which `requests` prefers to `Session.verify`), proxies and ~/.netrc.
"""

import io
import os
import socket
import ssl
import time
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from certrelay import telemetry
from certrelay.connectors.base import Unavailable
from certrelay.connectors.http_settings import HttpSettings, origin
from certrelay.redaction import redact

MAX_BODY_BYTES = 1_000_000
MAX_RETRY_AFTER = 86_400.0
CONNECT_TIMEOUT = 10.0
CONNECTIONS = 40  # that are kept: each of the worker's 32 threads may ask at the same time


class UnboundedAnswer(requests.RequestException):
    """The response was longer than MAX_BODY_BYTES, or too slow."""


class ForeignOrigin(requests.RequestException):
    """The request would have left the configured origin."""


class AuthoritySession(requests.Session):
    """A `requests.Session` for one authority. `client_certificate`: certificate, chain and key in one PEM."""

    def __init__(self, settings: HttpSettings, client_certificate: SecretStr | None = None) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _BoundedAdapter(settings, _tls_context(settings.ca_certificates, client_certificate))
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Never follow a redirect: the response is the 3xx itself."""


class _ReadUntil(io.RawIOBase):
    """A socket's bytes until a deadline. The socket's own timeout limits only the wait for the next byte."""

    def __init__(self, connected: socket.socket, raw: io.RawIOBase, deadline: float) -> None:
        self._connected, self._raw, self._deadline = connected, raw, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response is too slow")
        self._connected.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimelyResponse(HTTPResponse):
    """A response of which everything, from its first byte to its last, arrives within the socket's timeout."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = time.monotonic() + (sock.gettimeout() or 0)
        self.fp = io.BufferedReader(_ReadUntil(sock, self.fp.detach(), deadline))

    def begin(self) -> None:
        """Skip all interim responses (RFC 9110, section 15.2). `http.client` skips 100 only, and would leave the final
        response to the next request of the connection."""
        super().begin()
        while self.status < requests.codes.ok:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class _Timely:
    response_class = _TimelyResponse

    def getresponse(self: Any) -> Any:
        # Taken first: a connection that the server closes forgets its socket with the response's header.
        peer = self.sock.getpeercert(binary_form=True) if isinstance(self.sock, ssl.SSLSocket) else None
        answer = super().getresponse()  # type: ignore[misc]
        answer.peer_certificate = peer
        return answer


class _Http(_Timely, HTTPConnection):  # type: ignore[misc]  # it says less of its responses than http.client
    pass


class _Https(_Timely, HTTPSConnection):  # type: ignore[misc]
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


def is_of(authority: str, url: str) -> bool:
    """Whether the URL has the origin of the authority's URL."""
    try:
        return origin(url) == origin(authority)
    except ValueError:
        return False


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, settings: HttpSettings, tls: ssl.SSLContext) -> None:
        self._origin = origin(settings.url)
        self._timeout = settings.timeout
        self._tls = tls
        super().__init__(pool_maxsize=CONNECTIONS)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(self, request: requests.PreparedRequest, *_args: Any, **_kwargs: Any) -> requests.Response:
        if origin(request.url or "") != self._origin:
            raise ForeignOrigin("a request to an origin other than the configured one", request=request)
        timeout = (min(CONNECT_TIMEOUT, self._timeout), self._timeout)
        response = super().send(request, stream=True, timeout=timeout, verify=True)
        if response.status_code == requests.codes.too_many:
            telemetry.throttled.add(1, {"by": "authority", "name": urlsplit(request.url or "").netloc})
        try:
            _read_body(response)
        except BaseException:
            response.close()
            raise
        return response

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: the TLS context holds the roots, and `requests` would add its own."""


def tls_server_end_point(response: requests.Response) -> bytes | None:
    """The channel binding of RFC 5929, section 4, for the connection that `response` came over; None without TLS."""
    certificate: bytes | None = response.raw.peer_certificate  # type: ignore[union-attr]
    if certificate is None:
        return None
    algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    if algorithm is None or algorithm.name in ("md5", "sha1"):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return b"tls-server-end-point:" + digest.finalize()


def _read_body(response: requests.Response) -> None:
    """Fill `response.content`. Raises UnboundedAnswer, ConnectionError."""
    body = bytearray()
    try:
        while (chunk := response.raw.read1(65_536, decode_content=True)) and len(body) <= MAX_BODY_BYTES:
            body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise UnboundedAnswer("a response that is too long", response=response)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise UnboundedAnswer(error, response=response) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, requests.RequestException):
            raise
        raise requests.ConnectionError(error, response=response) from error
    response._content = bytes(body)
    response._content_consumed = True  # type: ignore[attr-defined]
    response.raw.release_conn()


def _tls_context(ca_certificates: str | None, client_certificate: SecretStr | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_certificates, cafile=None if ca_certificates else certifi.where())
    if ca_certificates:
        # Since 3.13, Python wants every root to comply with RFC 5280; private roots are often older than that.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if client_certificate:
        # OpenSSL's loader takes only a file name; an anonymous memory file keeps the key off the disk.
        with os.fdopen(os.memfd_create("client-certificate"), "wb", buffering=0) as memory:
            memory.write(client_certificate.get_secret_value().encode())
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
    return context


def sentence(text: object, limit: int = 500) -> str:
    """An authority's text, fit for a log and a caller: one line of at most `limit` characters, none of them control."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in redact(str(text))[: 4 * limit])
    line = " ".join(visible.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def failure(error: Exception) -> str:
    """Why a request got no usable response: one clause without URL, header or body."""
    match error:
        case requests.exceptions.SSLError():
            fault = _verification_fault(error)
            return f"its TLS certificate was not accepted ({fault})" if fault else "the TLS connection failed"
        case requests.Timeout():
            return "it did not answer in time"
        case UnboundedAnswer():
            return "its response was too long or too slow"
        case ForeignOrigin():
            return "it pointed to an origin other than the configured one"
        case requests.ConnectionError():
            return "it could not be reached, or dropped the connection"
        case _:
            return f"the request failed ({type(error).__name__})"


def _verification_fault(error: BaseException | None) -> str | None:
    """The TLS library's own text, found at the end of the chain of causes."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return sentence(error.verify_message)
        inner = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, Exception)), None)
        error = inner if isinstance(inner, BaseException) else error.__context__
    return None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """`Retry-After` (RFC 9110, section 10.2.3) in seconds, at most MAX_RETRY_AFTER; None if absent or malformed."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def unavailable(answer: requests.Response | Exception, now: datetime) -> Unavailable:
    """The outcome of a request that failed, or whose response says nothing about the order."""
    if isinstance(answer, requests.Response):
        return Unavailable(f"it answered HTTP {answer.status_code}", retry_after(answer.headers, now))
    return Unavailable(failure(answer))
