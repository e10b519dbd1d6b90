"""Adjudication of provisional grades: marks that agree become a selection, the others wait or go to a moderator.

Canvas has no adjudication; its effects are Canvas's: a final provisional grade, and a selection.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.moderation import ids
from services.moderation.adjudication_policy import AdjudicationPolicy, policy_to_json
from services.moderation.adjudication_rules import Grading, Mark, Ruling, build_basis, rule
from services.moderation.assignment import Assignment
from services.moderation.commands import AdjudicateProvisionalGrades, SetAdjudicationPolicy
from services.moderation.course import Course
from services.moderation.current_grades import current_provisional_grade
from services.moderation.decisions import INVALID_ADJUDICATION, Accepted, Decision
from services.moderation.events import (
    AssignmentUpdated,
    Event,
    ProvisionalGradeAdjudicated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
)
from services.moderation.grade_conversion import format_number, grade_from_score
from services.moderation.moderation_checks import check_policy, check_unpublished_moderation
from services.moderation.value_object import value_object

OUTCOMES = ("kept", "waiting", "agreed", "needs_third_mark", "needs_moderator")
KEPT = Ruling("kept")


@value_object()
class AdjudicatedStudent:
    """``provisional_grade_id``: the grade that is selected afterwards; ``marks``: the marks that count."""

    student_id: int
    ruling: Ruling
    marks: tuple[Mark, ...]
    provisional_grade_id: int | None


def set_adjudication_policy(
    data: SetAdjudicationPolicy, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    """Set or clear the policy, as configure_assignment does."""
    rejection = check_unpublished_moderation(actor_id, course, assignment)
    if rejection is None and data.adjudication is not None:
        rejection = check_policy(data.adjudication, assignment.grading_type)
    if rejection is not None:
        return rejection
    policy, changes = data.adjudication, {"adjudication": (assignment.adjudication, data.adjudication)}
    events = () if policy == assignment.adjudication else (AssignmentUpdated(changes=changes),)
    return Accepted(
        events,
        {
            "assignment_id": assignment.assignment_id,
            "adjudication": None if policy is None else policy_to_json(policy),
        },
    )


def adjudicate_grades(
    data: AdjudicateProvisionalGrades, actor_id: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """Adjudicate students of the moderation set whom the actor sees, by the assignment's policy."""
    rejection = check_unpublished_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    policy = assignment.adjudication
    if policy is None:
        return INVALID_ADJUDICATION
    sections = course.visible_sections(actor_id)
    adjudicated = adjudicate_students(policy, data.student_ids, sections, course, assignment)
    events: list[Event] = []
    for student in adjudicated:
        if not _is_unchanged(student, policy, course, assignment):
            events += _build_events(student, policy, actor_id, course, assignment, at)
    return Accepted(tuple(events), adjudication_document(adjudicated, course, assignment))


def adjudicate_students(
    policy: AdjudicationPolicy,
    student_ids: Iterable[int] | None,
    sections: frozenset[int | None] | None,
    course: Course,
    assignment: Assignment,
) -> list[AdjudicatedStudent]:
    """Return what a policy makes of students of the moderation set, by student id; nothing is changed.

    ``student_ids`` None: the whole set. A grade that would have to be recorded has the id that it would get.
    """
    candidates = {*course.student_ordinals, *assignment.added_students} if student_ids is None else set(student_ids)
    grading, next_id, adjudicated = current_grading(course, assignment), ids.next_provisional_grade_id(assignment), []
    for student in sorted(candidates):
        if not (assignment.is_in_moderation_set(course, student) and course.is_visible_student(student, sections)):
            continue
        marks = find_marks(student, course, assignment)
        if _is_decided_by_hand(student, course, assignment):
            selected = assignment.selected_grade_id(course, student)
            adjudicated.append(AdjudicatedStudent(student, KEPT, marks, selected))
            continue
        ruling = rule(policy, marks, grading)
        grade_id = None if ruling.stands is None else ruling.stands.provisional_grade_id
        if ruling.outcome == "agreed" and grade_id is None:
            final_grade = assignment.find_provisional_grade(student, 0, final=True)
            if final_grade is None:
                grade_id, next_id = next_id, next_id + 1
            else:
                grade_id = final_grade.provisional_grade_id
        adjudicated.append(AdjudicatedStudent(student, ruling, marks, grade_id))
    return adjudicated


def current_grading(course: Course, assignment: Assignment) -> Grading:
    """Return the points, grading type and scheme in force."""
    points = assignment.points_possible or Decimal(0)
    return Grading(points, assignment.grading_type, assignment.grading_scheme or course.grading_scheme)


def find_marks(student_id: int, course: Course, assignment: Assignment) -> tuple[Mark, ...]:
    """Return the student's entered, scored, not final provisional grades in the order of their first entry."""
    entered = [
        grade
        for grade in assignment.grades_by_student.get(student_id, ())
        if grade.graded_at is not None and grade.score is not None and not grade.final
    ]
    entered.sort(key=lambda grade: grade.first_entered_position)
    marks = []
    for grade in entered:
        score, _ = current_provisional_grade(course, assignment, grade)
        if score is not None:
            marks.append(Mark(grade.provisional_grade_id, grade.scorer_id, score))
    return tuple(marks)


