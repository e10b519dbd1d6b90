"""The moderation set and the selected provisional grades.

Canvas: app/controllers/moderation_set_controller.rb, app/controllers/provisional_grades_controller.rb.
"""

from typing import Any

from services.moderation import ids
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.commands import (
    BulkSelectProvisionalGrades,
    SelectProvisionalGrade,
    SelectStudentsForModeration,
)
from services.moderation.course import Course
from services.moderation.decisions import (
    MISSING_STUDENT_IDS,
    NOT_IN_MODERATION_SET,
    PROVISIONAL_GRADE_UNKNOWN,
    UNAUTHORIZED,
    Accepted,
    Decision,
)
from services.moderation.events import ProvisionalGradeSelected, StudentsSelectedForModeration


def select_students(
    data: SelectStudentsForModeration, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    """Add students to the set; ids of students who are not visible are ignored, selections are kept."""
    if not assignment.permits_moderation(course, actor_id):
        return UNAUTHORIZED
    if not data.student_ids:
        return MISSING_STUDENT_IDS
    sections = course.visible_sections(actor_id)
    visible_students = sorted({student for student in data.student_ids if course.is_visible_student(student, sections)})
    added_students = tuple(
        student for student in visible_students if not assignment.is_in_moderation_set(course, student)
    )
    events = (StudentsSelectedForModeration(student_ids=added_students),) if added_students else ()
    return Accepted(events, [{"id": student} for student in visible_students])


def select_grade(data: SelectProvisionalGrade, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Select a provisional grade; selecting it again is audited again."""
    if not assignment.permits_moderation(course, actor_id):
        return UNAUTHORIZED
    grade = assignment.provisional_grades.get(data.provisional_grade_id)
    if grade is None:
        return PROVISIONAL_GRADE_UNKNOWN
    if not assignment.is_in_moderation_set(course, grade.student_id):
        return NOT_IN_MODERATION_SET
    with_student_id = assignment.can_view_student_names(course, actor_id)
    return Accepted(
        (_build_selected_event(grade, course, assignment),), _selection_json(grade, with_student_id, course, assignment)
    )


def bulk_select_grades(
    data: BulkSelectProvisionalGrades, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    """Select many: unknown ids and students outside the set are ignored; a student's last id wins."""
    if not assignment.permits_moderation(course, actor_id):
        return UNAUTHORIZED
    grades_by_student: dict[int, ProvisionalGrade] = {}
    for grade_id in data.provisional_grade_ids:
        grade = assignment.provisional_grades.get(grade_id)
        if grade is not None and assignment.is_in_moderation_set(course, grade.student_id):
            grades_by_student[grade.student_id] = grade
    changed_grades = [grade for grade in grades_by_student.values() if _is_new_choice(grade, course, assignment)]
    events = tuple(_build_selected_event(grade, course, assignment) for grade in changed_grades)
    with_student_id = assignment.can_view_student_names(course, actor_id)
    return Accepted(events, [_selection_json(grade, with_student_id, course, assignment) for grade in changed_grades])


def _is_new_choice(grade: ProvisionalGrade, course: Course, assignment: Assignment) -> bool:
    """Return whether selecting the grade changes who or what is chosen.

    As in Canvas, a grade that is selected already does not. One that an adjudication selected becomes the moderator's
    own choice, also where the policy has been cleared since.
    """
    if assignment.selected_grade_id(course, grade.student_id) != grade.provisional_grade_id:
        return True
    return assignment.selections[grade.student_id].by_adjudication


def _build_selected_event(grade: ProvisionalGrade, course: Course, assignment: Assignment) -> ProvisionalGradeSelected:
    return ProvisionalGradeSelected(
        student_id=grade.student_id,
        submission_id=ids.submission_id(course, assignment, grade.student_id),
        provisional_grade_id=grade.provisional_grade_id,
    )


def _selection_json(
    grade: ProvisionalGrade, with_student_id: bool, course: Course, assignment: Assignment
) -> dict[str, Any]:
    body: dict[str, Any] = {"assignment_id": assignment.assignment_id}
    if with_student_id:
        body["student_id"] = grade.student_id
    else:
        body["anonymous_id"] = ids.anonymous_id(course, assignment, grade.student_id)
    body["selected_provisional_grade_id"] = grade.provisional_grade_id
    return body
