"""One command's way, from its producer to the published records, is one trace in a collector."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.cases.adapter import World
from tests.conftest import System
from tests.processes.running import until

TRACE, PRODUCER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PRODUCER}-01"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


class Collector(ThreadingHTTPServer):
    """An OTLP/HTTP receiver; ``spans`` by the name of the service that sent them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.spans: list[tuple[str, Span]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def trace(self, trace: str) -> dict[str, list[Span]]:
        """The spans of a trace by service and name."""
        found: dict[str, list[Span]] = {}
        for service, span in self.spans:
            if span.trace_id.hex() == trace:
                found.setdefault(f"{service}: {span.name}", []).append(span)
        return found


class Receiving(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for sent in request.resource_spans:
            service = next(a.value.string_value for a in sent.resource.attributes if a.key == "service.name")
            self.server.spans += [(service, span) for scope in sent.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


async def test_a_command_is_one_trace_from_producer_to_published_records(system: System, collector: Collector) -> None:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON}
    for process in (system.process("handler", **named), system.process("relay", **named)):
        process.start()
    command, without = (World().command("upsert_course", {"name": "Modern History"}) for _ in range(2))
    outside = system.outside
    await outside.send_raw(json.dumps(command).encode(), b"1", [("traceparent", TRACEPARENT.encode())])
    await outside.send(without)
    for each in (command, without):
        await outside.verdict_of(each["command_id"])
        await outside.caused_by("events", each["command_id"], 1)

    wanted = {
        "moderation-handler: decide command",
        "moderation-handler: append to the log",
        "moderation-relay: publish records",
    }
    await until(lambda: set(collector.trace(TRACE)) == wanted, f"{wanted} of {TRACE}")
    found = collector.trace(TRACE)
    [decided], [appended] = found["moderation-handler: decide command"], found["moderation-handler: append to the log"]
    published = found["moderation-relay: publish records"]
    assert [span.parent_span_id.hex() for span in (decided, *published)] == [PRODUCER] * 3
    assert appended.parent_span_id == decided.span_id
    assert decided.start_time_unix_nano <= appended.start_time_unix_nano < appended.end_time_unix_nano
    assert {attribute(span, "messaging.destination.name") for span in published} == {
        f"{system.prefix}.events",
        f"{system.prefix}.verdicts",
    }
    batches = {span.span_id: span for _, span in collector.spans if span.name.endswith(" batch")}
    assert [batches[link.span_id].name for link in decided.links] == ["decide command batch"]
    assert {batches[link.span_id].name for span in published for link in span.links} == {"publish records batch"}
    for name in ("events", "verdicts"):
        headers = [dict(record.headers) for record in outside.records[name]]
        traced = {h["ce_causationid"].decode(): h.get("traceparent") for h in headers}
        assert traced == {command["command_id"]: TRACEPARENT.encode(), without["command_id"]: None}
    assert {span.trace_id.hex() for _, span in collector.spans if span.span_id not in batches} == {TRACE}


def attribute(span: Span, name: str) -> str:
    return {each.key: str(each.value.string_value) for each in span.attributes}[name]
