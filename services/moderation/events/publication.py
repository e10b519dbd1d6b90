"""Events of a publication: scheduled, published, revised, withdrawn."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from services.moderation.events.base import DomainEvent
from services.moderation.value_object import value_object


@value_object(kw_only=True)
class GradePublished(DomainEvent):
    """``score`` and ``grade`` are those of the gradebook, old and new, after the deduction for lateness.

    ``points_deducted`` None: the submission was not late. ``was_graded``: the submission's state was graded before.
    """

    name: ClassVar[str] = "grade_published"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    provisional_grade_id: int
    scorer_id: int
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    entered_score: Decimal | None
    points_deducted: Decimal | None
    graded_at: datetime
    graded_anonymously: bool | None
    was_graded: bool


@value_object(kw_only=True)
class GradesPosted(DomainEvent):
    """The publication as a whole, after its last grade. The name is Canvas's."""

    name: ClassVar[str] = "grades_posted"
    grades_published_at: datetime


@value_object(kw_only=True)
class PublicationScheduled(DomainEvent):
    """``schedule_id``: the id of the command that scheduled it; ``plan_digest`` None: with any plan."""

    name: ClassVar[str] = "publication_scheduled"
    schedule_id: str
    publish_at: datetime
    user_id: int
    plan_digest: str | None


@value_object(kw_only=True)
class PublicationScheduleCancelled(DomainEvent):
    name: ClassVar[str] = "publication_schedule_cancelled"
    schedule_id: str
    publish_at: datetime


@value_object(kw_only=True)
class GradeRevised(DomainEvent):
    """A published grade was replaced by a grade or an excusal. ``score``, ``grade``: in the gradebook, old and new.

    An excusal ends a late policy status. ``points_deducted`` None: the submission was not late.
    """

    name: ClassVar[str] = "grade_revised"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    excused: tuple[bool, bool]
    entered_score: Decimal | None
    points_deducted: Decimal | None
    grader_id: int
    graded_at: datetime
    was_graded: bool
    reason: str | None


@value_object(kw_only=True)
class GradeWithdrawn(DomainEvent):
    """A published grade was withdrawn: the submission is as it was handed in."""

    name: ClassVar[str] = "grade_withdrawn"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    excused: tuple[bool, bool]
    grader_id: int
    graded_at: datetime
    reason: str | None
