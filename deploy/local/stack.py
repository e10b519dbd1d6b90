"""The stack left running: ``deploy/stack up | down | env | monitor | token USER_ID | logs [NAME]``."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from deploy.local import backing_services
from deploy.local.paths import ROOT, STATE, end, free_port, running_pid
from deploy.local.postgres import create_database
from deploy.local.supervisor import FOLDER
from deploy.local.supervisor import SETTINGS as PROCESSES_FILE
from deploy.monitoring.prometheus_targets import configure
from services.auth.signer import Signer, new_key, write_key, write_set

SOURCES = FOLDER / "sources.json"
ENVIRONMENT = FOLDER / "environment.json"
READY_SECONDS = 60
PROCESSES = ("handler", "relay", "gateway", "console")
KEYS = FOLDER / "keys"
TOKEN_SECONDS = 24 * 3600
LMS_URL = "http://canvas.example"
USAGE = "usage: deploy/stack up | down | env | monitor | token USER_ID [--scope S] [--root-account ID] | logs [NAME]"


class Stack:
    """What ``up`` started, remembered in .state/stack until ``down``."""

    def __init__(self) -> None:
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        (STATE / "logs").mkdir(exist_ok=True)
        self.sources = _remembered(SOURCES)

    def up(self) -> None:
        """Start what is not running and return when everything is ready. SystemExit names what is not."""
        make_keys(KEYS)
        if not self.sources:
            self._choose()
        environment = _remembered(ENVIRONMENT)
        for name, value in environment.items():
            if os.environ.get(name, value) != value:
                sys.exit(f"deploy/stack: the stack is up with another {name}: run deploy/stack down first")
        kafka, postgres = self._servers()
        kafka.start()
        postgres.start()
        environment["KAFKA_BOOTSTRAP"] = kafka.address
        given = self.sources["postgres"] == "given"
        environment["DATABASE_URL"] = postgres.address if given else create_database(postgres.address, "moderation")
        ENVIRONMENT.write_text(json.dumps(environment))
        for module in ("services.eventlog.migrate", "services.kafka.topics"):
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
            end(supervisor)
        if self.sources:
            for server in self._servers():
                server.stop()
        for file in (SOURCES, ENVIRONMENT, PROCESSES_FILE):
            file.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """Where the running stack is. SystemExit when it is not up."""
        found, settings = _remembered(ENVIRONMENT), _remembered(PROCESSES_FILE)
        if not settings:
            sys.exit("deploy/stack: the stack is not up: run deploy/stack up")
        urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{settings[name]['HEALTH_PORT']}" for name in PROCESSES}
        return {**found, **urls}

    def url(self, process: str) -> str:
        """Where a process of the running stack is. SystemExit when it is not up."""
        return self.environment()[f"{process.upper()}_URL"]

    def is_up(self) -> bool:
        """Whether the supervisor runs."""
        return self._supervisor() is not None

    def _choose(self) -> None:
        """Servers may come from elsewhere next time, or be named no more: what is chosen now holds until ``down``."""
        environment = {
            "TOPIC_PREFIX": os.environ.get("TOPIC_PREFIX", "moderation"),
            "LMS_URL": os.environ.get("LMS_URL", LMS_URL),
        }
        for kind, variable in backing_services.VARIABLES.items():
            self.sources[kind] = backing_services.source(kind)
            if self.sources[kind] == "given":
                environment[variable] = os.environ[variable]
        ENVIRONMENT.write_text(json.dumps(environment))
        SOURCES.write_text(json.dumps(self.sources))

    def _servers(self) -> tuple[backing_services.Server, backing_services.Server]:
        environment = _remembered(ENVIRONMENT)
        return (
            backing_services.kafka("stack", self.sources["kafka"], environment=environment),
            backing_services.postgres("stack", self.sources["postgres"], environment=environment),
        )

    @staticmethod
    def _supervisor() -> int | None:
        return running_pid(FOLDER / "supervisor.pid", "deploy.local.supervisor")

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
            "JWKS": str(KEYS / "users.jwks"),
            "COMMAND_KEY": str(KEYS / "gateway.key"),
        }
        port = settings["console"]["HEALTH_PORT"]
        settings["console"] |= {
            "CONSOLE_PORT": port,
            "CONSOLE_URL": f"http://127.0.0.1:{port}",
            "COMMAND_AUTH": settings["handler"]["COMMAND_AUTH"],
            "JWKS": str(KEYS / "users.jwks"),
        }
        PROCESSES_FILE.write_text(json.dumps(settings))
        with (STATE / "logs" / "supervisor.log").open("ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.supervisor"],
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
                    sys.exit(f"deploy/stack: the {name} is not ready: {problem}\n" + "\n".join(map(readable, tail)))
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
    parser.add_argument(
        "--scope", help="such as moderation.facts, to state facts on Kafka, or moderation.operator, for the console"
    )
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


def readable(line: str) -> str:
    """A line of a log for people; as it stands where it is not one of ours."""
    try:
        said = json.loads(line)
        text = f"{said['time']} {said['level']:<8} {said['logger']}: {said['message']}"
    except (ValueError, TypeError, KeyError):
        return line
    places = said.get("exception", {})
    return text + "".join(f"\n    {part}" for part in [places.get("message"), *places.get("at", ())] if part)


def monitor(environment: dict[str, str]) -> None:
    """Become a Prometheus that watches the stack, until it is interrupted. SystemExit where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("deploy/stack: prometheus is missing: run deploy/setup tests, or install it")
    folder, port = FOLDER / "prometheus", free_port()
    folder.mkdir(exist_ok=True)
    urls = {name: environment[f"{name.upper()}_URL"] for name in PROCESSES}
    settings = configure(folder, {name: url.removeprefix("http://") for name, url in urls.items()})
    print(f"Prometheus: http://127.0.0.1:{port}/alerts (Ctrl-C ends it); its data is in {folder}", flush=True)
    arguments = [f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
    os.execv(program, [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"])


def _remembered(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return found


def main(arguments: list[str]) -> None:
    """The command line."""
    match arguments:
        case ["up"]:
            stack = Stack()
            stack.up()
            print(f"ready: the gateway at {stack.url('gateway')}, the console at {stack.url('console')}")
        case ["down"]:
            Stack().down()
        case ["is-up"]:
            sys.exit(0 if Stack().is_up() else 1)
        case ["env"]:
            for name, value in Stack().environment().items():
                print(f"{name}={value}")
        case ["monitor"]:
            monitor(Stack().environment())
        case ["token", *said]:
            print(token(said))
        case ["logs", *names] if len(names) <= 1:
            files = sorted((STATE / "logs").glob(f"{names[0] if names else '*'}.log"))
            if not files:
                sys.exit(f"deploy/stack: there is no log of that name: {', '.join(PROCESSES)}")
            for file in files:
                print(f"== {file.name}", *map(readable, file.read_text().splitlines()[-50:]), sep="\n")
        case ["--help" | "-h" | "help"]:
            print(USAGE)
        case _:
            sys.exit(USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(f"deploy/stack: {error}")
