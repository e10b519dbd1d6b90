"""What became of the records of a batch, for who counts it."""

from collections import Counter
from dataclasses import dataclass

Outcome = tuple[str, str, str]
"""A command's type (``unknown``: none that there is), accepted, rejected or duplicate, and the refusal's reason."""
UNKNOWN_TYPE = "unknown"


@dataclass(slots=True)
class BatchResult:
    """How many records had which outcome, and how many became dead letters for which reason.

    ``attempts``: 2 where somebody else wrote meanwhile, and the batch was decided again under the locks.
    """

    outcomes: Counter[Outcome]
    dead_letters: Counter[str]
    append_seconds: float = 0.0
    attempts: int = 1

    def add(self, other: "BatchResult") -> None:
        """Count another part of the batch."""
        self.outcomes += other.outcomes
        self.dead_letters += other.dead_letters
        self.append_seconds += other.append_seconds
        self.attempts = max(self.attempts, other.attempts)
