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
    NOT_IN_SET,
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


def select_students(data: SelectStudentsForModeration, actor: int, course: Course, assignment: Assignment) -> Decision:
    """Add students to the set; ids that are not visible students are ignored, existing choices are kept."""
    if not assignment.permits_moderation(course, actor):
        return UNAUTHORIZED
    if not data.student_ids:
        return MISSING_STUDENT_IDS
    sections = course.sections_seen_by(actor)
    accepted = sorted({student for student in data.student_ids if course.is_visible_student(student, sections)})
    added = tuple(student for student in accepted if not assignment.is_in_set(course, student))
    events = (StudentsSelectedForModeration(student_ids=added),) if added else ()
    return Accepted(events, [{"id": student} for student in accepted])


def select(data: SelectProvisionalGrade, actor: int, course: Course, assignment: Assignment) -> Decision:
    """Choose a provisional grade; audited again when it was already chosen."""
    if not assignment.permits_moderation(course, actor):
        return UNAUTHORIZED
    grade = assignment.provisional_grades.get(data.provisional_grade_id)
    if grade is None:
        return NOT_FOUND
    if not assignment.is_in_set(course, grade.student_id):
        return NOT_IN_SET
    named = assignment.students_named(course, actor)
    return Accepted((_selected(grade, course, assignment),), _selection(grade, named, course, assignment))


def bulk_select(data: BulkSelectProvisionalGrades, actor: int, course: Course, assignment: Assignment) -> Decision:
    """Choose many: unknown ids and students outside the set are left out, the last id of a student wins."""
    if not assignment.permits_moderation(course, actor):
        return UNAUTHORIZED
    wanted: dict[int, ProvisionalGrade] = {}
    for number in data.provisional_grade_ids:
        grade = assignment.provisional_grades.get(number)
        if grade is not None and assignment.is_in_set(course, grade.student_id):
            wanted[grade.student_id] = grade
    changed = [g for s, g in wanted.items() if assignment.selected(course, s) != g.provisional_grade_id]
    events = tuple(_selected(grade, course, assignment) for grade in changed)
    named = assignment.students_named(course, actor)
    return Accepted(events, [_selection(grade, named, course, assignment) for grade in changed])


def _selected(grade: ProvisionalGrade, course: Course, assignment: Assignment) -> ProvisionalGradeSelected:
    return ProvisionalGradeSelected(
        student_id=grade.student_id,
        submission_id=assignment.submission_id(course, grade.student_id),
        provisional_grade_id=grade.provisional_grade_id,
    )


def _selection(grade: ProvisionalGrade, named: bool, course: Course, assignment: Assignment) -> dict[str, Any]:
    answer: dict[str, Any] = {"assignment_id": assignment.assignment_id}
    if named:
        answer["student_id"] = grade.student_id
    else:
        answer["anonymous_id"] = assignment.anonymous_id(course, grade.student_id)
    answer["selected_provisional_grade_id"] = grade.provisional_grade_id
    return answer


def publication_choice(grades: Sequence[ProvisionalGrade], selected: int | None) -> ProvisionalGrade | Rejected | None:
    """Which provisional grade of one student is published; ``grades`` in the order of their ids.

    The selected one; else the only entered one; else, if none is entered, the first. Two entered and none selected
    refuse the publication. None: the student has no provisional grade and is passed over.
    """
    if not grades:
        return None
    for grade in grades:
        if grade.provisional_grade_id == selected:
            return grade
    entered = [grade for grade in grades if grade.graded_at is not None]
    if len(entered) > 1:
        return SELECTION_REQUIRED
    return entered[0] if entered else grades[0]


def publish(actor: int, course: Course, assignment: Assignment, at: datetime) -> Decision:
    """All or nothing: one grade_published a student, closed by grades_posted."""
    if not (course.may(actor, "manage_grades") and assignment.permits_moderation(course, actor)):
        return UNAUTHORIZED
    if not assignment.moderated_grading:
        return NOT_MODERATED
    if assignment.grades_published_at is not None:
        return ALREADY_PUBLISHED
    sections = course.sections_seen_by(actor)
    events: list[Event] = []
    for student, grades in sorted(assignment.of_student.items()):
        # An unassigned student's submission is deleted in Canvas, and lives again when they are assigned again.
        if not (course.is_visible_student(student, sections) and assignment.is_assigned(course, student)):
            continue
        chosen = publication_choice(grades, assignment.selected(course, student))
        if isinstance(chosen, Rejected):
            return chosen
        if chosen is not None:
            events.append(_published(chosen, course, assignment, at))
    events.append(GradesPosted(grades_published_at=at))
    return Accepted(tuple(events), {"message": "OK"})


def _published(grade: ProvisionalGrade, course: Course, assignment: Assignment, at: datetime) -> GradePublished:
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
