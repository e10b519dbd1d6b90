"""Whether the topics still end where the relay left them, which it looks at itself only when it starts or writes.

Where a topic ends is asked often and costs little; its last records are read where that, or the relay's progress, is
not what it was in the last look that found nothing wrong. What retention removes from a topic's beginning is no loss.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from schemas.topics import OUTPUT_TOPICS, TOPICS
from services.console.kafka_probe import KafkaProbe
from services.console.pipeline_status import TopicProblem, pluralize
from services.eventlog.feed_history import FeedHistory
from services.kafka.topics import full_topic_name
from services.publishing.topic_ends import (
    EndMismatch,
    find_mismatches,
    full_topic_names,
    read_progress,
    read_topic_ends,
)

READ_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class MissingPartitions:
    """A topic of which there are so few ``partitions``: 0 where there is none of that name."""

    topic: str
    partitions: int
    expected_partitions: int

    def __str__(self) -> str:
        if self.partitions == 0:
            return f"topic {self.topic} does not exist"
        return (
            f"topic {self.topic} has {pluralize(self.partitions, 'partition')}, not {self.expected_partitions}: "
            "delete it"
        )


@dataclass(frozen=True, slots=True)
class MissingProgress:
    """The relay's progress is lost."""

    topic: str

    def __str__(self) -> str:
        return f"topic {self.topic} holds no record, so the relay's progress is lost"


Findings = dict[str, EndMismatch | MissingPartitions | MissingProgress]


class TopicIntegrityCheck:
    """``is_suspect``: the last look found what the next one may confirm.

    A transaction's marks reach one partition after the other, so a difference counts once two looks have seen it.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.topic_names = {name: full_topic_name(prefix, name) for name in TOPICS}
        self.output_topics = full_topic_names(prefix, OUTPUT_TOPICS)
        self._verified_bounds: dict[TopicPartition, tuple[int, int]] | None = None
        self._findings: Findings = {}
        self.needs_confirmation = False

    async def check(self, probe: KafkaProbe, history: FeedHistory) -> tuple[TopicProblem, ...]:
        """What this look found and the one before it found as well.

        Raises:
            KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
        """
        bounds = await probe.read_bounds(self.topic_names.values())
        if bounds == self._verified_bounds:
            return ()
        async with asyncio.timeout(
            READ_TIMEOUT_SECONDS
        ):  # A client does not get over a topic that goes while it is read.
            previous_findings, self._findings = self._findings, await self._find_problems(bounds, history)
        self._verified_bounds = None if self._findings else bounds
        confirmed = [(name, what) for name, what in self._findings.items() if previous_findings.get(name) == what]
        self.needs_confirmation = len(confirmed) < len(self._findings)
        return tuple(
            TopicProblem(name, str(what), is_missing=isinstance(what, MissingPartitions)) for name, what in confirmed
        )

    async def _find_problems(self, bounds: Mapping[TopicPartition, tuple[int, int]], history: FeedHistory) -> Findings:
        partition_counts = Counter(topic_partition.topic for topic_partition in bounds)
        findings: Findings = {
            name: MissingPartitions(name, partition_counts[full], TOPICS[name].partition_count())
            for name, full in self.topic_names.items()
            if partition_counts[full] < TOPICS[name].partition_count()
        }
        if "progress" in findings:
            return findings
        progress = await read_progress(self.bootstrap, self.topic_names["progress"])
        if progress is None:
            return {**findings, "progress": MissingProgress("progress")}
        readable_outputs = {output: full for output, full in self.output_topics.items() if output not in findings}
        ends = await read_topic_ends(self.bootstrap, history, readable_outputs)
        mismatches = find_mismatches(progress[0], ends)
        return {**findings, **{difference.output: difference for difference in mismatches}}
