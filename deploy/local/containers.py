"""Runs Kafka and PostgreSQL in containers, if a container engine answers and has the images. Never pulls images.

testcontainers' own KafkaContainer and PostgresContainer are not suitable: other processes than the one that started a
stack must find it again on the same port, and KafkaContainer needs Confluent's image.
"""

import contextlib
import functools
import socket
from collections.abc import Callable
from typing import Any

import docker.errors
from docker.constants import DEFAULT_UNIX_SOCKET
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient, get_docker_host

from deploy.local import kafka, postgres
from deploy.local.paths import CLONE_ID, STATE, free_port, wait_until_ready

# The engine's first image of these is used.
IMAGES = {
    "kafka": ("apache/kafka:4.1.2",),
    "postgres": ("postgres:18", "postgres:17", "postgres:16", "postgres:15"),
}
START_SECONDS = 60
STOP_SECONDS = 30
CONTROLLER_PORT = 9093

# testcontainers' reaper ends containers with the process that started them; deploy/stack leaves them running.
testcontainers_config.ryuk_disabled = True


@functools.cache
def engine() -> Any:
    """Return the client of the container engine; None if none answers or this process runs in one of its containers."""
    socket_path = (get_docker_host() or DEFAULT_UNIX_SOCKET).removeprefix("http+").removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(socket_path)
        client = DockerClient(timeout=60).client
        return None if _runs_this_process(client) else client
    except (docker.errors.DockerException, OSError):
        return None


def _runs_this_process(client: Any) -> bool:
    try:
        client.containers.get(socket.gethostname())
    except docker.errors.NotFound:
        return False
    return True


def find_image(kind: str) -> str | None:
    """Return the image to use for ``kafka`` or ``postgres``; None without an engine or without an image."""
    if engine() is None:
        return None
    for name in IMAGES[kind]:
        with contextlib.suppress(docker.errors.NotFound):
            engine().images.get(testcontainers_config.hub_image_name_prefix + name)
            return name
    return None


class Container:
    """A server in a container, whose data and port survive restarts. Raises RuntimeError when it does not start.

    ``environment`` and ``format_address`` get its port, which is the same inside and outside; ``is_ready`` its address.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        environment: Callable[[int], dict[str, str]],
        format_address: Callable[[int], str],
        is_ready: Callable[[str], bool],
        command: list[str] | None = None,
    ) -> None:
        self.name = f"moderated-grading-{CLONE_ID}-{name}"
        self.kind = kind
        self._command = command
        self._environment = environment
        self._format_address = format_address
        self._is_ready = is_ready

    @property
    def address(self) -> str:
        """Its address. The port is chosen when the container is created."""
        container = self._find()
        if container is None:
            raise RuntimeError(f"the container {self.name} does not exist: start it first")
        ((port_binding,),) = container.attrs["HostConfig"]["PortBindings"].values()
        return self._format_address(int(port_binding["HostPort"]))

    def start(self) -> None:
        """Start it unless it runs, creating the container the first time, and wait until the server answers."""
        try:
            container = self._find() or self._create()
            container.start()
        except docker.errors.APIError as error:
            raise RuntimeError(f"the container {self.name} did not start: {error.explanation}") from error
        address = self.address
        if not wait_until_ready(lambda: self._is_ready(address), self._is_running, START_SECONDS):
            tail = container.logs(tail=5).decode(errors="replace")
            self.kill()
            raise RuntimeError(f"the server in the container {self.name} did not start: {tail}")

    def stop(self) -> None:
        """Stop it gracefully, if it runs."""
        if self._is_running() and (container := self._find()):
            container.stop(timeout=STOP_SECONDS)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._is_running() and (container := self._find()):
            container.kill()
            container.wait()

    def remove(self) -> None:
        """Delete the container and its data."""
        if container := self._find():
            container.remove(force=True, v=True)

    def _find(self) -> Any:
        if engine() is None:
            raise RuntimeError(f"the container engine does not answer, so the container {self.name} cannot be reached")
        try:
            return engine().containers.get(self.name)
        except docker.errors.NotFound:
            return None

    def _is_running(self) -> bool:
        container = self._find()
        return container is not None and container.status == "running"

    def _create(self) -> Any:
        image_name = find_image(self.kind)
        if image_name is None:
            raise RuntimeError(f"the container engine has none of the images {', '.join(IMAGES[self.kind])}")
        port = free_port()
        container = DockerContainer(image_name, name=self.name, env=self._environment(port))
        if self._command:
            container.with_command(self._command)
        # testcontainers' methods do not support a host address; the engine's client, which gets this value, does.
        container.ports[f"{port}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
        return container.start().get_wrapped_container()


def kafka_container(name: str, heap: str) -> Container:
    """Build the container of one Apache Kafka broker in KRaft mode."""

    def environment(port: int) -> dict[str, str]:
        settings = kafka.build_settings("0.0.0.0", port, CONTROLLER_PORT, "/var/lib/kafka/data")
        variables = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in settings.items()}
        return {**variables, "KAFKA_HEAP_OPTS": f"-Xmx{heap} -Xms{heap}"}

    return Container(f"{name}-kafka", "kafka", environment, kafka.format_address, kafka.is_ready)


def postgres_container(name: str) -> Container:
    """Build the container of one PostgreSQL."""
    password_file = STATE / name / f"postgres-{postgres.USER}.pgpass"

    def environment(port: int) -> dict[str, str]:
        return {
            "PGPORT": str(port),
            "POSTGRES_USER": postgres.USER,
            "POSTGRES_DB": "postgres",
            "POSTGRES_PASSWORD": postgres.create_password(password_file),
            "POSTGRES_HOST_AUTH_METHOD": "scram-sha-256",
            "POSTGRES_INITDB_ARGS": " ".join(("-A", "scram-sha-256", *postgres.INITDB_OPTIONS)),
        }

    command = ["postgres", *(f"--{name}={value}" for name, value in postgres.SERVER_SETTINGS.items())]

    def format_url(port: int) -> str:
        return postgres.format_url(port, password_file)

    return Container(f"{name}-postgres", "postgres", environment, format_url, postgres.is_ready, command)
