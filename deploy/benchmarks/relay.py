"""How fast the relay brings a log to the topics, beside the handler that filled it; how soon a commit is visible."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks import throughput_probe
from deploy.benchmarks.backlog import Waiting, waiting
from deploy.benchmarks.end_to_end_latency_probe import Arrivals
from deploy.benchmarks.environment import Installation, Site
from deploy.benchmarks.in_process import Offsets, courses_in_every_shard, set_up
from deploy.benchmarks.latency import PERCENTILES, relayed
from deploy.benchmarks.processes import Running, processor_seconds
from deploy.benchmarks.results import Figure, Scale, Target, alternating, figure, percentile, ratio
from deploy.benchmarks.workload import Course, mixed, mixed_records, record
from services.commands.processor import Deciding
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import Log
from services.kafka.relay_progress import Progress
from services.kafka.topics import topic

SECONDS_MAX = 120
COMMITS_PER_SECOND, EVENTS_A_COMMIT = 50, 10


async def relay(site: Site, scale: Scale) -> list[Figure]:
    """Commands a second that a relay brings to the topics, verdicts and events; and from commit to visible."""
    url = site.database()
    courses = await set_up(url, courses_in_every_shard(scale.of(2, 1)), scale.of(50, 10))
    commands = await waiting(site, url, mixed_records(courses, scale.of(60_000, 6_000)))
    seen = await alternating({"": partial(_filled_and_relayed, site, commands)}, scale.of(5, 1))
    waits = [await _visible(site, url, courses, scale.of(10, 1)) for _ in range(scale.of(3, 1))]
    return [
        figure("relay: commands, each a verdict and its events", "/s", seen.of("", "relay")),
        figure("relay: records", "/s", seen.of("", "records")),
        figure("relay: processor time of a command", "µs", seen.of("", "relay_us")),
        figure("handler, alone, on the same commands", "/s", seen.of("", "handler")),
        ratio("relay, of the handler", "%", seen.of("", "relay"), seen.of("", "handler"), Target(100)),
        *(
            figure(
                f"{COMMITS_PER_SECOND * EVENTS_A_COMMIT} events/s: commit to visible, p{share * 100:.0f}",
                "ms",
                [percentile(each, share) * 1_000 for each in waits],
                Target(150, at_most=True) if share == PERCENTILES[-1] else None,
            )
            for share in PERCENTILES
        ),
    ]


async def _filled_and_relayed(site: Site, commands: Waiting) -> dict[str, float]:
    """A handler decides what waits, then a relay that was not there brings it to topics of its own."""
    url = site.database(commands.installation.url)
    target = await site.installation(url)
    before = await relayed(target)
    settings = {**commands.installation.environment, "DATABASE_URL": url}
    with Running("services.handler", settings) as handler:
        handled = await throughput_probe.rate(url, [handler], commands.before, commands.commands)
    with Running("services.relay", target.environment) as process:
        measured = await asyncio.to_thread(_progress, target, process.pid, before, commands.commands)
    site.drop(url)
    return {"handler": handled.per_second, **measured}


def _progress(target: Installation, pid: int, before: Progress, wanted: int) -> dict[str, float]:
    """From the first transaction to the last, by the progress that each commits."""
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic(target.prefix, "progress"), 0, 0)])
    first: tuple[float, float, int, int] | None = None
    deadline = time.monotonic() + SECONDS_MAX
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None or message.error():
                continue
            now, used, progress = time.monotonic(), processor_seconds(pid), Progress.decode(message.value() or b"")
            commands = sum(progress.sequences["verdicts"]) - sum(before.sequences["verdicts"])
            records = sum(map(sum, progress.sequences.values())) - sum(map(sum, before.sequences.values()))
            if first is None and commands:
                first = now, used, commands, records
            if first is not None and commands >= wanted:
                seconds, share = now - first[0], commands - first[2]
                return {
                    "relay": share / seconds,
                    "records": (records - first[3]) / seconds,
                    "relay_us": (used - first[1]) / share * 1e6,
                }
    finally:
        consumer.close()
    raise TimeoutError(f"the relay did not emit {wanted} commands in {SECONDS_MAX} s: see .state/bench.log")


async def _visible(site: Site, template: str, courses: Sequence[Course], seconds: int) -> list[float]:
    """From each commit to when its events can be read, at a steady pace; no handler runs."""
    url = site.database(template)
    target = await site.installation(url)
    await relayed(target)
    with Running("services.relay", target.environment) as process:
        await process.ready()
        with Arrivals(target, ["events"]) as arrivals:
            await arrivals.of("events", list(await _commit(url, courses, COMMITS_PER_SECOND, "the first second")))
            committed = await _commit(url, courses, seconds * COMMITS_PER_SECOND, "the others")
            seen = await arrivals.of("events", list(committed))
    site.drop(url)
    return [at - committed[command] for command, at in zip(committed, seen, strict=True)]


async def _commit(url: str, courses: Sequence[Course], commits: int, source: str) -> dict[str, float]:
    """Decide a few commands at each beat; when each was committed, by its id."""
    connection = await connect(url, "bench", WRITER)
    try:
        log = Log(connection)
        deciding, offsets = Deciding(log, await log.current_source(source)), Offsets()
        made = iter(range(commits * EVENTS_A_COMMIT * 2))
        committed: dict[str, float] = {}
        begun = time.monotonic()
        for beat in range(commits):
            await asyncio.sleep(max(0.0, begun + beat / COMMITS_PER_SECOND - time.monotonic()))
            commands: list[dict[str, object]] = []
            while len(commands) < EVENTS_A_COMMIT:
                each = mixed(courses, next(made))
                # A refusal makes no event.
                if each["actor"]["user_id"] in ("1", "2", "3"):
                    commands.append(each)
            await deciding.settle([offsets.consumed(record(each)) for each in commands])
            now = time.monotonic()
            committed |= {str(each["command_id"]): now for each in commands}
    finally:
        await connection.close()
    return committed
