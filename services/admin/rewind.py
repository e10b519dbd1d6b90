"""Say where the relay goes on: ``python -m services.admin.rewind topics|start [OUTPUT…]``; no relay may run.

``topics`` goes on after the highest number that each topic holds: for progress that was lost, and to fill topics again
that were made again or lost their end. ``start`` emits the topics' records from the log's start once more, whatever
they hold. Without names all outputs are meant. What had been emitted before comes with the header ``replay: true``.
"""

import asyncio
import sys
from collections.abc import Sequence

from aiokafka import TopicPartition

from services.config import ReplaySettings, WrongSettings
from services.console.cli import options
from services.eventlog.feed_history import History
from services.eventlog.postgres import READER, connect
from services.kafka.relay_progress import OUTPUTS, SERIES, Progress
from services.kafka.topic_reader import read_to_end
from services.kafka.topics import topic
from services.publishing.record_headers import marks_of
from services.publishing.topic_ends import End, ends_of, full_names
from services.relay.publisher import Publisher, lock_name
from services.relay.startup_checks import SHARD_LIST, NeedsOperator, completed

USAGE = f"usage: python -m services.admin.rewind topics|start [{'|'.join(OUTPUTS)} …]"


async def rewind(settings: ReplaySettings, where: str, outputs: Sequence[str]) -> Progress:
    """Set the relay's progress for these outputs, and return it; the others stay where they are.

    ``where``: ``topics`` or ``start``, as above.

    Raises:
        NeedsOperator: a relay is running, or the progress of the other outputs is not known.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    bootstrap, prefix = settings.kafka_bootstrap, settings.topic_prefix
    connection = await connect(settings.url(), "rewind", READER)
    publisher = Publisher(bootstrap, prefix)
    try:
        history = History(connection)
        if not await history.try_lock(lock_name(prefix)):
            raise NeedsOperator("a relay is running: stop it first, and those that stand by")
        # Whoever was paused inside a transaction is fenced, and cannot set the progress back afterwards.
        found = await publisher.start()
        if found is None and set(outputs) != set(OUTPUTS):
            raise NeedsOperator("the relay's progress is lost: rewind all outputs, naming none")
        ends = await ends_of(bootstrap, history, full_names(prefix, OUTPUTS))
        before = None if found is None else await completed(found[0], history, ends)
        sequences, replays = ({}, {}) if before is None else (dict(before.sequences), dict(before.replays))
        heads = await history.heads(SHARD_LIST)
        for output in outputs:
            held = await _highest(bootstrap, topic(prefix, output), ends[output])
            replays[output] = _emitted(output, before, held, heads[SERIES[output]])
            sequences[output] = held if where == "topics" else (0,) * len(SHARD_LIST)
        progress = Progress(sequences, {o: until for o, until in replays.items() if any(until)})
        await publisher.publish([], progress, progress)
        return progress
    finally:
        await publisher.close()
        await connection.close()


async def _highest(bootstrap: str, full_name: str, ends: Sequence[End]) -> tuple[int, ...]:
    """The highest number that each partition holds (0: none). After a replay that is not that of the last record."""
    highest = [end.number or 0 for end in ends]
    replayed = [TopicPartition(full_name, shard) for shard, end in enumerate(ends) if end.replay]
    if replayed:
        async for record in read_to_end(bootstrap, replayed):
            highest[record.partition] = max(highest[record.partition], marks_of(record.headers).number or 0)
    return tuple(highest)


def _emitted(output: str, before: Progress | None, held: Sequence[int], heads: Sequence[int]) -> tuple[int, ...]:
    """Up to where the topic had been filled before.

    Where the progress is lost a topic's own records say it, and an empty topic was lost as well: all that is in the log
    then counts as emitted before.
    """
    if before is None:
        return tuple(held if any(held) else heads)
    return tuple(max(before.sequences[output][shard], before.replayed_until(output, shard)) for shard in SHARD_LIST)


def main(where: str, outputs: Sequence[str]) -> str:
    """Rewind and say what follows.

    Raises:
        SystemExit: it could not be done; says why.
    """
    try:
        progress = asyncio.run(rewind(ReplaySettings(), where, outputs or OUTPUTS))
    except (NeedsOperator, WrongSettings) as error:
        sys.exit(str(error))
    except options.FAILURES as error:
        sys.exit(options.in_words(error))
    lines = []
    for output in outputs or OUTPUTS:
        again = sum(progress.replays.get(output, progress.sequences[output])) - sum(progress.sequences[output])
        lines.append(
            f"{output}: the relay goes on after {sum(progress.sequences[output])} records, {again} of those to"
            " come with replay: true"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] not in (["topics"], ["start"]) or not set(sys.argv[2:]) <= set(OUTPUTS):
        sys.exit(USAGE)
    print(main(sys.argv[1], sys.argv[2:]))
