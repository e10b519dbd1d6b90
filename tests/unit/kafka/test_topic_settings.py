"""Topic settings that would lose records are reported with a remedy; those that only cost space are accepted."""

from dataclasses import replace

import pytest

from schemas.topics import OUTPUT_TOPICS, TOPICS
from services.kafka.topic_settings import (
    Replication,
    TopicDescription,
    build_topic_config,
    find_partition_problems,
    find_topic_problems,
    is_weakly_replicated,
)

THREE_BROKERS = Replication(3, 2)


def created(name: str) -> TopicDescription:
    """Return a topic as the service creates it on three brokers."""
    return TopicDescription(12, 3, build_topic_config(TOPICS[name].config, THREE_BROKERS))


def problems_of(name: str, description: TopicDescription) -> list[str]:
    return find_topic_problems(f"moderation.{name}", TOPICS[name], description, THREE_BROKERS)


@pytest.mark.parametrize("name", TOPICS)
def test_created_topics_have_no_problems(name: str) -> None:
    assert problems_of(name, created(name)) == []


@pytest.mark.parametrize("name", TOPICS)
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("retention.bytes", "5000000"),
    ],
)
def test_settings_that_lose_acknowledged_records_are_problems_on_every_topic(
    name: str, setting: str, value: str
) -> None:
    found = created(name)
    (problem,) = problems_of(name, replace(found, config={**found.config, setting: value}))
    assert f"moderation.{name} has {setting}={value}" in problem
    assert f"kafka-configs --alter --topic moderation.{name} --add-config {setting}=" in problem


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("live-events", "cleanup.policy", "compact"),
        ("live-events", "cleanup.policy", "compact,delete"),
        ("live-events", "retention.ms", "60000"),
        ("live-events", "max.message.bytes", "1000"),
        ("commands", "retention.ms", "60000"),
        ("commands", "compression.type", "producer"),
        ("commands", "message.timestamp.type", "CreateTime"),
        ("progress", "cleanup.policy", "delete"),
        ("progress", "cleanup.policy", "compact,delete"),
    ],
)
def test_settings_of_one_topic_that_lose_records_are_problems(name: str, setting: str, value: str) -> None:
    found = created(name)
    (problem,) = problems_of(name, replace(found, config={**found.config, setting: value}))
    assert f"has {setting}={value}: set it to {found.config[setting]}" in problem


@pytest.mark.parametrize(("setting", "value"), [("retention.ms", "-1"), ("max.message.bytes", "9999999")])
def test_settings_that_keep_more_are_no_problem(setting: str, value: str) -> None:
    found = created("events")
    assert problems_of("events", replace(found, config={**found.config, setting: value})) == []


def test_too_few_replicas_are_a_problem() -> None:
    (problem,) = problems_of("verdicts", replace(created("verdicts"), replicas=1))
    assert "has partitions with 1 replicas, not 3" in problem
    assert "kafka-reassign-partitions" in problem


def test_acknowledged_commands_are_kept_when_their_topic_lacks_partitions() -> None:
    (problem,) = find_partition_problems("commands", "moderation.commands", 1, 12)
    assert "kafka-topics --alter --topic moderation.commands --partitions 12" in problem
    assert 'moderated-grading admin accept-recreated-topic "why"' in problem
    assert "delete" not in problem


@pytest.mark.parametrize("name", OUTPUT_TOPICS)
def test_output_that_lacks_partitions_gets_them_and_keeps_its_records(name: str) -> None:
    (problem,) = find_partition_problems(name, f"moderation.{name}", 3, 12)
    assert f"kafka-topics --alter --topic moderation.{name} --partitions 12" in problem
    assert "delete" not in problem
    assert find_partition_problems(name, f"moderation.{name}", 24, 12) == []


@pytest.mark.parametrize("count", [1, 5])
def test_progress_topic_with_another_number_of_lanes_is_made_again(count: int) -> None:
    (problem,) = find_partition_problems("progress", "moderation.progress", count, 4)
    assert f"has {count} partitions, not 4: stop the relays, delete it" in problem
    assert find_partition_problems("progress", "moderation.progress", 4, 4) == []


def test_days_of_retention_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    found = created("events")
    monkeypatch.setenv("TOPIC_RETENTION_DAYS", "30")
    (problem,) = problems_of("events", found)
    assert f"set it to {30 * 24 * 3600 * 1000}" in problem


@pytest.mark.parametrize(("replicas", "min_insync", "expected"), [(3, "2", False), (1, "1", True), (3, "1", True)])
def test_quorum_is_read_only_if_topics_are_weakly_replicated(replicas: int, min_insync: str, expected: bool) -> None:
    assert (
        is_weakly_replicated({"events": TopicDescription(12, replicas, {"min.insync.replicas": min_insync})})
        == expected
    )
