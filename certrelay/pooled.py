"""The transport of the Azure SDKs' clients, with as many kept connections as the app has worker threads."""

from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

# PYTHON_THREADPOOL_THREAD_COUNT is 32. The SDKs keep ten; the other threads then open a connection for each request.
CONNECTIONS = 40


class _Adapter(HTTPAdapter):
    """Looks once for the connections to a host, and not at each request. A client has one host, or a few."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=CONNECTIONS)
        self._pools: dict[Any, Any] = {}

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """The connections to the request's host, with these roots. See HTTPAdapter."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        key = (*urlsplit(request.url)[:2], verify, cert)
        if key not in self._pools:
            self._pools[key] = super().get_connection_with_tls_context(request, verify, proxies, cert)
        return self._pools[key]


class _Session(requests.Session):
    """Reads from the environment once for each host which proxy and which roots to use, and not for each request: that
    is a fifth of a request's CPU. It never reads a .netrc: the SDKs sign their requests themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is
        self._settings: dict[Any, Any] = {}

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send what an SDK has prepared, as it is, if its body is in memory: the same bytes as requests would send.

        For each request requests also looks for cookies, hooks, redirects and a sign-in, which the SDKs never leave to
        it: a fifth of a request's CPU. A response is read whole, also one that is asked for as a stream: all are small,
        and the SDKs parse those a second time that are not."""
        headers, body = options.get("headers"), options.get("data")
        if (
            args
            or not isinstance(body, bytes | str | None)
            or options.get("files")
            or options.get("allow_redirects", True)
        ):
            return super().request(method, url, *args, **options)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = method, url
        prepared.prepare_headers({**self.headers, **(headers or {})})  # refuses what would be two headers
        prepared.prepare_body(body, None)
        stream, verify, cert = (options.get(name) for name in ("stream", "verify", "cert"))
        # The SDKs say None where they have no proxies; requests adds those of the environment to a dict only.
        settings = self.merge_environment_settings(url, options.get("proxies") or {}, stream, verify, cert)
        response = self.get_adapter(url).send(prepared, timeout=options.get("timeout"), **settings)
        response.content  # noqa: B018  # reads it, and frees the connection
        return response

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """The proxies, the roots and the client certificate for a request."""
        if proxies:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        key = (*urlsplit(url)[:2], stream, verify, cert)
        if key not in self._settings:
            self._settings[key] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        kept = self._settings[key]
        return {**kept, "proxies": dict(kept["proxies"])}


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def transport(connect_seconds: float, read_seconds: float) -> RequestsTransport:
    """A new transport. A client that is given one ignores its own timeouts, so they are set here."""
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter())
    return RequestsTransport(session=session, connection_timeout=connect_seconds, read_timeout=read_seconds)
