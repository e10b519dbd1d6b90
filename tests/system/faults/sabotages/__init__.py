"""Sabotages of the service: each removes one of the eight mechanisms that keep its promises.

They exist to test the checker, and only in processes that ``sabotages.start`` starts: production code has no switch
for them. If the database guards the same promise too, ``SCHEMA`` removes that guard as well.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.commands import processor
from services.eventlog import schedules, session
from services.eventlog.relay_leases import RelayLeases
from services.handler import position_tracker
from services.handler.consumer import CommandConsumer
from services.handler.position_tracker import PositionTracker
from services.kafka import transactions
from services.kafka.partitioning import group_by_partition
from services.relay import publisher
from services.relay.publisher import Publisher
from services.scheduler import scheduler

BEFORE_PUBLISHING_SECONDS = 3
AFTER_COMMIT_SECONDS = 2
FORGET_WATERMARKS = """
create or replace function watermark(of_source smallint, of_partition integer) returns bigint language sql stable as
'select -1::bigint'
"""
SCHEMA: Mapping[str, Sequence[str]] = {
    "deduplication": ("drop index decided_command_id", "create index on decided_command (command_id, root_account)"),
    "watermark": ("drop index decided_command_place", FORGET_WATERMARKS),
}
"""By sabotage: statements that take the database's own guard away."""


def replace(owner: Any, name: str, value: Any) -> None:
    """Replace an attribute of a module or class."""
    assert hasattr(owner, name), f"{owner} has no {name}: the sabotage takes nothing away any more"
    setattr(owner, name, value)


def forget_command_ids() -> None:
    """Disable deduplication: every command is decided, even if its id was decided before."""
    replace(processor, "deduplicate", lambda incoming, first_verdicts: None)


def ignore_watermarks() -> None:
    """Ignore watermarks: a redelivered record is processed again."""
    replace(position_tracker, "is_new", lambda offset, watermark: True)
    replace(PositionTracker, "advance", lambda self, records: None)


def let_zombies_publish() -> None:
    """Disable fencing: each producer has its own transactional id, and publishes late."""
    create, publish = transactions.create_transactional_producer, Publisher.publish

    async def publish_late(self: Publisher, *arguments: Any) -> None:
        await asyncio.sleep(BEFORE_PUBLISHING_SECONDS)
        await publish(self, *arguments)

    replace(publisher, "create_transactional_producer", lambda bootstrap, _: create(bootstrap, str(uuid.uuid4())))
    replace(Publisher, "publish", publish_late)


def take_no_lock() -> None:
    """Disable the lock: every relay is active."""

    async def pretend(self: RelayLeases, lane: int) -> bool:
        return True

    replace(RelayLeases, "try_lock", pretend)


def commit_without_waiting() -> None:
    """Disable durability: commits are acknowledged before they are on disk."""
    replace(session, "PREPARE", f"{session.PREPARE}; set synchronous_commit = off")


def commit_offsets_first() -> None:
    """Commit offsets first: a batch counts as processed too early, and Kafka's offsets are trusted."""
    process_batch = CommandConsumer._process_batch

    async def commit_and_process(self: CommandConsumer, records: Any, consumer: AIOKafkaConsumer) -> None:
        for partition, own in group_by_partition(records).items():
            await consumer.commit({TopicPartition(own[-1].topic, partition): own[-1].offset + 1})
        await asyncio.sleep(AFTER_COMMIT_SECONDS)
        await process_batch(self, records, consumer)

    async def believe_kafka(self: PositionTracker, positions: Any, by_partition: Any, consumer: Any) -> set[int]:
        unknown = [partition for partition in by_partition if partition not in positions.watermarks]
        positions.watermarks.update(await self.event_store.watermarks(self.incarnation, unknown) if unknown else {})
        return set()

    async def do_nothing(self: CommandConsumer, *_: Any) -> None: ...

    replace(CommandConsumer, "_process_batch", commit_and_process)
    replace(CommandConsumer, "rewind", do_nothing)
    replace(PositionTracker, "_verify_beginnings", believe_kafka)


def send_early() -> None:
    """Disable the comparison with PostgreSQL's clock: a schedule is due as soon as the scheduler reads it."""
    replace(scheduler, "split_due", lambda schedules, now: (list(schedules), []))


def draw_publication_ids() -> None:
    """Draw the id of a due publication at random: each time, and each scheduler, sends another command."""
    replace(schedules, "publication_command_id", lambda secret, schedule_id: str(uuid.uuid4()))


SABOTAGES: Mapping[str, Callable[[], None]] = {
    "deduplication": forget_command_ids,
    "watermark": ignore_watermarks,
    "fencing": let_zombies_publish,
    "lock": take_no_lock,
    "durability": commit_without_waiting,
    "offset": commit_offsets_first,
    "due time": send_early,
    "publication id": draw_publication_ids,
}
