"""Traces of processed commands; imported only with an OTLP endpoint."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord
from opentelemetry.trace import SpanKind

from services.commands.event_metadata import parse_traceparent
from services.telemetry.tracing import (
    DATABASE,
    DESTINATION,
    OFFSET,
    OPERATION,
    PARTITION,
    Attributes,
    CommandSpan,
    ProcessTracer,
    StepSpan,
)


class CommandTraces:
    """A span for each command, from its first attempt to the commit of its verdict, with the append as its child."""

    def __init__(self) -> None:
        self._traces = ProcessTracer("handler", SpanKind.CONSUMER)

    def record_batch(
        self, records: Sequence[ConsumerRecord[Any, Any]], started_at: float, ended_at: float, append_seconds: float
    ) -> None:
        """Record the spans of a committed batch; times are in seconds since 1970."""
        command_spans = []
        for record in records:
            traceparent = parse_traceparent(record)
            if traceparent is not None:
                attributes: Attributes = {
                    OPERATION: "process",
                    DESTINATION: record.topic,
                    PARTITION: str(record.partition),
                    OFFSET: record.offset,
                }
                command_spans.append(CommandSpan(traceparent, attributes))
        append_step = StepSpan("append to the log", {DATABASE: "postgresql"}, ended_at - append_seconds, ended_at)
        self._traces.record_batch("decide command", command_spans, started_at, ended_at, [append_step])
