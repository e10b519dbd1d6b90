"""The input of the statistics: the marks that graders gave independently, and the grade that was decided on.

A mark is an entered provisional grade with a score, in its latest form, that is not final: a grader has one per
student. A moderator's ordinary provisional grade is a mark like any other. Comments without a grade and cleared grades
are not marks. Students who have left since still count, because their work was marked; Test Students do not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from services.agreement.scale import Scale, build_scale
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_provisional_grade

CATEGORY_CACHE_SIZE = 4_096


@dataclass(frozen=True, slots=True)
class Rating:
    """``score``: points; ``category_index``: index among the scale's categories, None if it has none."""

    score: Decimal
    category_index: int | None


@dataclass(frozen=True, slots=True)
class RatedSubmission:
    """One student's work. ``decided_score``: points, None while undecided; ``selected_grader_id``: of the selection."""

    ratings: Mapping[int, Rating]
    decided_score: Decimal | None
    selected_grader_id: int | None


@dataclass(frozen=True, slots=True)
class AssignmentRatings:
    """All works that have a mark, by student, with the scale they were marked on."""

    scale: Scale
    submissions: tuple[RatedSubmission, ...]


def collect_ratings(course: Course, assignment: Assignment) -> AssignmentRatings:
    """List the current marks of an assignment; scores and texts follow the current points, type and scheme."""
    scale = build_scale(course, assignment)
    # A class has few different marks, and a scheme may have thousands of bands to search.
    get_category_index = lru_cache(CATEGORY_CACHE_SIZE)(scale.category_index)
    submissions = (
        _build_rated_submission(course, assignment, student_id, get_category_index)
        for student_id in sorted(assignment.grades_by_student)
        if not course.is_test_student(student_id)
    )
    return AssignmentRatings(scale, tuple(submission for submission in submissions if submission.ratings))


def _build_rated_submission(
    course: Course,
    assignment: Assignment,
    student_id: int,
    get_category_index: Callable[[Decimal, str | None], int | None],
) -> RatedSubmission:
    grades = assignment.grades_by_student[student_id]
    selected_grade_id = assignment.selected_grade_id(course, student_id)
    ratings: dict[int, Rating] = {}
    for grade in grades:
        score, text = current_provisional_grade(course, assignment, grade)
        if not grade.final and grade.graded_at is not None and score is not None:
            ratings[grade.scorer_id] = Rating(score, get_category_index(score, text))
    selected_grade = next((grade for grade in grades if grade.provisional_grade_id == selected_grade_id), None)
    # A selection decides. Before there is one, the final grade shows the moderator's opinion.
    final_grade = next((grade for grade in grades if grade.final), None)
    decided_grade = selected_grade or final_grade
    decided_score = None
    if decided_grade is not None:
        decided_score, _ = current_provisional_grade(course, assignment, decided_grade)
    is_selected_rating = selected_grade is not None and not selected_grade.final and selected_grade.scorer_id in ratings
    return RatedSubmission(
        dict(sorted(ratings.items())),
        decided_score,
        selected_grade.scorer_id if selected_grade is not None and is_selected_rating else None,
    )
