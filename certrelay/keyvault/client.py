"""Key Vault certificates: the operations of the REST API that CertRelay uses, in the JSON of the REST API.

Of the SDK only the client's pipeline is used (challenge, tokens, retries). Its poller for creations starts a thread
that outlives the function. https://learn.microsoft.com/rest/api/keyvault/certificates
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest
from azure.keyvault.certificates import CertificateClient

from certrelay import telemetry
from certrelay.errors import (
    BeingDeleted,
    CertRelayError,
    Conflict,
    Invalid,
    NotAllowedNow,
    NotFound,
    NotReady,
    SoftDeleted,
    Throttled,
)
from certrelay.keyvault.certificate import (
    CERTIFICATES,
    PAGE,
    CertificateItem,
    Json,
    PendingOperation,
    items_of,
    pending_operation,
)
from certrelay.keyvault.refusals import forbidden, without_names
from certrelay.pooled import transport

API_VERSION = "2025-07-01"
BUDGET_SECONDS = 25.0
LONGEST_SLEEP = 4
# All that may be asked of Key Vault. Neither a path nor a query can leave the certificates, whoever wrote its parts.
_PATH = re.compile(r"/(deleted)?certificates(/[0-9A-Za-z-]{1,127}){0,3}/?")
_QUERY = re.compile(r"(\$?[A-Za-z-]{1,40}=[0-9A-Za-z._~%+=!*-]{0,8000}(&(?!$)|$))*")


class Vault:
    """One Key Vault. Every method raises NotReady (VaultForbidden), Conflict, Invalid or NotFound, as it answers."""

    def __init__(self, client: CertificateClient) -> None:
        self._client = client
        self.date: datetime | None = None  # of its last response: Key Vault's clock, in whole seconds

    @property
    def url(self) -> str:
        return str(self._client.vault_url).rstrip("/")

    def create(self, name: str, policy: Json, tags: Mapping[str, str], enabled: bool) -> PendingOperation:
        body = {"policy": policy, "tags": dict(tags), "attributes": {"enabled": enabled}}
        return pending_operation(self.call("POST", f"/certificates/{name}/create", body))

    def pending(self, name: str) -> PendingOperation | None:
        """The pending operation of a name, ended ones included, until it is deleted."""
        try:
            return pending_operation(self.call("GET", f"/certificates/{name}/pending"))
        except NotFound:
            return None

    def cancel(self, name: str, request_id: str) -> None:
        """Request cancellation, which Key Vault may ignore. No error if the operation is gone or has ended."""
        try:
            self.call("PATCH", f"/certificates/{name}/pending", {"cancellation_requested": True}, request_id=request_id)
        except (NotFound, NotAllowedNow):
            return

    def delete_pending(self, name: str, request_id: str) -> None:
        """Delete the pending operation if it still has this request id."""
        try:
            self.call("DELETE", f"/certificates/{name}/pending", request_id=request_id)
        except NotFound:
            return

    def merge(self, name: str, chain: tuple[bytes, ...], tags: Mapping[str, str], enabled: bool) -> Json:
        """Complete the pending operation with a chain of DER certificates, leaf first."""
        x5c = [base64.b64encode(certificate).decode() for certificate in chain]
        body = {"x5c": x5c, "tags": dict(tags), "attributes": {"enabled": enabled}}
        return self.call("POST", f"/certificates/{name}/pending/merge", body)

    def import_certificate(self, name: str, body: Json) -> Json:
        return self.call("POST", f"/certificates/{name}/import", body)

    def get(self, name: str, version: str = "") -> Json | None:
        """A CertificateBundle: the newest version with policy, or a named one without."""
        try:
            return self.call("GET", f"/certificates/{name}/{version}")
        except NotFound:
            return None

    def certificates(self) -> Iterator[list[CertificateItem]]:
        """All certificates that have a version, alphabetically, in pages of 25."""
        return map(items_of, self.pages(CERTIFICATES))

    def versions(self, name: str) -> Iterator[Json]:
        pages = self.pages(f"/certificates/{name}/versions?maxresults={PAGE}")
        return (item for page in pages for item in page)

    def pages(self, path: str) -> Iterator[list[Json]]:
        """The pages of a list."""
        while path:
            page, path = self.page(path)
            yield page

    def page(self, path: str) -> tuple[list[Json], str]:
        """One page of a list, and the path of the next one, empty at the end: `nextLink`, on this vault only."""
        page = self.call("GET", path)
        return page.get("value") or [], re.sub(r"^https://[^/]+", "", page.get("nextLink") or "")

    def call(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """One request; the answer's JSON. `query` is added to the path's own.

        Raises Invalid, before anything is sent, for a path that is none of the certificates' own."""
        url = self.url + _checked(path, {**query, "api-version": API_VERSION})
        path = path.partition("?")[0]
        with telemetry.key_vault_request(urlsplit(self.url).netloc, f"{method} {without_names(path)}") as answered:
            response = self._send(HttpRequest(method, url, json=body))
            answered(response.status_code)
        self.date = _date(response)
        if response.status_code < 300:
            return _json_object(response)
        raise _refusal(response, self.url, (method, path))

    def _send(self, request: HttpRequest) -> Any:
        try:
            # As a stream, or the SDK would parse the answer for itself first. The transport has read it.
            response = self._client.send_request(request, stream=True, timeout=BUDGET_SECONDS)
            response.read()
            return response
        except ClientAuthenticationError as error:
            raise NotReady("Key Vault does not accept the app's identity", 60, "KeyVaultUnauthorized") from error
        except AzureError as error:
            raise NotReady("Key Vault cannot be reached", code="KeyVaultNotReady") from error


