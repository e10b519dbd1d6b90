"""Facts from the LMS: stating again what is already so changes nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.assignment_settings import OF_MODERATION, REQUIRED, SETTINGS, TRACKED
from services.moderation.course import COURSE_FIELDS, Course, Enrollment
from services.moderation.decisions import (
    MODERATION_LOCKED,
    NOT_FOUND,
    NOT_HIDDEN_YET,
    NOT_POSTED_YET,
    NOTHING_CHANGED,
    Accepted,
    Decision,
    another_students,
    missing,
    not_clearable,
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


def upsert_course(data: commands.UpsertCourse, course: Course) -> Decision:
    changes = {
        name: (getattr(course, name), new)
        for name in COURSE_FIELDS
        if name in data.stated and getattr(course, name) != (new := data.stated[name])
    }
    if not changes and course.version:
        return NOTHING_CHANGED
    return Accepted((CourseUpdated(changes=changes),))


def upsert_users(data: commands.UpsertUsers, course: Course) -> Decision:
    rows: dict[int, dict[str, Any]] = {}
    for index, user in enumerate(data.users):
        known = {**course.users.get(user.user_id, {}), **rows.get(user.user_id, {})}
        if user.stated.get("name") is None and (not known or "name" in user.stated):
            return (not_clearable if known else missing)(f"data.users[{index}].name")
        changed = {name: new for name, new in user.stated.items() if known.get(name) != new}
        if changed or not known:
            rows[user.user_id] = {**rows.get(user.user_id, {}), "user_id": user.user_id, **changed}
    return Accepted((UsersUpdated(users=tuple(rows.values())),)) if rows else NOTHING_CHANGED


def upsert_enrollments(data: commands.UpsertEnrollments, course: Course) -> Decision:
    rows: dict[tuple[int, str, int | None], dict[str, Any]] = {}
    for index, stated in enumerate(data.enrollments):
        key = (stated.user_id, stated.type, stated.section_id)
        held = course.enrollments.get(stated.user_id, {}).get((stated.type, stated.section_id))
        known = rows.get(key) or (held.row() if held else None)
        if stated.stated.get("state") is None and (known is None or "state" in stated.stated):
            return (not_clearable if known else missing)(f"data.enrollments[{index}].state")
        base = known or Enrollment(stated.user_id, stated.type, stated.section_id).row()
        row = {**base, **{name: _cleared(name, new) for name, new in stated.stated.items()}}
        if row != known:
            rows[key] = row
    return Accepted((EnrollmentsUpdated(enrollments=tuple(rows.values())),)) if rows else NOTHING_CHANGED


def _cleared(name: str, value: Any) -> Any:
    if value is not None:
        return value
    return {} if name == "permissions" else False


def upsert_admins(data: commands.UpsertAdmins, course: Course) -> Decision:
    wanted = {admin.user_id: frozenset(admin.permissions) for admin in data.admins}
    rows = tuple(
        {"user_id": user, "permissions": sorted(permissions)}
        for user, permissions in wanted.items()
        if course.admins.get(user, frozenset()) != permissions
    )
    return Accepted((AdminsUpdated(admins=rows),)) if rows else NOTHING_CHANGED


def configure_assignment(data: commands.ConfigureAssignment, course: Course, assignment: Assignment) -> Decision:
    stated = {name: SETTINGS[name] if new is None else new for name, new in data.stated.items()}
    if "assigned_to" in stated and stated["assigned_to"] is not None:
        stated["assigned_to"] = frozenset(stated["assigned_to"])
    if not assignment.version:
        for name in REQUIRED:
            if name not in data.stated or (stated[name] is None and name != "points_possible"):
                return missing(f"data.{name}")
        settings = _without_moderation({**SETTINGS, **stated})
        return Accepted((AssignmentCreated(settings={k: v for k, v in settings.items() if v is not None}),))
    for name in ("name", "grading_type", "moderated_grading"):
        if name in stated and stated[name] is None:
            return not_clearable(f"data.{name}")
    wanted = _without_moderation({"moderated_grading": assignment.moderated_grading, **stated})
    changes = {n: (getattr(assignment, n), new) for n, new in wanted.items() if getattr(assignment, n) != new}
    if not changes:
        return NOTHING_CHANGED
    if "moderated_grading" in changes and assignment.has_grades():
        return MODERATION_LOCKED
    kept: tuple[int, ...] = ()
    if changes.get("moderation_set", (None, None))[1] == "selected":
        kept = tuple(s for s in sorted(assignment.choices) if assignment.selected(course, s) is not None)
    if any(changes.get(name, (None, False))[1] for name in ("moderated_grading", "anonymous_grading")):
        changes = {**_as_they_are(assignment), **changes}
    return Accepted((AssignmentUpdated(changes=changes, kept=kept),))


def _without_moderation(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, those of moderation at their defaults where there is none."""
    return settings if settings["moderated_grading"] else {**settings, **{n: SETTINGS[n] for n in OF_MODERATION}}


