"""Events of a submission in the gradebook: recorded, commented on, excused, posted, hidden."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from services.moderation.events.base import Changes, DomainEvent
from services.moderation.value_object import value_object


@value_object(kw_only=True)
class SubmissionRecorded(DomainEvent):
    """``changed_fields``: the fields that changed, new values only."""

    name: ClassVar[str] = "submission_recorded"
    student_id: int
    submission_id: int
    changed_fields: Mapping[str, Any]


@value_object(kw_only=True)
class SubmissionCommentRecorded(DomainEvent):
    """``comment`` None: it was erased."""

    name: ClassVar[str] = "submission_comment_recorded"
    student_id: int
    submission_id: int
    author_id: int
    comment: str | None
    created_at: datetime


@value_object(kw_only=True)
class SubmissionUpdated(DomainEvent):
    """An excusal that was given or lifted, with the resulting gradebook changes."""

    name: ClassVar[str] = "submission_updated"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    changes: Changes


@value_object(kw_only=True)
class SubmissionPosted(DomainEvent):
    """``graded``: the submission's state; a grade_change follows only for graded submissions."""

    name: ClassVar[str] = "submission_posted"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    posted_at: datetime
    score: Decimal | None
    grade: str | None
    grader_id: int | None
    graded: bool


@value_object(kw_only=True)
class SubmissionHidden(DomainEvent):
    """``graded``: the submission's state; a grade_change follows only for graded submissions."""

    name: ClassVar[str] = "submission_hidden"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    score: Decimal | None
    grade: str | None
    grader_id: int | None
    graded: bool
