"""Real Kafka and PostgreSQL, one of each a session; databases and topics fresh for who asks for them."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import backing_services
from deploy.local.kafka import delete_topics
from deploy.local.postgres import create_database, drop_databases
from services.eventlog.migrate import migrate
from services.kafka import topics
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import ExternalClient, Process
from tests.fixtures.token_issuer import TokenIssuer

pytest_plugins = ["tests.fixtures.console_fixtures"]

LMS_URL = "https://canvas.example"
RUN_PREFIX = f"tests-{uuid.uuid4().hex[:8]}"
"""What the names of this run's servers, databases and topics begin with."""
_NUMBERS = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often relays are killed inside a transaction")
    parser.addoption("--seasons", type=int, default=2, help="how many random seasons the console's numbers are held to")
    parser.addoption("--minutes", type=float, default=0.03, help="how long the console is left open under load")


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often a fault test kills what it tests."""
    return int(pytestconfig.getoption("--kills"))


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    server = backing_services.kafka_server(RUN_PREFIX)
    server.start()
    yield server.address
    if isinstance(server, backing_services.ExternalServer):
        delete_topics(server.address, RUN_PREFIX)
    server.kill()
    server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a database on the server that tests make their own databases on, and leave as it is."""
    server = backing_services.postgres_server(RUN_PREFIX)
    server.start()
    yield server.address
    if isinstance(server, backing_services.ExternalServer):
        drop_databases(server.address, RUN_PREFIX)
    server.kill()
    server.remove()


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Callable[[], str]:
    """Makes a fresh, migrated database and returns its URL."""
    template = f"{RUN_PREFIX}-template"
    migrate(create_database(postgres, template))
    return lambda: create_database(postgres, f"{RUN_PREFIX}-{next(_NUMBERS)}", template)


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
async def mute() -> AsyncIterator[str]:
    """A server that takes connections and says nothing."""

    async def say_nothing(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        while await reading.read(1 << 16):
            pass
        writing.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1")
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@dataclass
class System:
    """A database, topics, and processes on them."""

    database_url: str
    bootstrap: str
    prefix: str
    folder: Path
    processes: list[Process]
    client: ExternalClient

    @property
    def environment(self) -> dict[str, str]:
        """The settings that name this system."""
        return {
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "TOPIC_PREFIX": self.prefix,
            "LMS_URL": LMS_URL,
        }

    def create_process(self, name: str, **environment: str) -> Process:
        """A handler or relay of this system, not started."""
        process = Process(name, {**self.environment, **environment}, self.folder / f"{name}-{len(self.processes)}.log")
        self.processes.append(process)
        return process

    def create_gateway(self, issuer: TokenIssuer, **environment: str) -> Process:
        """A gateway that believes an issuer's tokens, not started."""
        settings = {
            "JWKS": str(issuer.write_jwks(self.folder / f"users-{len(self.processes)}.jwks")),
            "LMS_URL": LMS_URL,
            "REQUESTS_PER_MINUTE": "1000000",
            # A machine that stands still for some seconds makes no "pending" of a decision.
            "VERDICT_WAIT_SECONDS": "60",
            **environment,
        }
        process = self.create_process("gateway", **settings)
        process.environment |= {"GATEWAY_PORT": str(process.port), "GATEWAY_URL": process.url}
        return process

    def create_console(self, issuer: TokenIssuer, **environment: str) -> Process:
        """A console that an issuer's tokens open, not started."""
        process = self.create_process("console", JWKS=str(issuer.write_jwks(self.folder / "users.jwks")), **environment)
        process.environment |= {"CONSOLE_PORT": str(process.port), "CONSOLE_URL": process.url}
        return process


async def create_system(bootstrap: str, database_url: str, folder: Path) -> AsyncIterator[System]:
    prefix = f"{RUN_PREFIX}-{next(_NUMBERS)}"
    await topics.create_missing_topics(bootstrap, prefix)
    client = ExternalClient(bootstrap, prefix)
    await client.start()
    system = System(database_url, bootstrap, prefix, folder, [], client)
    try:
        yield system
    finally:
        for process in system.processes:
            process.kill()
        await client.close()


@pytest.fixture
async def system(bootstrap: str, database_url: str, tmp_path: Path) -> AsyncIterator[System]:
    """Fresh database and topics; nothing runs yet."""
    async for new_system in create_system(bootstrap, database_url, tmp_path):
        yield new_system


async def create_running_system(bootstrap: str, database_url: str, folder: Path) -> AsyncIterator[System]:
    """Fresh database and topics with one handler and one relay."""
    async for system in create_system(bootstrap, database_url, folder):
        for process in (system.create_process("handler", HANDLER_INSTANCE="shared"), system.create_process("relay")):
            process.start()
        for process in system.processes:
            await process.wait_until_ready()
        yield system


async def seed_course(system: System) -> None:
    """Course 1001 of the corpus: final grader 11, graders 21 and 22, students 31 to 40."""
    people = [(11, "TeacherEnrollment"), (21, "TaEnrollment"), (22, "TaEnrollment")]
    people += [(student, "StudentEnrollment") for student in range(31, 41)]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in people]
    facts = [
        BAD_INPUTS["bases"]["upsert_course"],
        {**BAD_INPUTS["bases"]["upsert_users"], "type": "upsert_enrollments", "data": {"enrollments": rows}},
        BAD_INPUTS["bases"]["assignment"],
    ]
    for fact in facts:
        verdict = await system.client.send_and_wait({**fact, "command_id": str(uuid.uuid4())})
        assert verdict["status"] == "accepted", verdict


@pytest.fixture(scope="session")
async def running_system(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """For all tests that do it no harm; such a test uses a course of its own."""
    async for new_system in create_running_system(bootstrap, new_database(), tmp_path_factory.mktemp("running")):
        yield new_system


@pytest.fixture(scope="session")
async def seeded(running_system: System) -> System:
    """The shared system with course 1001."""
    await seed_course(running_system)
    return running_system


@pytest.fixture(scope="session")
def issuer() -> TokenIssuer:
    """Who issues the tokens that the tests' gateways believe."""
    return TokenIssuer()


@pytest.fixture(scope="session")
async def gateway(running_system: System, issuer: TokenIssuer) -> AsyncIterator[GatewayClient]:
    """A client of one gateway on the shared system."""
    process = running_system.create_gateway(issuer)
    process.start()
    await process.wait_until_ready()
    client = GatewayClient(process.url, issuer)
    yield client
    await client.http.aclose()
