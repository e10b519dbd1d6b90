"""The publication plan: which grade each student gets and why, and which students lack a selection.

The publication builds its events from these rows, so that plan and publication cannot differ.
Canvas: app/controllers/provisional_grades_controller.rb (publish), app/models/moderated_grading/provisional_grade.rb.
"""

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from services.moderation import ids
from services.moderation.adjudication_outcomes import is_stale
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.current_grades import apply_late_policy, current_gradebook_grade, current_provisional_grade
from services.moderation.decisions import (
    ADJUDICATION_STALE,
    SELECTION_REQUIRED,
    Accepted,
    Rejected,
)
from services.moderation.grade_changes import changes_gradebook
from services.moderation.grade_conversion import format_number
from services.moderation.json_values import decimal_to_json
from services.moderation.moderation_checks import check_unpublished_moderation
from services.moderation.value_object import value_object
from services.moderation.visibility import may_moderate, reads_grader_names, reads_moderation


@value_object()
class PlannedGrade:
    """A row: the chosen provisional grade, and the gradebook's old and new score and text.

    ``points_deducted`` None: the submission is not late. ``was_graded``: the submission's state is graded.
    """

    chosen: ProvisionalGrade
    chosen_by: str
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    entered_score: Decimal | None
    points_deducted: Decimal | None
    was_graded: bool


@value_object()
class BlockedStudent:
    """A student whose grade cannot be published, with the refusal and the provisional grades to choose from."""

    student_id: int
    refusal: Rejected
    provisional_grade_ids: tuple[int, ...]


@value_object()
class PublicationPlan:
    """Rows and blocked students by student id."""

    rows: tuple[PlannedGrade, ...]
    blocked: tuple[BlockedStudent, ...]

    @property
    def refusal(self) -> Rejected | None:
        """The reason why nothing can be published, None if every student has a grade to publish."""
        refusals = [student.refusal for student in self.blocked]
        return ADJUDICATION_STALE if ADJUDICATION_STALE in refusals else next(iter(refusals), None)


NO_PLAN = PublicationPlan((), ())


