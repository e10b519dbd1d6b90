"""Payloads of a publication's events: scheduled, published, revised, withdrawn."""

from typing import Annotated

from pydantic import Field

from schemas.event_payloads.values import Points
from schemas.fields import DIGEST_PATTERN, UUID_PATTERN, IdText, TimeText
from schemas.personal import PERSONAL
from schemas.strict import Strict


class GradePublished(Strict):
    """One student's grade was published: the chosen provisional grade, its scorer, old and new grade.

    The new score is the entered score minus the points deducted by a late policy; ``points_deducted`` is null if the
    submission was not late. ``was_graded``: whether the submission was already graded.
    """

    provisional_grade_id: IdText = Field(description="the chosen one")
    scorer_id: IdText = Field(description="the grader who gave it")
    score: tuple[Points | None, Points | None] = Field(description="in the gradebook, old and new")
    grade: tuple[str | None, str | None] = Field(description="in the gradebook, old and new")
    entered_score: Points | None = Field(description="the new score before a late policy's deduction")
    points_deducted: Points | None = Field(description="by a late policy; null if the submission was not late")
    graded_at: TimeText = Field(description="time of the publication")
    graded_anonymously: bool | None = Field(description="of the chosen grade")
    was_graded: bool = Field(description="whether the submission was graded before")


class GradesPosted(Strict):
    """The publication as a whole, after its last grade. The name is Canvas's."""

    grades_published_at: tuple[None, TimeText] = Field(description="null, and the time of the publication")


class PublicationScheduled(Strict):
    """A publication was scheduled; it replaces an earlier schedule."""

    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(
        description="the id of the command that scheduled it"
    )
    publish_at: TimeText = Field(description="time of the publication")
    user_id: IdText = Field(description="the user for whom the service publishes")
    plan_digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = Field(
        description="digest of the only plan that may be published; null: any plan"
    )


class PublicationScheduleCancelled(Strict):
    """A schedule was cancelled without a publication."""

    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="the schedule's")
    publish_at: TimeText = Field(description="time for which it was scheduled")


class GradeRevised(Strict):
    """A published grade was replaced by another grade or by an excusal, which ends a late policy status."""

    score: tuple[Points | None, Points | None] = Field(description="in the gradebook, old and new")
    grade: tuple[str | None, str | None] = Field(description="in the gradebook, old and new")
    excused: tuple[bool, bool] = Field(description="old and new")
    entered_score: Points | None = Field(description="the new score before a late policy's deduction")
    points_deducted: Points | None = Field(description="by a late policy, null if the submission was not late")
    grader_id: IdText = Field(description="the user who revised it")
    graded_at: TimeText = Field(description="when")
    was_graded: bool = Field(description="whether the submission was graded before")
    reason: Annotated[str | None, PERSONAL] = Field(description="why; null once the student was erased")


class GradeWithdrawn(Strict):
    """A published grade was withdrawn: the submission is as it was handed in."""

    score: tuple[Points | None, None] = Field(description="in the gradebook, old and new")
    grade: tuple[str | None, None] = Field(description="in the gradebook, old and new")
    excused: tuple[bool, bool] = Field(description="old and new")
    grader_id: IdText = Field(description="the user who withdrew it")
    graded_at: TimeText = Field(description="when")
    reason: Annotated[str | None, PERSONAL] = Field(description="why; null once the student was erased")
