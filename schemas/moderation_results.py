"""Results of the commands that Canvas does not have (contract section 8).

Each model is parametrised by the type of its ids: decimal strings on topics, integers or strings over HTTP.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from schemas.adjudication import AdjudicationPolicy
from schemas.fields import DIGEST_PATTERN, UUID_PATTERN, IdText, TimeText
from schemas.strict import Strict

IdType = TypeVar("IdType")
Points = Annotated[float, Field(allow_inf_nan=False)]
AnonymousId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")]
_ONE_STUDENT_KEY: JsonDict = {"oneOf": [{"required": ["student_id"]}, {"required": ["anonymous_id"]}]}


class Result(Strict, Generic[IdType]):
    """The base of all results."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the form on topics like the class, and the form over HTTP ``…Answer``."""
        return cls.__name__ if params[0] is IdText else f"{cls.__name__}Answer"


class StudentRow(Result[IdType], Generic[IdType]):
    """``anonymous_id`` replaces ``student_id`` while the assignment hides students."""

    model_config = ConfigDict(json_schema_extra=_ONE_STUDENT_KEY)

    student_id: IdType | SkipJsonSchema[None] = Field(default=None, description="the student")
    anonymous_id: AnonymousId | SkipJsonSchema[None] = Field(
        default=None, description="anonymous id of the submission, while students are hidden"
    )


class PlannedGrade(StudentRow[IdType], Generic[IdType]):
    """A student's planned grade; ``anonymous_grader_id`` replaces ``scorer_id`` if the actor may not see graders."""

    provisional_grade_id: IdType = Field(description="the provisional grade that would be published")
    scorer_id: IdType | SkipJsonSchema[None] = Field(default=None, description="the grader who gave it")
    anonymous_grader_id: AnonymousId | None = Field(
        default=None, description="anonymous id of the grader, if graders are anonymous to the actor"
    )
    chosen_by: Literal["selection", "adjudication", "only_grade", "first_of_comments"] = Field(
        description="why this grade: selected by a moderator or by an adjudication, the only entered grade, or "
        "the first comment if no grade was entered"
    )
    score: tuple[Points | None, Points | None] = Field(
        description="score in the gradebook now and after the publication, minus a late policy's deduction"
    )
    grade: tuple[str | None, str | None] = Field(description="grade in the gradebook now and after the publication")


class BlockedStudent(StudentRow[IdType], Generic[IdType]):
    """A student whose grade cannot be published."""

    reason: Literal["adjudication_stale", "selection_required"] = Field(
        description="reason for which a publication would be refused"
    )
    provisional_grade_ids: list[IdType] = Field(description="the entered provisional grades of the student")


class PlanCounts(Strict):
    """Numbers of students. ``published`` = ``changed`` + ``unchanged``."""

    published: Annotated[int, Field(ge=0)] = Field(description="number of `students`")
    changed: Annotated[int, Field(ge=0)] = Field(description="students who would get a grade_change")
    unchanged: Annotated[int, Field(ge=0)] = Field(description="students whose gradebook already has the grade")
    blocked: Annotated[int, Field(ge=0)] = Field(description="number of `blocked`")
    without_grade: Annotated[int, Field(ge=0)] = Field(description="visible students without provisional grade")


class PublicationPlan(Result[IdType], Generic[IdType]):
    """The effect of a publication by the actor now."""

    assignment_id: IdType = Field(description="the assignment")
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] = Field(
        description="changes exactly when student, provisional grade, score or grade of a row does; send it to "
        "publish. A hidden student's anonymous id stands for the student: it also changes when the LMS states another "
        "such id or anonymous grading is switched"
    )
    publishable: bool = Field(description="whether a publication by the actor would be accepted")
    reason: (
        Literal["unauthorized", "not_moderated", "already_published", "adjudication_stale", "selection_required"] | None
    ) = Field(description="reason for which it would be refused")
    counts: PlanCounts = Field(description="numbers of students")
    students: list[PlannedGrade[IdType]] = Field(description="the grade of each student, by student id or anonymous id")
    blocked: list[BlockedStudent[IdType]] = Field(description="students whose grades cannot be published")


class ScheduleResult(Result[IdType], Generic[IdType]):
    """The schedule that was set, or cancelled."""

    assignment_id: IdType = Field(description="the assignment")
    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(
        description="the id of the command that scheduled it"
    )
    publish_at: TimeText = Field(description="time of the publication")
    user_id: IdType = Field(description="the user for whom the service publishes")
    plan_digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = Field(
        description="digest of the only plan that may be published; null: any plan"
    )


class AdjudicationCounts(Strict):
    """Numbers of students by outcome."""

    kept: Annotated[int, Field(ge=0)] = Field(
        description="students whose grade a moderator selected or gave as final, or who are excused"
    )
    waiting: Annotated[int, Field(ge=0)] = Field(description="students with missing marks")
    agreed: Annotated[int, Field(ge=0)] = Field(description="students whose marks give a score")
    needs_third_mark: Annotated[int, Field(ge=0)] = Field(description="students whose first two marks do not agree")
    needs_moderator: Annotated[int, Field(ge=0)] = Field(description="students whose marks do not agree")