def _is_decided_by_hand(student_id: int, course: Course, assignment: Assignment) -> bool:
    if assignment.submission(student_id).excused:
        return True
    if assignment.selected_grade_id(course, student_id) is not None:
        return not assignment.is_selected_by_adjudication(student_id)
    final_grade = assignment.find_provisional_grade(student_id, 0, final=True)
    return final_grade is not None and final_grade.graded_at is not None and not final_grade.by_adjudication


def is_stale(student_id: int, course: Course, assignment: Assignment) -> bool:
    """Return whether the basis of an adjudicated selection has changed since; without a policy nothing is stale."""
    policy = assignment.adjudication
    if policy is None or not assignment.is_selected_by_adjudication(student_id):
        return False
    marks = find_marks(student_id, course, assignment)
    basis = build_basis(policy, marks, current_grading(course, assignment))
    return assignment.adjudications[student_id].basis != basis


def _is_unchanged(
    student: AdjudicatedStudent, policy: AdjudicationPolicy, course: Course, assignment: Assignment
) -> bool:
    """Return whether the student's last adjudication had this outcome and, where marks agreed, still holds."""
    last = assignment.adjudications.get(student.student_id)
    ruling = student.ruling
    if last is None or (last.outcome, last.failed, last.missing) != (ruling.outcome, ruling.failed, ruling.missing):
        return False
    if ruling.outcome == "kept":
        return True
    if ruling.outcome != "agreed":
        return not assignment.is_selected_by_adjudication(student.student_id)
    return (
        assignment.selected_grade_id(course, student.student_id) == student.provisional_grade_id
        and assignment.is_selected_by_adjudication(student.student_id)
        and last.score == ruling.score
        and last.basis == build_basis(policy, student.marks, current_grading(course, assignment))
    )


def _build_events(
    student: AdjudicatedStudent,
    policy: AdjudicationPolicy,
    actor_id: int,
    course: Course,
    assignment: Assignment,
    at: datetime,
) -> list[Event]:
    student_id, ruling, grade_id = student.student_id, student.ruling, student.provisional_grade_id
    submission_id = ids.submission_id(course, assignment, student_id)
    grading = current_grading(course, assignment)
    records_final = ruling.outcome == "agreed" and ruling.stands is None
    selects = ruling.outcome == "agreed" and not (
        assignment.selected_grade_id(course, student_id) == grade_id
        and assignment.is_selected_by_adjudication(student_id)
    )
    events: list[Event] = [
        ProvisionalGradeAdjudicated(
            student_id=student_id,
            submission_id=submission_id,
            policy=policy,
            policy_version=assignment.adjudication_version,
            points_possible=grading.points,
            grading_type=grading.grading_type,
            grading_scheme=grading.scheme if policy.needs_scheme else None,
            marks=tuple(
                {"provisional_grade_id": m.provisional_grade_id, "scorer_id": m.scorer_id, "score": m.score}
                for m in student.marks
            ),
            comparisons=ruling.comparisons,
            outcome=ruling.outcome,
            score=ruling.score,
            failed=ruling.failed,
            missing=ruling.missing,
            provisional_grade_id=grade_id,
            records_final=records_final,
            selects=selects,
        )
    ]
    if records_final and grade_id is not None and ruling.score is not None:
        events.append(
            _build_final_grade(student, ruling.score, grade_id, submission_id, actor_id, course, assignment, at)
        )
    if selects and grade_id is not None:
        events.append(
            ProvisionalGradeSelected(student_id=student_id, submission_id=submission_id, provisional_grade_id=grade_id)
        )
    return events


def _build_final_grade(
    student: AdjudicatedStudent,
    score: Decimal,
    grade_id: int,
    submission_id: int,
    actor_id: int,
    course: Course,
    assignment: Assignment,
    at: datetime,
) -> Event:
    """Record a computed score, which no grader gave, as the moderator's final provisional grade."""
    grading = current_grading(course, assignment)
    grade = grade_from_score(score, grading.grading_type, grading.points, grading.scheme)
    entered = {"score": score, "grade": None if grade is None else grade.grade, "graded_at": at, "scorer_id": actor_id}
    existing = assignment.provisional_grades.get(grade_id)
    if existing is None:
        return ProvisionalGradeCreated(
            student_id=student.student_id,
            submission_id=submission_id,
            provisional_grade_id=grade_id,
            final=True,
            graded_anonymously=None,
            scorer_id=actor_id,
            score=score,
            grade=None if grade is None else grade.grade,
            graded_at=at,
        )
    changes = {
        name: (old, new)
        for name, new in entered.items()
        if (old := getattr(existing, name)) != new or name == "graded_at"
    }
    return ProvisionalGradeUpdated(
        student_id=student.student_id, submission_id=submission_id, provisional_grade_id=grade_id, changes=changes
    )


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

    ``current_…``: the selected provisional grade, with the gradebook's score once grades are published.
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
        return grade_id, assignment.submission(student_id).score
    grade = None if grade_id is None else assignment.provisional_grades.get(grade_id)
    return grade_id, None if grade is None else current_provisional_grade(course, assignment, grade)[0]
