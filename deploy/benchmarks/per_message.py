"""A peer: the plain FastStream handler, one transaction and one acknowledgement a message.

``python -m deploy.benchmarks.per_message`` reads KAFKA_BOOTSTRAP, DATABASE_URL, TOPIC and GROUP. It parses and stores,
and decides nothing.
"""

import asyncio
import os

import asyncpg
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.annotations import KafkaMessage

from schemas.commands import COMMAND

CREATE_TABLE = "create table if not exists per_message (command_id uuid primary key, body json not null)"
INSERT_COMMAND = "insert into per_message (command_id, body) values ($1, $2) on conflict do nothing"
COUNT_COMMANDS = "select count(*) from per_message"


async def main() -> None:
    """Run until SIGTERM."""
    broker = KafkaBroker(os.environ["KAFKA_BOOTSTRAP"], allow_auto_create_topics=False, logger=None)
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=2) as pool:

        @broker.subscriber(
            Topic(os.environ["TOPIC"], declare=False),
            group_id=os.environ["GROUP"],
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            no_reply=True,
        )
        async def handle(message: KafkaMessage) -> None:
            command = COMMAND.validate_json(message.body)
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(INSERT_COMMAND, command.command_id, message.body.decode())

        await FastStream(broker).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
