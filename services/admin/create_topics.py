"""``admin create-topics``: create the service's topics in Kafka, for the log in DATABASE_URL."""

import typer

from services.config import DatabaseSettings, KafkaSettings
from services.eventlog.installation import fetch_installation
from services.eventlog.postgres import READER
from services.kafka.topics import TopicConfigError, create_missing_topics
from services.runtime.command_line import ActionRefused, run_command


def create_topics_command() -> None:
    """Create the missing topics of TOPIC_PREFIX, with as many partitions as the log in DATABASE_URL has shards.

    Existing topics are not changed. Safe to repeat.
    """

    async def work() -> list[str]:
        settings = KafkaSettings()
        installation = await fetch_installation(DatabaseSettings().url(), "create-topics", READER)
        try:
            return await create_missing_topics(
                settings.kafka_bootstrap, settings.topic_prefix, installation.shard_count
            )
        except TopicConfigError as error:
            raise ActionRefused(str(error)) from None

    created = run_command(work)
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo("all topics exist")
