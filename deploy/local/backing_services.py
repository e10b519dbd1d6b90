"""Chooses where Kafka and PostgreSQL run: as given by the environment, else in containers, else as local processes.

``python -m deploy.local.backing_services`` prints the choice for each: ``given``, ``container`` or ``local``. Functions
import ``containers`` only where they need it: the clients of container engines take as long to import as all the rest.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from deploy.local.kafka import KafkaServer
from deploy.local.paths import STATE, database_folder
from deploy.local.postgres import PostgresServer

ENVIRONMENT_VARIABLES = {"kafka": "KAFKA_BOOTSTRAP", "postgres": "DATABASE_URL"}
PROGRAM_VARIABLES = ("POSTGRES_BIN", "POSTGRES_VERSION")
"""What chooses the programs of a local PostgreSQL."""


class Server(Protocol):
    """A Kafka broker or a PostgreSQL server."""

    @property
    def address(self) -> str:
        """Kafka: host:port. PostgreSQL: URL of its default database."""

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers. Raises RuntimeError if it does not."""

    def stop(self) -> None:
        """Stop it gracefully, if it runs."""

    def kill(self) -> None:
        """End it at once, like a crash."""

    def remove(self) -> None:
        """Delete the data of a stopped server."""


@dataclass(frozen=True)
class ExternalServer:
    """A server that others operate: it is neither started nor stopped."""

    address: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def remove(self) -> None: ...


def choose_provider(kind: str) -> str:
    """Choose for ``kafka`` or ``postgres``: ``given``, ``container`` or ``local``.

    A chosen version of PostgreSQL is a local one: the image has one version only.
    """
    if os.environ.get(ENVIRONMENT_VARIABLES[kind]):
        return "given"
    if kind == "postgres" and any(map(os.environ.get, PROGRAM_VARIABLES)):
        return "local"
    from deploy.local import containers

    return "container" if containers.find_image(kind) else "local"


def kafka_server(
    name: str,
    provider: str | None = None,
    heap: str = "512m",
    environment: Mapping[str, str] = os.environ,
    *,
    works_long: bool = False,
) -> Server:
    """Return the broker called ``name`` in this clone, from ``provider`` or from the current choice.

    ``works_long``: see ``KafkaServer``; a container's broker is optimized in any case.
    """
    match provider or choose_provider("kafka"):
        case "given":
            return ExternalServer(environment["KAFKA_BOOTSTRAP"])
        case "container":
            from deploy.local import containers

            return containers.kafka_container(name, heap)
        case _:
            return KafkaServer(STATE / name / "kafka", heap, works_long=works_long)


def postgres_server(name: str, provider: str | None = None, environment: Mapping[str, str] = os.environ) -> Server:
    """Return the PostgreSQL called ``name`` in this clone, from ``provider`` or from the current choice."""
    match provider or choose_provider("postgres"):
        case "given":
            return ExternalServer(environment["DATABASE_URL"])
        case "container":
            from deploy.local import containers

            return containers.postgres_container(name)
        case _:
            return PostgresServer(database_folder(name))


if __name__ == "__main__":
    for kind in ENVIRONMENT_VARIABLES:
        print(f"{kind}={choose_provider(kind)}")
