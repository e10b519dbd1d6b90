"""A sample for the moderation set: a number of marked students, spread over the marks, and those at risk.

The assignment's secret determines the draw: it cannot be predicted, and the same marks give the same sample.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from heapq import heapify, heappop, heapreplace
from math import ceil, isqrt
from typing import Any

from services.moderation import ids
from services.moderation.adjudication_outcomes import current_grading, find_marks
from services.moderation.adjudication_rules import Grading, counts_texts
from services.moderation.assignment import Assignment
from services.moderation.commands import DrawModerationSample
from services.moderation.course import Course
from services.moderation.decisions import (
    SAMPLE_BORDERLINE_INCOMPLETE,
    SAMPLE_OF_WHOLE_SET,
    SAMPLE_SHOWS_HIDDEN_STUDENTS,
    SAMPLE_WITHOUT_SIZE,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import StudentsSelectedForModeration
from services.moderation.grading_scheme import DEFAULT_SCHEME
from services.moderation.moderation_checks import check_unpublished_moderation
from services.moderation.value_object import value_object

DRAWN, FAILING, BORDERLINE = "drawn", "failing", "borderline"
PASS_PERCENT = Fraction(50)
_SCHEME_TYPES = frozenset({"letter_grade", "gpa_scale"})


@value_object()
class MarkedStudent:
    """A student whose work was marked, with the mark that was entered first and the sort key of the draw."""

    student_id: int
    first_mark: Decimal
    draw: bytes


def draw_sample(data: DrawModerationSample, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Add a sample of the marked students whom the actor sees to the set; students already in it count."""
    rejection = check_unpublished_moderation(actor_id, course, assignment) or _check_request(data, course, assignment)
    if rejection is not None:
        return rejection
    marked = find_marked_students(course.visible_sections(actor_id), course, assignment)
    size = compute_sample_size(data, len(marked))
    reasons: dict[int, list[str]] = {}
    for student_id in draw_students(marked, size, data.strata, course, assignment):
        reasons.setdefault(student_id, []).append(DRAWN)
    grading, boundaries = current_grading(course, assignment), find_boundaries(course, assignment)
    for student in marked:
        if not assignment.is_in_moderation_set(course, student.student_id):
            for reason in find_risks(student.first_mark, data, grading, boundaries):
                reasons.setdefault(student.student_id, []).append(reason)
    rows = tuple({"student_id": student_id, "reasons": tuple(found)} for student_id, found in sorted(reasons.items()))
    events = (StudentsSelectedForModeration(student_ids=tuple(sorted(reasons)), sampled=rows),) if rows else ()
    return Accepted(events, _sample_document(marked, size, reasons, course, assignment))


def _check_request(data: DrawModerationSample, course: Course, assignment: Assignment) -> Rejected | None:
    """Refuse a request that names no sample, contradicts itself, or would reveal hidden students."""
    if assignment.moderation_set != "selected":
        return SAMPLE_OF_WHOLE_SET
    if data.percent is None and data.at_least is None and not data.square_root and not data.include:
        return SAMPLE_WITHOUT_SIZE
    if (BORDERLINE in data.include) != (data.borderline_within is not None):
        return SAMPLE_BORDERLINE_INCOMPLETE
    if data.include and assignment.anonymizes_students(course):
        return SAMPLE_SHOWS_HIDDEN_STUDENTS
    return None


def find_marked_students(
    sections: frozenset[int | None] | None, course: Course, assignment: Assignment
) -> list[MarkedStudent]:
    """Return students of these sections (None: all) with a mark, except Test Students, sorted by first mark.

    Students with the same mark are in the order of the draw.
    """
    marked = []
    for student_id in assignment.grades_by_student:
        if course.is_test_student(student_id) or not assignment.is_assigned(course, student_id):
            continue
        marks = find_marks(student_id, course, assignment) if course.is_visible_student(student_id, sections) else ()
        if marks:
            draw = ids.draw_order(assignment, b"sample", student_id)
            marked.append(MarkedStudent(student_id, marks[0].score, draw))
    return sorted(marked, key=lambda student: (student.first_mark, student.draw))


