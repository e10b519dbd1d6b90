"""Outcomes of adjudication by student: the marks that count, the ruling, and whether it still holds."""

from collections.abc import Iterable
from decimal import Decimal

from services.moderation import ids
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.adjudication_rules import Grading, Mark, Ruling, build_basis, rule
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_provisional_grade
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
            marks.append(Mark(grade.provisional_grade_id, grade.scorer_id, score, grade.grade))
    return tuple(marks)


def _is_decided_by_hand(student_id: int, course: Course, assignment: Assignment) -> bool:
    if assignment.submission(student_id).excused:
        return True
    if assignment.selected_grade_id(course, student_id) is not None:
        return not assignment.is_selected_by_adjudication(student_id)
    final_grade = assignment.find_provisional_grade(student_id, 0, final=True)
    # To clear a final grade decides nothing.
    return final_grade is not None and final_grade.score is not None and not final_grade.by_adjudication


def is_stale(student_id: int, course: Course, assignment: Assignment) -> bool:
    """Return whether the basis of an adjudicated selection has changed since.

    Always False without a policy, and for an excused student: another adjudication would not change the selection.
    """
    policy = assignment.adjudication
    if policy is None or not assignment.is_selected_by_adjudication(student_id):
        return False
    if assignment.selected_grade_id(course, student_id) is None or assignment.submission(student_id).excused:
        return False
    marks = find_marks(student_id, course, assignment)
    basis = build_basis(policy, marks, current_grading(course, assignment))
    return assignment.adjudications[student_id].basis != basis
