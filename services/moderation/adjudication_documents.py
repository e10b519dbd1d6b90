"""Adjudications as JSON documents: the result of one, and the comparison with another policy."""

from decimal import Decimal
from typing import Any

from services.moderation import ids
from services.moderation.adjudication_outcomes import OUTCOMES, AdjudicatedStudent, adjudicate_students
from services.moderation.adjudication_policy import AdjudicationPolicy, policy_to_json
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_provisional_grade, entered_gradebook_grade
from services.moderation.grade_conversion import format_number


def adjudication_document(
    adjudicated: list[AdjudicatedStudent], course: Course, assignment: Assignment
) -> dict[str, Any]:
    """Return counts and rows of an adjudication, by student id, or by anonymous id while students are hidden."""
    counts = dict.fromkeys(OUTCOMES, 0)
    anonymous = assignment.anonymizes_students(course)
    rows: list[dict[str, Any]] = []
    for student in adjudicated:
        counts[student.ruling.outcome] += 1
        rows.append(
            {
                **ids.student_key(course, assignment, student.student_id, anonymous),
                "outcome": student.ruling.outcome,
                "score": None if student.ruling.score is None else format_number(student.ruling.score),
                "provisional_grade_id": student.provisional_grade_id,
                "failed": list(student.ruling.failed),
                "missing": student.ruling.missing,
            }
        )
    if anonymous:
        rows.sort(key=lambda row: row["anonymous_id"])
    return {"counts": counts, "students": rows}


def what_if_document(
    policy: AdjudicationPolicy, sections: frozenset[int | None] | None, course: Course, assignment: Assignment
) -> dict[str, Any]:
    """Return what adjudicating the set by a policy would answer, compared with what each student has now.

    ``current_…``: the selected provisional grade, with the gradebook's score once grades are published. Like the agreed
    score it is the one before a deduction for lateness.
    """
    adjudicated = adjudicate_students(policy, None, sections, course, assignment)
    document = adjudication_document(adjudicated, course, assignment)
    anonymous = assignment.anonymizes_students(course)
    students_by_key = {
        key: student.student_id
        for student in adjudicated
        for key in ids.student_key(course, assignment, student.student_id, anonymous).values()
    }
    for row in document["students"]:
        student_id = students_by_key[row["anonymous_id" if anonymous else "student_id"]]
        grade_id, score = _find_current(student_id, course, assignment)
        current_score = None if score is None else format_number(score)
        row |= {
            "current_provisional_grade_id": grade_id,
            "current_score": current_score,
            "differs": row["outcome"] == "agreed" and row["score"] != current_score,
        }
    return {"assignment_id": assignment.assignment_id, "policy": policy_to_json(policy), **document}


def _find_current(student_id: int, course: Course, assignment: Assignment) -> tuple[int | None, Decimal | None]:
    grade_id = assignment.selected_grade_id(course, student_id)
    if assignment.grades_published_at is not None:
        return grade_id, entered_gradebook_grade(course, assignment, assignment.submission(student_id))[0]
    grade = None if grade_id is None else assignment.provisional_grades.get(grade_id)
    return grade_id, None if grade is None else current_provisional_grade(course, assignment, grade)[0]
