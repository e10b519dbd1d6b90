"""Grades as they are now: what was saved, remade where points, grading type or scheme changed since.

A text is derived from a score, so a text that is older than the settings it was derived from is not shown, compared or
published. Canvas: app/models/abstract_assignment.rb (update_student_submissions), app/models/submission.rb
(infer_values).
"""

from decimal import Decimal

from services.moderation.assignment import Assignment, ProvisionalGrade, Submission
from services.moderation.course import Course
from services.moderation.grade_conversion import SCHEME_TYPES, regrade

ScoreAndGrade = tuple[Decimal | None, str | None]


def settings_position(course: Course, assignment: Assignment) -> int:
    """Shard position at which points, type or the scheme in force last changed."""
    if assignment.grading_scheme is None and assignment.grading_type in SCHEME_TYPES:
        return max(assignment.grading_settings_position, course.grading_scheme_position)
    return assignment.grading_settings_position


def current_provisional_grade(course: Course, assignment: Assignment, grade: ProvisionalGrade) -> ScoreAndGrade:
    """Score and text with which a provisional grade would be published now, before a deduction for lateness."""
    if grade.score is None or grade.graded_position >= settings_position(course, assignment):
        return grade.score, grade.grade
    return _remade(grade.score, grade.grade, course, assignment)


def current_gradebook_grade(course: Course, assignment: Assignment, submission: Submission) -> ScoreAndGrade:
    """Score and text of a submission.

    As Canvas does it: only of graded submissions, and not for a changed scheme of the course.
    """
    if (
        submission.graded_position >= assignment.grading_settings_position
        or submission.workflow_state != "graded"
        or submission.score is None
        or submission.grade is None
    ):
        return submission.score, submission.grade
    return _remade(submission.score, submission.grade, course, assignment)


def _remade(score: Decimal, text: str | None, course: Course, assignment: Assignment) -> ScoreAndGrade:
    scheme = assignment.grading_scheme or course.grading_scheme
    grade = regrade(score, text, assignment.grading_type, assignment.points_possible, scheme)
    return grade.score, grade.grade
