"""Changes of a published grade: a revision after an appeal, or its withdrawal.

Canvas has no counterpart for moderated assignments except the gradebook, whose rules of saving apply
(app/models/abstract_assignment.rb, save_grade_to_submission; app/models/submission.rb, apply_late_policy).
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from services.moderation import grade_conversion, ids
from services.moderation.assignment import Assignment
from services.moderation.commands import RevisePublishedGrade, WithdrawPublishedGrade
from services.moderation.course import NOT_DELETED_STATES, Course
from services.moderation.current_grades import GradebookGrade, apply_late_policy, current_gradebook_grade
from services.moderation.decisions import (
    GRADE_AND_EXCUSE,
    INVALID_SCORE,
    NOT_PUBLISHED,
    STUDENT_NOT_PUBLISHED,
    Accepted,
    Decision,
    Rejected,
    invalid_field,
)
from services.moderation.events import Event, GradeRevised, GradeWithdrawn
from services.moderation.json_values import decimal_to_json
from services.moderation.moderation_checks import check_moderation

# Grades can be revised after the enrolment has ended.
ALL_STATES = NOT_DELETED_STATES | {"deleted"}
NO_GRADE = GradebookGrade(None, None, None)


def revise_grade(
    data: RevisePublishedGrade, actor_id: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """Replace a published grade with another one or with an excusal; a score lifts an excusal."""
    rejection = _check_student(data.student_id, actor_id, course, assignment)
    if rejection is not None:
        return rejection
    has_grade = data.posted_grade is not None or data.score is not None
    if data.excuse and has_grade:
        return GRADE_AND_EXCUSE
    if sum(value is not None for value in (data.posted_grade, data.score, data.excuse)) != 1:
        return invalid_field("data", "names no value or several: send one of posted_grade, score and excuse")
    revised = _convert(data, course, assignment)
    if revised is None:
        return INVALID_SCORE
    submission = assignment.submission(data.student_id)
    excused = bool(data.excuse)
    event = GradeRevised(
        student_id=data.student_id,
        submission_id=ids.submission_id(course, assignment, data.student_id),
        **_pairs(revised, course, assignment, data.student_id),
        excused=(submission.excused, excused),
        entered_score=revised.entered_score,
        points_deducted=revised.points_deducted,
        grader_id=actor_id,
        graded_at=at,
        was_graded=submission.workflow_state == "graded",
        reason=data.reason,
    )
    return Accepted((event,), _result(data.student_id, revised, excused, assignment))


def withdraw_grade(
    data: WithdrawPublishedGrade, actor_id: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """Withdraw a published grade: no score, no grade, no excusal remain. Repeating it changes nothing."""
    rejection = _check_student(data.student_id, actor_id, course, assignment)
    if rejection is not None:
        return rejection
    submission = assignment.submission(data.student_id)
    pairs = _pairs(NO_GRADE, course, assignment, data.student_id)
    result = _result(data.student_id, NO_GRADE, False, assignment)
    events: tuple[Event, ...] = ()
    if (pairs["score"][0], pairs["grade"][0], submission.excused) != (None, None, False):
        events = (
            GradeWithdrawn(
                student_id=data.student_id,
                submission_id=ids.submission_id(course, assignment, data.student_id),
                **pairs,
                excused=(submission.excused, False),
                grader_id=actor_id,
                graded_at=at,
                reason=data.reason,
            ),
        )
    return Accepted(events, result)


def _check_student(student_id: int, actor_id: int, course: Course, assignment: Assignment) -> Rejected | None:
    rejection = check_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    if assignment.grades_published_at is None:
        return NOT_PUBLISHED
    is_visible = course.is_visible_student(student_id, course.visible_sections(actor_id), ALL_STATES)
    return None if is_visible and assignment.submission(student_id).is_published else STUDENT_NOT_PUBLISHED


def _convert(data: RevisePublishedGrade, course: Course, assignment: Assignment) -> GradebookGrade | None:
    """Return what the gradebook saves, None if the sent value yields no score."""
    if data.excuse:
        return NO_GRADE
    scheme, submission = assignment.grading_scheme or course.grading_scheme, assignment.submission(data.student_id)
    grade = None
    if data.posted_grade:
        grade = grade_conversion.parse_grade(
            data.posted_grade, assignment.grading_type, assignment.points_possible, scheme
        )
    elif data.score is not None:
        grade = grade_conversion.grade_from_score(
            data.score, assignment.grading_type, assignment.points_possible, scheme
        )
    if grade is None:
        return None
    # The score lifts an excusal, and excused work is never late.
    return apply_late_policy(course, assignment, replace(submission, excused=False), grade.score, grade.grade)


def _pairs(revised: GradebookGrade, course: Course, assignment: Assignment, student_id: int) -> dict[str, Any]:
    score, grade = current_gradebook_grade(course, assignment, assignment.submission(student_id))
    return {"score": (score, revised.score), "grade": (grade, revised.grade)}


def _result(student_id: int, revised: GradebookGrade, excused: bool, assignment: Assignment) -> dict[str, Any]:
    return {
        "assignment_id": assignment.assignment_id,
        "student_id": student_id,
        "score": decimal_to_json(revised.score),
        "grade": revised.grade,
        "excused": excused,
        "entered_score": decimal_to_json(revised.entered_score),
        "points_deducted": decimal_to_json(revised.points_deducted),
    }
