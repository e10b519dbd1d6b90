"""Begin a new life of the commands topic: ``python -m services.eventlog.source "why"``.

For a topic that was deleted and made again, or cut: its offsets start anew, and without a new source the handler stops
rather than take a new record for an old one.
"""

import asyncio
import sys

from services.eventlog.connecting import WRITER, connect
from services.eventlog.log import Log
from services.settings import DatabaseSettings, KafkaSettings
from services.topics import topic


async def main(reason: str) -> None:
    """Open the source and print its number."""
    connection = await connect(DatabaseSettings().url(), "source", WRITER)
    commands = topic(KafkaSettings().topic_prefix, "commands")
    print(f"{commands} is now source {await Log(connection).open_source(commands, reason)}")
    await connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m services.eventlog.source "why the topic begins anew"')
    asyncio.run(main(sys.argv[1]))
