"""The parts of a command's latency, by the traces of handler and relay: where its time passes."""

import secrets
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import asyncpg

from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation
from deploy.benchmarks.open_loop_sender import Headers, OpenLoopSender
from deploy.benchmarks.processes import wait_until
from deploy.benchmarks.results import LOGGER, TIMELINE_SERIES, Measurement, Scale, measurement
from deploy.benchmarks.trace_collector import TraceCollector
from deploy.benchmarks.workload import Json
from services.kafka.topics import full_topic_name

# Spans cost the processes time, so only some commands have a trace.
TRACED_EVERY = 10
# What each part ends with; relayed: the relay begins the Kafka transaction that holds the verdict.
PARTS = ("appended", "fetched", "decided", "committed", "relayed", "readable")
APPEND_TIMES = "select command_id::text, append_time from decided_command where command_id::text = any($1) and first"


@dataclass(slots=True)
class TraceIds:
    """Names a trace for one command in TRACED_EVERY."""

    by_command: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def build_headers(self, command: Json) -> Headers:
        """Return the record headers of a command."""
        self._count += 1
        if self._count % TRACED_EVERY:
            return []
        trace_id = self.by_command[command["command_id"]] = secrets.token_hex(16)
        return [("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01".encode())]


async def measure_timeline(
    installation: BenchInstallation,
    sender: OpenLoopSender,
    arrivals: ArrivalProbe,
    collector: TraceCollector,
    build_commands: Callable[[int], Sequence[Json]],
    per_second: int,
    scale: Scale,
) -> list[Measurement]:
    """Measure the parts at a steady rate; handler and relay send their traces to the collector."""
    rounds: list[list[float]] = []
    for _ in range(scale.choose(3, 1)):
        trace_ids = TraceIds()
        commands = build_commands(per_second * scale.choose(10, 1))
        due_times = await sender.send(commands, per_second, trace_ids.build_headers)
        arrival_times = dict(zip(due_times, await arrivals.wait_for("verdicts", list(due_times)), strict=True))
        ends = await _read_ends(installation, collector, trace_ids.by_command)
        to_wall_clock = time.time() - time.monotonic()
        parts = [
            _differences([due_times[command] + to_wall_clock, *times, arrival_times[command] + to_wall_clock])
            for command, times in ends.items()
        ]
        rounds.append([1_000 * statistics.median(part) for part in zip(*parts, strict=True)])
    LOGGER.info(
        "%s/s, median of each part in ms: %s",
        per_second,
        ", ".join(
            f"{name} {statistics.median(part):.1f}" for name, part in zip(PARTS, zip(*rounds, strict=True), strict=True)
        ),
    )
    return [
        measurement(
            f"{per_second:,}/s, part until {name}, p50", "ms", part, plot_position=number, series=TIMELINE_SERIES
        )
        for number, (name, part) in enumerate(zip(PARTS, zip(*rounds, strict=True), strict=True))
    ]


async def _read_ends(
    installation: BenchInstallation, collector: TraceCollector, trace_ids: dict[str, str]
) -> dict[str, list[float]]:
    """Return when each part but the last ended (seconds since 1970), by command. Raises TimeoutError."""
    connection = await asyncpg.connect(installation.url)
    try:
        rows = await connection.fetch(APPEND_TIMES, list(trace_ids))
        append_times: dict[str, int] = {row[0]: row[1] for row in rows}
    finally:
        await connection.close()
    verdicts = full_topic_name(installation.prefix, "verdicts")
    span_ends: dict[str, dict[str, float]] = {}

    def has_all_spans() -> bool:
        span_ends.update(_read_spans(collector, verdicts))
        return all(len(span_ends.get(trace_id, ())) == len(PARTS) - 2 for trace_id in trace_ids.values())

    await wait_until(has_all_spans, "the spans of all traced commands")
    return {
        command: [append_times[command] / 1_000, *(span_ends[trace_id][name] for name in PARTS[1:-1])]
        for command, trace_id in trace_ids.items()
    }


def _read_spans(collector: TraceCollector, verdicts: str) -> dict[str, dict[str, float]]:
    """Return when commands were fetched, decided, committed and relayed (seconds since 1970), by trace id."""
    ends: dict[str, dict[str, float]] = {}
    for _, span in list(collector.spans):
        start, end = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
        match span.name:
            case "decide command":
                found = {"fetched": start}
            case "append to the log":
                found = {"decided": start, "committed": end}
            case "publish records" if any(each.value.string_value == verdicts for each in span.attributes):
                found = {"relayed": start}
            case _:
                continue
        ends.setdefault(span.trace_id.hex(), {}).update(found)
    return ends


def _differences(times: Sequence[float]) -> list[float]:
    return [end - start for start, end in pairwise(times)]
