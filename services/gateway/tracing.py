"""The spans of requests that become commands; imported only where traces are asked for."""

import contextlib
from collections.abc import Iterator

from opentelemetry.trace import SpanKind

from services.telemetry.tracing import COMMAND_TYPE, ProcessTracer


class RequestTraces:
    """A request's span goes from its command's making to its verdict; the command's record names it as its producer."""

    def __init__(self) -> None:
        self._traces = ProcessTracer("gateway", SpanKind.SERVER)

    @contextlib.contextmanager
    def command_span(self, command_type: str, traceparent: str | None) -> Iterator[str]:
        """The ``traceparent`` for the record; ``traceparent``: the client's, None begins a trace."""
        with self._traces.span("command over HTTP", {COMMAND_TYPE: command_type}, traceparent) as record_traceparent:
            yield record_traceparent
