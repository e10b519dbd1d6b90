"""``admin create-topics``: create the service's topics in Kafka."""

import typer

from services.config import KafkaSettings
from services.kafka.topics import TopicConfigError, create_missing_topics
from services.runtime.command_line import ActionRefused, run_command


def create_topics_command() -> None:
    """Create the topics of TOPIC_PREFIX that are missing. Existing topics are not changed. Safe to repeat."""

    async def work() -> list[str]:
        settings = KafkaSettings()
        try:
            return await create_missing_topics(settings.kafka_bootstrap, settings.topic_prefix)
        except TopicConfigError as error:
            raise ActionRefused(str(error)) from None

    created = run_command(work)
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo("all topics exist")