class AdjudicatedStudent(StudentRow[IdType], Generic[IdType]):
    """The result for a student's marks."""

    outcome: Literal["kept", "waiting", "agreed", "needs_third_mark", "needs_moderator"] = Field(
        description="outcome of the adjudication"
    )
    score: str | None = Field(description="the agreed score, as decimal text")
    provisional_grade_id: IdType | None = Field(description="the provisional grade that is selected afterwards")
    failed: list[Literal["within_points", "within_percent", "boundaries"]] = Field(
        description="the comparisons that failed; boundaries also if, without points, marks with the same score have "
        "different letters or words"
    )
    missing: Annotated[int, Field(ge=0)] = Field(description="marks that are still needed")


class Adjudication(Result[IdType], Generic[IdType]):
    """The result of an adjudication."""

    counts: AdjudicationCounts = Field(description="numbers of students")
    students: list[AdjudicatedStudent[IdType]] = Field(description="by student id or anonymous id")


class WhatIfStudent(AdjudicatedStudent[IdType], Generic[IdType]):
    """The predicted result for a student's marks, with the student's current grade."""

    current_provisional_grade_id: IdType | None = Field(description="the provisional grade that is selected now")
    current_score: str | None = Field(
        description="score of the selected grade, or if published, of the gradebook, before a late deduction"
    )
    differs: bool = Field(description="whether the agreed score would differ from the current one")


class WhatIf(Result[IdType], Generic[IdType]):
    """The predicted effect of an adjudication by a policy; nothing is changed."""

    assignment_id: IdType = Field(description="the assignment")
    policy: AdjudicationPolicy = Field(description="in full")
    counts: AdjudicationCounts = Field(description="numbers of students")
    students: list[WhatIfStudent[IdType]] = Field(description="by student id or anonymous id")


class RevisionResult(Result[IdType], Generic[IdType]):
    """The gradebook entry after a revision or a withdrawal."""

    assignment_id: IdType = Field(description="the assignment")
    student_id: IdType = Field(description="the student")
    score: Points | None = Field(description="the score now, minus a late policy's deduction")
    grade: str | None = Field(description="the grade now")
    excused: bool = Field(description="whether the student is excused now")
    entered_score: Points | None = Field(
        default=None, description="the score before a late deduction; absent from results of version 0.1.0"
    )
    points_deducted: Points | None = Field(
        default=None,
        description="by a late policy; null if the submission is not late; absent from results of version 0.1.0",
    )


class GraderProgress(Result[IdType], Generic[IdType]):
    """A grader's progress with the allocated students who still have the assignment."""

    grader_id: IdType = Field(description="the grader")
    allocated: Annotated[int, Field(ge=0)] = Field(description="number of students")
    entered: Annotated[int, Field(ge=0)] = Field(description="students that the grader has marked")
    remaining: Annotated[int, Field(ge=0)] = Field(description="students not yet marked")


class AllocatedStudent(StudentRow[IdType], Generic[IdType]):
    """The graders of a student."""

    grader_ids: list[IdType] | None = Field(
        description="all graders of the student, ascending; null if graders are anonymous to the reader"
    )


class Allocation(Result[IdType], Generic[IdType]):
    """The allocation in force."""

    assignment_id: IdType = Field(description="the assignment")
    enforced: bool = Field(description="whether other graders are refused")
    graders: list[GraderProgress[IdType]] | None = Field(
        description="by grader id; null if graders are anonymous to the reader"
    )
    students: list[AllocatedStudent[IdType]] = Field(description="by student id or anonymous id")


class SampledStudent(StudentRow[IdType], Generic[IdType]):
    """A student of the sample."""

    reasons: list[Literal["drawn", "failing", "borderline"]] = Field(
        description="why a sample includes the student; empty for students picked by hand"
    )
    added: bool = Field(description="whether this draw added the student to the moderation set")


class Sample(Result[IdType], Generic[IdType]):
    """The students with a mark who are in the moderation set now."""

    assignment_id: IdType = Field(description="the assignment")
    students_with_mark: Annotated[int, Field(ge=0)] = Field(description="students from whom the sample was drawn")
    sample_size: Annotated[int, Field(ge=0)] = Field(description="requested size, without students added by `include`")
    added: Annotated[int, Field(ge=0)] = Field(description="students whom this draw added")
    students: list[SampledStudent[IdType]] = Field(description="by student id or anonymous id")


class SlotResult(Result[IdType], Generic[IdType]):
    """The grader whose slot was released."""

    assignment_id: IdType = Field(description="the assignment")
    grader_id: IdType = Field(description="the grader")