def _as_they_are(assignment: Assignment) -> dict[str, tuple[Any, Any]]:
    """All that Canvas tracks from the moment on at which an assignment is anonymous or moderated."""
    return {name: (held, held) for name in TRACKED if (held := getattr(assignment, name)) is not None}


def record_submission(data: commands.RecordSubmission, course: Course, assignment: Assignment) -> Decision:
    student = data.student_id
    if not course.is_enrolled_student(student):
        return NOT_FOUND
    submission = assignment.submission(student)
    stated: Mapping[str, Any] = {n: False if n == "excused" and v is None else v for n, v in data.stated.items()}
    changed = {name: new for name, new in stated.items() if getattr(submission, name) != new}
    for name, holder in (
        ("anonymous_id", assignment.student_of_anonymous_id),
        ("submission_id", assignment.student_of_submission_id),
    ):
        wanted = changed.get(name)
        if wanted is not None and holder(course, wanted) not in (None, student):
            return another_students(f"data.{name}")
    if not changed:
        return NOTHING_CHANGED
    number = changed.get("submission_id") or assignment.submission_id(course, student)
    return Accepted((SubmissionRecorded(student_id=student, submission_id=number, stated=changed),))


def record_submission_comment(
    data: commands.RecordSubmissionComment, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    student = data.student_id
    if not course.is_enrolled_student(student):
        return NOT_FOUND
    for comment in assignment.submission(student).comments:
        same = comment.author_id == data.author_id and comment.comment == data.comment
        if same and data.created_at in (None, comment.created_at):
            return NOTHING_CHANGED
    number = assignment.submission_id(course, student)
    event = SubmissionCommentRecorded(
        student_id=student,
        submission_id=number,
        author_id=data.author_id,
        comment=data.comment,
        created_at=data.created_at or at,
    )
    return Accepted((event,))


def post_grades(data: commands.PostGrades, course: Course, assignment: Assignment, at: datetime) -> Decision:
    if assignment.moderated_grading and assignment.grades_published_at is None:
        return NOT_POSTED_YET
    return Accepted(
        tuple(
            SubmissionPosted(
                student_id=student,
                submission_id=assignment.submission_id(course, student),
                posted_at=data.posted_at or at,
                score=submission.score,
                grade=submission.grade,
                grader_id=submission.grader_id,
            )
            for student in _students(data.student_ids, course, assignment)
            if (submission := assignment.submission(student)).posted_at is None
        )
    )


def hide_grades(data: commands.HideGrades, course: Course, assignment: Assignment) -> Decision:
    if assignment.moderated_grading and assignment.grades_published_at is None:
        return NOT_HIDDEN_YET
    return Accepted(
        tuple(
            SubmissionHidden(
                student_id=student,
                submission_id=assignment.submission_id(course, student),
                score=submission.score,
                grade=submission.grade,
                grader_id=submission.grader_id,
            )
            for student in _students(data.student_ids, course, assignment)
            if (submission := assignment.submission(student)).posted_at is not None
        )
    )


def _students(named: tuple[int, ...] | None, course: Course, assignment: Assignment) -> list[int]:
    wanted = course.student_ordinals if named is None else dict.fromkeys(named)
    return sorted(student for student in wanted if assignment.is_assigned(course, student))
