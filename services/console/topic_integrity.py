"""Whether the topics still end where the relay left them, which it looks at itself only when it starts or writes.

Where a topic ends is asked often and costs little; its last records are read where that, or the relay's progress, is
not what it was in the last look that found nothing wrong. What retention removes from a topic's beginning is no loss.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from services.console.kafka_probe import Broker
from services.console.pipeline_status import Lost, count
from services.eventlog.feed_history import History
from services.kafka.relay_progress import OUTPUTS
from services.kafka.topics import SETTINGS, partitions, topic
from services.publishing.topic_ends import Difference, differences, ends_of, full_names, progress_on

READ_SECONDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Unusable:
    """A topic of which there are so few ``partitions``: 0 where there is none of that name."""

    topic: str
    partitions: int
    wanted: int

    def __str__(self) -> str:
        if self.partitions == 0:
            return f"topic {self.topic} does not exist"
        return f"topic {self.topic} has {count(self.partitions, 'partition')}, not {self.wanted}: delete it"


@dataclass(frozen=True, slots=True)
class NoProgress:
    """The relay's progress is lost."""

    topic: str

    def __str__(self) -> str:
        return f"topic {self.topic} holds no record, so the relay's progress is lost"


Found = dict[str, Difference | Unusable | NoProgress]


class Losses:
    """``is_suspect``: the last look found what the next one may confirm.

    A transaction's marks reach one partition after the other, so a difference counts once two looks have seen it.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.names = {name: topic(prefix, name) for name in SETTINGS}
        self.outputs = full_names(prefix, OUTPUTS)
        self._sound: dict[TopicPartition, tuple[int, int]] | None = None
        self._found: Found = {}
        self.is_suspect = False

    async def look(self, broker: Broker, history: History) -> tuple[Lost, ...]:
        """What this look found and the one before it found as well.

        Raises:
            KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
        """
        bounds = await broker.bounds(self.names.values())
        if bounds == self._sound:
            return ()
        async with asyncio.timeout(READ_SECONDS_MAX):  # A client does not get over a topic that goes while it is read.
            before, self._found = self._found, await self._look(bounds, history)
        self._sound = None if self._found else bounds
        confirmed = [(name, what) for name, what in self._found.items() if before.get(name) == what]
        self.is_suspect = len(confirmed) < len(self._found)
        return tuple(Lost(name, str(what), is_missing=isinstance(what, Unusable)) for name, what in confirmed)

    async def _look(self, bounds: Mapping[TopicPartition, tuple[int, int]], history: History) -> Found:
        counts = Counter(place.topic for place in bounds)
        found: Found = {
            name: Unusable(name, counts[full], partitions(name))
            for name, full in self.names.items()
            if counts[full] < partitions(name)
        }
        if "progress" in found:
            return found
        progress = await progress_on(self.bootstrap, self.names["progress"])
        if progress is None:
            return {**found, "progress": NoProgress("progress")}
        usable = {output: full for output, full in self.outputs.items() if output not in found}
        ends = await ends_of(self.bootstrap, history, usable)
        different = differences(progress[0], ends)
        return {**found, **{difference.output: difference for difference in different}}
