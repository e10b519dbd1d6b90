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
from deploy.local.paths import ROOT, STATE, free_port, running_pid, terminate
from deploy.local.postgres import create_database
from deploy.local.supervisor import PROCESSES_FILE as PROCESSES_FILE
from deploy.local.supervisor import STACK_FOLDER
from deploy.monitoring.prometheus_targets import write_prometheus_config
from services.auth.signer import TokenSigner, generate_key, write_jwks, write_private_key

PROVIDERS_FILE = STACK_FOLDER / "sources.json"
ENVIRONMENT_FILE = STACK_FOLDER / "environment.json"
READY_SECONDS = 60
PROCESSES = ("handler", "relay", "gateway", "console")
KEYS_FOLDER = STACK_FOLDER / "keys"
TOKEN_LIFETIME_SECONDS = 24 * 3600
LMS_URL = "http://canvas.example"
USAGE = "usage: deploy/stack up | down | env | monitor | token USER_ID [--scope S] [--root-account ID] | logs [NAME]"


class Stack:
    """What ``up`` started, remembered in .state/stack until ``down``."""

    def __init__(self) -> None:
        STACK_FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        (STATE / "logs").mkdir(exist_ok=True)
        self.providers = _read_json(PROVIDERS_FILE)

    def up(self) -> None:
        """Start what is not running and return when everything is ready. SystemExit names what is not."""
        make_keys(KEYS_FOLDER)
        if not self.providers:
            self._choose_providers()
        environment = _read_json(ENVIRONMENT_FILE)
        for name, value in environment.items():
            if os.environ.get(name, value) != value:
                sys.exit(f"deploy/stack: the stack is up with another {name}: run deploy/stack down first")
        kafka, postgres = self._servers()
        kafka.start()
        postgres.start()
        environment["KAFKA_BOOTSTRAP"] = kafka.address
        is_external = self.providers["postgres"] == "given"
        environment["DATABASE_URL"] = (
            postgres.address if is_external else create_database(postgres.address, "moderation")
        )
        ENVIRONMENT_FILE.write_text(json.dumps(environment))
        for command in ("migrate", "create-topics"):
            result = subprocess.run(
                [sys.executable, "-m", "services.cli", "admin", command],
                cwd=ROOT,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                sys.exit(f"deploy/stack: admin {command} failed: {result.stderr.strip().splitlines()[-1]}")
        if self._supervisor_pid() is None:
            self._start_supervisor(environment)
        self._wait_until_ready()

    def down(self) -> None:
        """Stop what ``up`` started, and nothing else."""
        supervisor_pid = self._supervisor_pid()
        if supervisor_pid is not None:
            terminate(supervisor_pid)
        if self.providers:
            for server in self._servers():
                server.stop()
        for file in (PROVIDERS_FILE, ENVIRONMENT_FILE, PROCESSES_FILE):
            file.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """Where the running stack is. SystemExit when it is not up."""
        variables, settings = _read_json(ENVIRONMENT_FILE), _read_json(PROCESSES_FILE)
        if not settings:
            sys.exit("deploy/stack: the stack is not up: run deploy/stack up")
        urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{settings[name]['HEALTH_PORT']}" for name in PROCESSES}
        return {**variables, **urls}

    def url(self, process: str) -> str:
        """Where a process of the running stack is. SystemExit when it is not up."""
        return self.environment()[f"{process.upper()}_URL"]

    def is_up(self) -> bool:
        """Whether the supervisor runs."""
        return self._supervisor_pid() is not None

    def _choose_providers(self) -> None:
        """Servers may come from elsewhere next time, or be named no more: what is chosen now holds until ``down``."""
        environment = {
            "TOPIC_PREFIX": os.environ.get("TOPIC_PREFIX", "moderation"),
            "LMS_URL": os.environ.get("LMS_URL", LMS_URL),
        }
        for kind, variable in backing_services.ENVIRONMENT_VARIABLES.items():
            self.providers[kind] = backing_services.choose_provider(kind)
            if self.providers[kind] == "given":
                environment[variable] = os.environ[variable]
        ENVIRONMENT_FILE.write_text(json.dumps(environment))
        PROVIDERS_FILE.write_text(json.dumps(self.providers))

    def _servers(self) -> tuple[backing_services.Server, backing_services.Server]:
        environment = _read_json(ENVIRONMENT_FILE)
        return (
            backing_services.kafka_server("stack", self.providers["kafka"], environment=environment),
            backing_services.postgres_server("stack", self.providers["postgres"], environment=environment),
        )

    @staticmethod
    def _supervisor_pid() -> int | None:
        return running_pid(STACK_FOLDER / "supervisor.pid", "deploy.local.supervisor")

    @staticmethod
    def _start_supervisor(environment: dict[str, str]) -> None:
        settings = {name: {**environment, "HEALTH_PORT": str(free_port())} for name in PROCESSES}
        settings["handler"] |= {
            "HANDLER_INSTANCE": "handler-1",
            "COMMAND_AUTH": os.environ.get("COMMAND_AUTH", "off"),
            "JWKS": str(KEYS_FOLDER / "commands.jwks"),
        }
        port = settings["gateway"]["HEALTH_PORT"]
        settings["gateway"] |= {
            "GATEWAY_PORT": port,
            "GATEWAY_URL": f"http://127.0.0.1:{port}",
            "JWKS": str(KEYS_FOLDER / "users.jwks"),
            "COMMAND_KEY": str(KEYS_FOLDER / "gateway.key"),
        }
        port = settings["console"]["HEALTH_PORT"]
        settings["console"] |= {
            "CONSOLE_PORT": port,
            "CONSOLE_URL": f"http://127.0.0.1:{port}",
            "COMMAND_AUTH": settings["handler"]["COMMAND_AUTH"],
            "JWKS": str(KEYS_FOLDER / "users.jwks"),
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
        (STACK_FOLDER / "supervisor.pid").write_text(str(supervisor.pid))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        environment = self.environment()
        for name in PROCESSES:
            while (problem := _readiness_problem(environment[f"{name.upper()}_URL"])) is not None:
                if time.monotonic() > deadline:
                    tail = (STATE / "logs" / f"{name}.log").read_text().splitlines()[-10:]
                    sys.exit(
                        f"deploy/stack: the {name} is not ready: {problem}\n" + "\n".join(map(format_log_line, tail))
                    )
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
    issuer, gateway = generate_key(), generate_key()
    write_private_key(folder / "issuer.key", issuer)
    write_private_key(folder / "gateway.key", gateway)
    write_jwks(folder / "users.jwks", [issuer])
    write_jwks(folder / "commands.jwks", [issuer, gateway])


def create_token(arguments: list[str]) -> str:
    """A bearer token for the stack's gateway, and for its handler where COMMAND_AUTH=required."""
    parser = argparse.ArgumentParser("deploy/stack token")
    parser.add_argument("user_id", type=int, help="whom the token speaks for")
    parser.add_argument(
        "--scope", help="such as moderation.facts, to state facts on Kafka, or moderation.operator, for the console"
    )
    parser.add_argument("--root-account", type=int, default=1, help="the root account, 1 unless said")
    options = parser.parse_args(arguments)
    if not (KEYS_FOLDER / "issuer.key").exists():
        sys.exit("deploy/stack: the stack has no keys yet: run deploy/stack up")
    return TokenSigner(KEYS_FOLDER / "issuer.key").issue_token(
        options.user_id, options.root_account, TOKEN_LIFETIME_SECONDS, options.scope
    )


def _readiness_problem(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2):
            return None
    except OSError as error:
        return str(error)


def format_log_line(line: str) -> str:
    """A line of a log for people; as it stands where it is not one of ours."""
    try:
        log_entry = json.loads(line)
        text = f"{log_entry['time']} {log_entry['level']:<8} {log_entry['logger']}: {log_entry['message']}"
    except (ValueError, TypeError, KeyError):
        return line
    exception = log_entry.get("exception", {})
    return text + "".join(f"\n    {part}" for part in [exception.get("message"), *exception.get("at", ())] if part)


def run_prometheus(environment: dict[str, str]) -> None:
    """Become a Prometheus that watches the stack, until it is interrupted. SystemExit where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("deploy/stack: prometheus is missing: run deploy/setup tests, or install it")
    folder, port = STACK_FOLDER / "prometheus", free_port()
    folder.mkdir(exist_ok=True)
    urls = {name: environment[f"{name.upper()}_URL"] for name in PROCESSES}
    settings = write_prometheus_config(folder, {name: url.removeprefix("http://") for name, url in urls.items()})
    print(f"Prometheus: http://127.0.0.1:{port}/alerts (Ctrl-C ends it); its data is in {folder}", flush=True)
    arguments = [f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
    os.execv(program, [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"])


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return document


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
            run_prometheus(Stack().environment())
        case ["token", *token_arguments]:
            print(create_token(token_arguments))
        case ["logs", *names] if len(names) <= 1:
            files = sorted((STATE / "logs").glob(f"{names[0] if names else '*'}.log"))
            if not files:
                sys.exit(f"deploy/stack: there is no log of that name: {', '.join(PROCESSES)}")
            for file in files:
                print(f"== {file.name}", *map(format_log_line, file.read_text().splitlines()[-50:]), sep="\n")
        case ["--help" | "-h" | "help"]:
            print(USAGE)
        case _:
            sys.exit(USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(f"deploy/stack: {error}")
