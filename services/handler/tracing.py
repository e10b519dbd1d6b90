"""The spans of decided commands; imported only where traces are asked for."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord
from opentelemetry.trace import SpanKind

from services.commands.serialization import parse_traceparent
from services.telemetry.tracing import (
    DATABASE,
    DESTINATION,
    OFFSET,
    OPERATION,
    PARTITION,
    CommandSpan,
    ProcessTracer,
    StepSpan,
)


class CommandTraces:
    """A command's span goes from the handler's first look at it to its verdict's commit; below it the append."""

    def __init__(self) -> None:
        self._traces = ProcessTracer("handler", SpanKind.CONSUMER)

    def record_batch(
        self, records: Sequence[ConsumerRecord[Any, Any]], started_at: float, ended_at: float, append_seconds: float
    ) -> None:
        """A batch is committed. Times are seconds since 1970."""
        command_spans = [
            CommandSpan(
                traceparent,
                {
                    OPERATION: "process",
                    DESTINATION: record.topic,
                    PARTITION: str(record.partition),
                    OFFSET: record.offset,
                },
            )
            for record in records
            if (traceparent := parse_traceparent(record)) is not None
        ]
        append_step = StepSpan("append to the log", {DATABASE: "postgresql"}, ended_at - append_seconds, ended_at)
        self._traces.record_batch("decide command", command_spans, started_at, ended_at, [append_step])
