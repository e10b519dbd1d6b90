"""The spans of published records; imported only where traces are asked for."""

from collections import Counter
from collections.abc import Sequence

from opentelemetry.trace import SpanKind

from services.kafka.topics import topic
from services.publishing.cloudevents import Message
from services.telemetry.tracing import COUNT, DESTINATION, OPERATION, PARTITION, Share, Traces


class RecordTraces:
    """A span for what one command has on one topic in one transaction: a publication may be thousands of records."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._traces = Traces("relay", SpanKind.PRODUCER)

    def published(self, messages: Sequence[Message], begun: float, ended: float) -> None:
        """A Kafka transaction is committed. Times are seconds since 1970."""
        found = Counter(
            (value.decode(), message.topic, message.shard)
            for message in messages
            for name, value in message.headers
            if name == "traceparent" and value is not None and message.topic != "dead-letters"
        )
        shares = [
            Share(
                traceparent,
                {
                    OPERATION: "send",
                    DESTINATION: topic(self._prefix, name),
                    PARTITION: str(shard),
                    COUNT: count,
                },
            )
            for (traceparent, name, shard), count in found.items()
        ]
        self._traces.batch("publish records", shares, begun, ended)
