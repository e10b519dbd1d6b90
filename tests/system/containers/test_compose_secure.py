"""The composed, secured service publishes grades for clients that sign in, and refuses every other client."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from deploy.local.kafka_security import ADMINISTRATOR
from deploy.local.logins import LOGIN_ROLES
from deploy.local.secure_servers import Credentials
from services.kafka.client_options import librdkafka_options
from tests.fixtures.fault_helpers import publication_commands
from tests.system.containers.composition import (
    Composition,
    composed,
    count_verdicts,
    producer_at,
    read_records,
    send,
)
from tests.system.containers.conftest import Engine

STUDENTS = 3
OWNER = "postgresql://moderation:moderation@postgres/moderation"


@pytest.fixture(scope="module")
def secure(engine: Engine) -> Iterator[Composition]:
    with composed(engine, "secure") as composition:
        yield composition


@pytest.fixture(scope="module")
def credentials(secure: Composition, tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """Return a copy of the credentials, as a client outside gets its own."""
    folder = tmp_path_factory.mktemp("credentials")
    secure.engine.docker("cp", f"{secure.container_id('secure-handler')}:/credentials/.", str(folder))
    return Credentials(Path(folder))


def sign_in(monkeypatch: pytest.MonkeyPatch, credentials: Credentials, user: str) -> None:
    """Let clients that are created from here on connect as this user."""
    for name, value in credentials.kafka.client_environment(user).items():
        monkeypatch.setenv(name, value)


def settings_of(bootstrap: str, **changed: str) -> dict[str, Any]:
    """Return the settings of a librdkafka client of the user that is signed in, except for the changed ones."""
    return {**librdkafka_options(bootstrap), "log_level": 0, **changed}


async def test_a_grade_passes_from_its_producer_to_its_reader(
    secure: Composition, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap, commands = secure.address("KAFKA_PORT"), publication_commands(STUDENTS)
    sign_in(monkeypatch, credentials, "producer")
    async with producer_at(bootstrap) as producer:
        await send(producer, commands)
    sign_in(monkeypatch, credentials, "gradebook")
    grades = await read_records(bootstrap, "live-events", STUDENTS, group="gradebook.grades")
    assert len(grades) == STUDENTS
    sign_in(monkeypatch, credentials, ADMINISTRATOR)
    verdicts = await read_records(bootstrap, "verdicts", len(commands))
    assert count_verdicts(verdicts) == {command["command_id"]: 1 for command in commands}


@pytest.mark.parametrize(
    "changed",
    [
        {"security.protocol": "plaintext"},
        {"security.protocol": "ssl"},
        {"sasl.password": "another"},
        {"ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"},
    ],
)
def test_client_without_tls_password_or_the_right_authority_learns_nothing(
    secure: Composition, credentials: Credentials, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    sign_in(monkeypatch, credentials, "producer")
    bootstrap = secure.address("KAFKA_PORT")
    assert AdminClient(settings_of(bootstrap)).list_topics(timeout=30).brokers
    with pytest.raises(KafkaException):
        AdminClient(settings_of(bootstrap, **changed)).list_topics(timeout=3)


def test_client_with_a_password_may_do_only_what_its_list_says(
    secure: Composition, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(monkeypatch, credentials, "gradebook")
    outcomes: list[object] = []
    producer = Producer(settings_of(secure.address("KAFKA_PORT")))
    producer.produce("moderation.commands", b"{}", on_delivery=lambda error, _: outcomes.append(error and error.code()))
    producer.flush(30)
    assert outcomes == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


def test_database_refuses_unencrypted_connections_and_unknown_logins(secure: Composition) -> None:
    program = "import psycopg, sys; psycopg.connect(sys.argv[1], connect_timeout=5)"
    verified = f"{OWNER}?sslmode=verify-full&sslrootcert=/credentials/certificates/ca.pem"
    attempts = {
        verified: "",
        f"{OWNER}?sslmode=disable": "no encryption",
        f"{OWNER}?sslmode=verify-full&sslrootcert=system": "certificate verify failed",
        verified.replace(":moderation@", ":another@"): "password authentication failed",
    }
    for url, refusal in attempts.items():
        command = ["exec", secure.container_id("secure-handler"), "python3", "-c", program, url]
        ended = secure.engine.docker(*command, check=False)
        assert (ended.returncode == 0) == (not refusal), url
        assert refusal in ended.stderr


def test_processes_connect_as_themselves(secure: Composition) -> None:
    users = ("handler", "relay", "gateway", "scheduler", "console")
    assert set(users) <= LOGIN_ROLES.keys()
    query = "select distinct usename from pg_stat_activity where usename <> 'moderation' and usename is not null"
    command = ["exec", "-T", "-e", "PGPASSWORD=moderation", "secure-postgres", "psql"]
    deadline = time.monotonic() + 30
    found: set[str] = set()
    while not set(users) <= found and time.monotonic() < deadline:
        url = "host=127.0.0.1 user=moderation dbname=moderation sslmode=require"
        found |= set(secure.compose(*command, url, "-Atc", query).split())
    assert found == set(users)
