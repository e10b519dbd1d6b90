"""Lost records of a topic are found also while the relay publishes to other shards of it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from schemas.topics import DEFAULT_SHARD_COUNT, OUTPUT_TOPICS, TOPICS
from services.console import topic_integrity
from services.console.topic_integrity import TopicIntegrityCheck
from services.kafka.relay_progress import RelayProgress
from services.publishing.log_agreement import LogMismatch, find_log_mismatches
from services.publishing.topic_ends import End
from tests.unit.console.test_pipeline_status import OK

START = RelayProgress.initial("an installation")
BUSY, LOST = 0, 7
PUBLISHED = 3


class BusyTopics:
    """At each check the relay has published more to shard BUSY of events, also between progress and ends.

    Shard LOST has lost its records.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published = itertools.count(10)
        self.log_mismatches: list[LogMismatch] = []
        monkeypatch.setattr(topic_integrity, "read_progress", self.read_progress)
        monkeypatch.setattr(topic_integrity, "read_topic_ends", self.read_topic_ends)
        monkeypatch.setattr(topic_integrity, "find_log_mismatches", self.find_log_mismatches)

    async def read_progress(self, *_: object) -> RelayProgress:
        sequences = [0] * DEFAULT_SHARD_COUNT
        sequences[BUSY], sequences[LOST] = next(self.published), PUBLISHED
        return replace(START, sequences={**START.sequences, "events": tuple(sequences)})

    async def read_topic_ends(self, *_: object) -> dict[str, list[End]]:
        ends = {output: [End()] * DEFAULT_SHARD_COUNT for output in OUTPUT_TOPICS}
        ends["events"][BUSY] = End(next(self.published))
        return ends

    async def find_log_mismatches(self, *_: object) -> list[LogMismatch]:
        return self.log_mismatches

    async def read_bounds(self, _: object) -> dict[TopicPartition, tuple[int, int]]:
        return {
            TopicPartition(f"moderation.{name}", number): (0, 9)
            for name, topic in TOPICS.items()
            for number in range(topic.partition_count())
        }

    async def shards(self, _: object) -> list[int]:
        return list(range(DEFAULT_SHARD_COUNT))

    @property
    def connection(self) -> None:
        return None


async def test_lost_shard_is_reported_while_the_relay_publishes_to_a_lower_one(monkeypatch: pytest.MonkeyPatch) -> None:
    topics: Any = BusyTopics(monkeypatch)
    check = TopicIntegrityCheck("localhost:9092", "moderation")

    assert await check.check(topics, topics) == ()
    problems = await check.check(topics, topics)

    assert [(problem.topic, problem.description) for problem in problems] == [
        (
            "events",
            "shard 7 of events ends at 0, but the relay published up to 3: records were lost, or it was recreated",
        )
    ]
    assert replace(OK, topic_problems=problems).rewind_command == "moderated-grading admin rewind topics events"


async def test_topic_that_lost_records_and_differs_from_the_log_is_reported_once_with_the_remedy_for_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics: Any = BusyTopics(monkeypatch)
    topics.log_mismatches = [LogMismatch("events", shard, 5, "an id", 4) for shard in (9, 11)]
    check = TopicIntegrityCheck("localhost:9092", "moderation")

    assert await check.check(topics, topics) == ()
    problems = await check.check(topics, topics)

    assert [problem.description for problem in problems] == [str(topics.log_mismatches[0])]
    assert replace(OK, topic_problems=problems).rewind_command == "moderated-grading admin rewind log"


async def test_log_that_lost_records_of_two_shards_differs_in_both_once() -> None:
    numbers = [0, PUBLISHED, PUBLISHED, PUBLISHED, *[0] * (DEFAULT_SHARD_COUNT - 4)]
    log_ids = {0: None, 1: "old", 2: "new", 3: "new"}

    async def fetch(query: str, shards: Sequence[int], *_: object) -> list[tuple[object, ...]]:
        if "from heads(" in query:
            return [(shard, *[numbers[shard]] * 4) for shard in shards]
        return [(log_ids.get(shard),) for shard in shards]

    ids: Mapping[str, tuple[str | None, ...]] = {"events": tuple("old" if number else None for number in numbers)}
    progress = replace(START, sequences={"events": tuple(numbers)}, last_ids=ids)
    ends = {"events": [End(number or None, id="old" if number else None) for number in numbers]}
    connection: Any = SimpleNamespace(fetch=fetch)

    mismatches = await find_log_mismatches(connection, progress, ends)

    assert [(mismatch.shard, mismatch.record_id) for mismatch in mismatches] == [(2, "old"), (3, "old")]
