"""Set the relay's progress where it is missing: ``python -m services.relay.rewind topics|start``; no relay may run.

``topics`` resumes from the highest ce_sequence that the topics hold; ``start`` from the log's start, for topics that
were made again: everything is then emitted once more, with the same ids and numbers.
"""

import asyncio
import sys

from aiokafka import TopicPartition

from services.eventlog.shards import SHARDS
from services.outputs.reading import read_to_end
from services.settings import KafkaSettings
from services.topics import Progress, topic, write_progress


async def highest_sequences(bootstrap: str, full_name: str) -> tuple[int, ...]:
    """The highest ce_sequence on each partition of a topic (0: none), read to the end by a read_committed reader."""
    highest = [0] * SHARDS
    async for record in read_to_end(bootstrap, [TopicPartition(full_name, number) for number in range(SHARDS)]):
        sequence = next((value for name, value in record.headers if name == "ce_sequence"), b"0")
        highest[record.partition] = max(highest[record.partition], int(sequence))
    return tuple(highest)


async def main(where: str) -> None:
    """Write the progress record."""
    settings = KafkaSettings()
    progress = Progress.start()
    if where == "topics":
        events, verdicts = [
            await highest_sequences(settings.kafka_bootstrap, topic(settings.topic_prefix, name))
            for name in ("events", "verdicts")
        ]
        # Dead letters carry no number: they are emitted again rather than lost.
        progress = Progress(events, verdicts, progress.dead_letters)
    await write_progress(settings.kafka_bootstrap, settings.topic_prefix, progress)
    print(f"the relay resumes after {progress}")


if __name__ == "__main__":
    if sys.argv[1:] not in (["topics"], ["start"]):
        sys.exit("usage: python -m services.relay.rewind topics|start")
    asyncio.run(main(sys.argv[1]))
