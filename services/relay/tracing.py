"""The spans of published records; imported only where traces are asked for."""

from collections import Counter
from collections.abc import Sequence

from opentelemetry.trace import SpanKind

from services.kafka.records import OutgoingRecord
from services.kafka.topics import full_topic_name
from services.telemetry.tracing import COUNT, DESTINATION, OPERATION, PARTITION, CommandSpan, ProcessTracer


class RecordTraces:
    """A span for what one command has on one topic in one transaction: a publication may be thousands of records."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._traces = ProcessTracer("relay", SpanKind.PRODUCER)

    def record_transaction(self, records: Sequence[OutgoingRecord], started_at: float, ended_at: float) -> None:
        """A Kafka transaction is committed. Times are seconds since 1970."""
        record_counts = Counter(
            (value.decode(), record.topic, record.shard)
            for record in records
            for name, value in record.headers
            if name == "traceparent" and value is not None and record.topic != "dead-letters"
        )
        command_spans = [
            CommandSpan(
                traceparent,
                {
                    OPERATION: "send",
                    DESTINATION: full_topic_name(self._prefix, name),
                    PARTITION: str(shard),
                    COUNT: count,
                },
            )
            for (traceparent, name, shard), count in record_counts.items()
        ]
        self._traces.record_batch("publish records", command_spans, started_at, ended_at)
