"""Traces over OTLP/HTTP, off unless OTEL_EXPORTER_OTLP_ENDPOINT is set. The SDK's other variables apply too.

A command belongs to its producer's trace, named by the record's ``traceparent``. The gateway is such a producer, with a
span below its client's. Handler and relay add spans below the producer's. The log stores that ``traceparent`` and
published records carry it, so that a record has the same bytes with tracing on, off, and in a replay a year later. Each
batch is a trace of its own, and the spans of its commands link to it. A command without a sampled trace has no span.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.telemetry import VERSION

# Semantic conventions 1.44; the messaging ones are not stable yet.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
SYSTEM = "messaging.system"
OPERATION = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
OFFSET = "messaging.kafka.offset"
COUNT = "messaging.batch.message_count"
DATABASE = "db.system.name"
COMMAND_TYPE = "moderation.command.type"

SAMPLED_FLAG = 1
Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class CommandSpan:
    """A command of a batch, with its producer's ``traceparent``."""

    traceparent: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class StepSpan:
    """A step of the work on a batch; times in seconds since 1970."""

    name: str
    attributes: Attributes
    started_at: float
    ended_at: float


class ProcessTracer:
    """The tracer of a process. Batches are recorded after they are done, so that a failed batch leaves no open span."""

    def __init__(self, process: str, kind: SpanKind) -> None:
        resource = Resource.create({"service.name": f"moderation-{process}", "service.version": VERSION})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("services", VERSION, SCHEMA_URL)
        self._propagator = TraceContextTextMapPropagator()
        self._kind = kind

    def record_batch(
        self,
        name: str,
        command_spans: Sequence[CommandSpan],
        started_at: float,
        ended_at: float,
        steps: Iterable[StepSpan] = (),
    ) -> None:
        """Record a batch (times in seconds since 1970), and a span for each sampled command in the command's trace."""
        sampled = [share for share in command_spans if int(share.traceparent[-2:], 16) & SAMPLED_FLAG]
        if not sampled:
            return
        batch_attributes: Attributes = {SYSTEM: "kafka", COUNT: len(command_spans)}
        batch_span = self._start_span(f"{name} batch", batch_attributes, Context(), started_at, kind=SpanKind.INTERNAL)
        link = [Link(batch_span.get_span_context())]
        for share in sampled:
            parent = self._propagator.extract({"traceparent": share.traceparent})
            span = self._start_span(
                name, {SYSTEM: "kafka", **share.attributes}, parent, started_at, kind=self._kind, links=link
            )
            for step in steps:
                step_span = self._start_span(step.name, step.attributes, set_span_in_context(span), step.started_at)
                step_span.end(_nanoseconds(step.ended_at))
            span.end(_nanoseconds(ended_at))
        batch_span.end(_nanoseconds(ended_at))

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes, traceparent: str | None) -> Iterator[str]:
        """Open a span around the block, below ``traceparent`` or in a new trace; yields the span's own traceparent."""
        parent = Context() if traceparent is None else self._propagator.extract({"traceparent": traceparent})
        span = self._tracer.start_span(name, parent, self._kind, attributes)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        try:
            yield carrier["traceparent"]
        finally:
            span.end()

    def _start_span(
        self,
        name: str,
        attributes: Attributes,
        parent: Context,
        started_at: float,
        kind: SpanKind = SpanKind.CLIENT,
        links: Sequence[Link] = (),
    ) -> Span:
        return self._tracer.start_span(name, parent, kind, attributes, links, _nanoseconds(started_at))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
