"""The result of verifying one topic."""

from dataclasses import asdict, dataclass, field
from typing import Any

from services.publishing.sequence_audit import Finding


@dataclass(slots=True)
class VerificationReport:
    """The result of verifying one topic.

    ``compared``: with the log. ``records``: all that were read, ``replayed``: those of them marked as replays,
    ``erased``: those with content that was later erased from the log, which is no fault. ``archived``: those of
    archived verdicts, of which only the numbers were compared.
    ``removed``: (shard, first, last) of ranges that retention removed, which is no fault. ``left_out``: of archived
    verdicts, which a topic that is filled again does not get. ``more_findings``: number of findings that were only
    counted.
    """

    topic: str
    output: str
    compared: bool
    records: int = 0
    replayed: int = 0
    erased: int = 0
    archived: int = 0
    removed: list[tuple[int, int, int]] = field(default_factory=list)
    left_out: list[tuple[int, int, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0

    @property
    def sound(self) -> bool:
        """Return whether there are no findings."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {"sound": self.sound, **asdict(self)}
