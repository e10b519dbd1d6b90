"""Kafka allows processes and external users exactly what ``deploy/kafka/acls.yaml`` lists."""

import asyncio
import json
import os
import time
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioTopicPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from deploy.kafka.grant_acls import build_acls, grant, read_roles
from deploy.local.kafka import client_settings
from deploy.local.logins import LOGIN_ROLES
from deploy.local.secure_servers import OUTSIDE_ROLES
from schemas.topics import OUTPUT_TOPICS, TOPICS
from services.console.reader_groups import read_groups
from services.kafka.client_options import client_options, librdkafka_options
from services.kafka.topic_reader import open_reader
from services.kafka.topics import full_topic_name
from tests.fixtures.fault_helpers import course_commands, publication_commands
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import wait_until
from tests.fixtures.secure import acting_as
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

USERS = (*LOGIN_ROLES, *OUTSIDE_ROLES)
WRITTEN_BY_RELAY = {*OUTPUT_TOPICS, "progress"}
READS = {
    "handler": {"commands", "progress"},
    "relay": WRITTEN_BY_RELAY,
    "console": set(TOPICS),
    "operator": set(TOPICS),
    "gradebook": {"live-events"},
}
WRITES = {
    "relay": WRITTEN_BY_RELAY,
    "gateway": {"commands"},
    "scheduler": {"commands"},
    "console": {"commands"},
    "operator": {"commands"},
    "producer": {"commands"},
}
STUDENTS = 3
DEADLINE_SECONDS = 30
READERS = 12
END_SECONDS_MAX = 15


def settings_of(user: str, **settings: Any) -> dict[str, Any]:
    """Return settings of a librdkafka client that connects as this user."""
    with acting_as(user):
        return {**librdkafka_options(os.environ["KAFKA_BOOTSTRAP"]), "log_level": 0, **settings}


