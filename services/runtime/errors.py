"""Errors that mean "this server is down or refuses", and a sentence that describes each.

Both lists include errors outside the clients' own base classes, so that an outage is retried instead of ending the
process. ``OSError`` and ``TimeoutError`` do not name the server; the caller knows which one it called.
"""

from typing import Literal

import asyncpg
from aiokafka.errors import (
    BrokerResponseError,
    ConsumerStoppedError,
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
)

from services.config.database import FormerPrimary

Server = Literal["kafka", "postgresql"]

# asyncpg: InternalClientError is neither a PostgresError nor an InterfaceError. It covers a protocol broken by
# pg_terminate_backend, TargetServerAttributeNotMatched (no primary among the hosts of the URL) and OutdatedSchemaCache.
POSTGRES_CLIENT_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# aiokafka: a producer that is fenced between two sends raises IllegalOperation, a consumer that is closed while it
# fetches raises ConsumerStoppedError. Neither is a KafkaError.
KAFKA_CLIENT_ERRORS = (KafkaError, IllegalOperation, ConsumerStoppedError)
FENCED_ERRORS = (ProducerFenced, InvalidProducerEpoch)
# TimeoutError is an OSError.
POSTGRES_ERRORS = (*POSTGRES_CLIENT_ERRORS, OSError)
KAFKA_ERRORS = (*KAFKA_CLIENT_ERRORS, OSError)
INFRASTRUCTURE_ERRORS = (*POSTGRES_CLIENT_ERRORS, *KAFKA_CLIENT_ERRORS, OSError)

_SCHEMA_ERRORS = (
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
)
# Classes 08 (connection) and 57 (shutdown, cancelled query): the server is stopping or did not finish in time.
_AWAY_SQLSTATE_CLASSES = ("08", "57")


class ServerSilent(TimeoutError):
    """A server did not answer for as long as the caller waits; the message names the server."""


def describe_error(
    error: BaseException, server: Server = "postgresql", *, is_administrators_command: bool = False
) -> str:
    """Return a sentence that states the problem and, if waiting does not help, the remedy; never a value of a command.

    ``server`` is the one that was called; it is used for ``OSError`` and ``TimeoutError``, which do not name one.
    ``is_administrators_command``: if rights are missing, the remedy is other credentials, not a grant to these.
    """
    name = type(error).__name__
    if isinstance(error, (ServerSilent, FormerPrimary)):
        return str(error)
    if isinstance(error, KAFKA_CLIENT_ERRORS):
        return _describe_kafka_client_error(error, is_administrators_command)
    if isinstance(error, POSTGRES_CLIENT_ERRORS):
        return _describe_postgres_client_error(error, is_administrators_command)
    return f"{'Kafka' if server == 'kafka' else 'PostgreSQL'} does not answer: {name}"


def describe_unexpected_error(error: Exception) -> str:
    """Return the message of an exception of our own, which has no contents of records, else only its type."""
    kind = type(error)
    return str(error) if kind.__module__.startswith("services.") else kind.__name__


def _describe_kafka_client_error(error: BaseException, is_administrators_command: bool) -> str:
    name = type(error).__name__
    if isinstance(error, FENCED_ERRORS):
        return f"Kafka fenced this producer: another one started with its transactional id ({name})"
    if isinstance(error, IllegalOperation) or (isinstance(error, BrokerResponseError) and not error.retriable):
        if "AuthorizationFailed" not in name:
            return f"Kafka refuses: {name}"
        if is_administrators_command:
            return (
                f"Kafka refuses: {name}: run this command as the administrator's Kafka user, not as that of a process"
                " (deploy/grant-acls administrator grants its permissions; on Kubernetes run it in the pod of"
                " deployment/…-admin)"
            )
        return f"Kafka refuses: {name}: grant this process's user its permissions with deploy/grant-acls"
    is_explained = isinstance(error, KafkaTimeoutError) and error.args
    return f"Kafka does not answer: {error.args[0] if is_explained else name}"


def _describe_postgres_client_error(error: BaseException, is_administrators_command: bool) -> str:
    name = type(error).__name__
    if isinstance(error, _SCHEMA_ERRORS):
        return f"the log's schema is not the one this version needs ({name}): run moderated-grading admin migrate"
    if isinstance(error, asyncpg.InsufficientPrivilegeError) and is_administrators_command:
        return (
            f"PostgreSQL refuses ({name}): set DATABASE_URL to the administrator's login, the owner of the database,"
            " not to that of a process (on Kubernetes run this command in the pod of deployment/…-admin)"
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return (
            f"PostgreSQL refuses ({name}): grant DATABASE_URL's user the role of this process (moderation_writer,"
            " moderation_reader or moderation_operator); a user that is bound to one root account cannot do this: set"
            " DATABASE_URL to another user"
        )
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and sqlstate and sqlstate[:2] not in _AWAY_SQLSTATE_CLASSES:
        return f"PostgreSQL failed: {name}. Its log states the reason"
    return f"PostgreSQL does not answer: {name}"
