"""Published grades as they leave: Canvas Live Events ``grade_change``, in the shape that Canvas's jobs send.

Canvas: lib/canvas/live_events.rb, grade_change and its helpers; Data Services documentation, "Event metadata".
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.commands import Strict
from schemas.fields import IdText, TimeText

JobTag = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9_:]*[#.][a-z_]+[?!]?$")]


class Metadata(Strict):
    """Job-driven: a job's id and tag, and nothing of a web request.

    Ids are local or Canvas's global ones, by a setting. Canvas always has the account's ids; here they are null until
    the LMS has stated them.
    """

    event_name: Literal["grade_change"]
    event_time: TimeText
    producer: Literal["canvas"]
    root_account_id: IdText
    root_account_uuid: str | None
    root_account_lti_guid: str | None
    context_type: Literal["Course"]
    context_id: IdText
    context_account_id: IdText | None
    context_sis_source_id: str | None
    job_id: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")]
    job_tag: JobTag


class Body(Strict):
    """``old_*``: before; ``grader_id``: the scorer of the chosen grade; ``muted``: students cannot see it yet."""

    submission_id: IdText
    assignment_id: IdText
    assignment_name: str
    grade: str | None
    old_grade: str | None
    score: Annotated[float, Field(allow_inf_nan=False)] | None
    old_score: Annotated[float, Field(allow_inf_nan=False)] | None
    points_possible: Annotated[float, Field(allow_inf_nan=False)] | None
    old_points_possible: Annotated[float, Field(allow_inf_nan=False)] | None
    grader_id: IdText | None
    student_id: IdText
    student_sis_id: str | None
    user_id: IdText
    grading_complete: bool
    muted: bool

    @model_validator(mode="after")
    def _student_is_user(self) -> Self:
        """``user_id`` is the student too, unlike the metadata's."""
        if self.user_id != self.student_id:
            raise ValueError("user_id is the student's")
        return self


class GradeChange(Strict):
    """A grade that was published, posted or hidden."""

    metadata: Metadata
    body: Body
