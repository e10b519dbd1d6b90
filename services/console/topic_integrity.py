"""Checks that the topics still end where the relay left them.

The relay itself checks this only at startup and when it writes. Reading the ends of topics is cheap; the last records
are read only after an end or the relay's progress has changed. Records removed by retention do not count as lost.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from aiokafka import TopicPartition

from schemas.topics import OUTPUT_TOPICS, TOPICS
from services.console.kafka_probe import KafkaProbe
from services.console.pipeline_status import TopicProblem
from services.console.wording import pluralize
from services.eventlog.feed_history import EVERYTHING, FeedHistory
from services.kafka.progress_topic import read_progress
from services.kafka.timeouts import kafka_timeout
from services.kafka.topic_settings import describe_partition_remedy
from services.kafka.topics import full_topic_name
from services.publishing.log_agreement import LogMismatch, find_log_mismatches
from services.publishing.topic_ends import (
    EndMismatch,
    find_mismatches,
    full_topic_names,
    read_topic_ends,
)

READ_TIMEOUT_SECONDS = 10
CONFIRMATION_DELAY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class MissingPartitions:
    """A topic with too few partitions; 0 if it does not exist."""

    topic: str
    full_name: str
    partitions: int
    expected_partitions: int

    def __str__(self) -> str:
        if self.partitions == 0:
            return f"topic {self.topic} does not exist"
        found = pluralize(self.partitions, "partition")
        remedy = describe_partition_remedy(self.topic, self.full_name, self.expected_partitions)
        return f"topic {self.topic} has {found} instead of {self.expected_partitions}: {remedy}"


@dataclass(frozen=True, slots=True)
class MissingProgress:
    """The relay's progress topic is empty."""

    topic: str

    def __str__(self) -> str:
        return f"topic {self.topic} holds no record: the relay's progress is lost"


Finding: TypeAlias = EndMismatch | LogMismatch | MissingPartitions | MissingProgress
Findings = dict[tuple[str, int | None], Finding]
"""By topic (without prefix) and shard; None for the whole topic."""


class TopicIntegrityCheck:
    """Reports a problem after two consecutive checks have found it, for each shard by itself.

    A transaction's markers reach the partitions one after the other, and the relay publishes between the reading of its
    progress and of the topics' ends, so a single check may see differences that are only apparent.
    ``needs_confirmation``: the last check found something for the first time.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.topic_names = {name: full_topic_name(prefix, name) for name in TOPICS}
        self.output_topics = full_topic_names(prefix, OUTPUT_TOPICS)
        self._verified_bounds: dict[TopicPartition, tuple[int, int]] | None = None
        self._findings: Findings = {}
        self.needs_confirmation = False

    async def check(self, probe: KafkaProbe, history: FeedHistory) -> tuple[TopicProblem, ...]:
        """Return the problems that this check and the previous one found.

        Raises:
            KafkaError, OSError, asyncpg.PostgresError: Kafka or PostgreSQL does not answer.
        """
        bounds = await probe.read_bounds(self.topic_names.values())
        if bounds == self._verified_bounds:
            return ()
        # A consumer hangs when its topic is deleted while it reads.
        async with kafka_timeout(READ_TIMEOUT_SECONDS, "reading the last records of the topics"):
            previous_findings, self._findings = self._findings, await self._find_problems(bounds, history)
        self._verified_bounds = None if self._findings else bounds
        confirmed = {place: found for place, found in self._findings.items() if previous_findings.get(place) == found}
        self.needs_confirmation = len(confirmed) < len(self._findings)
        return tuple(
            TopicProblem(
                name,
                str(finding),
                is_missing=isinstance(finding, MissingPartitions),
                differs_from_log=isinstance(finding, LogMismatch),
            )
            for name, finding in _choose_by_topic(confirmed).items()
        )

    async def check_until_confirmed(self, probe: KafkaProbe, history: FeedHistory) -> tuple[TopicProblem, ...]:
        """Check, and once more after a delay if there is something to confirm. Raises as :meth:`check`."""
        problems = await self.check(probe, history)
        if self.needs_confirmation:
            await asyncio.sleep(CONFIRMATION_DELAY_SECONDS)
            problems = await self.check(probe, history)
        return problems

    async def _find_problems(self, bounds: Mapping[TopicPartition, tuple[int, int]], history: FeedHistory) -> Findings:
        shards = await history.shards(EVERYTHING)
        partition_counts = Counter(topic_partition.topic for topic_partition in bounds)
        findings: Findings = {
            (name, None): MissingPartitions(
                name, full, partition_counts[full], TOPICS[name].partition_count(len(shards))
            )
            for name, full in self.topic_names.items()
            if partition_counts[full] < TOPICS[name].partition_count(len(shards))
        }
        if ("progress", None) in findings:
            return findings
        progress = await read_progress(self.bootstrap, self.topic_names["progress"], len(shards))
        if progress is None:
            return {**findings, ("progress", None): MissingProgress("progress")}
        readable_outputs = {
            output: full for output, full in self.output_topics.items() if (output, None) not in findings
        }
        ends = await read_topic_ends(self.bootstrap, history, readable_outputs, shards)
        mismatches: list[EndMismatch | LogMismatch] = [
            *find_mismatches(progress, ends),
            *await find_log_mismatches(history.connection, progress, ends),
        ]
        return {**findings, **{(mismatch.output, mismatch.shard): mismatch for mismatch in mismatches}}


def _choose_by_topic(findings: Findings) -> dict[str, Finding]:
    """Return the first finding of each topic; before all others one of the log, which has another remedy."""
    chosen: dict[str, Finding] = {}
    for (topic, _), finding in findings.items():
        if topic not in chosen or (isinstance(finding, LogMismatch) and not isinstance(chosen[topic], LogMismatch)):
            chosen[topic] = finding
    return chosen
