"""What the console says about topics that lack partitions."""

import pytest

from schemas.topics import TOPICS
from services.console.topic_integrity import MissingPartitions


@pytest.mark.parametrize("name", TOPICS)
def test_only_the_progress_topic_is_to_be_deleted(name: str) -> None:
    text = str(MissingPartitions(name, f"moderation.{name}", 1, 12))
    assert text.startswith(f"topic {name} has 1 partition instead of 12: ")
    assert ("delete" in text) == (name == "progress")
    assert (f"kafka-topics --alter --topic moderation.{name} --partitions 12" in text) == (name != "progress")


def test_topic_that_does_not_exist_is_said_to_be_missing() -> None:
    assert str(MissingPartitions("commands", "moderation.commands", 0, 12)) == "topic commands does not exist"
