"""All routes of the API as methods with the names of the OpenAPI document's operations, and what several calls make."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from certrelay_client import response_models as responses
from certrelay_client.certificates import CertificateRoutes
from certrelay_client.errors import TimedOut
from certrelay_client.operations import OperationRoutes
from certrelay_client.paging import pages
from certrelay_client.polling import pauses
from certrelay_client.service import ServiceRoutes
from certrelay_client.transport import Transport

PAGE = 100


class Client(CertificateRoutes, OperationRoutes, ServiceRoutes):
    """The API of one deployment. Threads may share it; close it after use, or use it in `with`.

    Each method raises Refused (also NotFound, NoSuchRoute), NotSignedIn or Unreachable. `idempotency_key`: the same
    request with the same key is done once."""

    def __init__(
        self,
        endpoint: str,
        auth: httpx.Auth | None = None,
        timeout: float = 60,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._sleep = sleep
        self._transport = Transport(endpoint, auth, timeout, sleep, transport)
        self.endpoint = self._transport.endpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def follow(
        self,
        operation: responses.Operation,
        timeout: float = 3600,
        seen: Callable[[responses.Operation], None] = lambda operation: None,
    ) -> responses.Operation:
        """The operation when it has ended, however it did. `seen` is called with each state that was read.

        Raises TimedOut after `timeout` seconds; the operation goes on."""
        waits = pauses(timeout)
        while operation["status"] == "inProgress":
            if (pause := next(waits, None)) is None:
                text = f"{operation['name']} is still at step {operation['step']}: {operation['status_details']}"
                raise TimedOut(f"{text}; operation {operation['id']} goes on")
            self._sleep(pause)
            operation = self.get_operation(operation["id"])
            seen(operation)
        return operation

    def certificates(self, vault: str, **filters: Any) -> Iterator[responses.CertificateLine]:
        """All certificates of a vault that match the filters of `list_certificates`, page after page."""
        for page in pages(lambda after: self.list_certificates(vault, max=PAGE, continuation=after, **filters)):
            yield from page["value"]
