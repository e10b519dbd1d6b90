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
        else:
            _end_agreed_selection(assignment, grade)


def _end_agreed_selection(assignment: Assignment, final_grade: ProvisionalGrade) -> None:
    """End an adjudication's hold on a selection, because a final grade was entered or cleared by hand.

    The selection of another grade lapses: it is not what the moderator decided. That of the final grade itself becomes
    one by hand, and lapses if the grade was cleared: nothing of what was agreed is left. An excusal leaves it selected,
    blank as it is: that is what the moderator decided. To clear a final grade that is not selected decides nothing. A
    selection that stands as if by hand, because the assignment has no policy, becomes
    one by hand.
    """
    selection = assignment.selections.get(final_grade.student_id)
    if selection is None or not selection.by_adjudication:
        return
    is_selected = selection.provisional_grade_id == final_grade.provisional_grade_id
    is_cleared = final_grade.score is None
    if is_cleared and not is_selected:
        return
    is_excused = assignment.submission(final_grade.student_id).excused
    if assignment.adjudication is not None and is_cleared == is_selected and not is_excused:
        del assignment.selections[final_grade.student_id]
    else:
        selection.by_adjudication = False
