"""Which consumer groups read the output topics, and how far they are behind."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, for_code

from services.console.committed_offsets import fetch_committed_offsets
from services.console.group_lag import GroupLag, PartitionBounds, build_lag
from services.console.group_members import decode_assignment
from services.console.kafka_probe import read_bounds
from services.kafka.client_compat import fetch_partitions
from services.kafka.client_options import client_options
from services.kafka.timeouts import kafka_timeout
from services.runtime.errors import KAFKA_ERRORS, describe_error

READ_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 1.0
PAGE_SECONDS_MAX = 1.0
"""A page shows the last report if reading takes longer, as it does while Kafka is away."""
REUSE_SECONDS = 5.0
# Each group takes two requests; the groups of a large cluster are mostly those of other services.
GROUPS_MAX = 200
CONCURRENT_GROUPS_MAX = 20
DENIED_NAMED_MAX = 5
_NOT_DESCRIBED_STATE = "Dead"
"""For a listed group: one of Kafka's new protocol, which this version of the request cannot describe."""


class Group(NamedTuple):
    """A group's offsets, and the topics that its members are assigned. ``state``, ``members``: see GroupLag."""

    name: str
    offsets: Mapping[TopicPartition, int]
    assigned_topics: set[str]
    state: str | None
    members: int | None


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """Groups by name and topic. ``problems``: what is not known; ``hint``: how to see hidden groups, "" if none is.

    ``is_answer``: Kafka answered to this request, or within the last seconds.
    """

    lags: tuple[GroupLag, ...] = ()
    problems: tuple[str, ...] = ()
    hint: str = ""
    is_answer: bool = True


class ReaderGroups:
    """Reads the groups on request; requests within five seconds share one report."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._reading: asyncio.Task[None] | None = None
        self._report = ReaderReport()
        self._read_at: datetime | None = None
        self._reuse_until = 0.0

    async def read(self, wait_seconds: float = PAGE_SECONDS_MAX) -> ReaderReport:
        """Return the report, which names what could not be read; the last one if reading takes longer."""
        if self._reading is None and time.monotonic() >= self._reuse_until:
            self._reading = asyncio.create_task(self._refresh())
        if self._reading is not None:
            done, _ = await asyncio.wait([self._reading], timeout=wait_seconds)
            for task in done:
                task.result()
        if self._reading is None:
            return self._report
        older = "" if self._read_at is None else f". The groups below are those of {self._read_at:%H:%M:%S} UTC"
        problem = f"Kafka has not answered yet: reload this page in a few seconds{older}"
        return replace(self._report, problems=(problem, *self._report.problems), is_answer=False)

    async def _refresh(self) -> None:
        try:
            self._report = await read_groups(self._bootstrap, self._topics)
            self._read_at = datetime.now(UTC)
        except KAFKA_ERRORS as error:
            self._report = ReaderReport(problems=(describe_error(error, "kafka"),), is_answer=False)
            self._read_at = None
        finally:
            self._reuse_until = time.monotonic() + REUSE_SECONDS
            self._reading = None


async def read_groups(
    bootstrap: str, topics: Sequence[str], groups_max: int = GROUPS_MAX, seconds_max: float = READ_SECONDS_MAX
) -> ReaderReport:
    """Read the groups that have members or offsets on the topics (full names). Raises KafkaError and OSError."""
    client_settings = client_options(bootstrap)
    admin = AIOKafkaAdminClient(**client_settings)
    # Readers cannot read beyond the end that it sees, because an open transaction hides what follows.
    committed = AIOKafkaConsumer(**client_settings, enable_auto_commit=False, isolation_level="read_committed")
    everything = AIOKafkaConsumer(**client_settings, enable_auto_commit=False, isolation_level="read_uncommitted")
    try:
        async with kafka_timeout(seconds_max, "reading the consumer groups"):
            # One after the other: none of them is still connecting when another one fails and all are closed.
            await admin.start()
            await committed.start()
            await everything.start()
            partitions_by_topic = await fetch_partitions(committed)
            places = [
                TopicPartition(topic, number) for topic in topics for number in partitions_by_topic.get(topic, ())
            ]
            coordinators = await _list_groups(admin)
            chosen = sorted(coordinators)[:groups_max]
            groups, errors = await examine_groups(
                chosen, lambda name: _read_group(admin, name, coordinators[name], places)
            )
            # After the offsets: otherwise a group that commits meanwhile would be beyond the end.
            readable, complete = await read_bounds(committed, topics), await read_bounds(everything, topics)
    finally:
        closing: tuple[Callable[[], Awaitable[None]], ...] = (admin.close, committed.stop, everything.stop)
        for close in closing:
            with contextlib.suppress(*KAFKA_ERRORS):
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await close()
    bounds = {
        place: PartitionBounds(beginning, readable_end, complete[place][1])
        for place, (beginning, readable_end) in readable.items()
        if place in complete
    }
    lags = tuple(lag for group in groups for lag in _build_lags(group, bounds))
    user = client_settings.get("sasl_plain_username")
    return ReaderReport(
        lags,
        tuple(describe_gaps(errors, len(coordinators), len(chosen))),
        describe_denied(errors, len(coordinators), user),
    )


async def examine_groups(
    names: Sequence[str], read_group: Callable[[str], Awaitable[Group]]
) -> tuple[list[Group], dict[str, Exception]]:
    """Read some groups at a time. Return those that could be read, and the error of each other one."""
    limit = asyncio.Semaphore(CONCURRENT_GROUPS_MAX)

    async def read_one(name: str) -> Group | Exception:
        async with limit:
            try:
                return await read_group(name)
            except KAFKA_ERRORS as error:
                return error

    results = dict(zip(names, await asyncio.gather(*map(read_one, names)), strict=True))
    groups = [result for result in results.values() if isinstance(result, Group)]
    return groups, {name: result for name, result in results.items() if isinstance(result, Exception)}


async def _list_groups(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Return the groups that this user may see, and the broker that coordinates each."""
    cluster: Any = await admin.describe_cluster()
    coordinators = {}
    for broker in cluster["brokers"]:
        for name, *_ in await admin.list_consumer_groups([broker["node_id"]]):
            coordinators[name] = broker["node_id"]
    return coordinators


