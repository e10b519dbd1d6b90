"""Spans of published records; imported only if a collector is configured."""

from collections import Counter
from collections.abc import Sequence

from opentelemetry.trace import SpanKind

from services.kafka.records import OutgoingRecord
from services.kafka.topics import full_topic_name
from services.telemetry.tracing import COUNT, DESTINATION, OPERATION, PARTITION, CommandSpan, ProcessTracer


class RecordTraces:
    """Records one span per command, partition and transaction, because one command may publish thousands of records."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._traces = ProcessTracer("relay", SpanKind.PRODUCER)

    def record_transaction(self, records: Sequence[OutgoingRecord], started_at: float, ended_at: float) -> None:
        """Record a committed Kafka transaction; times are in seconds since 1970."""
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
