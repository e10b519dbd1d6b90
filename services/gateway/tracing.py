"""Spans of requests that send commands; imported only if traces are configured."""

import contextlib
from collections.abc import Iterator

from opentelemetry.trace import SpanKind

from services.telemetry.tracing import COMMAND_TYPE, ProcessTracer


class RequestTraces:
    """Creates a span per command, from the request to the verdict; the record's ``traceparent`` names it."""

    def __init__(self) -> None:
        self._traces = ProcessTracer("gateway", SpanKind.SERVER)

    @contextlib.contextmanager
    def command_span(self, command_type: str, traceparent: str | None) -> Iterator[str]:
        """Yield the record's ``traceparent``, a child of the client's span; None starts a new trace."""
        with self._traces.span("command over HTTP", {COMMAND_TYPE: command_type}, traceparent) as record_traceparent:
            yield record_traceparent