class _ShortRetries(RetryPolicy[Any, Any]):
    def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
        """Whether to retry: the SDK would sleep for as long as Retry-After says, regardless of its timeouts.

        A throttled creation is not retried here: it reserves a new start time (certrelay.operations.rate)."""
        if not super().is_retry(settings, response):
            return False
        asked = self.get_retry_after(response) or 0.0
        creates = urlsplit(response.http_request.url).path.endswith("/create")
        return asked <= LONGEST_SLEEP and not (creates and response.http_response.status_code == 429 and not asked)


def connect(url: str, credential: Any) -> Vault:
    """The vault at `url`, with short retries: longer waits are the reconciler's task."""
    retries = _ShortRetries(retry_total=3, retry_backoff_factor=0.5, retry_backoff_max=LONGEST_SLEEP)
    return Vault(CertificateClient(url, credential, transport=transport(5, 20), retry_policy=retries))


def _checked(path: str, query: Mapping[str, str]) -> str:
    """The path with its own query and this one. Raises Invalid: each segment is a word, a name or a version."""
    path, _, own = path.partition("?")
    if not (_PATH.fullmatch(path) and _QUERY.fullmatch(own)):
        raise Invalid("Key Vault is not asked for this: a name has 1 to 127 letters, digits and hyphens")
    own = re.sub(r"(^|&)api-version=[^&]*", "", own).lstrip("&")
    parameters = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    return f"{path}?{own + '&' if own else ''}{parameters}"


def _date(response: Any) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _json_object(response: Any) -> Json:
    try:
        answer = json.loads(response.content) if response.content else {}
    except (AzureError, ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NotReady("Key Vault's response is not a JSON object", code="KeyVaultNotReady")
    return answer


def _refusal(response: Any, url: str, request: tuple[str, str]) -> CertRelayError:
    status = response.status_code
    try:
        error = response.json()["error"]
        code, text = str(error["code"]), str(error["message"]).strip()
        inner = str((error.get("innererror") or {}).get("code", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, text, inner = "KeyVaultError", f"Key Vault answered {status}", ""
    if status in (400, 405, 413):
        return Invalid(f"Key Vault refused the request: {text}", inner or code)
    if status == 403:
        return forbidden(url, request, inner, text)
    kinds: dict[int, type[CertRelayError]] = {404: NotFound, 409: Conflict}
    if status in kinds:
        kind = next((known for known in (SoftDeleted, BeingDeleted) if known.code == inner), kinds[status])
        return kind(text, inner or code)
    if status == 401:
        return NotReady("Key Vault does not accept the app's identity", 60, "KeyVaultUnauthorized")
    wait = response.headers.get("Retry-After", "")
    if status == 429:
        return Throttled("Key Vault has had too many requests (429)", float(wait) if wait.isdigit() else 0.0)
    return NotReady(f"Key Vault answered {status} ({code})", float(wait) if wait.isdigit() else 10.0, code)
