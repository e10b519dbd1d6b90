"""How things stand, as plain records and in words: what ``watch`` gathers and the first page shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from services.console.group_members import UNASSIGNED
from services.eventlog.pipeline_queries import TopicLag, VerdictSummary
from services.telemetry.consumer_lag import PartitionState

UP_TO_DATE = "up to date"
# As the metric moderation_consumer_state has them; whether the handler tries is not to be seen from here.
STATE_NAMES = {
    PartitionState.OK: UP_TO_DATE,
    PartitionState.WARNING: "falling behind",
    PartitionState.STALLED: "stalled",
    PartitionState.STOPPED: "stopped",
}
# A record that is decided while we look at it is no lag.
DELAY_SECONDS_MAX = 2.0
UP_TO_DATE_DELAY_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Of the commands topic. ``waiting``: records not decided, an upper bound where producers used transactions;
    ``oldest_seconds``: the age of the oldest of them, 0 where none waits. ``decided_offset``: of the first record that
    is not decided, as Kafka counts what a group has committed. ``owner``: the member of the handlers' group that
    decides it, NOBODY where none does, None where that is not known. ``is_cut``: it ends before what was decided of it,
    so it is not the topic that the log knows."""

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
        """From what the log and the brokers say. ``lag``: records above the watermark, below 0 where it is cut."""
        state_name = STATE_NAMES[PartitionState.STOPPED if lag < 0 else state]
        return cls(number, state_name, max(lag, 0), oldest_seconds, watermark + 1, owner, lag < 0)


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """A topic (without prefix) that does not hold what was put on it; ``is_missing``: there is none of that name."""

    topic: str
    words: str
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class PublicationStatus:
    """One that is not wholly on the topic. ``per_second``, ``seconds_left``: None before that can be said, and while
    nothing comes out: for how long is ``still_seconds``, of the last seconds that were looked at."""

    root_account: int
    course: int
    assignment: int
    command_id: str
    published: int
    total: int
    per_second: float | None
    seconds_left: float | None
    still_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """``minutes``: commands decided in each 10 seconds of the last 15 minutes, the oldest first.

    ``p50``, ``p99``: seconds from append to decision of the last commands, None before any. ``problems``: what cannot
    be seen at present, and why. ``lost``: topics that do not hold what was put on them. ``rejected``: refusals in the
    last 15 minutes. ``counting``: the console has not yet read all of the log since it started, and its counts still
    grow.
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
    open_dead_letters: int = 0
    oldest_dead_letter: datetime | None = None
    problems: tuple[str, ...] = ()
    topic_problems: tuple[TopicProblem, ...] = ()
    is_catching_up: bool = False

    @property
    def unpublished_since(self) -> datetime | None:
        """Since when the oldest record waits for a topic."""
        return min((output.since for output in self.outputs if output.since), default=None)

    @property
    def is_ok(self) -> bool:
        """Whether nobody is needed."""
        return self.level == "calm"

    @property
    def level(self) -> str:
        """``calm``, ``look`` (dead letters are open) or ``alarm`` (something is late, or cannot be seen)."""
        if self.problems or self.delays():
            return "alarm"
        return "look" if self.open_dead_letters else "calm"

    def delays(self) -> list[str]:
        """What takes longer than it should, its causes first, one sentence each."""
        reasons = self._blockers()
        delayed_partitions = [
            p
            for p in self.partitions
            if p.oldest_seconds > (UP_TO_DATE_DELAY_SECONDS_MAX if p.state == UP_TO_DATE else DELAY_SECONDS_MAX)
        ]
        if delayed_partitions:
            worst = max(delayed_partitions, key=lambda p: p.oldest_seconds)
            waiting = sum(p.waiting for p in delayed_partitions)
            location = f"partition {worst.number} is {'late' if worst.state == UP_TO_DATE else worst.state}"
            reasons.append(
                f"{pluralize(waiting, 'command')} not decided, the oldest waiting "
                f"{format_duration(worst.oldest_seconds)}: {location}"
            )
        since = self.unpublished_since
        if since is not None and self.at is not None and (self.at - since).total_seconds() > DELAY_SECONDS_MAX:
            waiting = sum(output.waiting for output in self.outputs)
            reasons.append(
                f"{pluralize(waiting, 'record')} not on the topics, the oldest waiting"
                f" {format_duration((self.at - since).total_seconds())}: the relay is behind or stopped"
            )
        return reasons

    def _blockers(self) -> list[str]:
        """Why what comes now would wait, whether or not anything waits yet."""
        reasons = []
        cut_partitions = [p.number for p in self.partitions if p.is_cut]
        if cut_partitions:
            reasons.append(
                f"{_format_partitions(cut_partitions)} of the commands topic ends before what was decided of it: "
                "the topic was made again"
                " or cut, and handlers stop there"
            )
        topics_ahead = [output.topic for output in self.outputs if output.ahead]
        if topics_ahead:
            reasons.append(
                f"{'topic' if len(topics_ahead) == 1 else 'topics'} {', '.join(topics_ahead)}"
                f" {'has' if len(topics_ahead) == 1 else 'have'} records that the log does not know: the log was"
                " restored to an earlier time, and the relay stops there"
            )
        unassigned_partitions = [p.number for p in self.partitions if p.owner == UNASSIGNED]
        if unassigned_partitions and len(unassigned_partitions) == len(self.partitions):
            reasons.append("no handler runs")
        elif unassigned_partitions:
            reasons.append(f"no handler decides {_format_partitions(unassigned_partitions)}")
        return [*reasons, *(lost.words for lost in self.topic_problems)]

    @property
    def has_cut_partition(self) -> bool:
        """Whether a partition is not the one that the log knows."""
        return any(p.is_cut for p in self.partitions)

    @property
    def has_topic_ahead(self) -> bool:
        """Whether a topic has what the log does not know."""
        return any(output.ahead for output in self.outputs)

    @property
    def damaged_topics(self) -> list[str]:
        """The topics that are there, and do not hold what the relay put on them."""
        return [lost.topic for lost in self.topic_problems if not lost.is_missing]

    @property
    def has_missing_topic(self) -> bool:
        """Whether a topic is not there."""
        return any(lost.is_missing for lost in self.topic_problems)

    @property
    def rewind_command(self) -> str:
        """The command after which the relay fills again what differs; where its progress is lost, of all topics."""
        outputs = [] if "progress" in self.damaged_topics else self.damaged_topics
        return " ".join(["moderated-grading admin rewind topics", *outputs])

    def summary_lines(self) -> list[str]:
        """One glance, a cause or a consequence each."""
        delay_lines = [text[0].upper() + text[1:] for text in self.delays()]
        if self.problems or delay_lines:
            return list(self.problems[:1]) or delay_lines
        dead_letter_note = (
            f"; {pluralize(self.open_dead_letters, 'dead letter')} open" if self.open_dead_letters else ""
        )
        return [f"Every command is decided and every grade is out{dead_letter_note}"]

    def summary(self) -> str:
        """The same in a line."""
        return ". ".join(self.summary_lines())


def _format_partitions(numbers: list[int]) -> str:
    return f"partition{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def pluralize(number: int, noun: str) -> str:
    """``1 command``, ``2,000 commands``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """A span of time in words as short as a glance."""
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    duration = timedelta(seconds=int(seconds))
    days, rest = duration.days, duration.seconds
    hours, minutes = rest // 3600, rest % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest % 60} s"
