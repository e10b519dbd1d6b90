"""Payloads of an assignment's events: its settings, graders and moderation set."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.adjudication import AdjudicationPolicy
from schemas.event_payloads.values import (
    AnonymousId,
    Bands,
    Changed,
    Count,
    GradingType,
    LeftOut,
    ModerationSet,
    Points,
)
from schemas.fields import IdText
from schemas.strict import Strict


class AssignmentCreated(Strict):
    """An assignment with all settings that have a value."""

    name: str = Field(description="shown to people and in published grades")
    points_possible: Points | LeftOut = Field(default=None, description="points of a full score")
    grading_type: GradingType = Field(description="how `posted_grade` is read and a grade is written")
    grading_scheme: Bands | LeftOut = Field(default=None, description="pairs of name and lower bound as a fraction")
    moderated_grading: bool = Field(description="whether grades are provisional until they are published")
    grader_count: Count | LeftOut = Field(
        default=None, description="number of grader slots, not counting the final grader"
    )
    final_grader_id: IdText | LeftOut = Field(default=None, description="the user who selects and publishes")
    anonymous_grading: bool | LeftOut = Field(
        default=None, description="whether students are hidden from graders until grades are published"
    )
    graders_anonymous_to_graders: bool | LeftOut = Field(
        default=None, description="whether graders see each other only by anonymous ids"
    )
    grader_names_visible_to_final_grader: bool | LeftOut = Field(
        default=None, description="whether the final grader sees the graders' names"
    )
    grader_comments_visible_to_graders: bool | LeftOut = Field(
        default=None, description="whether graders see each other's comments"
    )
    moderation_set: ModerationSet | LeftOut = Field(
        default=None,
        description="`assigned`: all assigned students are in the set; `selected`: those who were added to it",
    )
    assigned_to: list[IdText] | LeftOut = Field(default=None, description="the assigned students")
    deleted: bool | LeftOut = Field(
        default=None, description="true: the assignment no longer exists, and commands are answered with not_found"
    )
    adjudication: AdjudicationPolicy | LeftOut = Field(default=None, description="the adjudication policy")


class AssignmentUpdated(Strict):
    """Settings that changed.

    ``kept_in_moderation_set``: students who stay in the set when it becomes hand-picked.
    """

    name: Changed[str] = Field(default=None, description="old and new")
    points_possible: Changed[Points] = Field(default=None, description="old and new")
    grading_type: Changed[GradingType] = Field(default=None, description="old and new")
    grading_scheme: Changed[Bands] = Field(default=None, description="old and new")
    moderated_grading: Changed[bool] = Field(default=None, description="old and new")
    grader_count: Changed[Count] = Field(default=None, description="old and new")
    final_grader_id: Changed[IdText] = Field(default=None, description="old and new")
    anonymous_grading: Changed[bool] = Field(default=None, description="old and new")
    graders_anonymous_to_graders: Changed[bool] = Field(default=None, description="old and new")
    grader_names_visible_to_final_grader: Changed[bool] = Field(default=None, description="old and new")
    grader_comments_visible_to_graders: Changed[bool] = Field(default=None, description="old and new")
    moderation_set: Changed[ModerationSet] = Field(default=None, description="old and new")
    assigned_to: Changed[list[IdText]] = Field(default=None, description="old and new")
    deleted: Changed[bool] = Field(default=None, description="old and new")
    adjudication: Changed[AdjudicationPolicy] = Field(default=None, description="old and new")
    kept_in_moderation_set: list[IdText] | LeftOut = Field(
        default=None, description="students who stay in the set when it becomes hand-picked"
    )


class GraderSlotTaken(Strict):
    """A grader took a slot. ``anonymous_id`` replaces their name if graders are anonymous."""

    grader_id: IdText = Field(description="the grader")
    anonymous_id: AnonymousId = Field(description="the grader's, shown while graders are anonymous")


class GraderSlotReleased(Strict):
    """A slot was released. Its grader keeps the anonymous id, and takes a slot again with the next grade or comment."""

    grader_id: IdText = Field(description="the grader who had the slot")
    anonymous_id: AnonymousId = Field(description="the grader's, also for later slots")


class AllocatedStudent(Strict):
    """The graders of a student."""

    student_id: IdText = Field(description="the student")
    grader_ids: list[IdText] = Field(description="all graders of the student, ascending")


class SubmissionsAllocated(Strict):
    """Students were allocated to graders; students who are not listed keep their graders."""

    allocations: list[AllocatedStudent] = Field(description="the students whose graders changed")
    enforced: bool = Field(description="whether other graders are refused from now on")


class SampledStudent(Strict):
    """The reasons why a sample includes a student."""

    student_id: IdText = Field(description="one of student_ids")
    reasons: Annotated[list[Literal["drawn", "failing", "borderline"]], Field(min_length=1)] = Field(
        description="drawn by lot, below the first boundary, near a boundary"
    )


class StudentsSelectedForModeration(Strict):
    """Students who were added to the moderation set, by hand or as a sample."""

    student_ids: list[IdText] = Field(description="the students who are new in the set")
    sampled: list[SampledStudent] | LeftOut = Field(
        default=None, description="for a drawn sample: the reasons for each student"
    )
