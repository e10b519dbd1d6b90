"""The moderation set, the choices, the publication.

Canvas: app/controllers/moderation_set_controller.rb, app/controllers/provisional_grades_controller.rb.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.commands import (
    BulkSelectProvisionalGrades,
    SelectProvisionalGrade,
    SelectStudentsForModeration,
)
from services.moderation.course import Course
from services.moderation.decisions import (
    ALREADY_PUBLISHED,
    MISSING_STUDENT_IDS,
    NOT_FOUND,
    NOT_IN_MODERATION_SET,
    NOT_MODERATED,
    SELECTION_REQUIRED,
    UNAUTHORIZED,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import (
    Event,
    GradePublished,
    GradesPosted,
    ProvisionalGradeSelected,
    StudentsSelectedForModeration,
)


def select_students(
    data: SelectStudentsForModeration, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    """Add students to the set; ids that are not visible students are ignored, existing choices are kept."""
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
    """Choose a provisional grade; audited again when it was already chosen."""
    if not assignment.permits_moderation(course, actor_id):
        return UNAUTHORIZED
    grade = assignment.provisional_grades.get(data.provisional_grade_id)
    if grade is None:
        return NOT_FOUND
    if not assignment.is_in_moderation_set(course, grade.student_id):
        return NOT_IN_MODERATION_SET
    with_student_id = assignment.can_view_student_names(course, actor_id)
    return Accepted(
        (_build_selected_event(grade, course, assignment),), _selection_json(grade, with_student_id, course, assignment)
    )


def bulk_select_grades(
    data: BulkSelectProvisionalGrades, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    """Choose many: unknown ids and students outside the set are left out, the last id of a student wins."""
    if not assignment.permits_moderation(course, actor_id):
        return UNAUTHORIZED
    grades_by_student: dict[int, ProvisionalGrade] = {}
    for grade_id in data.provisional_grade_ids:
        grade = assignment.provisional_grades.get(grade_id)
        if grade is not None and assignment.is_in_moderation_set(course, grade.student_id):
            grades_by_student[grade.student_id] = grade
    changed_grades = [
        g for s, g in grades_by_student.items() if assignment.selected_grade_id(course, s) != g.provisional_grade_id
    ]
    events = tuple(_build_selected_event(grade, course, assignment) for grade in changed_grades)
    with_student_id = assignment.can_view_student_names(course, actor_id)
    return Accepted(events, [_selection_json(grade, with_student_id, course, assignment) for grade in changed_grades])


def _build_selected_event(grade: ProvisionalGrade, course: Course, assignment: Assignment) -> ProvisionalGradeSelected:
    return ProvisionalGradeSelected(
        student_id=grade.student_id,
        submission_id=assignment.submission_id(course, grade.student_id),
        provisional_grade_id=grade.provisional_grade_id,
    )


def _selection_json(
    grade: ProvisionalGrade, with_student_id: bool, course: Course, assignment: Assignment
) -> dict[str, Any]:
    body: dict[str, Any] = {"assignment_id": assignment.assignment_id}
    if with_student_id:
        body["student_id"] = grade.student_id
    else:
        body["anonymous_id"] = assignment.anonymous_id(course, grade.student_id)
    body["selected_provisional_grade_id"] = grade.provisional_grade_id
    return body


def choose_grade_to_publish(
    grades: Sequence[ProvisionalGrade], selected_grade_id: int | None
) -> ProvisionalGrade | Rejected | None:
    """Which provisional grade of one student is published; ``grades`` in the order of their ids.

    The selected one; else the only entered one; else, if none is entered, the first. Two entered and none selected
    refuse the publication. None: the student has no provisional grade and is passed over.
    """
    if not grades:
        return None
    for grade in grades:
        if grade.provisional_grade_id == selected_grade_id:
            return grade
    entered_grades = [grade for grade in grades if grade.graded_at is not None]
    if len(entered_grades) > 1:
        return SELECTION_REQUIRED
    return entered_grades[0] if entered_grades else grades[0]


def publish_grades(actor_id: int, course: Course, assignment: Assignment, at: datetime) -> Decision:
    """All or nothing: one grade_published a student, closed by grades_posted."""
    if not (course.has_permission(actor_id, "manage_grades") and assignment.permits_moderation(course, actor_id)):
        return UNAUTHORIZED
    if not assignment.moderated_grading:
        return NOT_MODERATED
    if assignment.grades_published_at is not None:
        return ALREADY_PUBLISHED
    sections = course.visible_sections(actor_id)
    events: list[Event] = []
    for student, grades in sorted(assignment.grades_by_student.items()):
        # An unassigned student's submission is deleted in Canvas, and lives again when they are assigned again.
        if not (course.is_visible_student(student, sections) and assignment.is_assigned(course, student)):
            continue
        grade_to_publish = choose_grade_to_publish(grades, assignment.selected_grade_id(course, student))
        if isinstance(grade_to_publish, Rejected):
            return grade_to_publish
        if grade_to_publish is not None:
            events.append(_build_published_event(grade_to_publish, course, assignment, at))
    events.append(GradesPosted(grades_published_at=at))
    return Accepted(tuple(events), {"message": "OK"})


def _build_published_event(
    grade: ProvisionalGrade, course: Course, assignment: Assignment, at: datetime
) -> GradePublished:
    submission = assignment.submission(grade.student_id)
    return GradePublished(
        student_id=grade.student_id,
        submission_id=assignment.submission_id(course, grade.student_id),
        provisional_grade_id=grade.provisional_grade_id,
        scorer_id=grade.scorer_id,
        score=(submission.score, grade.score),
        grade=(submission.grade, grade.grade),
        graded_at=at,
        graded_anonymously=grade.graded_anonymously,
        was_graded=submission.workflow_state == "graded",
    )
