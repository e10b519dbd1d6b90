"""The publication: which provisional grade of each student is published, and what it makes of the gradebook.

Canvas: app/controllers/provisional_grades_controller.rb (publish), app/models/moderated_grading/provisional_grade.rb.
"""

from collections.abc import Sequence
from datetime import datetime

from services.moderation import ids
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.current_grades import apply_late_policy, current_gradebook_grade, current_provisional_grade
from services.moderation.decisions import (
    ALREADY_PUBLISHED,
    NOT_MODERATED,
    SELECTION_REQUIRED,
    UNAUTHORIZED,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import Event, GradePublished, GradesPosted


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
    old_score, old_text = current_gradebook_grade(course, assignment, submission)
    published = apply_late_policy(course, assignment, submission, *current_provisional_grade(course, assignment, grade))
    return GradePublished(
        student_id=grade.student_id,
        submission_id=ids.submission_id(course, assignment, grade.student_id),
        provisional_grade_id=grade.provisional_grade_id,
        scorer_id=grade.scorer_id,
        score=(old_score, published.score),
        grade=(old_text, published.grade),
        entered_score=published.entered_score,
        points_deducted=published.points_deducted,
        graded_at=at,
        graded_anonymously=grade.graded_anonymously,
        was_graded=submission.workflow_state == "graded",
    )
