"""One installation of a fault run: a database, topics, supervised processes, a history and a reader of all outputs."""

import asyncio
import contextlib
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from confluent_kafka import KafkaException

from services.eventlog.migrate import migrate
from tests.fixtures.process_runner import Process
from tests.fixtures.system import LMS_URL, create_topics
from tests.fixtures.token_issuer import TokenIssuer
from tests.system.faults import log_reader, readers
from tests.system.faults.checker.observations import Snapshot, TopicRecord
from tests.system.faults.history import History, NotedProcess

RESTART_SECONDS = 0.5
POLL_SECONDS = 0.05
READY_SECONDS_MAX = 90
SETTLE_SECONDS_MAX = 240
SNAPSHOT_SECONDS = 60


def wait_until(condition: Callable[[], Any], description: str, seconds: float = READY_SECONDS_MAX) -> Any:
    """Poll a condition and return its value; an unavailable server counts as false. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(psycopg.Error, KafkaException, OSError):
            result = condition()
            if result:
                return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {description}")
        time.sleep(POLL_SECONDS)


def single_host_url(url: str) -> str:
    """Return the URL of the host that currently accepts writes, for libraries that support one host only."""
    with log_reader.connected(url) as connection:
        info = connection.info
        return f"postgresql://{info.user}:{quote(info.password)}@{info.host}:{info.port}/{info.dbname}"


def is_ready(process: Process) -> bool:
    """Return whether the process reports that it is ready."""
    return process.get_readiness()[0] == 200


class Installation:
    """``verdicts``: by command id, the bodies that the streaming reader has seen."""

    def __init__(self, name: str, bootstrap: str, database_url: str, folder: Path) -> None:
        self.prefix = f"faults-{name}-{uuid.uuid4().hex[:6]}"
        self.bootstrap = bootstrap
        self.database_url = database_url
        self.folder = folder
        self.issuer = TokenIssuer()
        self.processes: list[Process] = []
        self.snapshots: list[Snapshot] = []
        self.verdicts: dict[str, dict[str, Any]] = {}
        self.history = History(folder / "history.jsonl")
        self.reader: readers.StreamingReader | None = None
        self._snapshot_due_at = 0.0
        self._may_exit: set[str] = set()
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def create(self, *, is_supervised: bool = True) -> None:
        """Migrate the database, create the topics, and start to read them; ``is_supervised``: restart processes."""
        self.install()
        self.start_reader()
        if is_supervised:
            threading.Thread(target=self._supervise, daemon=True).start()

    def install(self) -> None:
        """Migrate the database and create the topics."""
        migrate(single_host_url(self.database_url))
        asyncio.run(create_topics(self.bootstrap, self.prefix, self.database_url))

    def start_reader(self) -> None:
        """Read all outputs from their beginning."""
        if self.reader is not None:
            self.reader.close()
        self.reader = readers.StreamingReader(self.bootstrap, self.prefix, self._observe)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "TOPIC_PREFIX": self.prefix,
            "LMS_URL": LMS_URL,
        }

    def add(self, name: str, **environment: str) -> Process:
        """Add a process of this installation without starting it; handlers are static members."""
        number = sum(process.name == name for process in self.processes) + 1
        settings = {**self.environment, **environment}
        if name == "handler":
            settings.setdefault("HANDLER_INSTANCE", f"{name}-{number}")
        process = NotedProcess(self.history, name, settings, self.folder / f"{name}-{number}.log")
        if name in ("gateway", "console"):
            jwks = self.issuer.write_jwks(self.folder / f"users-{name}-{number}.jwks")
            process.environment |= {
                f"{name.upper()}_PORT": str(process.port),
                f"{name.upper()}_URL": process.url,
                "JWKS": str(jwks),
                "REQUESTS_PER_MINUTE": "1000000",
            }
        self.processes.append(process)
        return process

    def start(self, handlers: int = 3, relays: int = 2, gateways: int = 2, schedulers: int = 0) -> None:
        """Start a number of processes of each kind, and wait until all are ready."""
        counts = {"handler": handlers, "relay": relays, "gateway": gateways, "scheduler": schedulers}
        for name, count in counts.items():
            for _ in range(count):
                self.add(name).start()
        self.wait_until_ready()

    def wait_until_ready(self, seconds: float = READY_SECONDS_MAX) -> None:
        """Wait until every process that was started says that it is ready. Raises TimeoutError, with what each says."""
        for process in self.processes:
            if process.popen is not None:
                try:
                    wait_until(partial(is_ready, process), f"{process.log.stem} is ready", seconds)
                except TimeoutError as error:
                    raise TimeoutError(f"{error}: {self.describe_readiness()}") from error

    def describe_readiness(self) -> str:
        """Return what each process that was started says of its readiness."""
        started = [process for process in self.processes if process.popen is not None]
        return "; ".join(f"{process.log.stem} {process.get_readiness()[1]}" for process in started)

    def of(self, name: str) -> list[Process]:
        """Return the processes of one kind."""
        return [process for process in self.processes if process.name == name]

    def kill(self, process: Process) -> None:
        """Send SIGKILL; the supervisor ignores the process until it is started again."""
        with self._lock:
            process.kill()

    def stop(self, process: Process) -> int:
        """Send SIGTERM and return the exit code. A process that ignores it is killed; raises TimeoutError."""
        with self._lock:
            try:
                return process.stop()
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise TimeoutError(f"{process.log.stem} ignored SIGTERM for {error.timeout:g} s") from error

    @contextlib.contextmanager
    def expecting_exit(self, process: Process) -> Iterator[None]:
        """Let a process end by itself: the supervisor restarts it, and it is no error."""
        self._may_exit.add(process.log.stem)
        try:
            yield
        finally:
            self._may_exit.discard(process.log.stem)

    def _supervise(self) -> None:
        while not self._closed.wait(RESTART_SECONDS):
            with self._lock:
                for process in self.processes:
                    if process.popen is not None and (code := process.popen.poll()) is not None:
                        if process.log.stem not in self._may_exit:
                            self.history.add("exit", process=process.log.stem, code=code)
                        process.start()

    def _observe(self, record: TopicRecord) -> None:
        if record.topic != "verdicts":
            return
        body = json.loads(record.value)
        self.verdicts[body["command_id"]] = body
        assignment = body["assignment_id"] and f"{body['root_account_id']}/{body['assignment_id']}"
        self.history.add(
            "verdict_seen",
            command_id=body["command_id"],
            assignment=assignment,
            stream_version=body["stream_version"],
        )

    def take_snapshot(self, name: str) -> Snapshot:
        """Digest the log as it is now."""
        snapshot = log_reader.take_snapshot(self.database_url, name)
        self.snapshots.append(snapshot)
        return snapshot

    def keep_snapshot(self, name: str) -> None:
        """Take a snapshot as soon as the log can be read. Raises TimeoutError."""
        wait_until(lambda: self.take_snapshot(name), "the log can be read")

    def keep_snapshot_if_due(self) -> None:
        """Take one if the last of these is a minute old. Raises TimeoutError."""
        if time.monotonic() >= self._snapshot_due_at:
            self.keep_snapshot(f"snapshot {len(self.snapshots) + 1}")
            self._snapshot_due_at = time.monotonic() + SNAPSHOT_SECONDS

    def is_settled(self) -> bool:
        """Return whether each schedule has fired, each command on the topic has an outcome, and the reader has all."""
        if self.of("scheduler") and log_reader.count_undecided_schedules(self.database_url):
            return False
        commands = readers.count_commands(self.bootstrap, self.prefix)
        expected = log_reader.count_rows(self.database_url)
        assert self.reader is not None
        read = {topic: len(records) for topic, records in self.reader.records.items()}
        return log_reader.count_outcomes(self.database_url) >= commands and all(
            read[topic] >= count for topic, count in expected.items()
        )

    def settle(self) -> None:
        """Wait until all is decided and published. Raises TimeoutError, with what the processes say."""
        try:
            wait_until(self.is_settled, "all is decided and published", SETTLE_SECONDS_MAX)
            # Another scheduler may still send a publication that is decided: its record would have no verdict yet.
            for scheduler in self.of("scheduler"):
                if scheduler.popen is not None:
                    self.stop(scheduler)
            wait_until(self.is_settled, "the last publications are decided", SETTLE_SECONDS_MAX)
        except TimeoutError as error:
            raise TimeoutError(f"{error} ({self.prefix}): {self.describe_readiness()}") from error

    def close(self) -> None:
        """End all processes; the data is kept."""
        self._closed.set()
        with self._lock:
            for process in self.processes:
                process.kill()
        if self.reader is not None:
            self.reader.close()
        self.history.close()


@contextlib.contextmanager
def opened(installation: Installation, *, is_supervised: bool = True) -> Iterator[Installation]:
    """Create an installation; end its processes afterwards. ``is_supervised``: those that end are started again."""
    try:
        installation.create(is_supervised=is_supervised)
        yield installation
    finally:
        installation.close()
