"""Latency from command to verdict and live event.

Open loop: each command is sent when it is due, regardless of earlier ones, and its time runs from then. A stall
therefore counts for every command that it delays.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses, decide
from deploy.benchmarks.latency_floor import run_latency_floor
from deploy.benchmarks.open_loop_sender import OpenLoopSender
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import LOGGER, Measurement, Scale, Target, measurement, percentile, ratio
from deploy.benchmarks.timeline import measure_timeline
from deploy.benchmarks.trace_collector import TraceCollector
from deploy.benchmarks.workload import (
    FIRST_STUDENT,
    Course,
    Json,
    build_command,
    build_record,
    mixed_command,
    publish_command,
)
from schemas.topics import OUTPUT_TOPICS
from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.installation import read_installation
from services.eventlog.postgres import READER, connect
from services.kafka.client_options import client_options
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.progress_topic import write_progress
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import full_topic_name

PERCENTILES = (0.5, 0.99)
# The rate that is also measured in parts, and beside the floor.
FLOOR_RATE = 500
FLOOR = "floor"
FLOOR_TARGETS = {0.5: Target(2, at_most=True), 0.99: Target(3, at_most=True)}
# One command in four posts or hides a published grade, which makes a live event.
LIVE_EVENT_EVERY = 4


@contextlib.asynccontextmanager
async def run_handler_and_relay(
    bench_servers: BenchServers, url: str, **settings: str
) -> AsyncIterator[BenchInstallation]:
    """Run a handler and a relay on new topics; the relay starts at the end of the log."""
    installation = await bench_servers.new_installation(url)
    await mark_all_relayed(installation)
    handler_settings, relay_settings = (
        {**installation.environment_of(process), **settings} for process in ("handler", "relay")
    )
    with (
        RunningProcess("services.handler", handler_settings) as handler,
        RunningProcess("services.relay", relay_settings) as relay,
    ):
        await handler.wait_until_ready()
        await relay.wait_until_ready()
        yield installation


async def mark_all_relayed(installation: BenchInstallation) -> RelayProgress:
    """Mark all rows of the log as relayed, and return that progress."""
    connection = await connect(installation.url, "bench", READER)
    try:
        heads = await FeedReader(connection).heads(ALL_SHARDS)
        installation_id = str((await read_installation(connection)).id)
    finally:
        await connection.close()
    sequences = {output: tuple(heads[FEED_BY_TOPIC[output]]) for output in OUTPUT_TOPICS}
    progress = RelayProgress(sequences, installation=installation_id)
    await _empty_output_topics(installation)
    await write_progress(installation.bootstrap, full_topic_name(installation.prefix, "progress"), progress)
    return progress


async def _empty_output_topics(installation: BenchInstallation) -> None:
    """Leave the output topics as retention would: a relay refuses topics that never had the records of its progress."""
    partitions = [
        TopicPartition(full_topic_name(installation.prefix, output), shard)
        for output in OUTPUT_TOPICS
        for shard in ALL_SHARDS
    ]
    producer = AIOKafkaProducer(**client_options(installation.bootstrap), enable_idempotence=True)
    admin = AIOKafkaAdminClient(**client_options(installation.bootstrap))
    try:
        await producer.start()
        for partition in partitions:
            await producer.send(partition.topic, b"", partition=partition.partition)
        await producer.flush()
        await admin.start()
        await admin.delete_records({partition: RecordsToDelete(before_offset=-1) for partition in partitions})
    finally:
        await admin.close()
        await producer.stop()


async def latency(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure command to verdict and to live event, at 10 to 2,000 commands per second, and the parts of that time.

    At FLOOR_RATE, rounds alternate with those of a pipeline that decides nothing.
    """
    url = bench_servers.new_database()
    courses = await create_graded_courses(
        url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10), assignments_per_course=2
    )
    await decide(
        url, [build_record(publish_command(course.course_id, _published_assignment(course))) for course in courses]
    )
    numbers, warm_up_commands = itertools.count(), [_command(courses, -1 - n) for n in range(200)]

    def build_commands(count: int) -> list[Json]:
        return [_command(courses, number) for number in islice(numbers, count)]

    measurements: list[Measurement] = []
    async with (
        run_handler_and_relay(bench_servers, url) as installation,
        run_latency_floor(bench_servers, warm_up_commands) as floor,
    ):
        sender = OpenLoopSender(installation)
        with ArrivalProbe(installation, ("verdicts", "live-events")) as arrivals:
            await _send_and_measure(sender, arrivals, warm_up_commands, 200)
            for per_second in (10, 100, FLOOR_RATE, 2_000) if not scale.short else (FLOOR_RATE,):
                waits_by_case: dict[str, list[list[float]]] = {"verdicts": [], "live-events": [], FLOOR: []}
                for number in range(scale.choose(3, 1)):
                    LOGGER.info("%s/s, round %d", per_second, number + 1)
                    commands = build_commands(max(per_second * scale.choose(10, 1), scale.choose(200, 1)))
                    for name, waits in (await _send_and_measure(sender, arrivals, commands, per_second)).items():
                        waits_by_case[name].append(waits)
                    if per_second == FLOOR_RATE:
                        waits_by_case[FLOOR].append(await floor.measure(commands, per_second))
                measurements += _measurements(per_second, waits_by_case)
    with TraceCollector() as collector:
        async with run_handler_and_relay(bench_servers, url, **collector.settings) as installation:
            sender = OpenLoopSender(installation)
            with ArrivalProbe(installation, ("verdicts", "live-events")) as arrivals:
                await _send_and_measure(sender, arrivals, build_commands(200), 200)
                measurements += await measure_timeline(
                    installation, sender, arrivals, collector, build_commands, FLOOR_RATE, scale
                )
    return measurements


