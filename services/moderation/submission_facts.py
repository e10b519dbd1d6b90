"""Facts from the LMS about submissions and their grades; repeating a fact that is known changes nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.moderation import commands, ids
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_gradebook_grade
from services.moderation.decisions import (
    CANNOT_HIDE_BEFORE_PUBLICATION,
    CANNOT_POST_BEFORE_PUBLICATION,
    NOTHING_CHANGED,
    STUDENT_UNKNOWN,
    Accepted,
    Decision,
    id_taken,
)
from services.moderation.events import SubmissionCommentRecorded, SubmissionHidden, SubmissionPosted, SubmissionRecorded
from services.moderation.fact_checks import check_times


def record_submission(
    data: commands.RecordSubmission, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    student = data.student_id
    if not course.is_enrolled_student(student):
        return STUDENT_UNKNOWN
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
        return STUDENT_UNKNOWN
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
