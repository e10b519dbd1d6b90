"""The status of the pipeline as plain records, and its summary in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Self

from services.console.group_members import UNASSIGNED
from services.console.wording import format_duration, pluralize
from services.eventlog.pipeline_queries import TopicLag, VerdictSummary
from services.eventlog.process_sessions import ProcessActivity
from services.telemetry.consumer_lag import PartitionState

Level = Literal["ok", "warning", "critical"]
UP_TO_DATE = "up to date"
# The states of the metric moderation_consumer_state.
STATE_NAMES = {
    PartitionState.OK: UP_TO_DATE,
    PartitionState.WARNING: "falling behind",
    PartitionState.STALLED: "stalled",
    PartitionState.STOPPED: "stopped",
}
RUNBOOK_BY_STATE = {"stalled": "PartitionStalled", "stopped": "PartitionStopped"}
# Commands and records in flight do not count as delayed.
DELAY_SECONDS_MAX = 2.0
UP_TO_DATE_DELAY_SECONDS_MAX = 5.0
STARTING = "The console is starting"
ALL_DONE = "Every command is decided and every record is on its topic"


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition of the commands topic.

    Attributes:
        waiting: Undecided records; an upper bound where producers used transactions.
        oldest_seconds: Age of the oldest undecided record, 0 if there is none.
        decided_offset: Offset of the next record to decide, as Kafka counts committed offsets.
        owner: Member of the handlers' group that has the partition, UNASSIGNED if none has, None if unknown.
        is_cut: The partition ends before the last decided offset: the topic was recreated or truncated.
    """

    number: int
    state: str
    waiting: int
    oldest_seconds: float
    decided_offset: int
    owner: str | None = None
    is_cut: bool = False

    @classmethod
    def from_lag(
        cls, number: int, watermark: int, lag: int, oldest_seconds: float, state: PartitionState, owner: str | None
    ) -> Self:
        """Build from the log's watermark and the broker's lag: records above the watermark, negative if cut."""
        state_name = STATE_NAMES[PartitionState.STOPPED if lag < 0 else state]
        return cls(number, state_name, max(lag, 0), oldest_seconds, watermark + 1, owner, lag < 0)


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """A topic (without prefix) that is missing, lacks records that the relay published, or holds another log's records.

    ``differs_from_log``: the log lost records that are on the topic.
    """

    topic: str
    description: str
    is_missing: bool = False
    differs_from_log: bool = False


@dataclass(frozen=True, slots=True)
class ForeignRecords:
    """Records on an output topic that the relay did not write; the last one is at ``partition @ offset``."""

    topic: str
    count: int
    partition: int
    offset: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} has {pluralize(self.count, 'record')} that the relay did not write, the last at"
            f" partition {self.partition} offset {self.offset}: consumers may take them for grades"
        )


@dataclass(frozen=True, slots=True)
class PublicationStatus:
    """A publication of grades that is not completely on the topic yet.

    ``per_second`` and ``seconds_left`` are None until a rate is known, and while nothing is published;
    ``stalled_seconds`` is the time without progress, within the sampling window.
    """

    root_account: int
    course: int
    assignment: int
    command_id: str
    published: int
    total: int
    per_second: float | None
    seconds_left: float | None
    stalled_seconds: float = 0.0


