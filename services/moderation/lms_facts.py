"""Facts from the LMS; repeating a fact that is already known changes nothing."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from services.moderation import commands, ids
from services.moderation.assignment import Assignment
from services.moderation.assignment_settings import (
    AUDITED_SETTINGS,
    DEFAULT_SETTINGS,
    MODERATION_SETTINGS,
    REQUIRED_SETTINGS,
)
from services.moderation.course import COURSE_FIELDS, Course, Enrollment
from services.moderation.current_grades import current_gradebook_grade
from services.moderation.decisions import (
    CANNOT_HIDE_BEFORE_PUBLICATION,
    CANNOT_POST_BEFORE_PUBLICATION,
    MODERATION_LOCKED,
    NOT_FOUND,
    NOTHING_CHANGED,
    Accepted,
    Decision,
    Rejected,
    field_not_clearable,
    field_required,
    id_taken,
)
from services.moderation.events import (
    AdminsUpdated,
    AssignmentCreated,
    AssignmentUpdated,
    CourseUpdated,
    EnrollmentsUpdated,
    SubmissionCommentRecorded,
    SubmissionHidden,
    SubmissionPosted,
    SubmissionRecorded,
    UsersUpdated,
)
from services.moderation.fact_checks import check_account, check_settings, check_times
from services.moderation.late_policy import LatePolicy
from services.moderation.moderation_checks import check_policy


def upsert_course(data: commands.UpsertCourse, course: Course) -> Decision:
    rejection = check_account(course, data.fields.get("account_id"))
    if rejection is not None:
        return rejection
    fields = data.fields
    if fields.get("late_policy") is not None:
        fields = {**fields, "late_policy": replace(course.late_policy or LatePolicy(), **fields["late_policy"])}
    changes = {
        name: (getattr(course, name), new)
        for name in COURSE_FIELDS
        if name in fields and getattr(course, name) != (new := fields[name])
    }
    if not changes and course.version:
        return NOTHING_CHANGED
    return Accepted((CourseUpdated(changes=changes),))


def upsert_users(data: commands.UpsertUsers, course: Course, at: datetime) -> Decision:
    rows: dict[int, dict[str, Any]] = {}
    for index, user in enumerate(data.users):
        rejection = check_times(user.fields, f"data.users[{index}]", at)
        if rejection is not None:
            return rejection
        current_fields = {**course.users.get(user.user_id, {}), **rows.get(user.user_id, {})}
        if user.fields.get("name") is None and (not current_fields or "name" in user.fields):
            return (field_not_clearable if current_fields else field_required)(f"data.users[{index}].name")
        changed_fields = {name: new for name, new in user.fields.items() if current_fields.get(name) != new}
        if changed_fields or not current_fields:
            rows[user.user_id] = {**rows.get(user.user_id, {}), "user_id": user.user_id, **changed_fields}
    return Accepted((UsersUpdated(users=tuple(rows.values())),)) if rows else NOTHING_CHANGED


def upsert_enrollments(data: commands.UpsertEnrollments, course: Course) -> Decision:
    rows: dict[tuple[int, str, int | None], dict[str, Any]] = {}
    for index, upsert in enumerate(data.enrollments):
        key = (upsert.user_id, upsert.type, upsert.section_id)
        current_enrollment = course.enrollments.get(upsert.user_id, {}).get((upsert.type, upsert.section_id))
        current_row = rows.get(key) or (current_enrollment.to_dict() if current_enrollment else None)
        if upsert.fields.get("state") is None and (current_row is None or "state" in upsert.fields):
            return (field_not_clearable if current_row else field_required)(f"data.enrollments[{index}].state")
        base_row = current_row or Enrollment(upsert.user_id, upsert.type, upsert.section_id).to_dict()
        row = {**base_row, **{name: _default_for_null(name, new) for name, new in upsert.fields.items()}}
        if row != current_row:
            rows[key] = row
    return Accepted((EnrollmentsUpdated(enrollments=tuple(rows.values())),)) if rows else NOTHING_CHANGED


def _default_for_null(name: str, value: Any) -> Any:
    if value is not None:
        return value
    return {} if name == "permissions" else False


def upsert_admins(data: commands.UpsertAdmins, course: Course) -> Decision:
    permissions_by_user = {admin.user_id: frozenset(admin.permissions) for admin in data.admins}
    rows = tuple(
        {"user_id": user, "permissions": sorted(permissions)}
        for user, permissions in permissions_by_user.items()
        if course.admins.get(user, frozenset()) != permissions
    )
    return Accepted((AdminsUpdated(admins=rows),)) if rows else NOTHING_CHANGED


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


def record_submission(
    data: commands.RecordSubmission, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    student = data.student_id
    if not course.is_enrolled_student(student):
        return NOT_FOUND
    rejection = check_times(data.fields, "data", at)
    if rejection is not None:
        return rejection
    submission = assignment.submission(student)
    fields: Mapping[str, Any] = {n: False if n == "excused" and v is None else v for n, v in data.fields.items()}
    score, text = current_gradebook_grade(course, assignment, submission)
    current_values = {"score": score, "grade": text}
    changed_fields = {
        name: new
        for name, new in fields.items()
        if (current_values[name] if name in current_values else getattr(submission, name)) != new
    }
    if ("score" in changed_fields or "grade" in changed_fields) and (score, text) != (
        submission.score,
        submission.grade,
    ):
        # The saved values are outdated: the one that is not stated is saved with its current value.
        outdated = {name: value for name, value in current_values.items() if getattr(submission, name) != value}
        changed_fields = {**outdated, **changed_fields}
    for name, find_student in (
        ("anonymous_id", ids.find_student_by_anonymous_id),
        ("submission_id", ids.find_student_by_submission_id),
    ):
        new_id = changed_fields.get(name)
        if new_id is not None and find_student(course, assignment, new_id) not in (None, student):
            return id_taken(f"data.{name}")
    if not changed_fields:
        return NOTHING_CHANGED
    submission_id = changed_fields.get("submission_id") or ids.submission_id(course, assignment, student)
    return Accepted(
        (SubmissionRecorded(student_id=student, submission_id=submission_id, changed_fields=changed_fields),)
    )


def record_submission_comment(
    data: commands.RecordSubmissionComment, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    student = data.student_id
    if not course.is_enrolled_student(student):
        return NOT_FOUND
    rejection = check_times({"created_at": data.created_at}, "data", at)
    if rejection is not None:
        return rejection
    for comment in assignment.submission(student).comments:
        is_same_comment = comment.author_id == data.author_id and comment.comment == data.comment
        if is_same_comment and data.created_at in (None, comment.created_at):
            return NOTHING_CHANGED
    submission_id = ids.submission_id(course, assignment, student)
    event = SubmissionCommentRecorded(
        student_id=student,
        submission_id=submission_id,
        author_id=data.author_id,
        comment=data.comment,
        created_at=data.created_at or at,
    )
    return Accepted((event,))


def post_grades(data: commands.PostGrades, course: Course, assignment: Assignment, at: datetime) -> Decision:
    if assignment.moderated_grading and assignment.grades_published_at is None:
        return CANNOT_POST_BEFORE_PUBLICATION
    rejection = check_times({"posted_at": data.posted_at}, "data", at)
    if rejection is not None:
        return rejection
    return Accepted(
        tuple(
            SubmissionPosted(**_grade_fields(student, course, assignment), posted_at=data.posted_at or at)
            for student in _assigned_students(data.student_ids, course, assignment)
            if assignment.submission(student).posted_at is None
        )
    )


def hide_grades(data: commands.HideGrades, course: Course, assignment: Assignment) -> Decision:
    if assignment.moderated_grading and assignment.grades_published_at is None:
        return CANNOT_HIDE_BEFORE_PUBLICATION
    return Accepted(
        tuple(
            SubmissionHidden(**_grade_fields(student, course, assignment))
            for student in _assigned_students(data.student_ids, course, assignment)
            if assignment.submission(student).posted_at is not None
        )
    )


def _grade_fields(student_id: int, course: Course, assignment: Assignment) -> dict[str, Any]:
    """Return the student's current grade, for the events that repeat it."""
    submission = assignment.submission(student_id)
    score, text = current_gradebook_grade(course, assignment, submission)
    return {
        "student_id": student_id,
        "submission_id": ids.submission_id(course, assignment, student_id),
        "score": score,
        "grade": text,
        "grader_id": submission.grader_id,
        "graded": submission.workflow_state == "graded",
    }


def _assigned_students(student_ids: tuple[int, ...] | None, course: Course, assignment: Assignment) -> list[int]:
    candidates = course.student_ordinals if student_ids is None else dict.fromkeys(student_ids)
    return sorted(student for student in candidates if assignment.is_assigned(course, student))
