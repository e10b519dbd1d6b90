"""The data of what graders, moderators and examiners ask for (contract sections 3.2 and 8)."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.adjudication import AdjudicationPolicy
from schemas.fields import (
    ITEMS_MAX,
    CommandId,
    Comment,
    Count,
    FreeObject,
    GradeText,
    Id,
    Number,
    Percent,
    PlanDigest,
    Reason,
    Time,
)
from schemas.personal import PERSONAL
from schemas.strict import Strict


class ProvisionalGradeData(Strict):
    student_id: Id = Field(description="the student whose work is graded")
    posted_grade: GradeText | None = Field(
        default=None,
        description="the grade as a text, such as `16.5`, `85%`, `B+`, `complete`; an empty text clears the grade",
    )
    prefer_points_over_scheme: bool | None = Field(
        default=None, description="a number in posted_grade means points, even if a band has that name"
    )
    score: Number | None = Field(default=None, description="the grade in points; used only without posted_grade")
    excuse: bool | None = Field(
        default=None,
        description="true: excuse the student; not together with a grade",
    )
    final: bool | None = Field(
        default=None,
        description="true: the moderator's own final grade, instead of an ordinary provisional one; it is not selected "
        "by that, but a score ends the selection of another grade by an adjudication",
    )
    graded_anonymously: bool | None = Field(
        default=None, description="whether the grader did not see the student's name; for information only"
    )
    comment: Annotated[Comment | None, PERSONAL] = Field(
        default=None, description="a comment on the provisional grade, published with it if it is selected"
    )
    rubric_assessment: Annotated[FreeObject | None, PERSONAL] = Field(
        default=None, description="ratings by criterion, as Canvas sends them; they do not change the score"
    )


class ProvisionalCommentData(Strict):
    student_id: Id = Field(description="the student whose work is commented on")
    comment: Annotated[Comment, PERSONAL] = Field(description="the text, published if the author's grade is selected")
    final: bool | None = Field(default=None, description="true: on the moderator's final grade")


class StudentsData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="the students to add to the moderation set; required, at least one"
    )


class SelectionData(Strict):
    provisional_grade_id: Id = Field(description="the grade to publish for its student")


class BulkSelectionData(Strict):
    provisional_grade_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] = Field(
        description="the grades to publish; unknown ids are ignored, and the last one of a student counts"
    )


class NoData(Strict):
    pass


class PublicationData(Strict):
    plan_digest: PlanDigest | None = Field(
        default=None, description="publish only if the plan still has this digest; null or left out: always"
    )
    schedule_id: CommandId | None = Field(
        default=None,
        description="publish only if this schedule is in force; the service sends it when a schedule is due",
    )


class ScheduleData(Strict):
    publish_at: Time = Field(description="time of the publication: in the future, within 400 days")
    plan_digest: PlanDigest | None = Field(
        default=None,
        description="digest of the current plan, which must be publishable; no other plan is published then; "
        "null or left out: any plan. It also changes when the LMS states another anonymous id of a hidden student or "
        "anonymous grading is switched",
    )


class AdjudicationPolicyData(Strict):
    adjudication: AdjudicationPolicy | None = Field(description="the policy, null for none")


class AdjudicationData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="students of the moderation set; null or left out: all of them"
    )


class RevisionData(Strict):
    student_id: Id = Field(description="whose grade was published")
    posted_grade: GradeText | None = Field(default=None, description="the new grade as a text")
    score: Number | None = Field(default=None, description="the new grade as a number of points")
    excuse: bool | None = Field(default=None, description="true: excuse the student instead")
    reason: Annotated[Reason, PERSONAL] = Field(description="why, for the audit trail")


class WithdrawalData(Strict):
    student_id: Id = Field(description="whose grade was published")
    reason: Annotated[Reason, PERSONAL] = Field(description="why, for the audit trail")


class SlotData(Strict):
    grader_id: Id = Field(description="the grader whose slot is to be released")


class GraderAllocation(Strict):
    grader_id: Id = Field(description="the grader")
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] = Field(description="the students to mark")


class EvenAllocation(Strict):
    grader_ids: Annotated[list[Id], Field(min_length=1, max_length=ITEMS_MAX)] = Field(description="the graders")
    marks: Annotated[int, Field(strict=True, ge=1, le=10)] = Field(
        description="number of graders for each student of the moderation set"
    )


class AllocationData(Strict):
    """Either ``allocations`` or ``evenly``; they replace the graders of the listed students."""

    allocations: Annotated[list[GraderAllocation], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="each grader with the students to mark"
    )
    evenly: EvenAllocation | None = Field(
        default=None,
        description="distribute the moderation set over graders; their numbers of students differ by at most one",
    )
    enforced: bool | None = Field(
        default=None,
        description="true: refuse other graders (`not_allocated`), except moderators and for students who need a third "
        "mark; null or left out: unchanged, initially false",
    )


class SampleData(Strict):
    """The sample size is the largest of ``percent``, ``at_least`` and ``square_root``; ``include`` adds students."""

    percent: Percent | None = Field(default=None, description="of the students with a mark, rounded up")
    at_least: Count | None = Field(
        default=None, description="minimum number of students; if fewer have a mark, all of them"
    )
    square_root: bool | None = Field(default=None, description="true: the square root of their number, rounded up")
    include: Annotated[list[Literal["failing", "borderline"]], Field(max_length=2)] | None = Field(
        default=None,
        description="failing: all whose first mark is below the first boundary of policy or scheme, else below 50 %; "
        "borderline: all whose first mark is near a boundary; neither while students are hidden. Without points a "
        "letter or word is no percentage, and its student neither failing nor borderline",
    )
    borderline_within: Percent | None = Field(
        default=None, description="with borderline: maximum distance, in percent of the points possible"
    )
    strata: Annotated[int, Field(strict=True, ge=1, le=100)] | None = Field(
        default=None,
        description="the students, sorted by first mark, are drawn from this number of equal parts; default 3",
    )
