"""Every error that means "server unavailable" is retried, and its description contains no value of a command."""

import asyncio
import re

import asyncpg
import pytest
import typer
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupCoordinatorNotAvailableError,
    IllegalOperation,
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from deploy.local.paths import ROOT
from services.eventlog import postgres
from services.kafka.timeouts import kafka_timeout
from services.runtime.command_line import ExitCode, run_command
from services.runtime.errors import (
    INFRASTRUCTURE_ERRORS,
    KAFKA_ERRORS,
    POSTGRES_ERRORS,
    ServerSilent,
    describe_error,
)

POSTGRES_KINDS: list[type[Exception]] = [
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.DiskFullError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.ProtocolError,
    asyncpg.TargetServerAttributeNotMatched,
    ConnectionRefusedError,
    TimeoutError,
]
KAFKA_KINDS: list[type[Exception]] = [
    KafkaConnectionError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    GroupCoordinatorNotAvailableError,
    ProducerFenced,
    IllegalOperation,
    ConsumerStoppedError,
    ConnectionResetError,
    TimeoutError,
]


@pytest.mark.parametrize("kind", POSTGRES_KINDS)
def test_postgresql_error_counts_as_infrastructure(kind: type[Exception]) -> None:
    assert issubclass(kind, POSTGRES_ERRORS)
    assert issubclass(kind, INFRASTRUCTURE_ERRORS)


@pytest.mark.parametrize("kind", KAFKA_KINDS)
def test_kafka_error_counts_as_infrastructure(kind: type[Exception]) -> None:
    assert issubclass(kind, KAFKA_ERRORS)
    assert issubclass(kind, INFRASTRUCTURE_ERRORS)


@pytest.mark.parametrize("kind", [ValueError, KeyError, AssertionError, RuntimeError])
def test_bugs_do_not_count_as_infrastructure(kind: type[Exception]) -> None:
    assert not issubclass(kind, INFRASTRUCTURE_ERRORS)


@pytest.mark.parametrize(
    ("error", "description"),
    [
        (KafkaConnectionError("at 10.0.0.1"), "Kafka does not answer: KafkaConnectionError"),
        (NotLeaderForPartitionError(), "Kafka does not answer: NotLeaderForPartitionError"),
        (
            KafkaTimeoutError("a transaction took longer than 20 s"),
            "Kafka does not answer: a transaction took longer than 20 s",
        ),
        (KafkaTimeoutError(), "Kafka does not answer: KafkaTimeoutError"),
        (
            TopicAuthorizationFailedError("moderation.verdicts"),
            "Kafka refuses: TopicAuthorizationFailedError: grant this process's user its permissions with"
            " deploy/grant-acls",
        ),
        (
            TransactionalIdAuthorizationFailed("moderation.relay-0"),
            "Kafka refuses: TransactionalIdAuthorizationFailed: grant this process's user its permissions with"
            " deploy/grant-acls",
        ),
        (MessageSizeTooLargeError(), "Kafka refuses: MessageSizeTooLargeError"),
        (IllegalOperation("not in transaction"), "Kafka refuses: IllegalOperation"),
        (
            ProducerFenced(),
            "Kafka fenced this producer: another one started with its transactional id (ProducerFenced)",
        ),
        (asyncpg.AdminShutdownError("terminating"), "PostgreSQL does not answer: AdminShutdownError"),
        (asyncpg.InternalClientError("unexpected"), "PostgreSQL does not answer: InternalClientError"),
        (
            asyncpg.TargetServerAttributeNotMatched("no primary"),
            "PostgreSQL does not answer: TargetServerAttributeNotMatched",
        ),
        (asyncpg.DiskFullError("no space"), "PostgreSQL failed: DiskFullError. Its log states the reason"),
        (asyncpg.LockNotAvailableError("lock"), "PostgreSQL failed: LockNotAvailableError. Its log states the reason"),
        (ConnectionRefusedError(111, "10.0.0.2"), "PostgreSQL does not answer: ConnectionRefusedError"),
        (ServerSilent("Kafka at b:9092 has not answered for 30 s"), "Kafka at b:9092 has not answered for 30 s"),
    ],
)
def test_error_is_described_by_server_and_kind(error: Exception, description: str) -> None:
    assert describe_error(error) == description


def test_caller_supplies_the_server_if_the_error_does_not_name_it() -> None:
    assert describe_error(TimeoutError(), "kafka") == "Kafka does not answer: TimeoutError"
    assert describe_error(OSError(), "postgresql") == "PostgreSQL does not answer: OSError"


def test_error_of_missing_rights_names_the_roles_to_grant() -> None:
    description = describe_error(asyncpg.InsufficientPrivilegeError("permission denied"))

    assert all(role in description for role in (postgres.WRITER, postgres.READER, postgres.OPERATOR))


@pytest.mark.parametrize(
    ("error", "credentials"),
    [
        (TransactionalIdAuthorizationFailed("moderation.relay-0"), "as the administrator's Kafka user"),
        (TopicAuthorizationFailedError("moderation.progress"), "as the administrator's Kafka user"),
        (asyncpg.InsufficientPrivilegeError("permission denied"), "DATABASE_URL to the administrator's login"),
    ],
)
def test_administrators_command_without_rights_names_the_administrators_credentials(
    error: Exception, credentials: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refuse() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        run_command(refuse, is_administrators=True)

    assert ended.value.exit_code == ExitCode.SERVER_UNAVAILABLE
    message = capsys.readouterr().err
    assert credentials in message
    # Grants to the user of a process, or to a process's role, would not help.
    assert "this process's user" not in message
    assert postgres.WRITER not in message


def test_commands_of_administrators_that_reach_servers_say_so() -> None:
    """Nothing else tells the commands of ``admin`` from those of operators when a server refuses."""
    modules = sorted((ROOT / "services/admin").glob("*.py"))
    calls = [call for module in modules for call in re.findall(r"run_command\((.*)\)", module.read_text())]

    assert len(calls) >= 4
    assert set(calls) == {"work, is_administrators=True"}


@pytest.mark.parametrize("kind", [asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError])
def test_error_of_an_outdated_schema_names_the_migrate_command(kind: type[Exception]) -> None:
    assert "run moderated-grading admin migrate" in describe_error(kind("relation does not exist"))


async def test_kafka_deadline_names_kafka_and_does_not_change_other_timeouts() -> None:
    with pytest.raises(KafkaTimeoutError, match="reading took longer than 0.001 s"):
        async with kafka_timeout(0.001, "reading"):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError, match="PostgreSQL's"):
        async with kafka_timeout(60, "reading"):
            raise TimeoutError("PostgreSQL's")
