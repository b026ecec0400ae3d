"""Metrics and traces, by OpenTelemetry's API (https://opentelemetry.io/docs/specs/otel/).

The API alone records nothing: a deployment that wants them configures an SDK and an exporter (docs/operations.md).
Names and attributes are stable: alerts and workbooks use them. Nothing here raises, and no attribute has a secret.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_meter, _tracer = metrics.get_meter("certrelay"), trace.get_tracer("certrelay")
_propagator = TraceContextTextMapPropagator()

type Attributes = Mapping[str, str | int | None]

operations = _meter.create_counter("certrelay.operations", "{operation}", "Operations that ended.")
operation_duration = _meter.create_histogram("certrelay.operation.duration", "s", "From request to end.")
renewals_due = _meter.create_gauge("certrelay.renewals.due", "{certificate}", "Certificates that are due, at a sweep.")
renewals_late = _meter.create_gauge("certrelay.renewals.late", "{certificate}", "Due, and half of the time is over.")
days_left = _meter.create_histogram("certrelay.renewal.days_left", "d", "Time left when a renewal was requested.")
keyvault_requests = _meter.create_counter("certrelay.keyvault.requests", "{request}", "Requests to Key Vault.")
keyvault_duration = _meter.create_histogram("certrelay.keyvault.duration", "s", "Of requests to Key Vault.")
authority_requests = _meter.create_counter("certrelay.authority.requests", "{request}", "Calls to authorities.")
authority_duration = _meter.create_histogram("certrelay.authority.duration", "s", "Of calls to authorities.")
fallbacks = _meter.create_counter("certrelay.fallbacks", "{operation}", "Changes to a fall-back authority.")
throttled = _meter.create_counter("certrelay.throttled", "{request}", "Requests that were answered with 429.")
queue_age = _meter.create_gauge("certrelay.queue.age", "s", "How long the longest-due operation has waited, at a poll.")
incidents = _meter.create_gauge(
    "certrelay.incidents", "{incident}", "What people were told and is not over, at a poll."
)
endpoints = _meter.create_gauge(
    "certrelay.endpoints", "{certificate}", "Certificates that are served somewhere, by what is served, at a sweep."
)
poison_messages = _meter.create_gauge("certrelay.poison.messages", "{message}", "Messages in the poison queues.")


@contextmanager
def span(name: str, attributes: Attributes, traceparent: str = "", *, outward: bool = False) -> Iterator[Span]:
    """A span around a block: in the trace of `traceparent` (W3C Trace Context; then it links the current span), else in
    the current one.

    `outward`: the block calls another service. An exception marks the span as failed, by its kind only."""
    current = trace.get_current_span().get_span_context()
    context = _propagator.extract({"traceparent": traceparent}) if traceparent else None
    known = {key: value for key, value in attributes.items() if value is not None}
    with _tracer.start_as_current_span(
        name, context, SpanKind.CLIENT if outward else SpanKind.INTERNAL, known,
        links=[Link(current)] if context is not None and current.is_valid else [],
        record_exception=False, set_status_on_exception=False,
    ) as started:  # fmt: skip
        try:
            yield started
        except BaseException as error:
            started.set_attribute("error.type", type(error).__name__)
            started.set_status(Status(StatusCode.ERROR))
            raise


def traceparent() -> str:
    """The current trace as a W3C traceparent header; "" without one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


def is_traced() -> bool:
    """Whether a trace is current already, such as the Functions host's."""
    return trace.get_current_span().get_span_context().is_valid


@contextmanager
def key_vault_request(vault: str, operation: str) -> Iterator[Callable[[int], None]]:
    """Around one request to Key Vault, which calls what this yields with the status; 0 without a response."""
    attributes = {"vault": vault, "operation": operation}
    with span(f"Key Vault {operation}", attributes, outward=True) as started, _measured() as seconds:
        statuses = [0]
        try:
            yield lambda status: statuses.__setitem__(0, status)
        finally:
            status = statuses[0]
            started.set_attribute("http.response.status_code", status)
            keyvault_requests.add(1, attributes | {"status": status})
            keyvault_duration.record(seconds(), attributes | {"status": status})
            if status == 429:
                throttled.add(1, {"by": "keyvault", "name": vault})


@contextmanager
def authority_call(authority: str, call: str) -> Iterator[Callable[[str], None]]:
    """Around one call of a connector, which calls what this yields with the outcome; `error` if it raises."""
    attributes = {"authority": authority, "call": call}
    with span(f"authority {call}", attributes, outward=True) as started, _measured() as seconds:
        outcomes = ["error"]
        try:
            yield lambda outcome: outcomes.__setitem__(0, outcome)
        finally:
            started.set_attribute("certrelay.outcome", outcomes[0])
            authority_requests.add(1, attributes | {"status": outcomes[0]})
            authority_duration.record(seconds(), attributes | {"status": outcomes[0]})


@contextmanager
def _measured() -> Iterator[Callable[[], float]]:
    begun = time.monotonic()
    yield lambda: time.monotonic() - begun