async def _read_group(
    admin: AIOKafkaAdminClient, name: str, coordinator: int, places: Sequence[TopicPartition]
) -> Group:
    # aiokafka misreads a response about several groups.
    described: Any
    (described,) = await admin.describe_consumer_groups([name], coordinator)
    error, _, state, _, _, members, *_ = described.groups[0]
    if error:
        raise for_code(error)
    is_described = state != _NOT_DESCRIBED_STATE
    return Group(
        name,
        await fetch_committed_offsets(admin, name, coordinator, places),
        _find_assigned_topics({place.topic for place in places}, members),
        state if is_described else None,
        len(members) if is_described else None,
    )


def _find_assigned_topics(topics: set[str], members: Iterable[Any]) -> set[str]:
    found = set()
    for *_, assigned in members:
        try:
            found |= {topic for topic in topics if decode_assignment(topic, assigned)}
        except ValueError:
            continue  # Any client that joins a group may write such bytes.
    return found


def _build_lags(group: Group, bounds: Mapping[TopicPartition, PartitionBounds]) -> list[GroupLag]:
    topics = {place.topic for place in group.offsets} | group.assigned_topics
    return [
        build_lag(
            group.name,
            topic,
            {place: bound for place, bound in bounds.items() if place.topic == topic},
            group.offsets,
            group.state,
            group.members,
        )
        for topic in sorted(topics)
    ]


def describe_denied(errors: Mapping[str, Exception], listed: int, user: str | None) -> str:
    """Return how to show the groups that Kafka hides from the console, which it connects to as ``user``; "" if none."""
    denied = [group for group, error in errors.items() if isinstance(error, GroupAuthorizationFailedError)]
    if not denied:
        return ""
    names = ", ".join(denied[:DENIED_NAMED_MAX]) + (", …" if len(denied) > DENIED_NAMED_MAX else "")
    return (
        f"{len(denied)} of {listed} groups are not shown ({names}): Kafka does not let the console describe them."
        " To show one that reads these topics, run: kafka-acls.sh --bootstrap-server KAFKA_BOOTSTRAP --add"
        f" --allow-principal User:{user or 'CONSOLE'} --operation Describe --group GROUP"
    )


def describe_gaps(errors: Mapping[str, Exception], listed: int, examined: int) -> list[str]:
    """Return a sentence for each group that could not be examined for another reason than a missing permission."""
    sentences = [
        f"Group {group} could not be read: {describe_error(error, 'kafka')}"
        for group, error in errors.items()
        if not isinstance(error, GroupAuthorizationFailedError)
    ]
    if examined < listed:
        sentences.append(f"The cluster has {listed} groups, of which the first {examined} by name were examined")
    return sentences
