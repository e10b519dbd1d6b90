"""Adjudication of provisional grades: marks that agree become a selection, the others wait or go to a moderator.

Canvas has no adjudication; its effects are Canvas's: a final provisional grade, and a selection.
"""

from datetime import datetime
from decimal import Decimal

from services.moderation import ids
from services.moderation.adjudication_documents import adjudication_document
from services.moderation.adjudication_outcomes import AdjudicatedStudent, adjudicate_students, current_grading
from services.moderation.adjudication_policy import AdjudicationPolicy, policy_to_json
from services.moderation.adjudication_rules import build_basis
from services.moderation.assignment import Assignment
from services.moderation.commands import AdjudicateProvisionalGrades, SetAdjudicationPolicy
from services.moderation.course import Course
from services.moderation.decisions import INVALID_ADJUDICATION, Accepted, Decision
from services.moderation.events import (
    AssignmentUpdated,
    Event,
    ProvisionalGradeAdjudicated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
)
from services.moderation.grade_conversion import grade_from_score
from services.moderation.moderation_checks import check_policy, check_unpublished_moderation


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
