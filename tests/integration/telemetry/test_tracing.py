"""A command is one trace in a collector, from its producer to the published records."""

import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deploy.benchmarks.trace_collector import TraceCollector
from deploy.local.paths import ROOT
from tests.fixtures.canvas.adapter import World
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System, create_system, seed_course
from tests.fixtures.token_issuer import TokenIssuer

PRODUCER_SPAN = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector() -> Iterator[TraceCollector]:
    with TraceCollector() as trace_collector:
        yield trace_collector


@pytest.fixture(scope="module")
async def traced_system(
    bootstrap: str,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
    issuer: TokenIssuer,
    collector: TraceCollector,
) -> AsyncIterator[System]:
    """A system whose processes send traces to the collector; the last one is a gateway."""
    async for new_system in create_system(bootstrap, new_database(), tmp_path_factory.mktemp("traced")):
        for process in (
            new_system.create_process("handler", **collector.settings),
            new_system.create_process("relay", **collector.settings),
            new_system.create_gateway(issuer, **collector.settings),
        ):
            process.start()
        for process in new_system.processes:
            await process.wait_until_ready()
        yield new_system


async def test_kafka_command_is_one_trace_from_producer_to_published_records(
    traced_system: System, collector: TraceCollector
) -> None:
    trace = secrets.token_hex(16)
    traceparent = f"00-{trace}-{PRODUCER_SPAN}-01"
    command, without = (World().command("upsert_course", {"name": "Modern History"}) for _ in range(2))
    outside, before = traced_system.client, len(collector.spans)
    await outside.send_raw(json.dumps(command).encode(), b"1", [("traceparent", traceparent.encode())])
    await outside.send(without)
    for each in (command, without):
        await outside.wait_for_verdict(each["command_id"])
        await outside.wait_for_outputs("events", each["command_id"], 1)

    wanted = {
        "moderation-handler: decide command",
        "moderation-handler: append to the log",
        "moderation-relay: publish records",
    }
    # One per topic. Spans of a process may arrive in several batches, links before their targets.
    await wait_until(lambda: set(collector.find_spans(trace)) == wanted, f"{wanted} of {trace}")
    await wait_until(
        lambda: len(collector.find_spans(trace)["moderation-relay: publish records"]) == 2, "both topics' spans"
    )
    spans = collector.find_spans(trace)
    linked = {link.span_id for name in spans for span in spans[name] for link in span.links}
    await wait_until(lambda: linked <= {span.span_id for _, span in collector.spans}, "the batches' spans")
    found = collector.find_spans(trace)
    [decided], [appended] = found["moderation-handler: decide command"], found["moderation-handler: append to the log"]
    published = found["moderation-relay: publish records"]
    assert [span.parent_span_id.hex() for span in (decided, *published)] == [PRODUCER_SPAN] * 3
    assert appended.parent_span_id == decided.span_id
    assert decided.start_time_unix_nano <= appended.start_time_unix_nano < appended.end_time_unix_nano
    assert {get_attribute(span, "messaging.destination.name") for span in published} == {
        f"{traced_system.prefix}.events",
        f"{traced_system.prefix}.verdicts",
    }
    batches = {span.span_id: span for _, span in collector.spans if span.name.endswith(" batch")}
    assert [batches[link.span_id].name for link in decided.links] == ["decide command batch"]
    assert {batches[link.span_id].name for span in published for link in span.links} == {"publish records batch"}
    for name in ("events", "verdicts"):
        headers = [dict(record.headers) for record in outside.records[name]]
        carried = {h["ce_causationid"].decode(): h.get("traceparent") for h in headers}
        assert carried[command["command_id"]] == traceparent.encode()
        assert carried[without["command_id"]] is None
    assert {span.trace_id.hex() for _, span in collector.spans[before:] if span.span_id not in batches} == {trace}


async def test_http_command_is_one_trace_from_client_to_published_records(
    traced_system: System, collector: TraceCollector, issuer: TokenIssuer
) -> None:
    await seed_course(traced_system)
    trace, gateway = secrets.token_hex(16), traced_system.processes[-1]
    traceparent = f"00-{trace}-{PRODUCER_SPAN}-01"
    seen = len(traced_system.client.records["verdicts"])
    client = GatewayClient(gateway.url, issuer)
    path = "/api/v1/courses/1001/assignments/2001/moderated_students?student_ids[]=31"
    assert (await client.request("POST", path, 11, {"traceparent": traceparent})).status_code == 200
    assert (await client.request("POST", path, 11)).status_code == 200
    await client.http.aclose()

    wanted = {"gateway: command over HTTP", "handler: decide command", "relay: publish records"}
    await wait_until(
        lambda: {f"moderation-{each}" for each in wanted} <= set(collector.find_spans(trace)), f"{wanted} of {trace}"
    )
    found = collector.find_spans(trace)
    [asked] = found["moderation-gateway: command over HTTP"]
    below = [*found["moderation-handler: decide command"], *found["moderation-relay: publish records"]]
    assert asked.parent_span_id.hex() == PRODUCER_SPAN
    assert {span.parent_span_id for span in below} == {asked.span_id}
    await wait_until(lambda: len(traced_system.client.records["verdicts"]) >= seen + 2, "a verdict each")
    verdicts = traced_system.client.records["verdicts"][seen:]
    carried = {dict(record.headers)["traceparent"].decode() for record in verdicts}
    assert f"00-{trace}-{asked.span_id.hex()}-01" in carried
    assert len({traceparent.split("-")[1] for traceparent in carried}) == 2, "who names no trace begins one"


def test_processes_do_not_load_the_otel_sdk_without_a_collector() -> None:
    modules = "services.handler.__main__, services.relay.__main__, services.gateway.__main__"
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def get_attribute(span: Span, name: str) -> str:
    return {each.key: str(each.value.string_value) for each in span.attributes}[name]
