"""Answers of the commands that Canvas does not know (contract section 8).

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
        """Name the topics' form like the class, the form over HTTP ``…Answer``."""
        return cls.__name__ if params[0] is IdText else f"{cls.__name__}Answer"


class StudentRow(Result[IdType], Generic[IdType]):
    """``anonymous_id`` stands for ``student_id`` while the assignment hides students."""

    model_config = ConfigDict(json_schema_extra=_ONE_STUDENT_KEY)

    student_id: IdType | SkipJsonSchema[None] = Field(default=None, description="the student")
    anonymous_id: AnonymousId | SkipJsonSchema[None] = Field(
        default=None, description="of the student's submission, while students are hidden"
    )


class PlannedGrade(StudentRow[IdType], Generic[IdType]):
    """What a student gets; ``anonymous_grader_id`` stands for ``scorer_id`` where graders are hidden from the actor."""

    provisional_grade_id: IdType = Field(description="the provisional grade that would be published")
    scorer_id: IdType | SkipJsonSchema[None] = Field(default=None, description="who gave it")
    anonymous_grader_id: AnonymousId | None = Field(
        default=None, description="of who gave it, where graders are anonymous to the actor"
    )
    chosen_by: Literal["selection", "adjudication", "only_grade", "first_of_comments"] = Field(
        description="why this one: selected by a moderator or by an adjudication, the only grade that was entered, or "
        "the first comment where none was"
    )
    score: tuple[Points | None, Points | None] = Field(
        description="the gradebook's score now and after the publication, less what a late policy takes"
    )
    grade: tuple[str | None, str | None] = Field(description="the gradebook's grade now and after the publication")


class BlockedStudent(StudentRow[IdType], Generic[IdType]):
    """A student whose grade cannot be published."""

    reason: Literal["adjudication_stale", "selection_required"] = Field(
        description="of the refusal that a publication would get"
    )
    provisional_grade_ids: list[IdType] = Field(description="the entered provisional grades of the student")


class PlanCounts(Strict):
    """Numbers of students. ``published`` = ``changed`` + ``unchanged``."""

    published: Annotated[int, Field(ge=0)] = Field(description="rows of students")
    changed: Annotated[int, Field(ge=0)] = Field(description="a grade_change would go out")
    unchanged: Annotated[int, Field(ge=0)] = Field(description="the gradebook has the same grade already")
    blocked: Annotated[int, Field(ge=0)] = Field(description="rows of blocked students")
    without_grade: Annotated[int, Field(ge=0)] = Field(description="assigned, visible, no provisional grade")


class PublicationPlan(Result[IdType], Generic[IdType]):
    """What a publication by the actor would do now."""

    assignment_id: IdType = Field(description="the assignment")
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] = Field(
        description="moves exactly when student, provisional grade, score or text of a row does; to publish with"
    )
    publishable: bool = Field(description="whether a publication by the actor would be accepted")
    reason: (
        Literal["unauthorized", "not_moderated", "already_published", "adjudication_stale", "selection_required"] | None
    ) = Field(description="of the refusal that it would get")
    counts: PlanCounts = Field(description="numbers of students")
    students: list[PlannedGrade[IdType]] = Field(description="who gets what, by student id or anonymous id")
    blocked: list[BlockedStudent[IdType]] = Field(description="whose grade cannot be published")


class ScheduleResult(Result[IdType], Generic[IdType]):
    """The schedule that was set, or cancelled."""

    assignment_id: IdType = Field(description="the assignment")
    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(
        description="the id of the command that scheduled it"
    )
    publish_at: TimeText = Field(description="when the service publishes")
    user_id: IdType = Field(description="on whose behalf")
    plan_digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = Field(
        description="the only plan that is published then; null: any"
    )


class AdjudicationCounts(Strict):
    """Numbers of students by outcome."""

    kept: Annotated[int, Field(ge=0)] = Field(description="decided by hand, or excused")
    waiting: Annotated[int, Field(ge=0)] = Field(description="marks are missing")
    agreed: Annotated[int, Field(ge=0)] = Field(description="a score follows from the marks")
    needs_third_mark: Annotated[int, Field(ge=0)] = Field(description="the first two marks do not agree")
    needs_moderator: Annotated[int, Field(ge=0)] = Field(description="the marks do not agree")


class AdjudicatedStudent(StudentRow[IdType], Generic[IdType]):
    """What became of a student's marks."""

    outcome: Literal["kept", "waiting", "agreed", "needs_third_mark", "needs_moderator"] = Field(
        description="of the adjudication"
    )
    score: str | None = Field(description="that was agreed, as decimal text")
    provisional_grade_id: IdType | None = Field(description="what is selected afterwards")
    failed: list[Literal["within_points", "within_percent", "boundaries"]] = Field(
        description="comparisons by which the marks do not agree"
    )
    missing: Annotated[int, Field(ge=0)] = Field(description="marks that are still needed")


class Adjudication(Result[IdType], Generic[IdType]):
    """What an adjudication did."""

    counts: AdjudicationCounts = Field(description="numbers of students")
    students: list[AdjudicatedStudent[IdType]] = Field(description="by student id or anonymous id")


class WhatIfStudent(AdjudicatedStudent[IdType], Generic[IdType]):
    """What would become of a student's marks, beside what the student has."""

    current_provisional_grade_id: IdType | None = Field(description="what is selected now")
    current_score: str | None = Field(description="of what is selected, once published of the gradebook")
    differs: bool = Field(description="whether another score would be agreed than the current one")


class WhatIf(Result[IdType], Generic[IdType]):
    """What an adjudication by a policy would do; nothing is changed."""

    assignment_id: IdType = Field(description="the assignment")
    policy: AdjudicationPolicy = Field(description="in full")
    counts: AdjudicationCounts = Field(description="numbers of students")
    students: list[WhatIfStudent[IdType]] = Field(description="by student id or anonymous id")


class RevisionResult(Result[IdType], Generic[IdType]):
    """The gradebook after a revision or a withdrawal."""

    assignment_id: IdType = Field(description="the assignment")
    student_id: IdType = Field(description="the student")
    score: Points | None = Field(description="the score now, less what a late policy takes")
    grade: str | None = Field(description="the grade now")
    excused: bool = Field(description="whether the student is excused now")


class SampledStudent(StudentRow[IdType], Generic[IdType]):
    """A student of the sample."""

    reasons: list[Literal["drawn", "failing", "borderline"]] = Field(
        description="why a sample has the student; empty for one who was picked by hand"
    )
    added: bool = Field(description="whether this draw added the student to the moderation set")


class Sample(Result[IdType], Generic[IdType]):
    """The students with a mark who are in the moderation set now."""

    assignment_id: IdType = Field(description="the assignment")
    students_with_mark: Annotated[int, Field(ge=0)] = Field(description="of whom the sample was drawn")
    sample_size: Annotated[int, Field(ge=0)] = Field(description="that was asked, without the included ones")
    added: Annotated[int, Field(ge=0)] = Field(description="students whom this draw added")
    students: list[SampledStudent[IdType]] = Field(description="by student id or anonymous id")


class SlotResult(Result[IdType], Generic[IdType]):
    """Whose slot is free now."""

    assignment_id: IdType = Field(description="the assignment")
    grader_id: IdType = Field(description="the grader")
