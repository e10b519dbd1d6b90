"""Run the whole stack in the background: ``deploy/stack up | down | env | monitor | token USER_ID | logs [NAME]``."""

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
from deploy.local.paths import ROOT, free_port, running_pid, terminate
from deploy.local.postgres import create_database
from deploy.local.stack_keys import KEYS_FOLDER, create_token, make_keys
from deploy.local.supervisor import LOG_FOLDER, PROCESSES_FILE, STACK_FOLDER
from deploy.monitoring.prometheus_targets import write_prometheus_config

PROVIDERS_FILE = STACK_FOLDER / "sources.json"
ENVIRONMENT_FILE = STACK_FOLDER / "environment.json"
READY_SECONDS = 60
PROVIDER_NAMES = {"given": "external", "container": "container", "local": "local process"}
PROCESSES = ("handler", "relay", "gateway", "console")
LMS_URL = "http://canvas.example"
USAGE = "usage: deploy/stack up | down | env | monitor | token USER_ID [--scope S] [--root-account ID] | logs [NAME]"


class Stack:
    """The servers and processes that ``up`` started, stored in .state/stack until ``down``."""

    def __init__(self) -> None:
        STACK_FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        LOG_FOLDER.mkdir(exist_ok=True)
        self.providers = _read_json(PROVIDERS_FILE)

    def up(self) -> None:
        """Start whatever does not run, and wait until everything is ready. SystemExit if something is not."""
        make_keys(KEYS_FOLDER)
        if not self.providers:
            self._choose_providers()
        environment = _read_json(ENVIRONMENT_FILE)
        for name, value in environment.items():
            if os.environ.get(name, value) != value:
                sys.exit(f"deploy/stack: the stack runs with another {name}; run deploy/stack down first")
        kafka, postgres = self._servers()
        _print_step(f"starting Kafka ({PROVIDER_NAMES[self.providers['kafka']]})")
        kafka.start()
        _print_step(f"starting PostgreSQL ({PROVIDER_NAMES[self.providers['postgres']]})")
        postgres.start()
        environment["KAFKA_BOOTSTRAP"] = kafka.address
        is_external = self.providers["postgres"] == "given"
        environment["DATABASE_URL"] = (
            postgres.address if is_external else create_database(postgres.address, "moderation")
        )
        ENVIRONMENT_FILE.write_text(json.dumps(environment))
        _print_step("creating schema and topics")
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
                sys.exit(
                    f"deploy/stack: moderated-grading admin {command} failed: {result.stderr.strip().splitlines()[-1]}"
                )
        _print_step(f"starting {', '.join(PROCESSES)}")
        if self._supervisor_pid() is None:
            self._start_supervisor(environment)
        self._wait_until_ready()

    def down(self) -> None:
        """Stop what ``up`` started, and nothing else."""
        _print_step("stopping the stack")
        supervisor_pid = self._supervisor_pid()
        if supervisor_pid is not None:
            terminate(supervisor_pid)
        if self.providers:
            for server in self._servers():
                server.stop()
        for file in (PROVIDERS_FILE, ENVIRONMENT_FILE, PROCESSES_FILE):
            file.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """Environment variables for clients of the running stack. SystemExit if it does not run."""
        variables, settings = _read_json(ENVIRONMENT_FILE), _read_json(PROCESSES_FILE)
        if not settings:
            sys.exit("deploy/stack: the stack is not running; run deploy/stack up")
        urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{settings[name]['HEALTH_PORT']}" for name in PROCESSES}
        return {**variables, **urls}

    def url(self, process: str) -> str:
        """Return the base URL of a process of the running stack. SystemExit if it does not run."""
        return self.environment()[f"{process.upper()}_URL"]

    def is_up(self) -> bool:
        """Return whether the supervisor runs."""
        return self._supervisor_pid() is not None

    def _choose_providers(self) -> None:
        """Choose where the servers come from, until ``down``: the environment may change in between."""
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
        with (LOG_FOLDER / "supervisor.log").open("ab") as log:
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
                    tail = (LOG_FOLDER / f"{name}.log").read_text().splitlines()[-10:]
                    lines = "\n".join(map(format_log_line, tail))
                    sys.exit(
                        f"deploy/stack: the {name} is not ready after {READY_SECONDS} s: {problem}; its log:\n{lines}"
                    )
                time.sleep(0.1)


def _print_step(text: str) -> None:
    print(f"· {text}", flush=True)


def _readiness_problem(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2):
            return None
    except OSError as error:
        return str(error)


def format_log_line(line: str) -> str:
    """Format a line of JSON log for reading; return any other line unchanged."""
    try:
        log_entry = json.loads(line)
        text = f"{log_entry['time']} {log_entry['level']:<8} {log_entry['logger']}: {log_entry['message']}"
    except (ValueError, TypeError, KeyError):
        return line
    exception = log_entry.get("exception", {})
    return text + "".join(f"\n    {part}" for part in [exception.get("message"), *exception.get("at", ())] if part)


def run_prometheus(environment: dict[str, str]) -> None:
    """Replace this process by a Prometheus that scrapes the stack. SystemExit if Prometheus is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("deploy/stack: Prometheus is not installed; run deploy/setup tests, or install it")
    folder, port = STACK_FOLDER / "prometheus", free_port()
    folder.mkdir(exist_ok=True)
    urls = {name: environment[f"{name.upper()}_URL"] for name in PROCESSES}
    settings = write_prometheus_config(folder, {name: url.removeprefix("http://") for name, url in urls.items()})
    print(f"Prometheus: http://127.0.0.1:{port}/alerts (Ctrl-C stops it); data in {folder}", flush=True)
    arguments = [f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
    os.execv(program, [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"])


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return document


def main(arguments: list[str]) -> None:
    """Run the command line."""
    match arguments:
        case ["up"]:
            stack = Stack()
            stack.up()
            print(f"ready: gateway {stack.url('gateway')}, console {stack.url('console')}")
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
            files = sorted(LOG_FOLDER.glob(f"{names[0] if names else '*'}.log"))
            if not files:
                sys.exit(f"deploy/stack: no such log; choose from {', '.join(PROCESSES)}")
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
