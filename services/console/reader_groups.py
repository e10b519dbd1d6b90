"""How far the consumer groups that read the output topics are behind."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, for_code

from services.console.group_members import decode_assignment
from services.console.kafka_probe import read_bounds
from services.kafka.client_options import client_options
from services.kafka.timeouts import kafka_timeout
from services.runtime.errors import KAFKA_ERRORS, describe_error

READ_SECONDS_MAX = 5.0
REUSE_SECONDS = 5.0
# Each group takes two requests; the groups of a large cluster are mostly those of other services.
GROUPS_MAX = 200
CONCURRENT_GROUPS_MAX = 20
DENIED_NAMED_MAX = 5
_NOT_DESCRIBED_STATE = "Dead"
"""For a listed group: one of Kafka's new protocol, which this version of the request cannot describe."""


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind on a topic.

    Attributes:
        topic: Full name.
        lag: Records that it has not committed, an upper bound: it counts the markers between transactions too. None if
            it has committed no offset.
        without_offset: Partitions without a committed offset, where others have one.
        lost: It has not read records that retention has removed.
        state: Kafka's name, such as Stable or Empty; None if the broker does not say.
        members: Consumers in the group, None if the broker does not say.
    """

    group: str
    topic: str
    lag: int | None
    without_offset: int
    lost: bool
    state: str | None
    members: int | None


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """Groups by name and topic. ``problems``: what is not known, and what is missing for it."""

    lags: tuple[GroupLag, ...] = ()
    problems: tuple[str, ...] = ()


class ReaderGroups:
    """Reads the groups on request; requests within five seconds share one report."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._lock = asyncio.Lock()
        self._report = ReaderReport()
        self._reuse_until = 0.0

    async def read(self) -> ReaderReport:
        """Return the report, which names what could not be read."""
        async with self._lock:
            if time.monotonic() >= self._reuse_until:
                try:
                    self._report = await read_groups(self._bootstrap, self._topics)
                except KAFKA_ERRORS as error:
                    self._report = ReaderReport(problems=(describe_error(error, "kafka"),))
                self._reuse_until = time.monotonic() + REUSE_SECONDS
            return self._report


async def read_groups(
    bootstrap: str, topics: Sequence[str], groups_max: int = GROUPS_MAX, seconds_max: float = READ_SECONDS_MAX
) -> ReaderReport:
    """Read the groups that have members or offsets on the topics (full names). Raises KafkaError and OSError."""
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    # Readers cannot read beyond the end that it sees, because an open transaction hides what follows.
    consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False, isolation_level="read_committed")
    try:
        async with kafka_timeout(seconds_max, "reading the consumer groups"):
            await asyncio.gather(admin.start(), consumer.start())
            bounds = await read_bounds(consumer, topics)
            coordinators = await _list_groups(admin)
            chosen = sorted(coordinators)[:groups_max]
            limit = asyncio.Semaphore(CONCURRENT_GROUPS_MAX)

            async def read_one(group: str) -> "list[GroupLag] | Exception":
                async with limit:
                    return await _read_group(admin, group, coordinators[group], bounds)

            results = dict(zip(chosen, await asyncio.gather(*map(read_one, chosen)), strict=True))
    finally:
        await admin.close()
        await consumer.stop()
    lags = [lag for result in results.values() if not isinstance(result, Exception) for lag in result]
    errors = {group: result for group, result in results.items() if isinstance(result, Exception)}
    return ReaderReport(tuple(lags), tuple(describe_gaps(errors, len(coordinators), len(chosen))))


async def _list_groups(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Return the groups that this user may see, and the broker that coordinates each."""
    cluster: Any = await admin.describe_cluster()
    brokers = [broker["node_id"] for broker in cluster["brokers"]]
    groups = await asyncio.gather(*(admin.list_consumer_groups([broker]) for broker in brokers))
    return {name: broker for broker, listed in zip(brokers, groups, strict=True) for name, *_ in listed}


async def _read_group(
    admin: AIOKafkaAdminClient, group: str, coordinator: int, bounds: Mapping[TopicPartition, tuple[int, int]]
) -> "list[GroupLag] | Exception":
    # aiokafka misreads a response about several groups.
    described: Any
    (described,) = await admin.describe_consumer_groups([group], coordinator)
    error, _, state, _, _, members, *_ = described.groups[0]
    if error:
        return for_code(error)()
    committed: Any = await admin.list_consumer_group_offsets(group, coordinator, list(bounds))
    offsets = {place: position.offset for place, position in committed.items() if position.offset >= 0}
    is_described = state != _NOT_DESCRIBED_STATE
    topics = {place.topic for place in offsets} | _find_assigned_topics({place.topic for place in bounds}, members)
    return [
        build_lag(
            group,
            topic,
            {place: bound for place, bound in bounds.items() if place.topic == topic},
            offsets,
            state if is_described else None,
            len(members) if is_described else None,
        )
        for topic in sorted(topics)
    ]


def _find_assigned_topics(topics: set[str], members: Iterable[Any]) -> set[str]:
    found = set()
    for *_, assigned in members:
        try:
            found |= {topic for topic in topics if decode_assignment(topic, assigned)}
        except ValueError:
            continue  # Any client that joins a group may write such bytes.
    return found


def build_lag(
    group: str,
    topic: str,
    bounds: Mapping[TopicPartition, tuple[int, int]],
    offsets: Mapping[TopicPartition, int],
    state: str | None,
    members: int | None,
) -> GroupLag:
    """Compare a group's offsets with the (beginning, end) of each partition of a topic.

    The last offset before an end is a transaction's marker, because the relay writes only in transactions: a group that
    has read everything may have committed the offset before it.
    """
    known = {place: offsets[place] for place in bounds if place in offsets}
    lag = sum(max(bounds[place][1] - max(offset, bounds[place][0]) - 1, 0) for place, offset in known.items())
    return GroupLag(
        group,
        topic,
        lag if known else None,
        sum(1 for place, (begin, end) in bounds.items() if place not in known and begin < end) if known else 0,
        any(offset < bounds[place][0] for place, offset in known.items()),
        state,
        members,
    )


def describe_gaps(errors: Mapping[str, Exception], listed: int, examined: int) -> list[str]:
    """Return a sentence for each kind of group that could not be examined, and what to do."""
    denied = [group for group, error in errors.items() if isinstance(error, GroupAuthorizationFailedError)]
    sentences = []
    if denied:
        names = ", ".join(denied[:DENIED_NAMED_MAX]) + (", …" if len(denied) > DENIED_NAMED_MAX else "")
        sentences.append(
            f"Kafka does not let the console describe {len(denied)} of {listed} groups ({names}): if they read these"
            " topics, grant DESCRIBE on them to the console's Kafka user"
        )
    sentences += [
        f"Group {group} could not be described: {type(error).__name__}"
        for group, error in errors.items()
        if group not in denied
    ]
    if examined < listed:
        sentences.append(f"The cluster has {listed} groups, of which the first {examined} by name were examined")
    return sentences