def choose_grade_to_publish(
    grades: Sequence[ProvisionalGrade], selected_grade_id: int | None
) -> ProvisionalGrade | Rejected | None:
    """Return the provisional grade to publish for one student; ``grades`` are sorted by id.

    It is the selected one; else the only entered one; else, if none is entered, the first. Two entered grades without
    a selection refuse the publication. None: the student has no provisional grade and is skipped.
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


def build_plan(course: Course, assignment: Assignment, sections: frozenset[int | None] | None) -> PublicationPlan:
    """Return what a publication by an actor who sees these sections (None: all) would do."""
    rows, blocked = [], []
    for student, grades in sorted(assignment.grades_by_student.items()):
        # Canvas deletes the submission of an unassigned student, and restores it when the student is assigned again.
        if not (course.is_visible_student(student, sections) and assignment.is_assigned(course, student)):
            continue
        selected_grade_id = assignment.selected_grade_id(course, student)
        chosen = choose_grade_to_publish(grades, selected_grade_id)
        if chosen is not None and selected_grade_id is not None and is_stale(student, course, assignment):
            chosen = ADJUDICATION_STALE
        if isinstance(chosen, Rejected):
            entered_grades = tuple(grade.provisional_grade_id for grade in grades if grade.graded_at is not None)
            blocked.append(BlockedStudent(student, chosen, entered_grades))
        elif chosen is not None:
            rows.append(_build_row(chosen, selected_grade_id, course, assignment))
    return PublicationPlan(tuple(rows), tuple(blocked))


def _build_row(
    chosen: ProvisionalGrade, selected_grade_id: int | None, course: Course, assignment: Assignment
) -> PlannedGrade:
    submission = assignment.submission(chosen.student_id)
    old_score, old_text = current_gradebook_grade(course, assignment, submission)
    entered = current_provisional_grade(course, assignment, chosen)
    published = apply_late_policy(course, assignment, submission, *entered)
    if chosen.provisional_grade_id == selected_grade_id:
        chosen_by = "adjudication" if assignment.is_selected_by_adjudication(chosen.student_id) else "selection"
    else:
        chosen_by = "first_of_comments" if chosen.graded_at is None else "only_grade"
    return PlannedGrade(
        chosen,
        chosen_by,
        (old_score, published.score),
        (old_text, published.grade),
        published.entered_score,
        published.points_deducted,
        submission.workflow_state == "graded",
    )


def compute_digest(course: Course, assignment: Assignment, rows: Sequence[PlannedGrade]) -> str:
    """Return the SHA-256 of the rows in RFC 8785 form; it covers student, grade, score and text of each row.

    While students are hidden, anonymous ids replace student ids, and rows are sorted by them: the digest also changes
    when the LMS states another anonymous id or anonymous grading is switched.
    """
    anonymous = assignment.anonymizes_students(course)
    students = [
        [
            ids.anonymous_id(course, assignment, row.chosen.student_id) if anonymous else str(row.chosen.student_id),
            str(row.chosen.provisional_grade_id),
            *map(_format_score, row.score),
            *row.grade,
        ]
        for row in rows
    ]
    if anonymous:
        students.sort()
    document = {"assignment_id": str(assignment.assignment_id), "students": students}
    # For strings, null, lists and two sorted keys, this is RFC 8785's form.
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _format_score(score: Decimal | None) -> str | None:
    return None if score is None else format_number(score)


def plan_publication(actor_id: int, course: Course, assignment: Assignment) -> Accepted:
    """Answer what a publication by the actor would do; nothing is changed."""
    return Accepted((), plan_document(course, assignment, actor_id))


def plan_document(course: Course, assignment: Assignment, user_id: int, *, as_auditor: bool = False) -> dict[str, Any]:
    """Return the plan of a publication by the user; ``as_auditor``: the reader has an auditor's view of the account.

    An auditor who may not publish gets it without section limits. Other users who may not publish get no students,
    as does everyone once the grades are published.
    """
    rejection = check_unpublished_moderation(user_id, course, assignment)
    sections = course.visible_sections(user_id) if may_moderate(course, assignment, user_id) else None
    reads_students = as_auditor or reads_moderation(course, assignment, user_id)
    shows_students = reads_students and assignment.grades_published_at is None
    plan = build_plan(course, assignment, sections) if shows_students else NO_PLAN
    refusal = rejection or plan.refusal
    changed = sum(
        changes_gradebook(row.score, row.grade, row.was_graded) and not course.is_test_student(row.chosen.student_id)
        for row in plan.rows
    )
    without_grade = 0
    if shows_students:
        without_grade = sum(
            student not in assignment.grades_by_student
            and course.is_visible_student(student, sections)
            and assignment.is_assigned(course, student)
            for student in course.student_ordinals
        )
    names_graders = as_auditor or reads_grader_names(course, assignment, user_id)
    anonymous = assignment.anonymizes_students(course)
    students = [_row_document(row, names_graders, anonymous, course, assignment) for row in plan.rows]
    blocked = [
        {
            **ids.student_key(course, assignment, student.student_id, anonymous),
            "reason": student.refusal.reason,
            "provisional_grade_ids": list(student.provisional_grade_ids),
        }
        for student in plan.blocked
    ]
    if anonymous:
        # The order of student ids would reveal the students.
        for listed in (students, blocked):
            listed.sort(key=lambda row: row["anonymous_id"])
    return {
        "assignment_id": assignment.assignment_id,
        "digest": compute_digest(course, assignment, plan.rows),
        "publishable": refusal is None,
        "reason": None if refusal is None else refusal.reason,
        "counts": {
            "published": len(plan.rows),
            "changed": changed,
            "unchanged": len(plan.rows) - changed,
            "blocked": len(plan.blocked),
            "without_grade": without_grade,
        },
        "students": students,
        "blocked": blocked,
    }


def _row_document(
    row: PlannedGrade, names_graders: bool, anonymous: bool, course: Course, assignment: Assignment
) -> dict[str, Any]:
    scorer_id = row.chosen.scorer_id
    return {
        **ids.student_key(course, assignment, row.chosen.student_id, anonymous),
        "provisional_grade_id": row.chosen.provisional_grade_id,
        **(
            {"scorer_id": scorer_id}
            if names_graders
            else {"anonymous_grader_id": assignment.grader_slots.get(scorer_id)}
        ),
        "chosen_by": row.chosen_by,
        "score": [decimal_to_json(score) for score in row.score],
        "grade": list(row.grade),
    }
