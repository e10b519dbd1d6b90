"""Events of an assignment: its settings, graders and moderation set."""

from collections.abc import Mapping
from typing import Any, ClassVar

from services.moderation.events.base import Changes, DomainEvent
from services.moderation.value_object import value_object


@value_object(kw_only=True)
class AssignmentCreated(DomainEvent):
    """``settings``: plain values of all settings that are not null."""

    name: ClassVar[str] = "assignment_created"
    settings: Mapping[str, Any]


@value_object(kw_only=True)
class AssignmentUpdated(DomainEvent):
    """``changes`` includes unchanged settings when Canvas begins to track them.

    ``kept_student_ids``: students who stay in a moderation set that is hand-picked from now on.
    """

    name: ClassVar[str] = "assignment_updated"
    changes: Changes
    kept_student_ids: tuple[int, ...] = ()


@value_object(kw_only=True)
class GraderSlotTaken(DomainEvent):
    name: ClassVar[str] = "grader_slot_taken"
    grader_id: int
    anonymous_id: str


@value_object(kw_only=True)
class GraderSlotReleased(DomainEvent):
    """``anonymous_id``: what the grader keeps."""

    name: ClassVar[str] = "grader_slot_released"
    grader_id: int
    anonymous_id: str


@value_object(kw_only=True)
class SubmissionsAllocated(DomainEvent):
    """``allocations``: the students whose graders changed, each with all its graders; ``enforced``: from now on."""

    name: ClassVar[str] = "submissions_allocated"
    allocations: tuple[Mapping[str, Any], ...]
    enforced: bool


@value_object(kw_only=True)
class StudentsSelectedForModeration(DomainEvent):
    """``sampled``: each student of a drawn sample with the reasons; empty for hand-picked students."""

    name: ClassVar[str] = "students_selected_for_moderation"
    student_ids: tuple[int, ...]
    sampled: tuple[Mapping[str, Any], ...] = ()
