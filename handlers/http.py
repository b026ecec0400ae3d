"""What every HTTP function shares: JSON in, one call, JSON out; errors as problem documents (RFC 9457).

An error nobody foresaw is a bare 500: its text goes to the log, under the same correlation id, and nowhere else.
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

from certrelay.errors import CertRelayError, Conflict, Fault, Invalid, NotFound, NotPermitted, NotReady
from certrelay.log import about, logger
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
    """`body` is rendered as JSON, unless it is bytes with a `content_type`; None is an empty body.

    With `cached` the answer carries an ETag, and If-None-Match is answered with 304."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cached: bool = False


def endpoint(handler: Handler) -> Callable[[func.HttpRequest], func.HttpResponse]:
    """An HTTP function around a handler that takes the request and returns an Answer or raises a CertRelayError."""

    @functools.wraps(handler)
    def function(req: func.HttpRequest) -> func.HttpResponse:
        correlation = _correlation_id(req)
        with about(correlation=correlation):
            return _respond(_answer(handler, req, correlation), correlation)

    del function.__wrapped__  # the worker would read the handler's own signature through it
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
    return _conditional(req, answer) if answer.cached else answer


def parsed[Model: BaseModel](req: func.HttpRequest, model: type[Model]) -> Model:
    """The JSON body as a model. Raises Invalid naming every fault by its JSON pointer."""
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        raise Invalid(f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except ValidationError as error:
        raise Invalid([_fault(found) for found in error.errors(include_url=False, include_input=False)]) from None


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


def _problem(error: CertRelayError, correlation: str) -> Answer:
    status, title = next(value for kind, value in _STATUS.items() if isinstance(error, kind))
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": str(error)}
    body["code"] = error.code
    if isinstance(error, Invalid):
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults]
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if isinstance(error, NotReady) else {}
    return Answer(body | {"correlation_id": correlation}, status, headers)


def _conditional(req: func.HttpRequest, answer: Answer) -> Answer:
    """RFC 9110, section 13.1.2."""
    etag = '"' + hashlib.sha256(_rendered(answer)).hexdigest()[:32] + '"'
    headers = answer.headers | {"ETag": etag}
    asked = [tag.strip().removeprefix("W/") for tag in req.headers.get("if-none-match", "").split(",")]
    return Answer(None, 304, headers) if etag in asked or "*" in asked else replace(answer, headers=headers)


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
    given = req.headers.get(CORRELATION_HEADER, "")
    return given if re.fullmatch(r"[0-9A-Za-z._-]{1,64}", given) else uuid.uuid4().hex


def query(req: func.HttpRequest, name: str, pattern: str = ".{1,2000}") -> str | None:
    """A query parameter. Raises Invalid when it does not match."""
    value: str | None = req.params.get(name)
    if value is not None and not re.fullmatch(pattern, value, re.DOTALL):
        raise Invalid([Fault(f"/{name}", f"the query parameter {name} is not valid")])
    return value


def number(req: func.HttpRequest, name: str, lowest: int, highest: int) -> int | None:
    """A whole number in the query. Raises Invalid when it is out of its range."""
    value = query(req, name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or not lowest <= int(value) <= highest:
        raise Invalid([Fault(f"/{name}", f"the query parameter {name} is a whole number from {lowest} to {highest}")])
    return int(value)


def flag(req: func.HttpRequest, name: str) -> bool:
    """`true` or `false` in the query; absent is false. Raises Invalid."""
    return query(req, name, "true|false") == "true"
