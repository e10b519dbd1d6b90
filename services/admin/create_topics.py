"""``admin create-topics``: create the service's topics in Kafka, for the log in DATABASE_URL."""

import typer

from services.config.cli import TopicSettings
from services.eventlog.initial_progress import build_initial_progress
from services.eventlog.postgres import READER, close_quickly, connect
from services.kafka.topics import TopicConfigError, create_missing_topics
from services.runtime.command_line import ActionRefused, run_command


def create_topics_command() -> None:
    """Create the missing topics of TOPIC_PREFIX for the log in DATABASE_URL, which must be migrated first.

    Existing topics are not changed. Safe to repeat.
    """

    async def work() -> list[str]:
        settings = TopicSettings()
        connection = await connect(settings.url(), "create-topics", READER)
        try:
            progress = await build_initial_progress(connection)
        finally:
            await close_quickly(connection)
        try:
            return await create_missing_topics(settings.kafka_bootstrap, settings.topic_prefix, progress)
        except TopicConfigError as error:
            raise ActionRefused(str(error)) from None

    created = run_command(work, is_administrators=True)
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo("all topics exist")
