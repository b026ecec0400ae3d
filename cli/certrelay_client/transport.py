"""One request to CertRelay: sign-in, timeouts, retries, and answers as errors of this package."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from certrelay_client.errors import BadValue, NoSuchRoute, NotFound, NotSignedIn, Refused, Unreachable

TRIES = 4
LONGEST_WAIT = 30.0  # seconds that a Retry-After may ask for before a retry
NOT_NOW = (429, 502, 503, 504)
REPEATABLE = ("GET", "PUT")
LOOPBACK = ("localhost", "127.0.0.1", "::1")

type Json = dict[str, Any]


def check_endpoint(endpoint: str) -> str:
    """The app's URL without a path. Raises ValueError: it must be https, since requests carry credentials."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if not parts.hostname or parts.username or parts.query or parts.path.rstrip("/") not in ("", "/api"):
        raise ValueError(f"{endpoint!r} is no address of an app, such as https://certrelay.azurewebsites.net")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError(f"{endpoint!r} must begin with https://, since each request carries a key or a token")
    return f"{parts.scheme}://{parts.netloc}"


class Transport:
    """Sends requests. May be used by several threads at once.

    `timeout`: seconds for each request. `sleep` waits between retries. Raises ValueError for a bad endpoint."""

    def __init__(
        self,
        endpoint: str,
        auth: httpx.Auth | None,
        timeout: float = 60,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.endpoint = check_endpoint(endpoint)
        self.sleep = sleep
        limits = httpx.Timeout(timeout, connect=min(timeout, 15))
        self._client = httpx.Client(base_url=self.endpoint, auth=auth, timeout=limits, transport=transport)

    def close(self) -> None:
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        raw: tuple[str, bytes] | None = None,
        key: str | None = None,
        expected: Collection[int] = (),
    ) -> httpx.Response:
        """The response, below 400 or one of `expected`. `path` has its values quoted (see `at`).

        `raw`: content type and content. `key`: an Idempotency-Key, which makes repeating safe. Long: the parts of a
        request. Raises Refused, NotSignedIn, Unreachable."""
        headers = {"idempotency-key": key} if key else {}
        content = {} if body is None else {"json": body}
        if raw is not None:
            headers["content-type"], content = raw[0], {"content": raw[1]}
        params = {name: _written(value) for name, value in (query or {}).items() if value is not None}
        request = self._client.build_request(method, f"/api/{path}", params=params, headers=headers, **content)
        response = self._tried(request, repeatable=not expected and (method in REPEATABLE or key is not None))
        if response.status_code not in expected:
            _raise_for(response, method, path)
        return response

    def json(self, method: str, path: str, **more: Any) -> Any:
        """The JSON object of the response; None for HTTP 204. Raises what `send` raises."""
        response = self.send(method, path, **more)
        if response.status_code == 204:
            return None
        found = _object(response)
        if found is None:
            raise Unreachable(f"{self.endpoint} answers without JSON of CertRelay: is it its address?")
        return found

    def _tried(self, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        for number in range(1, TRIES + 1):
            wait = float(2 ** (number - 1))
            try:
                response = self._client.send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing was sent
                failure: Exception = error
            except httpx.TransportError as error:
                failure = error
                if not repeatable:
                    break
            else:
                if response.status_code not in NOT_NOW or not repeatable or number == TRIES:
                    return response
                wait = max(wait, _seconds(response.headers.get("retry-after")))
            if number < TRIES:
                self.sleep(min(wait, LONGEST_WAIT))
        raise Unreachable(f"{self.endpoint} does not answer: {str(failure) or type(failure).__name__}") from failure


def at(pattern: str, **values: str) -> str:
    """A path with its values quoted. Raises BadValue for an empty value, which would be another path."""
    for name, value in values.items():
        if not value or value in (".", ".."):
            raise BadValue(f"{name} must not be {value!r}")
    return pattern.format(**{name: quote(value, safe="") for name, value in values.items()})


def _written(value: Any) -> str:
    if not isinstance(value, str) and isinstance(value, Collection):
        return ",".join(sorted(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() else 0


def _raise_for(response: httpx.Response, method: str, path: str) -> None:
    status = response.status_code
    if status < 300:
        return
    problem = _problem(response)
    if status == 401:
        text = problem.get("detail") or "the function key or the token is not accepted"
        raise NotSignedIn(f"CertRelay does not know you: {text}; see `certrelay login`")
    if status == 404 and not problem:
        raise NoSuchRoute(method, f"/api/{path}")
    if status == 404:
        raise NotFound(status, problem)
    if 400 <= status < 500 and status != 429:
        raise Refused(status, problem)
    if status < 400:
        raise Unreachable(f"CertRelay's address redirects to {response.headers.get('location', 'elsewhere')}")
    text = problem.get("detail") or problem.get("title") or "no reason is given"
    raise Unreachable(f"CertRelay is not available now (HTTP {status}): {text}")


def _problem(response: httpx.Response) -> Json:
    return _object(response) or {}


def _object(response: httpx.Response) -> Json | None:
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