def compute_sample_size(data: DrawModerationSample, marked_count: int) -> int:
    """Return the largest of the requested sizes, at most the number of marked students."""
    sizes = [0, data.at_least or 0]
    if data.percent is not None:
        sizes.append(ceil(Fraction(data.percent) * marked_count / 100))
    if data.square_root and marked_count:
        sizes.append(isqrt(marked_count - 1) + 1)
    return min(max(sizes), marked_count)


def draw_students(
    marked: Sequence[MarkedStudent], size: int, strata: int, course: Course, assignment: Assignment
) -> list[int]:
    """Draw students until the set has ``size``, each from the part with the fewest students in the set.

    ``marked``: sorted by first mark; it is divided into parts whose sizes differ by at most one.
    """
    missing = size
    # For each part: how many are in the set, its number, and the students who can be drawn, the first one last.
    parts: list[tuple[int, int, list[MarkedStudent]]] = []
    for number in range(strata):
        part = marked[number * len(marked) // strata : (number + 1) * len(marked) // strata]
        undrawn = [student for student in part if not assignment.is_in_moderation_set(course, student.student_id)]
        missing -= len(part) - len(undrawn)
        if undrawn:
            undrawn.sort(key=lambda student: student.draw, reverse=True)
            parts.append((len(part) - len(undrawn), number, undrawn))
    heapify(parts)
    drawn = []
    for _ in range(missing):
        in_set, number, undrawn = parts[0]
        drawn.append(undrawn.pop().student_id)
        if undrawn:
            heapreplace(parts, (in_set + 1, number, undrawn))
        else:
            heappop(parts)
    return drawn


def find_boundaries(course: Course, assignment: Assignment) -> list[Fraction]:
    """Return the percentages above 0 at which bands begin, ascending: the policy's, else the scheme's, else 50."""
    policy, grading = assignment.adjudication, current_grading(course, assignment)
    if policy is not None and isinstance(policy.boundaries, tuple):
        bounds = [Fraction(bound) for bound in policy.boundaries]
    elif grading.scheme or grading.grading_type in _SCHEME_TYPES or (policy is not None and policy.needs_scheme):
        bounds = [Fraction(bound) * 100 for _, bound in grading.scheme or DEFAULT_SCHEME]
    else:
        bounds = []
    return sorted(bound for bound in bounds if bound > 0) or [PASS_PERCENT]


def find_risks(
    first_mark: Decimal, data: DrawModerationSample, grading: Grading, boundaries: Sequence[Fraction]
) -> list[str]:
    """Return which of the requested risks a mark has: below the first boundary, or near one.

    Without points the mark is a percentage, but a score of 0 tells nothing if letters or words have it too.
    """
    if not first_mark and counts_texts(grading):
        return []
    percent = Fraction(first_mark) * 100 / Fraction(grading.points) if grading.points else Fraction(first_mark)
    risks = []
    if FAILING in data.include and percent < boundaries[0]:
        risks.append(FAILING)
    if data.borderline_within is not None:
        within = Fraction(data.borderline_within)
        if any(abs(percent - boundary) <= within for boundary in boundaries):
            risks.append(BORDERLINE)
    return risks


def _sample_document(
    marked: Sequence[MarkedStudent],
    size: int,
    added: Mapping[int, Sequence[str]],
    course: Course,
    assignment: Assignment,
) -> dict[str, Any]:
    """Describe the marked students of the set with the reasons for their selection; hand-picked ones have none."""
    anonymous = assignment.anonymizes_students(course)
    rows: list[dict[str, Any]] = []
    for student_id in sorted(student.student_id for student in marked):
        if student_id not in added and not assignment.is_in_moderation_set(course, student_id):
            continue
        reasons = added.get(student_id, assignment.sample_reasons.get(student_id, ()))
        key = ids.student_key(course, assignment, student_id, anonymous)
        rows.append({**key, "reasons": list(reasons), "added": student_id in added})
    if anonymous:
        rows.sort(key=lambda row: row["anonymous_id"])
    return {
        "assignment_id": assignment.assignment_id,
        "students_with_mark": len(marked),
        "sample_size": size,
        "added": len(added),
        "students": rows,
    }
