"""Payloads of a submission's events in the gradebook: recorded, commented on, excused, posted, hidden."""

from typing import Annotated

from pydantic import Field

from schemas.event_payloads.values import AnonymousId, Changed, Count, LatePolicyStatus, LeftOut, Points
from schemas.fields import IdText, TimeText
from schemas.personal import PERSONAL
from schemas.strict import Strict


class SubmissionRecorded(Strict):
    """The submission's gradebook entry as sent by the LMS, new values only."""

    submission_id: IdText | None = Field(default=None, description="the LMS's id")
    anonymous_id: AnonymousId | None = Field(default=None, description="the submission's anonymous id")
    attempt: Count | None = Field(default=None, description="number of the attempt; the latest one is graded")
    submitted_at: TimeText | None = Field(default=None, description="when it was handed in; null: not handed in")
    score: Points | None = Field(default=None, description="the gradebook's score in points, as the LMS has it")
    grade: str | None = Field(default=None, description="the gradebook's grade as a text, as the LMS has it")
    grader_id: IdText | None = Field(default=None, description="who gave the gradebook's grade")
    graded_at: TimeText | None = Field(default=None, description="when the gradebook's grade was given")
    excused: bool | LeftOut = Field(default=None, description="whether the student is excused")
    posted_at: TimeText | None = Field(
        default=None, description="since when the student may see the grade; null: hidden"
    )
    seconds_late: Count | None = Field(default=None, description="how late it was handed in; a late policy uses it")
    late_policy_status: LatePolicyStatus | None = Field(
        default=None,
        description="replaces what the times give; null: by the times",
    )


class SubmissionCommentRecorded(Strict):
    """An ordinary comment that already existed on the submission."""

    author_id: IdText = Field(description="the user who wrote it")
    comment: Annotated[str | None, PERSONAL] = Field(description="the text; null once the student was erased")
    created_at: TimeText = Field(description="when it was written")


class SubmissionUpdated(Strict):
    """An excusal that a moderator gave or lifted, with the resulting gradebook changes."""

    excused: tuple[bool, bool] = Field(
        description="old and new; both true if a moderator excused again, and so removed a grade that the LMS had left"
    )
    score: Changed[Points] = Field(default=None, description="in the gradebook, old and new")
    grade: Changed[str] = Field(default=None, description="in the gradebook, old and new")
    grader_id: Changed[IdText] = Field(default=None, description="old and new")
    late_policy_status: Changed[LatePolicyStatus] = Field(default=None, description="old and new")
    seconds_late: Changed[Count] = Field(default=None, description="old and new")


class SubmissionPosted(Strict):
    """The current grade, which the student can see from ``posted_at`` on.

    ``graded``: whether the submission is graded; only then a grade_change follows.
    """

    score: Points | None = Field(description="in the gradebook")
    grade: str | None = Field(description="in the gradebook")
    grader_id: IdText | None = Field(description="who gave it")
    graded: bool = Field(description="whether it is graded: only then a grade_change follows")
    posted_at: TimeText = Field(description="old and new")


class SubmissionHidden(Strict):
    """The current grade, which the student can no longer see. ``graded``: whether the submission is graded."""

    score: Points | None = Field(description="in the gradebook")
    grade: str | None = Field(description="in the gradebook")
    grader_id: IdText | None = Field(description="who gave it")
    graded: bool = Field(description="whether it is graded: only then a grade_change follows")
