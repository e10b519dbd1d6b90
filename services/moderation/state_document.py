"""The contract's JSON document of an assignment's state (section 6): a pure function of the folded events."""

from collections.abc import Callable
from typing import Any

from services.moderation import ids
from services.moderation.adjudication_outcomes import is_stale
from services.moderation.adjudication_policy import policy_to_json
from services.moderation.allocation import count_progress
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.assignment_settings import DEFAULT_SETTINGS
from services.moderation.course import Course
from services.moderation.current_grades import (
    current_gradebook_grade,
    current_provisional_grade,
    entered_gradebook_grade,
)
from services.moderation.json_values import decimal_to_json, format_time
from services.moderation.schedule import schedule_document
from services.moderation.submission import Comment, Submission

Row = dict[str, Any]


def state_document(
    course: Course,
    assignment: Assignment,
    *,
    refused_with: str | None = None,
    grade_encoder: Callable[[ProvisionalGrade], Any] | None = None,
    submission_encoder: Callable[[int], Any] | None = None,
) -> dict[str, Any]:
    """Return the document: ids are integers, scores numbers, times RFC 3339 in milliseconds; lists are sorted by id.

    ``refused_with``: the reason if the scheduled publication was sent and refused.
    ``grade_encoder``, ``submission_encoder``: build rows in place of :func:`grade_row` and :func:`submission_row`.
    """
    students = sorted(
        s for s in course.student_ordinals if assignment.is_assigned(course, s) or s in assignment.submissions
    )
    moderation_set = [
        s for s in sorted({*students, *assignment.added_students}) if assignment.is_in_moderation_set(course, s)
    ]
    return {
        "assignment_id": assignment.assignment_id,
        "course_id": assignment.course_id,
        "version": assignment.version,
        "settings": {name: _setting_to_json(name, assignment) for name in DEFAULT_SETTINGS},
        "grades_published_at": format_time(assignment.grades_published_at),
        "scheduled_publication": schedule_document(course, assignment, refused_with),
        "moderation_set": [
            {
                "student_id": s,
                "selected_provisional_grade_id": assignment.selected_grade_id(course, s),
                "sample_reasons": list(assignment.sample_reasons.get(s, ())),
            }
            for s in moderation_set
        ],
        "moderation_graders": [
            {"user_id": user, "anonymous_id": anonymous_id, "slot_taken": assignment.holds_slot(user)}
            for user, anonymous_id in sorted(assignment.grader_slots.items())
        ],
        "allocation": {
            "enforced": assignment.allocation_enforced,
            "graders": count_progress(course, assignment),
            "students": [
                {"student_id": student, "grader_ids": list(graders)}
                for student, graders in sorted(assignment.allocations.items())
            ],
        },
        "provisional_grades": [
            grade_encoder(provisional_grade)
            if grade_encoder is not None
            else grade_row(course, assignment, provisional_grade)
            for _, provisional_grade in sorted(assignment.provisional_grades.items())
        ],
        "adjudications": [
            _adjudication_row(course, assignment, student) for student in sorted(assignment.adjudications)
        ],
        "submissions": [
            submission_encoder(student)
            if submission_encoder is not None
            else submission_row(course, assignment, student)
            for student in students
        ],
    }


def _adjudication_row(course: Course, assignment: Assignment, student_id: int) -> Row:
    """Build a student's last adjudication; ``stale``: marks or settings have changed since its selection."""
    adjudication = assignment.adjudications[student_id]
    return {
        "student_id": student_id,
        "outcome": adjudication.outcome,
        "score": decimal_to_json(adjudication.score),
        "failed": list(adjudication.failed),
        "missing": adjudication.missing,
        "version": adjudication.version,
        "stale": is_stale(student_id, course, assignment),
    }


def _setting_to_json(name: str, assignment: Assignment) -> Any:
    value = getattr(assignment, name)
    if value is None:
        return None
    if name == "adjudication":
        return policy_to_json(value)
    if name == "points_possible":
        return decimal_to_json(value)
    if name == "grading_scheme":
        return [[band, decimal_to_json(bound)] for band, bound in value]
    return sorted(value) if name == "assigned_to" else value


def grade_row(course: Course, assignment: Assignment, grade: ProvisionalGrade) -> Row:
    """Build the row of a provisional grade, as it would be published now."""
    score, text = current_provisional_grade(course, assignment, grade)
    return {
        "provisional_grade_id": grade.provisional_grade_id,
        "student_id": grade.student_id,
        "scorer_id": grade.scorer_id,
        "score": decimal_to_json(score),
        "grade": text,
        "graded_at": format_time(grade.graded_at),
        "final": grade.final,
        "graded_anonymously": grade.graded_anonymously,
        "submission_comments": [_comment_to_json(comment) for comment in grade.comments],
    }


def submission_row(course: Course, assignment: Assignment, student_id: int) -> Row:
    """Build the row of a student's submission."""
    submission: Submission = assignment.submission(student_id)
    score, text = current_gradebook_grade(course, assignment, submission)
    entered_score, entered_text = entered_gradebook_grade(course, assignment, submission)
    return {
        "student_id": student_id,
        "submission_id": ids.submission_id(course, assignment, student_id),
        "anonymous_id": ids.anonymous_id(course, assignment, student_id),
        "workflow_state": submission.workflow_state,
        "attempt": submission.attempt,
        "submitted_at": format_time(submission.submitted_at),
        "score": decimal_to_json(score),
        "grade": text,
        "grader_id": submission.grader_id,
        "graded_at": format_time(submission.graded_at),
        "excused": submission.excused,
        "posted_at": format_time(submission.posted_at),
        "grade_matches_current_submission": submission.grade_matches_current_submission,
        "graded_anonymously": submission.graded_anonymously,
        "updated_at": format_time(submission.updated_at),
        "seconds_late": submission.seconds_late,
        "late_policy_status": submission.late_policy_status,
        "entered_score": decimal_to_json(entered_score),
        "entered_grade": entered_text,
        "points_deducted": decimal_to_json(submission.points_deducted),
        "submission_comments": [_comment_to_json(comment) for comment in submission.comments],
    }


def _comment_to_json(comment: Comment) -> dict[str, Any]:
    return {"author_id": comment.author_id, "comment": comment.comment, "created_at": format_time(comment.created_at)}
