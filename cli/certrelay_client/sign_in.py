"""Sign in to CertRelay: with a function key, or with an access token of Microsoft Entra ID."""

import threading
from collections.abc import Generator
from typing import Any, Protocol

import httpx

from certrelay_client.errors import NotSignedIn

NO_LIBRARY = "azure-identity is not installed, which signs in with Entra ID: pipx inject certrelay-cli azure-identity"


class Credential(Protocol):
    """What any credential of azure-identity can do."""

    def get_token(self, *scopes: str) -> Any: ...


class FunctionKey(httpx.Auth):
    """Sends a function key of the app in each request. Raises ValueError for what no key is, such as two lines."""

    def __init__(self, key: str) -> None:
        if not (key.isascii() and key.isprintable()):  # the text of the library's own error would have it
            raise ValueError("the function key has characters that no key has: is it more than one line?")
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["x-functions-key"] = self._key
        yield request


class EntraId(httpx.Auth):
    """Sends an access token for `scope` (`api://…/.default`) in each request.

    `credential`: any of azure-identity; by default DefaultAzureCredential, which finds a managed identity, a workload
    identity, the Azure CLI's sign-in and others. Raises NotSignedIn when there is no token to be had."""

    def __init__(self, scope: str, credential: Credential | None = None) -> None:
        self._scope, self._credential, self._lock = scope, credential, threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["authorization"] = f"Bearer {self._token()}"
        yield request

    def _token(self) -> str:
        with self._lock:  # azure-identity keeps the token until shortly before it expires
            self._credential = self._credential or _default_credential()
            try:
                return str(self._credential.get_token(self._scope).token)
            except Exception as error:
                first = str(error).strip().splitlines()[:1]
                hint = "sign in with `az login`, or run where an identity is"
                raise NotSignedIn(f"Entra ID gives no token for {self._scope}: {' '.join(first)}; {hint}") from error


def _default_credential() -> Credential:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise NotSignedIn(NO_LIBRARY) from None
    credential: Credential = DefaultAzureCredential()
    return credential
