"""Current grades: the saved ones, derived again where points, grading type or scheme changed since.

A text is derived from a score. One that was derived from settings that have changed is not shown, compared or
published. Canvas: app/models/abstract_assignment.rb (update_student_submissions), app/models/submission.rb
(infer_values).
"""

from decimal import Decimal

from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.grade_conversion import SCHEME_TYPES, regrade
from services.moderation.late_policy import DEDUCTIBLE_GRADING_TYPES, deduction_for_lateness, subtract_deduction
from services.moderation.submission import Submission
from services.moderation.value_object import value_object

ScoreAndGrade = tuple[Decimal | None, str | None]


@value_object()
class GradebookGrade:
    """Score and text after the deduction for lateness; ``points_deducted`` None: the submission is not late."""

    score: Decimal | None
    grade: str | None
    points_deducted: Decimal | None

    @property
    def entered_score(self) -> Decimal | None:
        """The score before the deduction, as Canvas derives it."""
        return None if self.score is None else self.score + (self.points_deducted or 0)


def settings_position(course: Course, assignment: Assignment) -> int:
    """Return the shard position at which points, type or the scheme in force last changed."""
    if assignment.grading_scheme is None and assignment.grading_type in SCHEME_TYPES:
        return max(assignment.grading_settings_position, course.grading_scheme_position)
    return assignment.grading_settings_position


def current_provisional_grade(course: Course, assignment: Assignment, grade: ProvisionalGrade) -> ScoreAndGrade:
    """Return the score and text with which a provisional grade would be published now, before a late deduction."""
    if grade.score is None or grade.graded_position >= settings_position(course, assignment):
        return grade.score, grade.grade
    return _remade(grade.score, grade.grade, course, assignment)


def current_gradebook_grade(course: Course, assignment: Assignment, submission: Submission) -> ScoreAndGrade:
    """Return the current score and text of a submission.

    As in Canvas, each change of the assignment's settings applies in turn, only to submissions that were graded at
    the time; a changed scheme of the course does not apply.
    """
    score, text = submission.score, submission.grade
    if submission.graded_position >= assignment.grading_settings_position or score is None or text is None:
        return score, text
    for settings in assignment.grading_settings_changes:
        if settings.position > submission.graded_position and submission.was_graded_at(settings.position):
            scheme = settings.grading_scheme or course.grading_scheme_at(settings.position)
            remade = regrade(score, text, settings.grading_type, settings.points_possible, scheme)
            score, text = remade.score, remade.grade
    return score, text


def entered_gradebook_grade(course: Course, assignment: Assignment, submission: Submission) -> ScoreAndGrade:
    """Return a submission's score and text before the late deduction (Canvas: entered_score, entered_grade)."""
    score, text = current_gradebook_grade(course, assignment, submission)
    if score is None or not submission.points_deducted:
        return score, text
    entered_score = score + submission.points_deducted
    if assignment.grading_type not in DEDUCTIBLE_GRADING_TYPES:
        return entered_score, text
    return entered_score, _remade(entered_score, None, course, assignment)[1]


def apply_late_policy(
    course: Course, assignment: Assignment, submission: Submission, score: Decimal | None, text: str | None
) -> GradebookGrade:
    """Return what the gradebook saves for an entered score and its text.

    Canvas: app/models/submission.rb (apply_late_policy). Two differences: it is not known here which assignments
    expect work, so work that was handed in, or a stated status, decides; and points are deducted even if the gradebook
    already has the same score, as Canvas does for a grade that is entered again, but not in a publication.
    """
    if not submission.is_late:
        return GradebookGrade(score, text, None)
    if score is None:
        return GradebookGrade(None, text, None if submission.score is None else Decimal(0))
    points_deducted = deduction_for_lateness(
        course.late_policy, score, assignment.points_possible, assignment.grading_type, submission.seconds_late or 0
    )
    if points_deducted:
        score = subtract_deduction(score, points_deducted)
        text = _remade(score, text, course, assignment)[1]
    return GradebookGrade(score, text, points_deducted)


def _remade(score: Decimal, text: str | None, course: Course, assignment: Assignment) -> ScoreAndGrade:
    scheme = assignment.grading_scheme or course.grading_scheme
    grade = regrade(score, text, assignment.grading_type, assignment.points_possible, scheme)
    return grade.score, grade.grade
