"""Where Kafka and PostgreSQL come from: what is named; else containers of an engine that has the images; else local."""

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

from deploy.local.containers import IMAGES
from deploy.local.paths import ROOT

NAMED = {"KAFKA_BOOTSTRAP": "broker:9092", "DATABASE_URL": "postgresql://server/log"}
LOCAL = {"kafka": "local", "postgres": "local"}
CONTAINERS = {"kafka": "container", "postgres": "container"}
BOTH = {IMAGES["kafka"][-1], IMAGES["postgres"][-1]}


class Engine(ThreadingUnixStreamServer):
    """The few answers of a container engine's API that the choice rests on."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "engine"), Answers)
        self.images: set[str] = set()
        self.containers: set[str] = set()
        self.methods: set[str] = set()


class Answers(BaseHTTPRequestHandler):
    server: Engine

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
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def chosen(folder: Path, **environment: str) -> dict[str, str]:
    """What the servers would be, where the engine that is asked is the one in that folder, if there is one."""
    unnamed = {name: value for name, value in os.environ.items() if name not in NAMED}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local.backing_services"],
        cwd=ROOT,
        env={**unnamed, "HOME": str(folder), "DOCKER_HOST": f"unix://{folder / 'engine'}", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=") for line in done.stdout.splitlines())


def test_a_server_that_is_named_is_used_whatever_else_there_is(tmp_path: Path, engine: Engine) -> None:
    engine.images = BOTH
    assert chosen(tmp_path, **NAMED) == {"kafka": "given", "postgres": "given"}
    assert chosen(tmp_path, DATABASE_URL=NAMED["DATABASE_URL"]) == {"kafka": "container", "postgres": "given"}
    assert chosen(tmp_path, KAFKA_BOOTSTRAP="", DATABASE_URL="") == CONTAINERS


def test_containers_are_used_where_an_engine_has_the_image_and_nothing_is_pulled(
    tmp_path: Path, engine: Engine
) -> None:
    assert chosen(tmp_path) == LOCAL
    engine.images = {IMAGES["postgres"][0]}
    assert chosen(tmp_path) == {"kafka": "local", "postgres": "container"}
    engine.images = BOTH
    assert chosen(tmp_path) == CONTAINERS
    assert engine.methods == set()


def test_without_an_engine_the_servers_are_local(tmp_path: Path) -> None:
    assert chosen(tmp_path) == LOCAL


def test_an_engine_that_runs_the_container_we_are_in_is_passed_over(tmp_path: Path, engine: Engine) -> None:
    engine.images = BOTH
    engine.containers = {socket.gethostname()}
    assert chosen(tmp_path) == LOCAL
