"""The stack left running: ``deploy/stack up | down | env | token USER_ID | logs [NAME]``."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg

from deploy.tools.kafka import KafkaServer
from deploy.tools.places import ROOT, STATE, database_folder, free_port
from deploy.tools.postgres import PostgresServer
from deploy.tools.supervisor import FOLDER, running_pid
from services.tokens.signing import Signer, new_key, write_key, write_set

READY_SECONDS = 60
PROCESSES = ("handler", "relay", "gateway")
KEYS = FOLDER / "keys"
TOKEN_SECONDS = 24 * 3600
LMS_URL = "http://canvas.example"
USAGE = "usage: deploy/stack up | down | env | token USER_ID [--scope S] [--root-account ID] | logs [NAME]"


class Stack:
    """What ``up`` started, remembered in .state/stack."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (STATE / "logs").mkdir(exist_ok=True)
        self.kafka = KafkaServer(FOLDER / "kafka")
        self.postgres = PostgresServer(database_folder("stack"))

    def up(self) -> None:
        """Start what is not running and return when everything is ready. SystemExit names what is not."""
        make_keys(KEYS)
        environment = {"TOPIC_PREFIX": os.environ.get("TOPIC_PREFIX", "moderation")}
        environment["KAFKA_BOOTSTRAP"] = os.environ.get("KAFKA_BOOTSTRAP") or self._local_kafka()
        environment["DATABASE_URL"] = os.environ.get("DATABASE_URL") or self._local_database()
        (FOLDER / "environment.json").write_text(json.dumps(environment))
        for module in ("services.eventlog.migrate", "services.topics"):
            done = subprocess.run(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"deploy/stack: {module} failed: {done.stderr.strip().splitlines()[-1]}")
        if self._supervisor() is None:
            self._supervise(environment)
        self._await_ready()

    def down(self) -> None:
        """Stop what ``up`` started, and nothing else."""
        supervisor = self._supervisor()
        if supervisor is not None:
            os.kill(supervisor, signal.SIGTERM)
            _wait_for_end(supervisor)
        kafka = running_pid(FOLDER / "kafka.pid", "kafka.Kafka")
        if kafka is not None:
            os.kill(kafka, signal.SIGTERM)
            _wait_for_end(kafka)
        if (self.postgres.folder / "port").exists():
            self.postgres.stop()

    def environment(self) -> dict[str, str]:
        """Where the running stack is. SystemExit when it is not up."""
        try:
            found: dict[str, str] = json.loads((FOLDER / "environment.json").read_text())
            settings = json.loads((FOLDER / "processes.json").read_text())
        except FileNotFoundError:
            sys.exit("deploy/stack: the stack is not up: run deploy/stack up")
        urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{settings[name]['HEALTH_PORT']}" for name in PROCESSES}
        return {**found, **urls}

    def _local_kafka(self) -> str:
        if running_pid(FOLDER / "kafka.pid", "kafka.Kafka") is None:
            self.kafka.start()
            (FOLDER / "kafka.pid").write_text(str(self.kafka.pid))
        return self.kafka.bootstrap

    def _local_database(self) -> str:
        if self.postgres.pid() is None:
            self.postgres.start()
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            if connection.execute("select 1 from pg_database where datname = 'moderation'").fetchone() is None:
                connection.execute("create database moderation")
        return self.postgres.url("moderation")

    def is_up(self) -> bool:
        """Whether the supervisor runs."""
        return self._supervisor() is not None

    @staticmethod
    def _supervisor() -> int | None:
        return running_pid(FOLDER / "supervisor.pid", "deploy.tools.supervisor")

    @staticmethod
    def _supervise(environment: dict[str, str]) -> None:
        settings = {name: {**environment, "HEALTH_PORT": str(free_port())} for name in PROCESSES}
        settings["handler"] |= {
            "HANDLER_INSTANCE": "handler-1",
            "COMMAND_AUTH": os.environ.get("COMMAND_AUTH", "off"),
            "JWKS": str(KEYS / "commands.jwks"),
        }
        port = settings["gateway"]["HEALTH_PORT"]
        settings["gateway"] |= {
            "GATEWAY_PORT": port,
            "GATEWAY_URL": f"http://127.0.0.1:{port}",
            "LMS_URL": os.environ.get("LMS_URL", LMS_URL),
            "JWKS": str(KEYS / "users.jwks"),
            "COMMAND_KEY": str(KEYS / "gateway.key"),
        }
        (FOLDER / "processes.json").write_text(json.dumps(settings))
        with (STATE / "logs" / "supervisor.log").open("ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "deploy.tools.supervisor"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (FOLDER / "supervisor.pid").write_text(str(supervisor.pid))

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        environment = self.environment()
        for name in PROCESSES:
            while (problem := _problem(environment[f"{name.upper()}_URL"])) is not None:
                if time.monotonic() > deadline:
                    tail = (STATE / "logs" / f"{name}.log").read_text().splitlines()[-10:]
                    sys.exit(f"deploy/stack: the {name} is not ready: {problem}\n" + "\n".join(tail))
                time.sleep(0.1)


def make_keys(folder: Path) -> None:
    """Keys of a stack, made once: who issues users' tokens, and the gateway.

    A command's token opens no page: the gateway believes the issuer alone, the handler both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "commands.jwks").exists():
        return
    for leftover in folder.iterdir():
        leftover.unlink()
    issuer, gateway = new_key(), new_key()
    write_key(folder / "issuer.key", issuer)
    write_key(folder / "gateway.key", gateway)
    write_set(folder / "users.jwks", [issuer])
    write_set(folder / "commands.jwks", [issuer, gateway])


def token(arguments: list[str]) -> str:
    """A bearer token for the stack's gateway, and for its handler where COMMAND_AUTH=required."""
    parser = argparse.ArgumentParser("deploy/stack token")
    parser.add_argument("user_id", type=int, help="whom the token speaks for")
    parser.add_argument("--scope", help="such as moderation.facts, to state facts on Kafka")
    parser.add_argument("--root-account", type=int, default=1, help="the root account, 1 unless said")
    said = parser.parse_args(arguments)
    if not (KEYS / "issuer.key").exists():
        sys.exit("deploy/stack: the stack has no keys yet: run deploy/stack up")
    return Signer(KEYS / "issuer.key").token(said.user_id, said.root_account, TOKEN_SECONDS, said.scope)


def _problem(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2):
            return None
    except OSError as error:
        return str(error)


def _wait_for_end(pid: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """The command line."""
    match arguments:
        case ["up"]:
            Stack().up()
        case ["down"]:
            Stack().down()
        case ["is-up"]:
            sys.exit(0 if Stack().is_up() else 1)
        case ["env"]:
            for name, value in Stack().environment().items():
                print(f"{name}={value}")
        case ["token", *said]:
            print(token(said))
        case ["logs", *names] if len(names) <= 1:
            for file in sorted((STATE / "logs").glob(f"{names[0] if names else '*'}.log")):
                print(f"== {file.name}", *file.read_text().splitlines()[-50:], sep="\n")
        case _:
            sys.exit(USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