def _measurements(per_second: int, waits_by_case: dict[str, list[list[float]]]) -> list[Measurement]:
    def values(case: str, share: float) -> list[float]:
        return [percentile(waits, share) * 1_000 for waits in waits_by_case[case]]

    def title(case: str, share: float) -> str:
        name = case if case == FLOOR else f"command to {case.rstrip('s').replace('-', ' ')}"
        return f"{per_second:,}/s: {name}, p{share * 100:.0f}"

    return [
        *(
            measurement(
                title(case, share),
                "ms",
                values(case, share),
                # A line on the plot of the parts.
                plot_position=0 if case == FLOOR and share == PERCENTILES[0] else None,
                series=case,
            )
            for case, rounds in waits_by_case.items()
            for share in PERCENTILES
            if rounds
        ),
        *(
            ratio(
                title("verdicts", share),
                "× floor",
                values("verdicts", share),
                values(FLOOR, share),
                FLOOR_TARGETS[share],
            )
            for share in PERCENTILES
            if waits_by_case[FLOOR]
        ),
    ]


async def _send_and_measure(
    sender: OpenLoopSender, arrivals: ArrivalProbe, commands: Sequence[Json], per_second: float
) -> dict[str, list[float]]:
    due_times = await sender.send(commands, per_second)
    live_event_ids = [
        command["command_id"] for command in commands if command["type"] in ("post_grades", "hide_grades")
    ]
    return {
        name: [
            arrived_at - due_times[command_id]
            for command_id, arrived_at in zip(ids, await arrivals.wait_for(name, ids), strict=True)
        ]
        for name, ids in (("verdicts", list(due_times)), ("live-events", live_event_ids))
    }


def _published_assignment(course: Course) -> int:
    """Return the second assignment of a course, whose grades are published."""
    return course.course_id * 100 + 1


def _command(courses: Sequence[Course], number: int) -> Json:
    """Build a mixed command; every fourth posts or hides a grade, of each student in turn."""
    turn, remainder = divmod(number, LIVE_EVENT_EVERY)
    if remainder or number < 0:
        first_assignment_courses = [
            Course(c.course_id, c.students, dict(list(c.stream_numbers.items())[:1])) for c in courses
        ]
        return mixed_command(first_assignment_courses, abs(number))
    round_, course_index = divmod(turn, len(courses))
    course = courses[course_index]
    times, student = divmod(round_, course.students)
    kind = "hide_grades" if times % 2 else "post_grades"
    data = {"student_ids": [FIRST_STUDENT + student]}
    return build_command(course.course_id, kind, data, _published_assignment(course))
