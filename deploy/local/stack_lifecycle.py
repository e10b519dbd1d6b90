"""The lifecycle of the stack: start, identify, restart and stop its servers and processes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from deploy.local import backing_services
from deploy.local.kafka import client_settings
from deploy.local.kafka_security import ADMINISTRATOR
from deploy.local.logins import LOGIN_ROLES, create_logins, login_url
from deploy.local.paths import ROOT, STATE, running_pid, terminate
from deploy.local.postgres import create_database
from deploy.local.secure_servers import KAFKA_USERS, SecureServers, grant_process_acls
from deploy.local.stack_keys import KEYS_FOLDER
from deploy.local.stack_logs import read_last_lines
from deploy.local.stack_processes import read_statuses, readiness_problem, restart
from deploy.local.stack_settings import LMS_URL, PROCESSES, build_process_settings
from deploy.local.supervisor import LOG_FOLDER, PROCESSES_FILE, STACK_FOLDER
from services.admin.keys import create_keys

PROVIDERS_FILE = STACK_FOLDER / "sources.json"
ENVIRONMENT_FILE = STACK_FOLDER / "environment.json"
READY_SECONDS = 60
PROVIDER_NAMES = {"given": "external", "container": "container", "local": "local process"}
OPEN_SERVERS, SECURE_SERVERS = "stack", "secure-stack"
DEFAULT_CLIENT = "operator"


class Stack:
    """The servers and processes that ``up`` started, stored in .state/stack until ``down``."""

    def __init__(self) -> None:
        STACK_FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        LOG_FOLDER.mkdir(exist_ok=True)
        self.providers = _read_json(PROVIDERS_FILE)

    @property
    def is_secure(self) -> bool:
        """Whether the stack was started with ``--secure``."""
        return bool(self.providers.get("secure"))

    @property
    def credentials_folder(self) -> Path:
        """The folder with the passwords of logins and users."""
        return STATE / (SECURE_SERVERS if self.is_secure else OPEN_SERVERS) / "credentials"

    def up(self, *, secure: bool = False) -> None:
        """Start everything that does not run, and wait until it is ready. SystemExit if something is not."""
        create_keys(KEYS_FOLDER)
        if not self.providers:
            self._choose_providers(secure)
        elif secure and not self.is_secure:
            sys.exit("deploy/stack: the stack runs without --secure; run deploy/stack down first")
        environment = _read_json(ENVIRONMENT_FILE)
        for name, value in environment.items():
            if os.environ.get(name, value) != value:
                sys.exit(f"deploy/stack: the stack runs with another {name}; run deploy/stack down first")
        if self._supervisor_pid() is not None and all(readiness_problem(url) is None for url in self.urls().values()):
            _print_step("everything runs and is ready")
            return
        kafka, postgres = self._servers()
        security = ", TLS, SCRAM" if self.is_secure else ""
        _print_step(f"starting Kafka ({PROVIDER_NAMES[self.providers['kafka']]}{security})")
        kafka.start()
        _print_step(f"starting PostgreSQL ({PROVIDER_NAMES[self.providers['postgres']]}{security})")
        postgres.start()
        environment["KAFKA_BOOTSTRAP"] = kafka.address
        environment["DATABASE_URL"] = (
            postgres.address if self._has_external_database() else create_database(postgres.address, "moderation")
        )
        ENVIRONMENT_FILE.write_text(json.dumps(environment))
        _print_step("creating schema and topics")
        administrator = {**environment, **self._identity(ADMINISTRATOR, environment)}
        for command in ("migrate", "create-topics"):
            result = subprocess.run(
                [sys.executable, "-m", "services.cli", "admin", command],
                cwd=ROOT,
                env={**os.environ, **administrator},
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                sys.exit(
                    f"deploy/stack: moderated-grading admin {command} failed: {result.stderr.strip().splitlines()[-1]}"
                )
        if not self._has_external_database():
            create_logins(environment["DATABASE_URL"], self.credentials_folder)
        if self.is_secure:
            _print_step("granting Kafka's access control lists")
            os.environ.update(administrator)
            grant_process_acls(AdminClient(client_settings(kafka.address)), environment["TOPIC_PREFIX"])
        _print_step(f"starting {', '.join(PROCESSES)}")
        if self._supervisor_pid() is None:
            self._start_supervisor(environment)
        self._wait_until_ready()

    def down(self) -> None:
        """Stop only what ``up`` started."""
        _print_step("stopping the stack")
        supervisor_pid = self._supervisor_pid()
        if supervisor_pid is not None:
            terminate(supervisor_pid)
        if self.providers:
            for server in self._servers():
                server.stop()
        for file in (PROVIDERS_FILE, ENVIRONMENT_FILE, PROCESSES_FILE):
            file.unlink(missing_ok=True)

    def environment(self, name: str = DEFAULT_CLIENT) -> dict[str, str]:
        """Return the environment variables for a client of the running stack: a process or one of KAFKA_USERS.

        SystemExit if the stack does not run, or has no such client.
        """
        variables, settings = _read_json(ENVIRONMENT_FILE), _read_json(PROCESSES_FILE)
        if not settings:
            sys.exit("deploy/stack: the stack is not running; run deploy/stack up")
        if name not in KAFKA_USERS:
            sys.exit(f"deploy/stack: no client is called {name}; choose from {', '.join(KAFKA_USERS)}")
        urls = {
            f"{process.upper()}_URL": f"http://127.0.0.1:{settings[process]['HEALTH_PORT']}" for process in PROCESSES
        }
        return {**variables, **self._identity(name, variables), **urls}

    def url(self, process: str) -> str:
        """Return the base URL of a process of the running stack. SystemExit if it does not run."""
        return self.environment()[f"{process.upper()}_URL"]

    def urls(self) -> dict[str, str]:
        """Return the base URL of each process of the running stack. SystemExit if it does not run."""
        return {process: self.url(process) for process in PROCESSES}

    def print_status(self) -> bool:
        """Print a line for each process, and return whether all are ready. SystemExit if the stack does not run."""
        statuses = read_statuses(self._supervisor_pid(), self.urls())
        for status in statuses:
            state = "ready" if status.problem is None else f"not ready: {status.problem}"
            pid = "does not run" if status.pid is None else f"process {status.pid}"
            print(f"{status.name:<10} {pid:<15} {status.url}  {state}")
        return all(status.problem is None and status.pid is not None for status in statuses)

    def restart(self, names: tuple[str, ...]) -> None:
        """End processes and wait until the supervisor's new ones are ready. SystemExit if one is not."""
        supervisor_pid, urls = self._supervisor_pid(), self.urls()
        if supervisor_pid is None:
            sys.exit("deploy/stack: the supervisor has ended; run deploy/stack up")
        if unknown := [name for name in names if name not in urls]:
            sys.exit(f"deploy/stack: no process is called {unknown[0]}; choose from {', '.join(urls)}")
        for name in names or PROCESSES:
            _print_step(f"restarting the {name}")
            if (problem := restart(supervisor_pid, name, urls[name])) is not None:
                sys.exit(f"deploy/stack: the {name} is not ready: {problem}; look at deploy/stack logs {name}")

    def is_up(self) -> bool:
        """Return whether the supervisor runs."""
        return self._supervisor_pid() is not None

    def _has_external_database(self) -> bool:
        return bool(self.providers["postgres"] == "given")

    def _identity(self, name: str, environment: dict[str, str]) -> dict[str, str]:
        """Return the settings of a client's login and user; for external servers those of the environment."""
        if self.is_secure:
            return SecureServers(SECURE_SERVERS).credentials.identity(name, environment["DATABASE_URL"])
        if self._has_external_database() or name not in LOGIN_ROLES:
            return {}
        return {"DATABASE_URL": login_url(environment["DATABASE_URL"], name, self.credentials_folder)}

    def _choose_providers(self, secure: bool) -> None:
        """Choose the providers of the servers and keep the choice until ``down``: the environment may change."""
        environment = {
            "TOPIC_PREFIX": os.environ.get("TOPIC_PREFIX", "moderation"),
            "LMS_URL": os.environ.get("LMS_URL", LMS_URL),
        }
        self.providers["secure"] = secure
        for kind, variable in backing_services.ENVIRONMENT_VARIABLES.items():
            if secure and os.environ.get(variable):
                sys.exit(f"deploy/stack: --secure starts its own servers: unset {variable}")
            self.providers[kind] = "local" if secure else backing_services.choose_provider(kind)
            if self.providers[kind] == "given":
                environment[variable] = os.environ[variable]
        ENVIRONMENT_FILE.write_text(json.dumps(environment))
        PROVIDERS_FILE.write_text(json.dumps(self.providers))

    def _servers(self) -> tuple[backing_services.Server, backing_services.Server]:
        if self.is_secure:
            servers = SecureServers(SECURE_SERVERS)
            servers.create_certificates()
            return servers.kafka, servers.postgres
        environment = _read_json(ENVIRONMENT_FILE)
        return (
            backing_services.kafka_server(OPEN_SERVERS, self.providers["kafka"], environment=environment),
            backing_services.postgres_server(OPEN_SERVERS, self.providers["postgres"], environment=environment),
        )

    @staticmethod
    def _supervisor_pid() -> int | None:
        return running_pid(STACK_FOLDER / "supervisor.pid", "deploy.local.supervisor")

    def _start_supervisor(self, environment: dict[str, str]) -> None:
        settings = build_process_settings(
            {name: {**environment, **self._identity(name, environment)} for name in PROCESSES}
        )
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
            while (problem := readiness_problem(environment[f"{name.upper()}_URL"])) is not None:
                if time.monotonic() > deadline:
                    lines = "\n".join(read_last_lines(LOG_FOLDER / f"{name}.log", 10))
                    sys.exit(
                        f"deploy/stack: the {name} is not ready after {READY_SECONDS} s: {problem}; its log:\n{lines}"
                    )
                time.sleep(0.1)


def _print_step(text: str) -> None:
    print(f"· {text}", flush=True)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return document
