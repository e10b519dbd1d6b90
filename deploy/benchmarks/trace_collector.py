"""Receives the traces of processes over OTLP/HTTP, and keeps their spans."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class TraceCollector(ThreadingHTTPServer):
    """A receiver on a free port, while the block runs; ``spans`` holds each with the name of the sending service."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.spans: list[tuple[str, Span]] = []
        self._thread = threading.Thread(target=self.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a process that sends its traces here, soon after they are made."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def find_spans(self, trace_id: str) -> dict[str, list[Span]]:
        """Return the spans of a trace (32 hexadecimal digits) by service and name, ``service: name``."""
        found: dict[str, list[Span]] = {}
        for service, span in self.spans:
            if span.trace_id.hex() == trace_id:
                found.setdefault(f"{service}: {span.name}", []).append(span)
        return found


class _RequestHandler(BaseHTTPRequestHandler):
    server: TraceCollector

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for sent in request.resource_spans:
            service = next(a.value.string_value for a in sent.resource.attributes if a.key == "service.name")
            self.server.spans += [(service, span) for scope in sent.scope_spans for span in scope.spans]
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to the terminal."""