def expect_refusal(consumer: Consumer, code: int) -> None:
    """Poll until a consumer is refused for this reason, without receiving any record."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None:
            error = message.error()
            assert error is not None, f"{message.topic()} was read"
            if error.code() == code:
                return
    raise AssertionError(f"neither a record nor a refusal after {DEADLINE_SECONDS} s")


async def test_a_grade_passes_from_its_producer_through_every_process_to_its_reader(
    running_system: System, issuer: TokenIssuer
) -> None:
    gateway, console = running_system.create_gateway(issuer), running_system.create_console(issuer)
    scheduler = running_system.create_process("scheduler")
    for process in (gateway, console, scheduler):
        process.start()
    for process in (gateway, console, scheduler):
        await process.wait_until_ready()
    users = [process.environment["KAFKA_SASL_USERNAME"] for process in running_system.processes]
    assert users == ["handler", "relay", "gateway", "console", "scheduler"]
    with acting_as("producer"):
        producer = AIOKafkaProducer(**client_options(running_system.bootstrap), enable_idempotence=True)
    with acting_as("gradebook"):
        gradebook = AIOKafkaConsumer(
            full_topic_name(running_system.prefix, "live-events"),
            **client_options(running_system.bootstrap),
            group_id="gradebook.grades",
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
    commands = publication_commands(STUDENTS)
    async with producer, gradebook:
        for command in commands:
            await producer.send_and_wait(
                full_topic_name(running_system.prefix, "commands"),
                json.dumps(command).encode(),
                key=command["course_id"].encode(),
            )
        grades: list[Any] = []

        async def has_grades() -> bool:
            for records in (await gradebook.getmany(timeout_ms=200)).values():
                grades.extend(records)
            return len(grades) >= STUDENTS

        await wait_until(has_grades, "the grades are read")
    client = GatewayClient(gateway.url, issuer)
    course, assignment = commands[-1]["course_id"], commands[-1]["assignment_id"]
    response = await client.request("GET", f"/api/v1/courses/{course}/assignments/{assignment}/submissions", 11)
    await client.http.aclose()
    assert response.status_code in (200, 403)
    assert console.get_readiness()[0] == 200


async def test_console_shows_the_lag_of_groups_that_it_may_describe_and_names_the_others(
    running_system: System,
) -> None:
    topic, group = full_topic_name(running_system.prefix, "live-events"), "gradebook.lag"
    with acting_as("gradebook"):
        consumer = AIOKafkaConsumer(**client_options(running_system.bootstrap), group_id=group)
    async with consumer:
        consumer.assign([AioTopicPartition(topic, 0)])
        await consumer.commit({AioTopicPartition(topic, 0): 0})
    with acting_as("console"):
        refused = await read_groups(running_system.bootstrap, [topic], seconds_max=DEADLINE_SECONDS)
    describe = AclBinding(
        ResourceType.GROUP,
        group,
        ResourcePatternType.LITERAL,
        "User:console",
        "*",
        AclOperation.DESCRIBE,
        AclPermissionType.ALLOW,
    )
    grant(AdminClient(client_settings(running_system.bootstrap)), [describe])
    with acting_as("console"):
        allowed = await read_groups(running_system.bootstrap, [topic], seconds_max=DEADLINE_SECONDS)
    assert group not in {lag.group for lag in refused.lags}
    assert refused.problems == ()
    assert group in refused.hint
    assert "User:console --operation Describe" in refused.hint
    assert [lag.members for lag in allowed.lags if lag.group == group] == [0]


async def test_handler_decides_again_after_its_group_was_forbidden_for_a_while(running_system: System) -> None:
    prefix, admin = running_system.prefix, AdminClient(client_settings(running_system.bootstrap))
    handler = next(process for process in running_system.processes if process.name.startswith("handler"))
    (group,) = [acl for acl in build_acls("handler", "handler", prefix) if acl.restype == ResourceType.GROUP]
    granted = AclBindingFilter(
        group.restype,
        group.name,
        group.resource_pattern_type,
        group.principal,
        "*",
        group.operation,
        group.permission_type,
    )
    (removed,) = admin.delete_acls([granted]).values()
    assert len(removed.result(DEADLINE_SECONDS)) == 1
    try:
        await wait_until(
            lambda: "GroupAuthorizationFailed" in handler.get_readiness()[1],
            "the handler is refused and not ready",
        )
    finally:
        grant(admin, [group])
    await wait_until(lambda: handler.get_readiness()[0] == 200, "the handler is ready again")
    command = course_commands(1)[0]
    assert (await running_system.client.send_and_wait(command))["status"] == "accepted"


@pytest.mark.parametrize("user", USERS)
async def test_users_can_neither_write_nor_read_topics_that_are_not_on_their_list(
    running_system: System, user: str
) -> None:
    unwritable = [full_topic_name(running_system.prefix, name) for name in set(TOPICS) - WRITES.get(user, set())]
    unreadable = [full_topic_name(running_system.prefix, name) for name in set(TOPICS) - READS.get(user, set())]

    producer, outcomes = Producer(settings_of(user)), []
    for topic in unwritable:
        producer.produce(topic, b"x", on_delivery=lambda error, _: outcomes.append(error and error.code()))
    producer.flush(DEADLINE_SECONDS)
    assert outcomes == [KafkaError.TOPIC_AUTHORIZATION_FAILED] * len(unwritable)

    admin = AdminClient(settings_of(user))
    for topic in unreadable:
        error = admin.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic].error
        if error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            continue  # Not even its name is visible.
        consumer = Consumer(settings_of(user, **{"group.id": f"{user}.reads", "enable.auto.commit": False}))
        consumer.assign([TopicPartition(topic, 0, 0)])
        expect_refusal(consumer, KafkaError.TOPIC_AUTHORIZATION_FAILED)
        consumer.close()


@pytest.mark.parametrize("user", [*LOGIN_ROLES, "gradebook", "producer"])
async def test_users_cannot_use_groups_or_transactional_ids_of_others(running_system: System, user: str) -> None:
    group = f"{running_system.prefix}.handler" if user != "handler" else "gradebook.grades"
    topic = full_topic_name(running_system.prefix, sorted(READS.get(user, {"commands"}))[0])
    consumer = Consumer(settings_of(user, **{"group.id": group}))
    consumer.subscribe([topic])
    expect_refusal(consumer, KafkaError.GROUP_AUTHORIZATION_FAILED)
    consumer.close()

    transactional_id = f"{running_system.prefix}.relay" if user != "relay" else "another.relay"
    producer = Producer(settings_of(user, **{"transactional.id": transactional_id}))
    with pytest.raises(KafkaException) as caught:
        producer.init_transactions(DEADLINE_SECONDS)
    assert caught.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.parametrize("user", USERS)
async def test_users_cannot_create_topics_or_grant_rights(running_system: System, user: str) -> None:
    admin = AdminClient(settings_of(user))
    (created,) = admin.create_topics([NewTopic(f"{running_system.prefix}.new", 1, 1)]).values()
    with pytest.raises(KafkaException) as caught:
        created.result(DEADLINE_SECONDS)
    assert caught.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    with pytest.raises(KafkaException) as caught:
        grant(admin, build_acls("relay", user, running_system.prefix))
    assert caught.value.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    "settings",
    [
        {"sasl.password": "guessed"},
        {"sasl.username": "nobody"},
        {"security.protocol": "plaintext"},
        {"security.protocol": "ssl"},
        {"sasl.mechanism": "PLAIN"},
    ],
)
async def test_no_information_is_available_without_a_password(running_system: System, settings: dict[str, str]) -> None:
    client = AdminClient(settings_of("handler", **settings))
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)


async def test_a_broker_with_a_certificate_of_another_authority_is_not_trusted(running_system: System) -> None:
    system_authorities = {"ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"}
    client = AdminClient(settings_of("handler", **system_authorities))
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)


async def test_a_reader_of_topics_ends_at_once_while_an_answer_is_on_its_way(running_system: System) -> None:
    # The topic is empty, so that the broker holds each fetch for a while.
    name = full_topic_name(running_system.prefix, "dead-letters")
    topic_partitions = [AioTopicPartition(name, shard) for shard in range(12)]

    async def measure_end() -> float:
        async with open_reader(running_system.bootstrap, topic_partitions) as consumer:
            await consumer.end_offsets(topic_partitions)
            for topic_partition in topic_partitions:
                await consumer.position(topic_partition)
            await consumer.getmany(*topic_partitions, timeout_ms=1)
            started_at = time.monotonic()
        return time.monotonic() - started_at

    async def measure_ends() -> list[float]:
        return await asyncio.gather(*(measure_end() for _ in range(READERS)))

    # The event loop of our processes; it waits up to 30 s until a TLS connection is closed from both sides.
    assert max(await asyncio.to_thread(uvloop.run, measure_ends())) < END_SECONDS_MAX


def test_the_list_names_every_right_and_resource() -> None:
    for role, rules in read_roles().items():
        for rule in rules:
            # Only an administrator removes records, those that a log has lost.
            deletes = {"DELETE"} if role == "administrator" else set()
            assert set(rule["allow"]) <= {"READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"} | deletes, role
            assert "*" not in str(rule), role
