"""What a publication published to each student, next to what the gradebook has now."""

from collections.abc import Iterable
from typing import Any

from services.moderation import ids
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_gradebook_grade
from services.moderation.events import GradePublished
from services.moderation.json_values import decimal_to_json
from services.moderation.revision import ALL_STATES
from services.moderation.visibility import may_moderate, reads_grader_names, reads_moderation


def published_document(
    course: Course,
    assignment: Assignment,
    user_id: int,
    published: Iterable[GradePublished],
    *,
    as_auditor: bool = False,
) -> list[dict[str, Any]]:
    """Return a row for each published grade whose student the reader sees, by student as the plan's rows.

    Students, graders and sections are shown and hidden as in the plan (``plan_document``), but a student stays listed
    after the enrolment has ended, as the student's explanation does. ``entered_score``: the score of the chosen
    provisional grade, before the deduction for lateness; ``gradebook``: score and text now, None while excused.
    """
    if not (as_auditor or reads_moderation(course, assignment, user_id)):
        return []
    sections = course.visible_sections(user_id) if may_moderate(course, assignment, user_id) else None
    names_graders = as_auditor or reads_grader_names(course, assignment, user_id)
    anonymous = assignment.anonymizes_students(course)
    by_student = {event.student_id: event for event in published}
    rows = [
        _row_document(event, names_graders, anonymous, course, assignment)
        for student_id, event in sorted(by_student.items())
        if course.is_visible_student(student_id, sections, ALL_STATES)
    ]
    if anonymous:
        # The order of student ids would reveal the students.
        rows.sort(key=lambda row: row["anonymous_id"])
    return rows


def _row_document(
    event: GradePublished, names_graders: bool, anonymous: bool, course: Course, assignment: Assignment
) -> dict[str, Any]:
    submission = assignment.submission(event.student_id)
    score, grade = current_gradebook_grade(course, assignment, submission)
    return {
        **ids.student_key(course, assignment, event.student_id, anonymous),
        "provisional_grade_id": event.provisional_grade_id,
        **(
            {"scorer_id": event.scorer_id}
            if names_graders
            else {"anonymous_grader_id": assignment.grader_slots.get(event.scorer_id)}
        ),
        "score": decimal_to_json(event.score[1]),
        "grade": event.grade[1],
        "entered_score": decimal_to_json(event.entered_score),
        "points_deducted": decimal_to_json(event.points_deducted),
        "gradebook": None if submission.excused else [decimal_to_json(score), grade],
    }
