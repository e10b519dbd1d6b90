"""Payloads of a provisional grade's events: given, commented on, selected, adjudicated."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.adjudication import AdjudicationPolicy
from schemas.event_payloads.values import Bands, Changed, Count, GradingType, LeftOut, Points
from schemas.fields import IdText, TimeText
from schemas.personal import PERSONAL
from schemas.strict import Strict


class ProvisionalGradeCreated(Strict):
    """A provisional grade. ``graded_at`` is null if only a comment created it: it then counts as not entered.

    A final grade with a score that a moderator enters ends the selection of another grade by an adjudication.
    """

    id: IdText = Field(description="the provisional grade")
    score: Points | None = Field(description="in points")
    grade: str | None = Field(description="as a text in the form of the grading type")
    graded_at: TimeText | None = Field(description="when it was entered; null: only comments")
    final: bool = Field(description="whether it is the moderator's final grade")
    source_provisional_grade_id: IdText | None = Field(description="Canvas's field, always null")
    graded_anonymously: bool | None = Field(description="as sent")
    scorer_id: IdText = Field(description="the grader")
    rubric_assessment: Annotated[dict[str, Any] | None, PERSONAL] = Field(
        default=None, description="as sent; null once the student was erased"
    )


class ProvisionalGradeUpdated(Strict):
    """A grader changed their own provisional grade, or the moderator the final one.

    A final grade with a score that a moderator enters ends the selection of another grade by an adjudication; clearing
    a final grade ends its own selection by an adjudication.
    """

    id: IdText = Field(description="the provisional grade")
    score: Changed[Points] = Field(default=None, description="old and new")
    grade: Changed[str] = Field(default=None, description="old and new")
    graded_at: Changed[TimeText] = Field(default=None, description="old and new")
    graded_anonymously: Changed[bool] = Field(default=None, description="old and new")
    scorer_id: Changed[IdText] = Field(default=None, description="old and new")
    rubric_assessment: Annotated[Changed[dict[str, Any]], PERSONAL] = Field(
        default=None, description="old and new; null once the student was erased"
    )


class ProvisionalCommentCreated(Strict):
    """A comment on a provisional grade. ``id`` is the comment's."""

    id: IdText = Field(description="the comment")
    comment: Annotated[str | None, PERSONAL] = Field(description="the text; null once the student was erased")
    author_id: IdText = Field(description="the user who wrote it")
    provisional_grade_id: IdText = Field(description="the grade that it is on")


class ProvisionalGradeSelected(Strict):
    """The moderator selected this provisional grade for the student."""

    id: IdText = Field(description="the selected provisional grade")
    student_id: IdText = Field(description="its student")


class AdjudicatedMark(Strict):
    """A mark that counts."""

    provisional_grade_id: IdText = Field(description="the provisional grade")
    scorer_id: IdText = Field(description="the grader who gave it")
    score: Points = Field(description="its score at the time of the adjudication")


class MarkComparison(Strict):
    """A comparison of the marks, with its values."""

    rule: Literal["within_points", "within_percent", "boundaries"] = Field(
        description="the field of the policy; boundaries also without that field: without points, different letters or "
        "words of one score are different bands"
    )
    passed: bool = Field(description="whether the marks agree by this rule")
    distance: str | LeftOut = Field(default=None, description="between highest and lowest mark, in points")
    limit: str | LeftOut = Field(default=None, description="maximum distance, in points")
    bands: list[Count] | LeftOut = Field(default=None, description="for boundaries: each mark's band, from the lowest")


class ProvisionalGradeAdjudicated(Strict):
    """The result of a policy for a student's marks; Canvas's own events follow for each change.

    A selection by an adjudication ends, without an event of its own, with an outcome that is neither agreed nor kept,
    when a moderator enters a score as the final grade while another grade is selected, and when a moderator clears the
    final grade that is selected.
    """

    policy: AdjudicationPolicy = Field(description="in full")
    policy_version: Annotated[int, Field(ge=1)] = Field(description="stream version at which the policy was set")
    points_possible: Points = Field(description="the assignment's, 0 for none")
    grading_type: GradingType = Field(description="the assignment's")
    grading_scheme: Bands | None = Field(description="in force, if it gives the boundaries and is not Canvas's default")
    marks: list[AdjudicatedMark] = Field(description="the marks that count, as first entered")
    comparisons: list[MarkComparison] = Field(description="the comparisons that the policy requires")
    outcome: Literal["kept", "waiting", "agreed", "needs_third_mark", "needs_moderator"] = Field(
        description="kept: a moderator selected a grade or gave a final one with a score, or the student is excused"
    )
    score: Points | None = Field(description="the agreed score")
    failed: list[Literal["within_points", "within_percent", "boundaries"]] = Field(
        description="the comparisons that failed; boundaries also if, without points, marks with the same score have "
        "different letters or words"
    )
    missing: Count = Field(description="marks that are still needed")
    provisional_grade_id: IdText | None = Field(description="the provisional grade that is selected afterwards")
    records_final: bool = Field(description="whether the score is recorded as a final grade that no grader gave")
    selects: bool = Field(description="whether a selection event follows")
