"""Facts from the LMS about an assignment's settings; repeating a fact that is known changes nothing."""

from collections.abc import Mapping
from typing import Any

from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.assignment_settings import (
    AUDITED_SETTINGS,
    DEFAULT_SETTINGS,
    MODERATION_SETTINGS,
    REQUIRED_SETTINGS,
)
from services.moderation.course import Course
from services.moderation.decisions import (
    MODERATION_LOCKED,
    NOTHING_CHANGED,
    Accepted,
    Decision,
    Rejected,
    field_not_clearable,
    field_required,
)
from services.moderation.events import AssignmentCreated, AssignmentUpdated
from services.moderation.fact_checks import check_settings
from services.moderation.moderation_checks import check_policy


def configure_assignment(data: commands.ConfigureAssignment, course: Course, assignment: Assignment) -> Decision:
    requested_settings = {name: DEFAULT_SETTINGS[name] if new is None else new for name, new in data.fields.items()}
    if "assigned_to" in requested_settings and requested_settings["assigned_to"] is not None:
        requested_settings["assigned_to"] = frozenset(requested_settings["assigned_to"])
    if not assignment.version:
        for name in REQUIRED_SETTINGS:
            if name not in data.fields or (requested_settings[name] is None and name != "points_possible"):
                return field_required(f"data.{name}")
        rejection = check_settings(course, data.fields, requested_settings["moderated_grading"])
        if rejection is not None:
            return rejection
        rejection = _check_adjudication(requested_settings, requested_settings["grading_type"])
        if rejection is not None:
            return rejection
        settings = _without_moderation({**DEFAULT_SETTINGS, **requested_settings})
        return Accepted((AssignmentCreated(settings={k: v for k, v in settings.items() if v is not None}),))
    for name in ("name", "grading_type", "moderated_grading"):
        if name in requested_settings and requested_settings[name] is None:
            return field_not_clearable(f"data.{name}")
    is_moderated = requested_settings.get("moderated_grading", assignment.moderated_grading)
    rejection = check_settings(course, data.fields, is_moderated)
    if rejection is not None:
        return rejection
    if is_moderated:
        rejection = _check_adjudication(
            requested_settings, requested_settings.get("grading_type", assignment.grading_type)
        )
        if rejection is not None:
            return rejection
    new_settings = _without_moderation({"moderated_grading": assignment.moderated_grading, **requested_settings})
    changes = {n: (getattr(assignment, n), new) for n, new in new_settings.items() if getattr(assignment, n) != new}
    if not changes:
        return NOTHING_CHANGED
    if "moderated_grading" in changes and assignment.has_grades():
        return MODERATION_LOCKED
    kept_student_ids: tuple[int, ...] = ()
    if changes.get("moderation_set", (None, None))[1] == "selected":
        kept_student_ids = tuple(
            s for s in sorted(assignment.selections) if assignment.selected_grade_id(course, s) is not None
        )
    if any(changes.get(name, (None, False))[1] for name in ("moderated_grading", "anonymous_grading")):
        changes = {**_unchanged_settings(assignment), **changes}
    return Accepted((AssignmentUpdated(changes=changes, kept_student_ids=kept_student_ids),))


def _check_adjudication(settings: Mapping[str, Any], grading_type: str) -> Rejected | None:
    policy = settings.get("adjudication")
    return None if policy is None else check_policy(policy, grading_type)


def _without_moderation(settings: dict[str, Any]) -> dict[str, Any]:
    """Reset the settings of moderation to their defaults if the assignment is not moderated."""
    return (
        settings
        if settings["moderated_grading"]
        else {**settings, **{n: DEFAULT_SETTINGS[n] for n in MODERATION_SETTINGS}}
    )


def _unchanged_settings(assignment: Assignment) -> dict[str, tuple[Any, Any]]:
    """Return the settings that Canvas tracks once an assignment is anonymous or moderated, as unchanged."""
    return {name: (value, value) for name in AUDITED_SETTINGS if (value := getattr(assignment, name)) is not None}
