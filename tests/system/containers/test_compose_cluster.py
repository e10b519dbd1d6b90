"""The composed cluster decides and publishes everything once through the loss of a broker and of the primary."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from deploy.local.kafka import client_settings
from tests.fixtures.fault_helpers import publication_commands
from tests.fixtures.process_runner import wait_until
from tests.system.containers.composition import (
    Composition,
    composed,
    count_verdicts,
    producer_at,
    read_records,
    send,
)
from tests.system.containers.conftest import Engine

COURSES, STUDENTS = 6, 3
DATA = "/var/lib/postgresql/data"


@pytest.fixture(scope="module")
def cluster(engine: Engine) -> Iterator[Composition]:
    with composed(engine, "cluster") as composition:
        yield composition


def test_topics_are_on_three_brokers_of_which_two_must_have_a_record(cluster: Composition) -> None:
    admin = AdminClient(client_settings(cluster.address("KAFKA_PORT")))
    topics = admin.list_topics(timeout=30).topics
    replicas = {
        len(p.replicas) for name in topics if name.startswith("moderation.") for p in topics[name].partitions.values()
    }
    assert replicas == {3}


def ask_primary(cluster: Composition, query: str) -> str:
    """Return the answer of the first PostgreSQL to a query; nothing while it does not answer."""
    command = ["psql", "-h", "127.0.0.1", "-U", "moderation", "-Atc", query]
    environment = ["-e", "PGPASSWORD=moderation"]
    return cluster.compose("exec", "-T", *environment, "postgres-primary", *command, check=False).strip()


def test_commits_wait_for_the_standby(cluster: Composition) -> None:
    assert ask_primary(cluster, "select application_name, sync_state from pg_stat_replication") == "standby|sync"


async def test_commands_are_decided_once_through_the_loss_of_a_broker_and_of_the_primary(cluster: Composition) -> None:
    every_broker, survivors = ("KAFKA_PORT", "KAFKA_PORT_2", "KAFKA_PORT_3"), ("KAFKA_PORT", "KAFKA_PORT_3")
    courses = [publication_commands(STUDENTS) for _ in range(COURSES)]
    before, during_broker_loss, after_promotion = courses[:2], courses[2:4], courses[4:]
    async with producer_at(cluster.address(*every_broker)) as producer:
        for commands in before:
            await send(producer, commands)
        cluster.compose("kill", "kafka-2")
        for commands in during_broker_loss:
            await send(producer, commands)
        sent = [command for commands in before + during_broker_loss for command in commands]
        verdicts = await read_records(cluster.address(*survivors), "verdicts", len(sent))
        assert count_verdicts(verdicts) == {command["command_id"]: 1 for command in sent}

        cluster.compose("kill", "postgres-primary")
        # The lines of deploy/docs/containers.md; then the lost primary comes back, as with the next "up".
        touch = ("run", "-T", "--rm", "--no-deps", "--entrypoint", "touch", "postgres-primary")
        cluster.compose(*touch, f"{DATA}/standby.signal")
        cluster.compose("exec", "-T", "postgres-standby", "pg_ctl", "promote", "-D", DATA)
        cluster.compose("start", "postgres-primary")
        for commands in after_promotion:
            await send(producer, commands)
    sent = [command for commands in courses for command in commands]
    verdicts = await read_records(cluster.address(*survivors), "verdicts", len(sent))
    assert count_verdicts(verdicts) == {command["command_id"]: 1 for command in sent}
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}
    grades = await read_records(cluster.address(*survivors), "live-events", COURSES * STUDENTS)
    assert len(grades) == COURSES * STUDENTS
    returned = "the lost primary is back, and only a standby"
    await wait_until(lambda: ask_primary(cluster, "select pg_is_in_recovery()") == "t", returned)
