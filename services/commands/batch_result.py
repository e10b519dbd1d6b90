"""The outcome of a batch's records, for metrics and traces."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.commands.deduplication import Duplicate
from services.commands.incoming_command import ReadableCommand, Record
from services.commands.parse import InvalidCommand
from services.commands.parse_errors import COMMAND_TYPES
from services.moderation.decisions import Accepted, Decision

Outcome = tuple[str, str, str]
"""A command's type (``unknown`` for an undefined one), ``accepted``, ``rejected`` or ``duplicate``, and the reason."""
UNKNOWN_TYPE = "unknown"


@dataclass(slots=True)
class BatchResult:
    """Commands by outcome, dead letters by reason; ``event_counts`` has the events of each transaction.

    ``other_keys``: commands under a key that is not their course.

    ``attempts``: 2 if a concurrent append made the batch decide again under locks. ``deferred``: the last records of
    the batch, which were not processed because a limit was reached, mostly by records of ``heaviest_partition``.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    append_seconds: float = 0.0
    attempts: int = 1
    event_counts: list[int] = field(default_factory=list)
    deferred: Sequence[Record] = ()
    heaviest_partition: int | None = None
    other_keys: int = 0

    def add(self, other: "BatchResult") -> None:
        """Add another part of the batch."""
        self.outcomes += other.outcomes
        self.dead_letters += other.dead_letters
        self.append_seconds += other.append_seconds
        self.attempts = max(self.attempts, other.attempts)
        self.event_counts += other.event_counts
        self.other_keys += other.other_keys


def get_outcome(command: ReadableCommand, decision: Decision | Duplicate) -> Outcome:
    """Classify a decided command."""
    command_type = command.type
    if command_type is None or (isinstance(command, InvalidCommand) and command_type not in COMMAND_TYPES):
        command_type = UNKNOWN_TYPE
    if isinstance(decision, Duplicate):
        return command_type, "duplicate", ""
    if isinstance(decision, Accepted):
        return command_type, "accepted", ""
    return command_type, "rejected", decision.reason