class StatusSentence(NamedTuple):
    """``text``: without a full stop. ``runbook``: the runbook's heading for it; None where all is well."""

    text: str
    runbook: str | None


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """Everything that the status page and the ``status`` command show.

    Attributes:
        at: PostgreSQL's time, None before the first poll.
        rejected: Refusals of the last 15 minutes.
        throughput: Commands decided in each 10 seconds of the last 15 minutes, the oldest first.
        p50, p99: Seconds from append to decision of recent commands, None if there are none.
        open_dead_letters: None before they were counted.
        problems: Servers that do not answer, and why.
        topic_problems: Topics that are missing or lack records.
        foreign_records: Topics that hold records that the relay did not write.
        is_catching_up: The console has not yet read the whole log since its start; its counts still grow.
        activity: Which processes are connected to PostgreSQL, and which relay holds each lane.
        last_decisions: When the last command of each partition was decided, by partition.
    """

    at: datetime | None = None
    decided: int = 0
    rejected: int = 0
    throughput: tuple[int, ...] = ()
    p50: float | None = None
    p99: float | None = None
    partitions: tuple[PartitionStatus, ...] = ()
    outputs: tuple[TopicLag, ...] = ()
    publications: tuple[PublicationStatus, ...] = ()
    recent_verdicts: tuple[VerdictSummary, ...] = ()
    open_dead_letters: int | None = 0
    oldest_dead_letter: datetime | None = None
    problems: tuple[str, ...] = ()
    topic_problems: tuple[TopicProblem, ...] = ()
    foreign_records: tuple[ForeignRecords, ...] = ()
    is_catching_up: bool = False
    activity: ProcessActivity = ProcessActivity()
    last_decisions: Mapping[int, datetime] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """``warning``: dead letters are open, or not counted. ``critical``: something is late, lost or not visible."""
        if self.problems or self.delays():
            return "critical"
        return "ok" if self.open_dead_letters == 0 else "warning"

    def summary(self) -> str:
        """Summarize in one line."""
        return ". ".join(self.summary_lines())

    def summary_lines(self) -> list[str]:
        """Return one sentence for each problem, causes before their effects; one sentence if there is none."""
        return [sentence.text for sentence in self.sentences()]

    def sentences(self) -> list[StatusSentence]:
        """Return the same, each with its heading in the runbook."""
        if self.problems:
            return self.problem_sentences()[:1]
        if delays := self._delays():
            return [StatusSentence(text[0].upper() + text[1:], runbook) for text, runbook in delays]
        if self.open_dead_letters is None:
            return [StatusSentence(f"{ALL_DONE}; open dead letters are not counted yet", "DeadLettersOpen")]
        if self.open_dead_letters:
            text = f"{ALL_DONE}; {pluralize(self.open_dead_letters, 'dead letter')} open"
            return [StatusSentence(text, "DeadLettersOpen")]
        return [StatusSentence(ALL_DONE, None)]

    def problem_sentences(self) -> list[StatusSentence]:
        """Return a sentence for each server that does not answer, or cannot be used as it is."""
        return [StatusSentence(problem, _find_runbook_entry(problem)) for problem in self.problems]

    def delays(self) -> list[str]:
        """List what is late or stopped, causes before their effects, one sentence each."""
        return [sentence.text for sentence in self._delays()]

    def _delays(self) -> list[StatusSentence]:
        return [*self._blockers(), *self._late_commands(), *self._late_records()]

    def _blockers(self) -> list[StatusSentence]:
        """Return reasons why the next command or record would wait, even if nothing waits yet."""
        reasons = []
        cut_partitions = [p.number for p in self.partitions if p.is_cut]
        if cut_partitions:
            text = (
                f"{_format_partitions(cut_partitions)} of the commands topic ends before the last decided offset: the"
                " topic was recreated or truncated, and the handlers have stopped there"
            )
            reasons.append(StatusSentence(text, "PartitionStopped"))
        topics_ahead = [output.topic for output in self.outputs if output.ahead]
        if topics_ahead:
            subject = "topic" if len(topics_ahead) == 1 else "topics"
            verb = "has" if len(topics_ahead) == 1 else "have"
            text = (
                f"{subject} {', '.join(topics_ahead)} {verb} records that are not in the log: the log was restored to"
                " an earlier time, and the relay has stopped"
            )
            reasons.append(StatusSentence(text, "Published records are gone from the log"))
        unassigned = [p.number for p in self.partitions if p.owner == UNASSIGNED]
        if unassigned and len(unassigned) == len(self.partitions):
            reasons.append(StatusSentence("no handler is running", "HandlerAbsent"))
        elif unassigned:
            reasons.append(StatusSentence(f"no handler has {_format_partitions(unassigned)}", "PartitionUnowned"))
        reasons += [StatusSentence(problem.description, "TopicLost") for problem in self.topic_problems]
        return [*reasons, *(StatusSentence(str(records), "ForeignRecords") for records in self.foreign_records)]

    def _late_commands(self) -> list[StatusSentence]:
        late = [
            p
            for p in self.partitions
            if p.oldest_seconds > (UP_TO_DATE_DELAY_SECONDS_MAX if p.state == UP_TO_DATE else DELAY_SECONDS_MAX)
        ]
        if not late:
            return []
        oldest = max(late, key=lambda p: p.oldest_seconds)
        state = "late" if oldest.state == UP_TO_DATE else oldest.state
        text = (
            f"{_count(sum(p.waiting for p in late), 'command')} not decided, the oldest for"
            f" {format_duration(oldest.oldest_seconds)}: partition {oldest.number} is {state}"
        )
        return [StatusSentence(text, RUNBOOK_BY_STATE.get(state, "CommandsWait"))]

    def _late_records(self) -> list[StatusSentence]:
        since = min((output.since for output in self.outputs if output.since), default=None)
        if since is None or self.at is None or (self.at - since).total_seconds() <= DELAY_SECONDS_MAX:
            return []
        text = (
            f"{_count(sum(output.waiting for output in self.outputs), 'record')} not on the topics, the oldest for"
            f" {format_duration((self.at - since).total_seconds())}: the relay is behind or stopped"
        )
        return [StatusSentence(text, "RecordsWait")]

    @property
    def has_cut_partition(self) -> bool:
        """Return whether the commands topic was recreated or truncated."""
        return any(p.is_cut for p in self.partitions)

    @property
    def has_topic_ahead(self) -> bool:
        """Return whether a topic has records that are not in the log."""
        return any(output.ahead for output in self.outputs)

    @property
    def damaged_topics(self) -> list[str]:
        """Existing topics that lack records that the relay put on them, or have records that the log lost."""
        return [problem.topic for problem in self.topic_problems if not problem.is_missing]

    @property
    def has_missing_topic(self) -> bool:
        """Return whether a topic does not exist, or has too few partitions."""
        return any(problem.is_missing for problem in self.topic_problems)

    @property
    def rewind_command(self) -> str:
        """The command that makes topics and log match again: for all topics if the relay's progress is lost."""
        if any(problem.differs_from_log for problem in self.topic_problems):
            return "moderated-grading admin rewind log"
        outputs = [] if "progress" in self.damaged_topics else self.damaged_topics
        return " ".join(["moderated-grading admin rewind topics", *outputs])


def _find_runbook_entry(problem: str) -> str | None:
    """Return the heading for a server's problem, by what it begins with (``services.runtime.errors``)."""
    if problem == STARTING:
        return None
    if problem.startswith("Kafka"):
        return "KafkaAway"
    if problem.startswith("PostgreSQL") and not problem.startswith("PostgreSQL refuses"):
        return "PostgreSQLAway"
    # The server works: rights, the latest migration, or a topic's settings are missing. The problem names the command.
    return "NotReady"


def _count(number: int, noun: str) -> str:
    """Format as ``1 command is``, ``2,000 commands are``."""
    return f"{pluralize(number, noun)} {'is' if number == 1 else 'are'}"


def _format_partitions(numbers: list[int]) -> str:
    return f"partition{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"
