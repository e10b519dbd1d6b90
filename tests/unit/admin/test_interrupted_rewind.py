"""``admin rewind log`` that fails while it empties partitions, after a log lost the records 91 to 100.

The handler has decided the lost commands again, under other ids: nobody was sent these records.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from schemas.topics import OUTPUT_TOPICS
from services.admin import rewinder
from services.eventlog.installation import Installation
from services.kafka.relay_progress import RelayProgress
from services.publishing import log_agreement
from services.publishing.common_history import CommonHistory, LostRecord
from services.publishing.topic_ends import End
from services.relay.startup_checks import OperatorRequired, verify_log

OUTPUT, SHARDS = "events", 1
# Retention has removed the records before the first.
FIRST, LAST_COMMON, LAST = 51, 90, 100
LOG_IDS = {number: f"{'again' if number > LAST_COMMON else 'first'}-{number}" for number in range(1, LAST + 1)}


class Log:
    """The log after the loss; it stands for FeedHistory and for FeedReader."""

    connection = None

    async def heads(self, shards: Sequence[int]) -> dict[str, list[int]]:
        return {"events": [LAST], "published": [0], "verdicts": [0], "dead_letters": [0]}


async def read_record_ids(
    connection: Any, output: str, shards: Sequence[int], sequences: Sequence[int]
) -> list[str | None]:
    return [LOG_IDS.get(number) if output == OUTPUT else None for number in sequences]


@dataclass
class Topics:
    """One shard of a topic, as the relay left it, and the progress. ``publish`` is that of a Publisher."""

    fails_after_deleting: bool
    records: dict[int, str] = field(default_factory=lambda: {n: f"first-{n}" for n in range(FIRST, LAST + 1)})
    has_failed: bool = False
    progress: RelayProgress = field(
        default_factory=lambda: RelayProgress(
            {**dict.fromkeys(OUTPUT_TOPICS, (0,)), OUTPUT: (LAST,)}, {}, {OUTPUT: (f"first-{LAST}",)}, (0,)
        )
    )

    async def publish(self, records: Sequence[Any], previous: RelayProgress, progress: RelayProgress) -> None:
        self.progress = progress

    @contextlib.asynccontextmanager
    async def stop_relays(self, *_: Any) -> AsyncIterator[Any]:
        log, publisher = cast(Any, Log()), cast(Any, self)
        yield rewinder._StoppedRelays(log, Installation(UUID(int=1), SHARDS), [publisher], self.progress)

    async def read_common_histories(self, *_: Any) -> dict[str, dict[int, CommonHistory]]:
        if not self.records:
            return {OUTPUT: {0: CommonHistory()}}
        lost = [
            LostRecord(OUTPUT, 0, number, number, record_id, None)
            for number, record_id in self.records.items()
            if LOG_IDS[number] != record_id
        ]
        return {OUTPUT: {0: CommonHistory(FIRST, LAST_COMMON, lost)}}

    async def read_topic_ends(self, *_: Any) -> dict[str, list[End]]:
        return {OUTPUT: [End(LAST, id=self.records[LAST]) if self.records else End(never_truncated=False)]}

    async def empty_partitions(self, *_: Any) -> None:
        fails, self.has_failed = not self.has_failed, True
        if self.fails_after_deleting or not fails:
            self.records.clear()
        if fails:
            raise ConnectionError("a broker failed")

    async def rewind(self) -> None:
        settings = cast(Any, SimpleNamespace(kafka_bootstrap="", topic_prefix="prefix"))
        await rewinder.rewind_to_log(settings, [OUTPUT], lambda line: None, dry_run=False)


@pytest.fixture(params=[True, False], ids=["after the partition was emptied", "before"])
def topics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Topics:
    """Return topics on which the first attempt to empty a partition fails."""
    topics = Topics(request.param)
    monkeypatch.setattr(rewinder, "_stop_relays", topics.stop_relays)
    monkeypatch.setattr(rewinder, "_read_common_histories", topics.read_common_histories)
    monkeypatch.setattr(rewinder, "read_topic_ends", topics.read_topic_ends)
    monkeypatch.setattr(rewinder, "_empty_partitions", topics.empty_partitions)
    for module in (rewinder, log_agreement):
        monkeypatch.setattr(module, "read_record_ids", read_record_ids)
    monkeypatch.setattr(log_agreement, "FeedReader", lambda connection: Log())
    return topics


async def test_repeated_rewind_sends_as_replays_only_what_topic_and_log_had_in_common(topics: Topics) -> None:
    with pytest.raises(ConnectionError):
        await topics.rewind()
    await topics.rewind()

    assert topics.records == {}
    assert topics.progress.sequences[OUTPUT] == (FIRST - 1,)
    assert topics.progress.replay_end(OUTPUT, 0) == LAST_COMMON, "what was decided again is new to everyone"


async def test_interrupted_rewind_keeps_the_relay_stopped_while_lost_records_are_on_the_topic(topics: Topics) -> None:
    with pytest.raises(ConnectionError):
        await topics.rewind()

    log = cast(Any, Log())
    if topics.records:
        with pytest.raises(OperatorRequired, match="admin rewind log"):
            await verify_log(topics.progress, log, {OUTPUT: [End(LAST, id=topics.records[LAST])]})
    else:
        await verify_log(topics.progress, log, {OUTPUT: [End(never_truncated=False)]})
