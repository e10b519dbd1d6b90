"""Where Kafka and PostgreSQL come from: the environment; else containers that can be had; else local servers.

``python -m deploy.local.backing_services`` prints which of ``given``, ``container`` and ``local`` each of them would
be.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from deploy.local import containers
from deploy.local.kafka import KafkaServer
from deploy.local.paths import STATE, database_folder
from deploy.local.postgres import PostgresServer

ENVIRONMENT_VARIABLES = {"kafka": "KAFKA_BOOTSTRAP", "postgres": "DATABASE_URL"}


class Server(Protocol):
    """A Kafka broker or a PostgreSQL server, wherever it runs."""

    @property
    def address(self) -> str:
        """Kafka: host:port. PostgreSQL: URL of a database that others can be made from."""

    def start(self) -> None:
        """Start unless it runs, and return when it answers. Raises RuntimeError when it does not."""

    def stop(self) -> None:
        """End in good order; nothing happens when it is not running."""

    def kill(self) -> None:
        """End at once, as a crash does."""

    def remove(self) -> None:
        """Delete its data, once it has ended."""


@dataclass(frozen=True)
class ExternalServer:
    """A server that somebody else runs: it is left as it is."""

    address: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def remove(self) -> None: ...


def choose_provider(kind: str) -> str:
    """What a ``kafka`` or ``postgres`` would be now: ``given``, ``container`` or ``local``."""
    if os.environ.get(ENVIRONMENT_VARIABLES[kind]):
        return "given"
    return "container" if containers.find_image(kind) else "local"


def kafka_server(
    name: str, provider: str | None = None, heap: str = "512m", environment: Mapping[str, str] = os.environ
) -> Server:
    """The broker of that name in this clone, from ``provider`` or from where it would come now."""
    match provider or choose_provider("kafka"):
        case "given":
            return ExternalServer(environment["KAFKA_BOOTSTRAP"])
        case "container":
            return containers.kafka_container(name, heap)
        case _:
            return KafkaServer(STATE / name / "kafka", heap)


def postgres_server(name: str, provider: str | None = None, environment: Mapping[str, str] = os.environ) -> Server:
    """The PostgreSQL of that name in this clone, from ``provider`` or from where it would come now."""
    match provider or choose_provider("postgres"):
        case "given":
            return ExternalServer(environment["DATABASE_URL"])
        case "container":
            return containers.postgres_container(name)
        case _:
            return PostgresServer(database_folder(name))


if __name__ == "__main__":
    for kind in ENVIRONMENT_VARIABLES:
        print(f"{kind}={choose_provider(kind)}")
