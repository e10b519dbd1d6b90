"""What the figures are made of: the marks that graders gave independently, and the grade that was decided on.

A mark is an entered provisional grade with a score that is not the final one, as it stands: a grader has one for a
student, so it is their latest. A moderator's ordinary provisional grade is a mark like any other. A remark without a
grade and a grade that was cleared are no marks. Students who have left since still count: their work was marked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from services.agreement.scale import Scale, scale_of
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course

CATEGORIES_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True)
class Mark:
    """``score``: points; ``category``: place among the scale's categories, None where it has none."""

    score: Decimal
    category: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """One student's work. ``decided``: points, None while nobody has decided; ``selected``: whose mark was chosen."""

    marks: Mapping[int, Mark]
    decided: Decimal | None
    selected: int | None


@dataclass(frozen=True, slots=True)
class Marking:
    """All works that have a mark, by student, with the scale they were marked on."""

    scale: Scale
    works: tuple[Work, ...]


def marking_of(course: Course, assignment: Assignment) -> Marking:
    """The marks of an assignment as it stands."""
    scale = scale_of(course, assignment)
    # A class has few different marks, and a scheme may have thousands of bands to look through.
    category = lru_cache(CATEGORIES_REMEMBERED)(scale.category)
    works = (
        _work(category, grades, assignment.selected_grade_id(course, student))
        for student, grades in sorted(assignment.grades_by_student.items())
    )
    return Marking(scale, tuple(work for work in works if work.marks))


def _work(
    category: Callable[[Decimal, str | None], int | None], grades: list[ProvisionalGrade], chosen: int | None
) -> Work:
    marks = {
        grade.scorer_id: Mark(grade.score, category(grade.score, grade.grade))
        for grade in grades
        if not grade.final and grade.graded_at is not None and grade.score is not None
    }
    by_choice = next((grade for grade in grades if grade.provisional_grade_id == chosen), None)
    # A choice decides. Before there is one, the final grade says what the moderator thinks.
    final = next((grade for grade in grades if grade.final), None)
    decided = by_choice or final
    own = by_choice is not None and not by_choice.final and by_choice.scorer_id in marks
    return Work(
        dict(sorted(marks.items())),
        None if decided is None else decided.score,
        by_choice.scorer_id if by_choice is not None and own else None,
    )
