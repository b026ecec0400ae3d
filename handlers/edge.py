"""What every HTTP function shares: JSON in, one call, JSON out; errors as problem documents (RFC 9457).

An error nobody foresaw is a bare 500: its text goes to the log, under the same correlation id, and nowhere else.
"""

import functools
import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import azure.functions as func
from pydantic import BaseModel, ValidationError

from lifecycle.errors import CertRelayError, Conflict, Fault, Invalid, NotFound, NotPermitted, NotReady

MAX_BODY_BYTES = 1024 * 1024
CORRELATION_HEADER = "x-correlation-id"
_STATUS: dict[type[CertRelayError], tuple[int, str]] = {
    Invalid: (400, "The request is not valid"),
    NotPermitted: (403, "Not allowed"),
    NotFound: (404, "Not found"),
    Conflict: (409, "Conflict"),
    NotReady: (503, "Not available right now"),
}

log = logging.getLogger("certrelay.http")

type Handler = Callable[[func.HttpRequest], "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is rendered as JSON; None is an empty body."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def endpoint(handler: Handler) -> Callable[[func.HttpRequest], func.HttpResponse]:
    """An HTTP function around a handler that takes the request and returns an Answer or raises a CertRelayError."""

    @functools.wraps(handler)
    def function(req: func.HttpRequest) -> func.HttpResponse:
        correlation = _correlation_id(req)
        try:
            answer = handler(req)
        except CertRelayError as error:
            log.info("%s %s: %s [%s]", req.method, handler.__name__, error.code, correlation)
            return _problem(error, correlation)
        except Exception:
            log.exception("%s %s failed [%s]", req.method, handler.__name__, correlation)
            return _respond({"type": "about:blank", "title": "Internal error", "status": 500}, 500, correlation, {})
        return _respond(answer.body, answer.status, correlation, answer.headers)

    del function.__wrapped__  # the worker would read the handler's own signature through it
    function.__annotations__ = {"req": func.HttpRequest, "return": func.HttpResponse}
    return function


def parsed[Model: BaseModel](req: func.HttpRequest, model: type[Model]) -> Model:
    """The JSON body as a model. Raises Invalid naming every fault by its JSON pointer."""
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        raise Invalid(f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except ValidationError as error:
        raise Invalid([_fault(found) for found in error.errors(include_url=False, include_input=False)]) from None


def caller(req: func.HttpRequest) -> str:
    """Who asks, for the history."""
    return "function key"


def idempotency_key(req: func.HttpRequest) -> str | None:
    """The Idempotency-Key header. Raises Invalid when it is not 1 to 255 visible ASCII characters."""
    key: str | None = req.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[!-~]{1,255}", key):
        raise Invalid("the Idempotency-Key header has 1 to 255 visible ASCII characters")
    return key


def _fault(found: Any) -> Fault:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in found["loc"]]
    text = "is not a known field" if found["type"] == "extra_forbidden" else str(found["msg"])
    return Fault("".join(f"/{part}" for part in parts), text)


def _problem(error: CertRelayError, correlation: str) -> func.HttpResponse:
    status, title = next(value for kind, value in _STATUS.items() if isinstance(error, kind))
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": str(error)}
    body["code"] = error.code
    if isinstance(error, Invalid):
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults]
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if isinstance(error, NotReady) else {}
    return _respond(body, status, correlation, headers)


def _respond(body: Any, status: int, correlation: str, headers: dict[str, str]) -> func.HttpResponse:
    if status >= 400:
        body |= {"correlation_id": correlation}
    kind = "application/problem+json" if status >= 400 else "application/json"
    return func.HttpResponse(
        None if body is None else json.dumps(body, ensure_ascii=False).encode(),
        status_code=status,
        headers={**headers, CORRELATION_HEADER: correlation, "Cache-Control": "no-store"},
        mimetype=kind,
        charset="utf-8",
    )


def _correlation_id(req: func.HttpRequest) -> str:
    given = req.headers.get(CORRELATION_HEADER, "")
    return given if re.fullmatch(r"[0-9A-Za-z._-]{1,64}", given) else uuid.uuid4().hex
