"""Events of a provisional grade: given, commented on, selected, adjudicated."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.events.base import Changes, DomainEvent
from services.moderation.grading_scheme import GradingScheme
from services.moderation.value_object import value_object


@value_object(kw_only=True)
class ProvisionalGradeCreated(DomainEvent):
    name: ClassVar[str] = "provisional_grade_created"
    student_id: int
    submission_id: int
    provisional_grade_id: int
    scorer_id: int
    score: Decimal | None
    grade: str | None
    graded_at: datetime | None
    final: bool
    graded_anonymously: bool | None
    rubric_assessment: Mapping[str, Any] | None = None


@value_object(kw_only=True)
class ProvisionalGradeUpdated(DomainEvent):
    name: ClassVar[str] = "provisional_grade_updated"
    student_id: int
    submission_id: int
    provisional_grade_id: int
    changes: Changes


@value_object(kw_only=True)
class ProvisionalCommentCreated(DomainEvent):
    """``comment`` None: it was erased."""

    name: ClassVar[str] = "provisional_comment_created"
    student_id: int
    submission_id: int
    provisional_grade_id: int
    comment_id: int
    author_id: int
    comment: str | None


@value_object(kw_only=True)
class ProvisionalGradeSelected(DomainEvent):
    name: ClassVar[str] = "provisional_grade_selected"
    student_id: int
    submission_id: int
    provisional_grade_id: int


@value_object(kw_only=True)
class ProvisionalGradeAdjudicated(DomainEvent):
    """The result of a policy for a student's marks; Canvas's own events follow for each change.

    ``policy_version``: the stream's version at which the policy was set; ``points_possible`` 0: none;
    ``grading_scheme``: only where it gives the boundaries; ``marks``: each with its grade, scorer and score;
    ``comparisons``: each with its values; ``provisional_grade_id``: the grade selected afterwards;
    ``records_final``, ``selects``: whether an event of the same command does so.
    """

    name: ClassVar[str] = "provisional_grade_adjudicated"
    student_id: int
    submission_id: int
    policy: AdjudicationPolicy
    policy_version: int
    points_possible: Decimal
    grading_type: str
    grading_scheme: GradingScheme | None
    marks: tuple[Mapping[str, Any], ...]
    comparisons: tuple[Mapping[str, Any], ...]
    outcome: str
    score: Decimal | None
    failed: tuple[str, ...]
    missing: int
    provisional_grade_id: int | None
    records_final: bool
    selects: bool
