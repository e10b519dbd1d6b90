"""How things stand, as plain records and in words: what ``watch`` gathers and the first page shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from services.console.group_members import NOBODY
from services.eventlog.pipeline_queries import Behind, Decided
from services.telemetry.consumer_lag import State

FINE = "up to date"
# As the metric moderation_consumer_state has them; whether the handler tries is not to be seen from here.
NAMES = {State.OK: FINE, State.WARNING: "falling behind", State.STALLED: "stalled", State.STOPPED: "stopped"}
# A record that is decided while we look at it is no lag.
LATE_SECONDS = 2.0
TOO_LATE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Partition:
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
    def seen(
        cls, number: int, watermark: int, lag: int, oldest_seconds: float, state: State, owner: str | None
    ) -> Self:
        """From what the log and the brokers say. ``lag``: records above the watermark, below 0 where it is cut."""
        name = NAMES[State.STOPPED if lag < 0 else state]
        return cls(number, name, max(lag, 0), oldest_seconds, watermark + 1, owner, lag < 0)


@dataclass(frozen=True, slots=True)
class Lost:
    """A topic (without prefix) that does not hold what was put on it; ``is_missing``: there is none of that name."""

    topic: str
    words: str
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class Publication:
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
class Now:
    """``minutes``: commands decided in each 10 seconds of the last 15 minutes, the oldest first.

    ``p50``, ``p99``: seconds from append to decision of the last commands, None before any. ``problems``: what cannot
    be seen at present, and why. ``lost``: topics that do not hold what was put on them. ``rejected``: refusals in the
    last 15 minutes. ``counting``: the console has not yet read all of the log since it started, and its counts still
    grow.
    """

    at: datetime | None = None
    decided: int = 0
    rejected: int = 0
    flow: tuple[int, ...] = ()
    p50: float | None = None
    p99: float | None = None
    partitions: tuple[Partition, ...] = ()
    outputs: tuple[Behind, ...] = ()
    publications: tuple[Publication, ...] = ()
    recent: tuple[Decided, ...] = ()
    open_letters: int = 0
    oldest_letter: datetime | None = None
    problems: tuple[str, ...] = ()
    lost: tuple[Lost, ...] = ()
    counting: bool = False

    @property
    def unpublished_since(self) -> datetime | None:
        """Since when the oldest record waits for a topic."""
        return min((output.since for output in self.outputs if output.since), default=None)

    @property
    def is_calm(self) -> bool:
        """Whether nobody is needed."""
        return self.level == "calm"

    @property
    def level(self) -> str:
        """``calm``, ``look`` (dead letters are open) or ``alarm`` (something is late, or cannot be seen)."""
        if self.problems or self.late():
            return "alarm"
        return "look" if self.open_letters else "calm"

    def late(self) -> list[str]:
        """What takes longer than it should, its causes first, one sentence each."""
        found = self._stops()
        slow = [
            p for p in self.partitions if p.oldest_seconds > (TOO_LATE_SECONDS if p.state == FINE else LATE_SECONDS)
        ]
        if slow:
            worst = max(slow, key=lambda p: p.oldest_seconds)
            waiting = sum(p.waiting for p in slow)
            where = f"partition {worst.number} is {'late' if worst.state == FINE else worst.state}"
            found.append(
                f"{count(waiting, 'command')} not decided, the oldest waiting {lasting(worst.oldest_seconds)}: {where}"
            )
        since = self.unpublished_since
        if since is not None and self.at is not None and (self.at - since).total_seconds() > LATE_SECONDS:
            waiting = sum(output.waiting for output in self.outputs)
            found.append(
                f"{count(waiting, 'record')} not on the topics, the oldest waiting"
                f" {lasting((self.at - since).total_seconds())}: the relay is behind or stopped"
            )
        return found

    def _stops(self) -> list[str]:
        """Why what comes now would wait, whether or not anything waits yet."""
        found = []
        cut = [p.number for p in self.partitions if p.is_cut]
        if cut:
            found.append(
                f"{_partitions(cut)} of the commands topic ends before what was decided of it: the topic was made again"
                " or cut, and handlers stop there"
            )
        ahead = [output.topic for output in self.outputs if output.ahead]
        if ahead:
            found.append(
                f"{'topic' if len(ahead) == 1 else 'topics'} {', '.join(ahead)}"
                f" {'has' if len(ahead) == 1 else 'have'} records that the log does not know: the log was"
                " restored to an earlier time, and the relay stops there"
            )
        unheld = [p.number for p in self.partitions if p.owner == NOBODY]
        if unheld and len(unheld) == len(self.partitions):
            found.append("no handler runs")
        elif unheld:
            found.append(f"no handler decides {_partitions(unheld)}")
        return [*found, *(lost.words for lost in self.lost)]

    @property
    def cut(self) -> bool:
        """Whether a partition is not the one that the log knows."""
        return any(p.is_cut for p in self.partitions)

    @property
    def ahead(self) -> bool:
        """Whether a topic has what the log does not know."""
        return any(output.ahead for output in self.outputs)

    @property
    def differing(self) -> list[str]:
        """The topics that are there, and do not hold what the relay put on them."""
        return [lost.topic for lost in self.lost if not lost.is_missing]

    @property
    def missing(self) -> bool:
        """Whether a topic is not there."""
        return any(lost.is_missing for lost in self.lost)

    @property
    def rewind(self) -> str:
        """The command after which the relay fills again what differs; where its progress is lost, of all topics."""
        outputs = [] if "progress" in self.differing else self.differing
        return " ".join(["python -m services.admin.rewind topics", *outputs])

    def sentences(self) -> list[str]:
        """One glance, a cause or a consequence each."""
        late = [text[0].upper() + text[1:] for text in self.late()]
        if self.problems or late:
            return list(self.problems[:1]) or late
        letters = f"; {count(self.open_letters, 'dead letter')} open" if self.open_letters else ""
        return [f"Every command is decided and every grade is out{letters}"]

    def sentence(self) -> str:
        """The same in a line."""
        return ". ".join(self.sentences())


def _partitions(numbers: list[int]) -> str:
    return f"partition{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def count(number: int, thing: str) -> str:
    """``1 command``, ``2,000 commands``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """A span of time in words as short as a glance."""
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = timedelta(seconds=int(seconds))
    days, rest = whole.days, whole.seconds
    hours, minutes = rest // 3600, rest % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest % 60} s"
