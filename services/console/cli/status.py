"""``status``: whether every command is decided and every grade is out, in one glance."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from services.config import ProcessSettings
from services.console.cli.runner import (
    Connection,
    JsonOption,
    add_row,
    build_table,
    format_time,
    open_connection,
    print_fields,
    print_json,
    stdout_console,
)
from services.console.group_members import UNASSIGNED, GroupMembers
from services.console.kafka_probe import KafkaProbe
from services.console.pipeline_status import (
    PartitionStatus,
    PipelineStatus,
    PublicationStatus,
    TopicProblem,
    format_duration,
    pluralize,
)
from services.console.topic_integrity import TopicIntegrityCheck
from services.eventlog.dead_letters import DeadLetterReader
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FeedReader
from services.eventlog.pipeline_queries import PipelineQueries, PublicationProgress
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import TopicConfigError, verify_topics
from services.runtime.command_line import EXIT_FINDING, EXIT_SERVER_UNAVAILABLE, ServerUnavailable, run_command
from services.runtime.errors import INFRASTRUCTURE_ERRORS, KAFKA_CLIENT_ERRORS, KAFKA_ERRORS, describe_error
from services.telemetry.consumer_lag import WINDOW_SAMPLES, LagWindow

PUBLICATIONS_MAX = 20
# Kafka's client takes 40 of a broker that hangs: too long for whoever looks at three in the morning.
KAFKA_TIMEOUT_SECONDS = 10
LAG_SAMPLE_SECONDS = 0.2
CONFIRMATION_DELAY_SECONDS = 2.0


def status(as_json: JsonOption = False) -> None:
    """How things stand. Exit code 1 where somebody should look: what is late, stalled or lost, a dead letter open."""
    pipeline_status = run_command(_read_status)
    if as_json:
        print_json(_status_json(pipeline_status))
    else:
        _print_status(stdout_console(), pipeline_status)
    if pipeline_status.problems:
        raise typer.Exit(EXIT_SERVER_UNAVAILABLE)
    if not pipeline_status.is_ok:
        raise typer.Exit(EXIT_FINDING)


async def _read_status() -> PipelineStatus:
    """As much as can be seen: Kafka and PostgreSQL are asked one without the other."""
    settings = ProcessSettings()
    async with AsyncExitStack() as stack:
        problem, progress = None, None
        probe = KafkaProbe(settings.kafka_bootstrap, settings.topic_prefix)
        group_members = GroupMembers(settings.kafka_bootstrap, settings.topic_prefix)
        stack.push_async_callback(probe.stop)
        stack.push_async_callback(group_members.stop)
        try:
            async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
                await verify_topics(settings.kafka_bootstrap, settings.topic_prefix)
                await probe.start()
                await group_members.start()
                await group_members.refresh()
                progress = await probe.read_latest_progress()
        except TopicConfigError as error:
            problem = str(error)
        except KAFKA_ERRORS as error:
            problem = describe_error(error, "kafka")
        problems = () if problem is None else (problem,)
        try:
            connection = await stack.enter_async_context(open_connection(settings.url()))
            pipeline_status = await _collect(
                connection, probe if problem is None else None, group_members, progress, problems
            )
            integrity_check = TopicIntegrityCheck(settings.kafka_bootstrap, settings.topic_prefix)
            return (
                pipeline_status
                if problem is not None
                else replace(pipeline_status, topic_problems=await _check_topics(connection, probe, integrity_check))
            )
        except ServerUnavailable as error:
            return PipelineStatus(problems=(str(error),))
        except INFRASTRUCTURE_ERRORS as error:
            return PipelineStatus(problems=(*problems, describe_error(error)))


async def _collect(
    connection: Connection,
    probe: KafkaProbe | None,
    group_members: GroupMembers,
    progress: RelayProgress | None,
    problems: tuple[str, ...],
) -> PipelineStatus:
    queries = PipelineQueries(connection)
    heads = await FeedReader(connection).heads(ALL_SHARDS)
    open_dead_letters, oldest_dead_letter = await DeadLetterReader(connection).count_open()
    partitions: tuple[PartitionStatus, ...] = (
        () if probe is None else await _read_partitions(queries, probe, group_members)
    )
    topic_lags = [] if progress is None else await queries.topic_lags(progress)
    publishing = [] if progress is None else await queries.unfinished_publications(progress, PUBLICATIONS_MAX)
    return PipelineStatus(
        at=await queries.database_time(),
        decided=sum(heads["verdicts"]),
        partitions=partitions,
        outputs=tuple(topic_lags),
        publications=tuple(map(_publication_status, publishing)),
        open_dead_letters=open_dead_letters,
        oldest_dead_letter=oldest_dead_letter,
        problems=problems,
    )


async def _check_topics(
    connection: Connection, probe: KafkaProbe, integrity_check: TopicIntegrityCheck
) -> tuple[TopicProblem, ...]:
    """Topics that do not hold what was put on them, also when they are looked at again."""
    try:
        async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
            topic_problems = await integrity_check.check(probe, FeedHistory(connection))
            if integrity_check.needs_confirmation:
                await asyncio.sleep(CONFIRMATION_DELAY_SECONDS)
                topic_problems = await integrity_check.check(probe, FeedHistory(connection))
            return topic_problems
    except (*KAFKA_CLIENT_ERRORS, TimeoutError) as error:
        raise ServerUnavailable(describe_error(error, "kafka")) from None


async def _read_partitions(
    queries: PipelineQueries, probe: KafkaProbe, group_members: GroupMembers
) -> tuple[PartitionStatus, ...]:
    """Each with its state: of one look where nothing waits, else of a window of them."""
    lag_windows = {partition: LagWindow() for partition in probe.partitions}
    while True:
        watermarks = await queries.watermarks(probe.commands_topic, probe.partitions)
        try:
            lag = await probe.read_lag(watermarks)
        except KAFKA_ERRORS as error:
            raise ServerUnavailable(describe_error(error, "kafka")) from None
        now_seconds = (await queries.database_time()).timestamp()
        for partition, (waiting, _) in lag.items():
            lag_windows[partition].add(now_seconds, watermarks[partition] + 1, watermarks[partition] + 1 + waiting)
        if not any(waiting > 0 for waiting, _ in lag.values()) or len(lag_windows[min(lag)].samples) == WINDOW_SAMPLES:
            break
        await asyncio.sleep(LAG_SAMPLE_SECONDS)
    return tuple(
        PartitionStatus.from_lag(
            partition,
            watermarks[partition],
            waiting,
            0.0 if first is None else max(now_seconds - first / 1_000, 0.0),
            lag_windows[partition].state(attempted=True),
            group_members.get_owner(partition),
        )
        for partition, (waiting, first) in sorted(lag.items())
    )


def _publication_status(progress: PublicationProgress) -> PublicationStatus:
    """Without a rate, which one look cannot tell."""
    return PublicationStatus(
        progress.root_account,
        progress.course,
        progress.assignment,
        progress.command_id,
        progress.total - progress.waiting,
        progress.total,
        None,
        None,
    )


def _status_json(pipeline_status: PipelineStatus) -> dict[str, Any]:
    return {
        "level": pipeline_status.level,
        "sentence": pipeline_status.summary(),
        "problems": list(pipeline_status.problems),
        "at": None if pipeline_status.at is None else format_time(pipeline_status.at),
        "decided": pipeline_status.decided,
        "partitions": [asdict(partition) for partition in pipeline_status.partitions],
        "outputs": [
            {
                "topic": output.topic,
                "waiting": output.waiting,
                "since": None if output.since is None else format_time(output.since),
                "ahead": output.ahead,
            }
            for output in pipeline_status.outputs
        ],
        "lost": [asdict(lost) for lost in pipeline_status.topic_problems],
        "publications": [asdict(publication) for publication in pipeline_status.publications],
        "dead_letters": {
            "open": pipeline_status.open_dead_letters,
            "oldest": None
            if pipeline_status.oldest_dead_letter is None
            else format_time(pipeline_status.oldest_dead_letter),
        },
    }


def _print_status(console: Console, pipeline_status: PipelineStatus) -> None:
    glyph, style = {"calm": ("✓", "green"), "look": ("!", "yellow"), "alarm": ("✗", "red")}[pipeline_status.level]
    console.print(Text.assemble((f"{glyph} ", style), (pipeline_status.summary(), "bold")), soft_wrap=True)
    for problem in pipeline_status.problems[1:]:
        console.print(Text(f"  {problem}", style="red"), soft_wrap=True)
    fields = {
        "decided": pluralize(pipeline_status.decided, "command record"),
        "waiting": _format_total([partition.waiting for partition in pipeline_status.partitions], "command"),
        "not out": _format_total([output.waiting for output in pipeline_status.outputs], "record"),
        "dead letters": f"{pipeline_status.open_dead_letters} open" + _format_since(pipeline_status.oldest_dead_letter),
    }
    if pipeline_status.at is None:
        return
    if pipeline_status.damaged_topics:
        console.print(
            f"  with the relays stopped, run {pipeline_status.rewind_command}: what is lost is emitted again",
            soft_wrap=True,
        )
    print_fields(console, fields)
    shown_partitions = [p for p in pipeline_status.partitions if p.waiting or p.is_cut or p.owner == UNASSIGNED]
    if shown_partitions:
        lag_table = build_table("partition", "state", "waiting", "oldest", "owner", right=("partition", "waiting"))
        for partition in shown_partitions:
            oldest = format_duration(partition.oldest_seconds) if partition.waiting else None
            add_row(lag_table, partition.number, partition.state, partition.waiting, oldest, partition.owner)
        console.print(lag_table)
    lagging_outputs = [output for output in pipeline_status.outputs if output.waiting or output.ahead]
    if lagging_outputs:
        lag_table = build_table(
            "topic", "not out", "since (UTC)", "not in the log", right=("not out", "not in the log")
        )
        for output in lagging_outputs:
            since = None if output.since is None else format_time(output.since)
            add_row(lag_table, output.topic, output.waiting, since, output.ahead)
        console.print(lag_table)
    for publication in pipeline_status.publications:
        published_text = f"{publication.published} of {publication.total} grades"
        console.print(
            f"publication of assignment {publication.assignment}: {published_text} on the topic", soft_wrap=True
        )


def _format_total(numbers: list[int], noun: str) -> str:
    return pluralize(sum(numbers), noun) if numbers else "unknown"


def _format_since(oldest: datetime | None) -> str:
    return "" if oldest is None else f", the oldest since {format_time(oldest)}"
