"""Applies new and changed provisional grades to an assignment: nine out of ten of its events."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.moderation.assignment import Assignment, ProvisionalGrade


def add_grade(assignment: Assignment, grade: ProvisionalGrade, *, position: int, at: datetime) -> None:
    """Add a new provisional grade; ``position``: its event's position in the shard."""
    grade.graded_position = position
    assignment.provisional_grades[grade.provisional_grade_id] = grade
    other_grades = assignment.grades_by_student.get(grade.student_id, ())
    assignment.grades_by_student[grade.student_id] = (*other_grades, grade)
    _note_entry(assignment, grade, position)
    assignment.touch_submission(grade.student_id, at)


def change_grade(
    assignment: Assignment, grade_id: int, new_values: Iterable[tuple[str, Any]], *, position: int, at: datetime
) -> None:
    """Change fields of a provisional grade, given by name; ``position``: the event's position in the shard."""
    grade = assignment.provisional_grades[grade_id]
    is_entered = False
    for name, new in new_values:
        setattr(grade, name, new)
        is_entered |= name == "graded_at"
    if is_entered:
        grade.graded_position = position
        _note_entry(assignment, grade, position)
    assignment.touch_submission(grade.student_id, at)


def _note_entry(assignment: Assignment, grade: ProvisionalGrade, position: int) -> None:
    """Note when a grade was first entered and, for a final grade, whether an adjudication recorded it."""
    if grade.graded_at is None:
        return
    if not grade.first_entered_position:
        grade.first_entered_position = position
    adjudication = assignment.adjudications.get(grade.student_id)
    if not (grade.final and adjudication is not None and adjudication.records_final):
        assignment.entering_graders.add(grade.scorer_id)
    if grade.final:
        grade.by_adjudication = adjudication is not None and adjudication.records_final
        if adjudication is not None and adjudication.records_final:
            adjudication.records_final = False
        elif grade.student_id in assignment.selections:
            # A final grade was entered by hand: adjudications no longer change the selection.
            assignment.selections[grade.student_id].by_adjudication = False
