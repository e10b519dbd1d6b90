"""The observations of a fault run from outside: clients, topics, the log, served states, samples of processes.

A run is a folder of JSON lines, so that it can be checked again without any server: ``python -m
tests.system.faults.checker FOLDER``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Place = tuple[int, int, int]
"""Source (incarnation of the commands topic), partition and offset of a command record."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise. ``record``: where it shows, e.g. ``verdicts 3 @ 17``; ``evidence``: what was observed."""

    invariant: str
    evidence: str
    record: str = ""
    command_id: str = ""

    def __str__(self) -> str:
        about = " ".join(text for text in (self.record, self.command_id and f"command {self.command_id}") if text)
        return f"{self.invariant} {about}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record as a consumer received it. ``topic`` has no prefix; bytes that are not UTF-8 are escaped."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: str
    headers: Mapping[str, str]
    source: int = 1

    @property
    def sequence(self) -> int:
        return int(self.headers["ce_sequence"])

    @property
    def ce_id(self) -> str:
        return self.headers["ce_id"]

    @property
    def is_replay(self) -> bool:
        return self.headers.get("replay") == "true"

    def __str__(self) -> str:
        return f"{self.topic} {self.partition} @ {self.offset}"


def read_command(record: TopicRecord) -> Json:
    """Return the command of a record; an empty one if it is unreadable."""
    try:
        return dict(json.loads(record.value))
    except (TypeError, ValueError):
        return {}


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A row of ``event``. ``transaction``: PostgreSQL's id of the transaction that inserted it.

    ``data``: JSON as it is stored, with null for what is personal and, if there is any, the key ``sealed``.
    """

    shard: int
    position: int
    live_number: int | None
    stream: int
    version: int
    type: str
    ce_id: str
    live_id: str | None
    caliper_id: str | None
    command_id: str
    transaction: str
    course: int
    assignment: int | None
    student: int | None
    data: str


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """A row of ``decided_command`` with its body, the value of its record on the topic."""

    shard: int
    number: int
    source: int
    partition: int
    offset: int
    root_account: int
    command_id: str
    first: bool
    ce_id: str
    transaction: str
    body: Json

    @property
    def place(self) -> Place:
        return self.source, self.partition, self.offset


@dataclass(frozen=True, slots=True)
class LogDeadLetter:
    """A row of ``dead_letter``."""

    shard: int
    number: int
    source: int
    partition: int
    offset: int
    reason: str

    @property
    def place(self) -> Place:
        return self.source, self.partition, self.offset


@dataclass(frozen=True, slots=True)
class LogSchedule:
    """A row of ``event`` that set the time of a publication, and what ended it; times in seconds since 1970.

    ``publication_id``: of the command that publishes at that time. ``ended_by``: the command of the next event of the
    stream that replaced, cancelled or published; None: it is still in force. ``ended_as``: the type of that event.
    """

    assignment: int
    schedule_id: str
    publish_at: float
    publication_id: str
    ended_by: str | None
    ended_as: str | None


Outcome = LogVerdict | LogDeadLetter


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Digests of the log's rows at one moment, in order, by table and shard (``event 3``)."""

    name: str
    rows: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a process's resources during and after faults (I16)."""

    memory_mib: float = 600
    open_files: int = 500
    log_lines_per_minute: float = 600
    fenced_per_minute: float = 10


@dataclass
class Run:
    """All observations of one installation.

    ``history``: lines of clients, each with ``kind`` and ``at`` (seconds, monotonic). ``readers``: what read_committed
    consumers were given, by reader (``during``: while faults were injected, ``after``: at the end), then by topic, in
    the order of arrival. ``uncommitted``: the same topics with aborted records. ``states``: state documents as a
    gateway served them at the end, by assignment; None if none did. ``texts``: logs and metrics of processes, by name.
    ``tenant_canaries``: texts that only one root account sent. ``secrets``: texts that belong in no log, metric or dead
    letter.
    """

    history: list[Json] = field(default_factory=list)
    readers: dict[str, dict[str, list[TopicRecord]]] = field(default_factory=dict)
    uncommitted: dict[str, list[TopicRecord]] = field(default_factory=dict)
    commands: list[TopicRecord] = field(default_factory=list)
    events: list[LogEvent] = field(default_factory=list)
    verdicts: list[LogVerdict] = field(default_factory=list)
    dead_letters: list[LogDeadLetter] = field(default_factory=list)
    schedules: list[LogSchedule] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    states: dict[str, Json | None] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    tenant_canaries: dict[str, list[str]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    limits: Limits = Limits()

    def lines(self, kind: str) -> Iterator[Json]:
        """Return the client lines of one kind."""
        return (line for line in self.history if line["kind"] == kind)

    def outcomes(self) -> Iterator[Outcome]:
        """Return the outcomes of command records."""
        yield from self.verdicts
        yield from self.dead_letters

    def save(self, folder: Path) -> None:
        """Write the run to a file for each field."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in asdict(self).items():
            rows = value if isinstance(value, list) else [value]
            with (folder / f"{name}.jsonl").open("w") as file:
                file.writelines(json.dumps(row, default=str) + "\n" for row in rows)

    @classmethod
    def load(cls, folder: Path) -> "Run":
        """Read a saved run. Raises FileNotFoundError."""

        def rows(name: str) -> list[Any]:
            return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]

        def topics(by_topic: Mapping[str, list[Json]]) -> dict[str, list[TopicRecord]]:
            return {topic: [TopicRecord(**record) for record in records] for topic, records in by_topic.items()}

        return cls(
            history=rows("history"),
            readers={name: topics(by_topic) for name, by_topic in rows("readers")[0].items()},
            uncommitted=topics(rows("uncommitted")[0]),
            commands=[TopicRecord(**row) for row in rows("commands")],
            events=[LogEvent(**row) for row in rows("events")],
            verdicts=[LogVerdict(**row) for row in rows("verdicts")],
            dead_letters=[LogDeadLetter(**row) for row in rows("dead_letters")],
            schedules=[LogSchedule(**row) for row in rows("schedules")],
            snapshots=[Snapshot(**row) for row in rows("snapshots")],
            states=rows("states")[0],
            texts=rows("texts")[0],
            tenant_canaries=rows("tenant_canaries")[0],
            secrets=rows("secrets"),
            limits=Limits(**rows("limits")[0]),
        )
