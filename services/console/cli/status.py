"""``status``: whether every command is decided and every grade is out, in one glance."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.text import Text

from services.config import ProcessSettings
from services.console.cli.options import FAILURES, in_words
from services.console.cli.runner import (
    AWAY,
    FINDING,
    AsJson,
    Away,
    Connection,
    out,
    print_json,
    reading,
    row,
    run,
    show_facts,
    table,
    time_text,
)
from services.console.group_members import NOBODY, Owners
from services.console.kafka_probe import Broker
from services.console.pipeline_status import Lost, Now, Partition, Publication, count, lasting
from services.console.topic_integrity import Losses
from services.eventlog.dead_letters import Failures
from services.eventlog.feed_history import History
from services.eventlog.feeds import Tail
from services.eventlog.pipeline_queries import Publishing, Watching
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import Progress
from services.kafka.topics import WrongTopics, check
from services.telemetry.consumer_lag import WINDOW, Looks

PUBLICATIONS_MAX = 20
# Kafka's client takes 40 of a broker that hangs: too long for whoever looks at three in the morning.
KAFKA_SECONDS_MAX = 10
BETWEEN_LOOKS_SECONDS = 0.2
BEFORE_ALARM_SECONDS = 2.0


def status(as_json: AsJson = False) -> None:
    """How things stand. Exit code 1 where somebody should look: what is late, stalled or lost, a dead letter open."""
    now = run(_look)
    if as_json:
        print_json(_document(now))
    else:
        _show(out(), now)
    if now.problems:
        raise typer.Exit(AWAY)
    if not now.is_calm:
        raise typer.Exit(FINDING)


async def _look() -> Now:
    """As much as can be seen: Kafka and PostgreSQL are asked one without the other."""
    settings = ProcessSettings()
    async with AsyncExitStack() as stack:
        problem, progress = None, None
        broker = Broker(settings.kafka_bootstrap, settings.topic_prefix)
        owners = Owners(settings.kafka_bootstrap, settings.topic_prefix)
        stack.push_async_callback(broker.stop)
        stack.push_async_callback(owners.stop)
        try:
            async with asyncio.timeout(KAFKA_SECONDS_MAX):
                await check(settings.kafka_bootstrap, settings.topic_prefix)
                await broker.start()
                await owners.start()
                await owners.look()
                progress = await broker.first_progress()
        except WrongTopics as error:
            problem = str(error)
        except (KafkaError, OSError, TimeoutError) as error:
            problem = _without_kafka(error)
        problems = () if problem is None else (problem,)
        try:
            connection = await stack.enter_async_context(reading(settings.url()))
            now = await _seen(connection, broker if problem is None else None, owners, progress, problems)
            losses = Losses(settings.kafka_bootstrap, settings.topic_prefix)
            return now if problem is not None else replace(now, lost=await _lost(connection, broker, losses))
        except Away as error:
            return Now(problems=(str(error),))
        except FAILURES as error:
            return Now(problems=(*problems, in_words(error)))


def _without_kafka(error: Exception) -> str:
    return f"Kafka does not answer: {type(error).__name__}"


async def _seen(
    connection: Connection,
    broker: Broker | None,
    owners: Owners,
    progress: Progress | None,
    problems: tuple[str, ...],
) -> Now:
    watching = Watching(connection)
    heads = await Tail(connection).heads(range(SHARDS))
    letters, oldest = await Failures(connection).count_open()
    partitions: tuple[Partition, ...] = () if broker is None else await _partitions(watching, broker, owners)
    behind = [] if progress is None else await watching.behind(progress)
    publishing = [] if progress is None else await watching.publishing(progress, PUBLICATIONS_MAX)
    return Now(
        at=await watching.now(),
        decided=sum(heads["verdicts"]),
        partitions=partitions,
        outputs=tuple(behind),
        publications=tuple(map(_publication, publishing)),
        open_letters=letters,
        oldest_letter=oldest,
        problems=problems,
    )


async def _lost(connection: Connection, broker: Broker, losses: Losses) -> tuple[Lost, ...]:
    """Topics that do not hold what was put on them, also when they are looked at again."""
    try:
        async with asyncio.timeout(KAFKA_SECONDS_MAX):
            found = await losses.look(broker, History(connection))
            if losses.is_suspect:
                await asyncio.sleep(BEFORE_ALARM_SECONDS)
                found = await losses.look(broker, History(connection))
            return found
    except (KafkaError, TimeoutError) as error:
        raise Away(_without_kafka(error)) from None


async def _partitions(watching: Watching, broker: Broker, owners: Owners) -> tuple[Partition, ...]:
    """Each with its state: of one look where nothing waits, else of a window of them."""
    looks = {number: Looks() for number in broker.partitions}
    while True:
        watermarks = await watching.watermarks(broker.commands, broker.partitions)
        try:
            lag = await broker.lag(watermarks)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Away(_without_kafka(error)) from None
        now = (await watching.now()).timestamp()
        for number, (waiting, _) in lag.items():
            looks[number].add(now, watermarks[number] + 1, watermarks[number] + 1 + waiting)
        if not any(waiting > 0 for waiting, _ in lag.values()) or len(looks[min(lag)].window) == WINDOW:
            break
        await asyncio.sleep(BETWEEN_LOOKS_SECONDS)
    return tuple(
        Partition.seen(
            number,
            watermarks[number],
            waiting,
            0.0 if first is None else max(now - first / 1_000, 0.0),
            looks[number].state(tried=True),
            owners.of(number),
        )
        for number, (waiting, first) in sorted(lag.items())
    )


def _publication(found: Publishing) -> Publication:
    """Without a rate, which one look cannot tell."""
    return Publication(
        found.root_account,
        found.course,
        found.assignment,
        found.command_id,
        found.total - found.waiting,
        found.total,
        None,
        None,
    )


def _document(now: Now) -> dict[str, Any]:
    return {
        "level": now.level,
        "sentence": now.sentence(),
        "problems": list(now.problems),
        "at": None if now.at is None else time_text(now.at),
        "decided": now.decided,
        "partitions": [asdict(partition) for partition in now.partitions],
        "outputs": [
            {
                "topic": output.topic,
                "waiting": output.waiting,
                "since": None if output.since is None else time_text(output.since),
                "ahead": output.ahead,
            }
            for output in now.outputs
        ],
        "lost": [asdict(lost) for lost in now.lost],
        "publications": [asdict(publication) for publication in now.publications],
        "dead_letters": {
            "open": now.open_letters,
            "oldest": None if now.oldest_letter is None else time_text(now.oldest_letter),
        },
    }


def _show(console: Console, now: Now) -> None:
    glyph, style = {"calm": ("✓", "green"), "look": ("!", "yellow"), "alarm": ("✗", "red")}[now.level]
    console.print(Text.assemble((f"{glyph} ", style), (now.sentence(), "bold")), soft_wrap=True)
    for problem in now.problems[1:]:
        console.print(Text(f"  {problem}", style="red"), soft_wrap=True)
    facts = {
        "decided": count(now.decided, "command record"),
        "waiting": _sum([partition.waiting for partition in now.partitions], "command"),
        "not out": _sum([output.waiting for output in now.outputs], "record"),
        "dead letters": f"{now.open_letters} open" + _since(now.oldest_letter),
    }
    if now.at is None:
        return
    if now.differing:
        console.print(f"  with the relays stopped, run {now.rewind}: what is lost is emitted again", soft_wrap=True)
    show_facts(console, facts)
    slow = [p for p in now.partitions if p.waiting or p.is_cut or p.owner == NOBODY]
    if slow:
        made = table("partition", "state", "waiting", "oldest", "owner", right=("partition", "waiting"))
        for partition in slow:
            oldest = lasting(partition.oldest_seconds) if partition.waiting else None
            row(made, partition.number, partition.state, partition.waiting, oldest, partition.owner)
        console.print(made)
    late = [output for output in now.outputs if output.waiting or output.ahead]
    if late:
        made = table("topic", "not out", "since (UTC)", "not in the log", right=("not out", "not in the log"))
        for output in late:
            since = None if output.since is None else time_text(output.since)
            row(made, output.topic, output.waiting, since, output.ahead)
        console.print(made)
    for publication in now.publications:
        out_of = f"{publication.published} of {publication.total} grades"
        console.print(f"publication of assignment {publication.assignment}: {out_of} on the topic", soft_wrap=True)


def _sum(numbers: list[int], thing: str) -> str:
    return count(sum(numbers), thing) if numbers else "unknown"


def _since(oldest: datetime | None) -> str:
    return "" if oldest is None else f", the oldest since {time_text(oldest)}"
