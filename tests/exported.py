"""What OpenTelemetry exports: the spans and measurements of this process, read from in-memory exporters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass
class Exported:
    spans: InMemorySpanExporter
    reader: InMemoryMetricReader

    def of_trace(self, trace_id: int) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.context and span.context.trace_id == trace_id]

    def all_points(self) -> Iterator[tuple[Metric, Any]]:
        """Each metric that was recorded, with each of its data points. Counters count from the start of the process."""
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield from ((metric, point) for point in metric.data.data_points)

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        return [point for metric, point in self.all_points() if metric.name == name]

    def value(self, name: str, /, **attributes: object) -> float:
        """The sum of a counter, the number of values of a histogram, or the value of a gauge."""
        found = [point for point in self.points(name) if attributes.items() <= dict(point.attributes).items()]
        return float(sum(point.count if hasattr(point, "count") else point.value for point in found))


@pytest.fixture(scope="session")
def sdk() -> Exported:
    """OpenTelemetry's SDK, which a process takes once."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    return Exported(spans, reader)


@pytest.fixture
def exported(sdk: Exported) -> Iterator[Exported]:
    sdk.spans.clear()
    yield sdk
    sdk.spans.clear()
