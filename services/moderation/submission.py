"""A student's submission in the gradebook, and its comments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(slots=True)
class Comment:
    """``comment`` None: the comment was erased."""

    comment_id: int
    author_id: int
    comment: str | None
    created_at: datetime


@dataclass(slots=True)
class Submission:
    """The real grade of a student; every assigned student has one, unsubmitted, from the start."""

    submission_id: int | None = None
    anonymous_id: str | None = None
    attempt: int | None = None
    submitted_at: datetime | None = None
    score: Decimal | None = None
    grade: str | None = None
    grader_id: int | None = None
    graded_at: datetime | None = None
    excused: bool = False
    posted_at: datetime | None = None
    seconds_late: int | None = None
    late_policy_status: str | None = None
    # Points that the late policy deducted from the published score; None if the submission was not late.
    points_deducted: Decimal | None = None
    # Whether a publication set the grade, even if it has changed since.
    is_published: bool = False
    workflow_state: str = "unsubmitted"
    grade_matches_current_submission: bool = True
    graded_anonymously: bool | None = None
    updated_at: datetime | None = None
    # Counts the events that touched it or a provisional grade of its student: cached views hold while it is unchanged.
    revision: int = 0
    # Shard position of the event that last set score or grade.
    graded_position: int = 0
    # Shard positions since then at which the submission stopped being graded, or was graded again.
    graded_state_changes: tuple[int, ...] = ()
    rubric_assessment: Mapping[str, Any] | None = None
    comments: tuple[Comment, ...] = ()

    def was_graded_at(self, position: int) -> bool:
        """Return whether the state was graded at a shard position after the one at which score or grade were set."""
        later_changes = sum(changed_at > position for changed_at in self.graded_state_changes)
        return (self.workflow_state == "graded") != bool(later_changes % 2)

    @property
    def is_handed_in(self) -> bool:
        """Whether the student has handed in work."""
        return self.submitted_at is not None or bool(self.attempt)

    @property
    def is_late(self) -> bool:
        """Whether it is late (Canvas: app/models/submission.rb, Tardiness#late?).

        A stated status decides; excused work is never late.
        """
        if self.excused:
            return False
        if self.late_policy_status is not None:
            return self.late_policy_status == "late"
        return self.is_handed_in and bool(self.seconds_late)

    @property
    def is_missing(self) -> bool:
        """Whether it is missing (Canvas: app/models/submission.rb, Tardiness#missing?).

        A stated status decides; without one, work that a grader graded is never missing.
        """
        if self.excused:
            return False
        if self.late_policy_status is not None:
            return self.late_policy_status == "missing"
        return self.grader_id is None and not self.is_handed_in and bool(self.seconds_late)


UNSUBMITTED = Submission()


@dataclass(slots=True)
class TouchedSubmission:
    """Replaces a Submission of which only these two fields have changed, with a quarter of its memory.

    It reads like one. Setting any other field raises AttributeError: see ``Assignment.changeable_submission``.
    """

    updated_at: datetime | None = None
    revision: int = 0


for _name in vars(Submission):
    # Fields, properties and methods alike have the values of UNSUBMITTED.
    if not _name.startswith("__") and _name not in TouchedSubmission.__dataclass_fields__:
        setattr(TouchedSubmission, _name, getattr(UNSUBMITTED, _name))
