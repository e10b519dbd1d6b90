"""Kafka and PostgreSQL come from the environment, else from containers with their images, else from processes."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from deploy.local.backing_services import PROGRAM_VARIABLES
from deploy.local.containers import IMAGES
from deploy.local.paths import ROOT

EXTERNAL_SERVERS = {"KAFKA_BOOTSTRAP": "broker:9092", "DATABASE_URL": "postgresql://server/log"}
LOCAL = {"kafka": "local", "postgres": "local"}
CONTAINERS = {"kafka": "container", "postgres": "container"}
ALL_IMAGES = {IMAGES["kafka"][-1], IMAGES["postgres"][-1]}


class FakeEngine(ThreadingUnixStreamServer):
    """Fakes the responses of a container engine's API that the choice depends on."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "engine"), FakeEngineHandler)
        self.images: set[str] = set()
        self.containers: set[str] = set()
        self.methods: set[str] = set()


class FakeEngineHandler(BaseHTTPRequestHandler):
    server: FakeEngine

    def do_GET(self) -> None:
        name = self.path.split("/", 3)[-1].removesuffix("/json")
        known = self.path == "/version" or name in self.server.images | self.server.containers
        body = json.dumps({"ApiVersion": "1.41", "Id": name, "message": f"no such thing: {name}"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.methods.add("POST")
        self.send_error(500)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path) as fake_engine:
        thread = threading.Thread(target=fake_engine.serve_forever)
        thread.start()
        yield fake_engine
        fake_engine.shutdown()
        thread.join()


def run_server_selection(folder: Path, **environment: str) -> dict[str, str]:
    """Return the choice for each server, with the container engine in ``folder``, if there is one."""
    choices = {*EXTERNAL_SERVERS, *PROGRAM_VARIABLES}
    environment_without_servers = {name: value for name, value in os.environ.items() if name not in choices}
    result = subprocess.run(
        [sys.executable, "-m", "deploy.local.backing_services"],
        cwd=ROOT,
        env={
            **environment_without_servers,
            "HOME": str(folder),
            "DOCKER_HOST": f"unix://{folder / 'engine'}",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=") for line in result.stdout.splitlines())


def test_configured_server_takes_precedence(tmp_path: Path, engine: FakeEngine) -> None:
    engine.images = ALL_IMAGES
    assert run_server_selection(tmp_path, **EXTERNAL_SERVERS) == {"kafka": "given", "postgres": "given"}
    assert run_server_selection(tmp_path, DATABASE_URL=EXTERNAL_SERVERS["DATABASE_URL"]) == {
        "kafka": "container",
        "postgres": "given",
    }
    assert run_server_selection(tmp_path, KAFKA_BOOTSTRAP="", DATABASE_URL="") == CONTAINERS


def test_containers_are_used_only_if_the_image_is_present(tmp_path: Path, engine: FakeEngine) -> None:
    assert run_server_selection(tmp_path) == LOCAL
    engine.images = {IMAGES["postgres"][0]}
    assert run_server_selection(tmp_path) == {"kafka": "local", "postgres": "container"}
    engine.images = ALL_IMAGES
    assert run_server_selection(tmp_path) == CONTAINERS
    assert engine.methods == set()


@pytest.mark.parametrize("variable", PROGRAM_VARIABLES)
def test_a_chosen_version_of_postgres_runs_locally(tmp_path: Path, engine: FakeEngine, variable: str) -> None:
    engine.images = ALL_IMAGES
    assert run_server_selection(tmp_path, **{variable: "18"}) == {"kafka": "container", "postgres": "local"}


def test_servers_are_local_without_a_container_engine(tmp_path: Path) -> None:
    assert run_server_selection(tmp_path) == LOCAL


def test_engine_of_the_current_container_is_ignored(tmp_path: Path, engine: FakeEngine) -> None:
    engine.images = ALL_IMAGES
    engine.containers = {socket.gethostname()}
    assert run_server_selection(tmp_path) == LOCAL
