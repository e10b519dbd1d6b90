"""Servers for one run, and installations of the service on them."""

import asyncio
import itertools
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from deploy.benchmarks.service_tree import THIS_TREE, ServiceTree
from deploy.benchmarks.workload import ProducerRecord
from deploy.local.backing_services import Server
from deploy.local.kafka import client_settings, delete_topics
from deploy.local.logins import create_logins
from deploy.local.paths import STATE
from deploy.local.postgres import create_database, database_name, drop_databases
from deploy.local.secure_servers import Credentials, grant_process_acls
from services.eventlog.initial_progress import build_initial_progress
from services.eventlog.migrate import migrate
from services.eventlog.postgres import READER, connect
from services.kafka import topics

LOG_FILE = STATE / "bench.log"
TABLES = "select oid::regclass::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
DURABILITY_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")


@dataclass(frozen=True, slots=True)
class BenchInstallation:
    """A log and its topics. ``credentials``: of its processes, if the servers are secured."""

    url: str
    bootstrap: str
    prefix: str
    credentials: Credentials | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables of its processes."""
        return {"DATABASE_URL": self.url, "KAFKA_BOOTSTRAP": self.bootstrap, "TOPIC_PREFIX": self.prefix}

    def environment_of(self, process: str) -> dict[str, str]:
        """Return the environment variables of one process, which connects to secured servers as itself."""
        identity = {} if self.credentials is None else self.credentials.identity(process, self.url)
        return {**self.environment, **identity}

    def send(self, records: Sequence[ProducerRecord], name: str = "commands") -> None:
        """Send records to a topic; return when the broker has acknowledged all."""
        producer = Producer(
            {
                **client_settings(self.bootstrap),
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "batch.size": 500_000,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        for record in records:
            producer.produce(
                topics.full_topic_name(self.prefix, name), record.value, record.key, headers=record.headers
            )
        producer.flush()


class BenchServers:
    """A Kafka and a PostgreSQL that nothing else uses during the run. ``credentials``: of secured servers."""

    def __init__(self, kafka: Server, postgres: Server, credentials: Credentials | None = None) -> None:
        self.kafka = kafka
        self.postgres = postgres
        self.credentials = credentials
        self.name = f"bench-{uuid.uuid4().hex[:8]}"
        self._name_numbers = itertools.count(1)

    def start(self) -> None:
        """Start servers without data of an earlier run. SystemExit if one does not start or is not durable."""
        try:
            for server in (self.kafka, self.postgres):
                server.kill()
                server.remove()
                server.start()
        except RuntimeError as error:
            sys.exit(f"deploy/bench: {error}")
        with psycopg.connect(self.postgres.address) as connection:
            for setting in DURABILITY_SETTINGS:
                row = connection.execute("select current_setting(%s)", (setting,)).fetchone()
                if row != ("on",):
                    value = row and row[0]
                    sys.exit(f"deploy/bench: PostgreSQL has {setting}={value}: nothing was measured; set it to on")

    def stop(self) -> None:
        """Remove everything of this run, also on external servers."""
        self.clean()
        for server in (self.kafka, self.postgres):
            server.kill()
            server.remove()

    def clean(self) -> None:
        """Drop every database and topic of this run."""
        drop_databases(self.postgres.address, self.name)
        delete_topics(self.kafka.address, self.name)

    def new_database(self, template: str | None = None, tree: ServiceTree = THIS_TREE) -> str:
        """Create an empty log of a tree, or a copy of one that has no connections, and return its URL.

        Autovacuum is off in an empty log: its work would slow some cases and not others.
        """
        name = f"{self.name}-{next(self._name_numbers):04d}"
        if template is not None:
            url = create_database(self.postgres.address, name, database_name(template))
            self._create_logins(url)
            return url
        url = create_database(self.postgres.address, name)
        if tree is THIS_TREE:
            migrate(url)
        else:
            tree.migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            for (table,) in connection.execute(TABLES).fetchall():
                connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
        self._create_logins(url)
        return url

    def _create_logins(self, url: str) -> None:
        if self.credentials is not None:
            create_logins(url, self.credentials.folder)

    def drop_database(self, url: str) -> None:
        """Drop a database of this run."""
        drop_databases(self.postgres.address, database_name(url))

    async def new_installation(self, url: str, tree: ServiceTree = THIS_TREE) -> BenchInstallation:
        """Create new topics for a database of a tree."""
        prefix = f"{self.name}-{next(self._name_numbers):04d}"
        installation = BenchInstallation(url, self.kafka.address, prefix, self.credentials)
        if self.credentials is not None:
            grant_process_acls(AdminClient(client_settings(self.kafka.address)), prefix)
        if tree is not THIS_TREE:
            await asyncio.to_thread(tree.create_topics, installation.environment)
            return installation
        connection = await connect(url, "bench", READER)
        try:
            progress = await build_initial_progress(connection)
        finally:
            await connection.close()
        await topics.create_missing_topics(self.kafka.address, prefix, progress)
        return installation
