"""Shared by all HTTP functions: JSON in, one call, JSON out; errors as problem documents (RFC 9457).

An unexpected exception is a bare 500: its text goes only to the log, with the same correlation id.
"""

import functools
import hashlib
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import azure.functions as func
from pydantic import BaseModel, ValidationError

from certrelay import telemetry
from certrelay.errors import CertRelayError, Conflict, Invalid, NotFound, NotPermitted, NotReady
from certrelay.log import about, logger
from certrelay.validation import faults_of
from handlers.roles import NotAuthenticated

MAX_BODY_BYTES = 1024 * 1024
CORRELATION_HEADER = "x-correlation-id"
_STATUS: dict[type[CertRelayError], tuple[int, str]] = {
    Invalid: (400, "The request is not valid"),
    NotAuthenticated: (401, "Not authenticated"),
    NotPermitted: (403, "Not allowed"),
    NotFound: (404, "Not found"),
    Conflict: (409, "Conflict"),
    NotReady: (503, "Not available right now"),
}

log = logger("http")

type Handler = Callable[[func.HttpRequest], "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `body` is rendered as JSON, unless it is bytes of a `content_type`; None is an empty body.

    With `cached` the response to a GET has an ETag, and a matching If-None-Match is answered with 304."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cached: bool = False


def endpoint(handler: Handler) -> Callable[[func.HttpRequest], func.HttpResponse]:
    """Wrap a handler, which returns an Answer or raises, as an HTTP function."""

    @functools.wraps(handler)
    def function(req: func.HttpRequest) -> func.HttpResponse:
        correlation = _correlation_id(req)
        caller = "" if telemetry.is_traced() else req.headers.get("traceparent", "")
        with about(correlation=correlation), telemetry.span(handler.__name__, {}, caller) as span:
            answer = _answer(handler, req, correlation)
            span.set_attribute("http.response.status_code", answer.status)
            return _respond(answer, correlation)

    del function.__wrapped__  # else the worker reads the handler's signature instead of this one
    function.__annotations__ = {"req": func.HttpRequest, "return": func.HttpResponse}
    return function


def _answer(handler: Handler, req: func.HttpRequest, correlation: str) -> Answer:
    try:
        answer = handler(req)
    except CertRelayError as error:
        log.info("%s %s: %s", req.method, handler.__name__, error.code)
        return _problem(error, correlation)
    except Exception:
        log.exception("%s %s failed", req.method, handler.__name__)
        return Answer(
            {"type": "about:blank", "title": "Internal error", "status": 500, "correlation_id": correlation}, 500
        )
    is_read = req.method in ("GET", "HEAD")  # 304 would say of a change that nothing has happened
    return _conditional(req, answer) if answer.cached and is_read else replace(answer, cached=False)


def parsed[Model: BaseModel](req: func.HttpRequest, model: type[Model]) -> Model:
    """The JSON body as a model. Raises Invalid with every fault and its JSON pointer (RFC 6901)."""
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        raise Invalid(f"the body has {len(body)} bytes; at most {MAX_BODY_BYTES} are allowed")
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except ValidationError as error:
        raise Invalid(faults_of(error, model)) from None


def idempotency_key(req: func.HttpRequest) -> str | None:
    """The Idempotency-Key header, or None. Raises Invalid unless it has 1 to 255 visible ASCII characters."""
    key: str | None = req.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[!-~]{1,255}", key):
        raise Invalid("the Idempotency-Key header must have 1 to 255 visible ASCII characters")
    return key


def preferred_wait(req: func.HttpRequest, longest: int) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240, section 4.3), or None. Other preferences are ignored; the first wins.

    Raises Invalid unless N is a whole number from 0 to `longest`."""
    for preference in re.findall(r'(?:[^,"]|"[^"]*"?)+', req.headers.get("prefer", "")):  # a comma may be quoted
        name, _, value = preference.split(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = value.strip().removeprefix('"').removesuffix('"')
            if not re.fullmatch(r"[0-9]{1,9}", seconds, re.ASCII) or int(seconds) > longest:
                raise Invalid(f"Prefer: wait must be a whole number of seconds from 0 to {longest}, as in wait=30")
            return int(seconds)
    return None


def _problem(error: CertRelayError, correlation: str) -> Answer:
    status, title = next(value for kind, value in _STATUS.items() if isinstance(error, kind))
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": str(error)}
    body["code"] = error.code
    if isinstance(error, Invalid):
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults]
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if isinstance(error, NotReady) else {}
    return Answer(body | {"correlation_id": correlation}, status, headers)


def _conditional(req: func.HttpRequest, answer: Answer) -> Answer:
    """The answer with an ETag, or 304 if the caller has it already (RFC 9110, section 13.1.2)."""
    etag = '"' + hashlib.sha256(_rendered(answer)).hexdigest()[:32] + '"'
    headers = answer.headers | {"ETag": etag}
    etags = [tag.strip().removeprefix("W/") for tag in req.headers.get("if-none-match", "").split(",")]
    return Answer(None, 304, headers) if etag in etags or "*" in etags else replace(answer, headers=headers)


def _rendered(answer: Answer) -> bytes:
    if isinstance(answer.body, bytes):
        return answer.body
    return b"" if answer.body is None else json.dumps(answer.body, ensure_ascii=False).encode()


def _respond(answer: Answer, correlation: str) -> func.HttpResponse:
    kind = "application/problem+json" if answer.status >= 400 and answer.content_type == "application/json" else ""
    headers = {"Cache-Control": "no-cache" if answer.cached or answer.status == 304 else "no-store", **answer.headers}
    return func.HttpResponse(
        _rendered(answer),
        status_code=answer.status,
        headers={**headers, CORRELATION_HEADER: correlation},
        mimetype=kind or answer.content_type,
        charset="utf-8",
    )


def _correlation_id(req: func.HttpRequest) -> str:
    identifier = req.headers.get(CORRELATION_HEADER, "")
    return identifier if re.fullmatch(r"[0-9A-Za-z._-]{1,64}", identifier) else uuid.uuid4().hex


def query(req: func.HttpRequest, name: str) -> str | None:
    """A query parameter, or None. Its route has checked its range (handlers.routes.Query)."""
    value: str | None = req.params.get(name)
    return value


def number(req: func.HttpRequest, name: str) -> int | None:
    """A whole number in the query, or None."""
    value = query(req, name)
    return None if value is None else int(value)


def listed(req: func.HttpRequest, name: str) -> frozenset[str]:
    """The values of a parameter with commas between them; empty without it."""
    return frozenset((query(req, name) or "").split(",")) - {""}


def is_set(req: func.HttpRequest, name: str) -> bool:
    """Whether the query says `true`."""
    return query(req, name) == "true"
