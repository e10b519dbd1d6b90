"""The relay's progress on new topics."""

import asyncpg

from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.installation import read_installation
from services.kafka.relay_progress import RelayProgress


async def build_initial_progress(connection: "asyncpg.Connection[asyncpg.Record]") -> RelayProgress:
    """Return the progress of new, empty topics.

    Rows that the log already has were published to topics that were lost or have another prefix, so they are marked
    as replays. Raises POSTGRES_ERRORS.
    """
    installation = await read_installation(connection)
    heads = await FeedReader(connection).heads(installation.shards)
    replays = {topic: tuple(heads[feed]) for topic, feed in FEED_BY_TOPIC.items() if any(heads[feed])}
    return RelayProgress.initial(str(installation.id), installation.shard_count, replays)
