"""The spans of decided commands; imported only where traces are asked for."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord
from opentelemetry.trace import SpanKind

from services.commands.serialization import traceparent_of
from services.telemetry.tracing import DATABASE, DESTINATION, OFFSET, OPERATION, PARTITION, Share, Step, Traces


class CommandTraces:
    """A command's span goes from the handler's first look at it to its verdict's commit; below it the append."""

    def __init__(self) -> None:
        self._traces = Traces("handler", SpanKind.CONSUMER)

    def decided(
        self, records: Sequence[ConsumerRecord[Any, Any]], begun: float, ended: float, append_seconds: float
    ) -> None:
        """A batch is committed. Times are seconds since 1970."""
        shares = [
            Share(
                traceparent,
                {
                    OPERATION: "process",
                    DESTINATION: record.topic,
                    PARTITION: str(record.partition),
                    OFFSET: record.offset,
                },
            )
            for record in records
            if (traceparent := traceparent_of(record)) is not None
        ]
        append = Step("append to the log", {DATABASE: "postgresql"}, ended - append_seconds, ended)
        self._traces.batch("decide command", shares, begun, ended, [append])
