"""Allocation of submissions to graders, and release of grader slots.

Canvas has neither: a slot is never released there (app/models/moderation_grader.rb, slot_taken).
"""

from collections.abc import Iterable
from itertools import count
from typing import Any

from services.moderation import ids
from services.moderation.assignment import Assignment
from services.moderation.commands import AllocateSubmissions, EvenAllocation, ReleaseGraderSlot
from services.moderation.course import Course
from services.moderation.decisions import (
    ALLOCATION_TOO_FEW_GRADERS,
    ALLOCATION_UNCLEAR,
    ALLOCATION_UNKNOWN_GRADER,
    ALLOCATION_UNKNOWN_STUDENT,
    MAX_GRADERS_REACHED,
    NOT_ALLOCATED,
    SLOT_IN_USE,
    SLOT_UNKNOWN,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import GraderSlotReleased, SubmissionsAllocated
from services.moderation.moderation_checks import check_moderation, check_unpublished_moderation
from services.moderation.visibility import reads_grader_names

GradersByStudent = dict[int, tuple[int, ...]]


def allocate_submissions(data: AllocateSubmissions, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Replace the graders of the named students, or of the moderation set; only changes are recorded."""
    rejection = check_unpublished_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    sections = course.visible_sections(actor_id)
    if data.allocations is not None and data.evenly is None:
        allocated = _allocate_by_name(data.allocations, sections, course, assignment)
    elif data.evenly is not None and data.allocations is None:
        allocated = _allocate_evenly(data.evenly, sections, course, assignment)
    else:
        allocated = ALLOCATION_UNCLEAR
    if isinstance(allocated, Rejected):
        return allocated
    if _exceeds_slots({**assignment.allocations, **allocated}, course, assignment):
        return MAX_GRADERS_REACHED
    changed = {
        student: graders for student, graders in allocated.items() if assignment.allocations.get(student) != graders
    }
    enforced = assignment.allocation_enforced if data.enforced is None else data.enforced
    document = allocation_document(
        {**assignment.allocations, **allocated}, enforced, actor_id, sections, course, assignment
    )
    if not changed and enforced == assignment.allocation_enforced:
        return Accepted((), document)
    rows = tuple({"student_id": student, "grader_ids": graders} for student, graders in sorted(changed.items()))
    return Accepted((SubmissionsAllocated(allocations=rows, enforced=enforced),), document)


def _allocate_by_name(
    allocations: Iterable[tuple[int, tuple[int, ...]]],
    sections: frozenset[int | None] | None,
    course: Course,
    assignment: Assignment,
) -> GradersByStudent | Rejected:
    graders_by_student: dict[int, set[int]] = {}
    for grader, students in allocations:
        if not course.has_permission(grader, "manage_grades"):
            return ALLOCATION_UNKNOWN_GRADER
        for student in students:
            if not _can_be_marked(student, sections, course, assignment):
                return ALLOCATION_UNKNOWN_STUDENT
            graders_by_student.setdefault(student, set()).add(grader)
    return {student: tuple(sorted(graders)) for student, graders in graders_by_student.items()}


def _allocate_evenly(
    data: EvenAllocation, sections: frozenset[int | None] | None, course: Course, assignment: Assignment
) -> GradersByStudent | Rejected:
    """Distribute the moderation set to the graders in rounds, each grader once, in an order derived from the secret."""
    graders = sorted(set(data.grader_ids))
    if not all(course.has_permission(grader, "manage_grades") for grader in graders):
        return ALLOCATION_UNKNOWN_GRADER
    if data.marks > len(graders):
        return ALLOCATION_TOO_FEW_GRADERS
    candidates = {*course.student_ordinals, *assignment.added_students}
    students = [
        student
        for student in candidates
        if assignment.is_in_moderation_set(course, student) and _can_be_marked(student, sections, course, assignment)
    ]
    students.sort(key=lambda student: ids.draw_order(assignment, b"allocated student", student))
    rounds, deck = count(), list[int]()
    allocated: GradersByStudent = {}
    for student in students:
        dealt: set[int] = set()
        while len(dealt) < data.marks:
            if not deck:
                deck = _shuffle(graders, next(rounds), assignment)
            # A grader who already has the student is only possible for a student at the border of two rounds.
            index = next(i for i in range(len(deck) - 1, -1, -1) if deck[i] not in dealt)
            dealt.add(deck.pop(index))
        allocated[student] = tuple(sorted(dealt))
    return allocated


def _shuffle(graders: Iterable[int], number: int, assignment: Assignment) -> list[int]:
    return sorted(graders, key=lambda grader: ids.draw_order(assignment, b"allocation", number, grader))


def _can_be_marked(
    student_id: int, sections: frozenset[int | None] | None, course: Course, assignment: Assignment
) -> bool:
    return course.is_visible_student(student_id, sections) and assignment.is_assigned(course, student_id)


def _exceeds_slots(allocated: GradersByStudent, course: Course, assignment: Assignment) -> bool:
    """Return whether a grader of the allocation would get no slot; the final grader needs none.

    Students who no longer have the assignment do not count: there is nothing to grade.
    """
    holders = {user for user in assignment.grader_slots if assignment.holds_slot(user)}
    graders = {
        grader
        for student, graders in allocated.items()
        if assignment.is_assigned(course, student)
        for grader in graders
    }
    waiting = {grader for grader in graders - holders if course.has_permission(grader, "manage_grades")}
    waiting, holders = (
        {user for user in users if not assignment.is_final_grader(course, user)} for users in (waiting, holders)
    )
    return bool(waiting) and len(waiting) + len(holders) > (assignment.grader_count or 0)


def check_allocation(student_id: int, actor_id: int, course: Course, assignment: Assignment) -> Rejected | None:
    """Refuse a grader to whom an enforced allocation does not assign the student, unless a third mark is needed."""
    graders = assignment.allocations.get(student_id)
    if not (assignment.allocation_enforced and assignment.moderated_grading) or graders is None or actor_id in graders:
        return None
    if assignment.permits_moderation(course, actor_id) or _needs_third_mark(student_id, assignment):
        return None
    return NOT_ALLOCATED


def _needs_third_mark(student_id: int, assignment: Assignment) -> bool:
    """Return whether the student's last adjudication asked for a third mark, and a policy is still set."""
    adjudication = assignment.adjudications.get(student_id)
    return (
        assignment.adjudication is not None and adjudication is not None and adjudication.outcome == "needs_third_mark"
    )


def count_progress(
    course: Course, assignment: Assignment, allocations: GradersByStudent | None = None
) -> list[dict[str, Any]]:
    """Count, for each grader, the allocated students who have the assignment, and those that the grader has marked.

    ``allocations`` None: those in force.
    """
    progress: dict[int, dict[str, Any]] = {}
    for student, graders in (assignment.allocations if allocations is None else allocations).items():
        if not assignment.is_assigned(course, student):
            continue
        for grader in graders:
            row = progress.setdefault(grader, {"grader_id": grader, "allocated": 0, "entered": 0, "remaining": 0})
            grade = assignment.find_provisional_grade(student, grader, final=False)
            has_mark = grade is not None and grade.graded_at is not None and grade.score is not None
            row["allocated"] += 1
            row["entered" if has_mark else "remaining"] += 1
    return [row for _, row in sorted(progress.items())]


def allocation_document(
    allocations: GradersByStudent,
    enforced: bool,
    user_id: int,
    sections: frozenset[int | None] | None,
    course: Course,
    assignment: Assignment,
    *,
    may_name_graders: bool = True,
) -> dict[str, Any]:
    """Describe an allocation to a moderator or auditor, by student id, or by anonymous id while students are hidden.

    ``sections``: the only ones whose students the reader may see; None: all.
    If graders are anonymous to the reader, they are left out: a student's provisional grades show the graders'
    anonymous ids, and the allocation, or a grader's number of students, would reveal whose ids these are.
    ``may_name_graders``: of an earlier state, whether the reader may know graders now; both states must allow it.
    """
    names_graders = may_name_graders and reads_grader_names(course, assignment, user_id)
    if sections is not None:
        allocations = {
            student: graders for student, graders in allocations.items() if course.is_visible_student(student, sections)
        }
    anonymous = assignment.anonymizes_students(course)
    students: list[dict[str, Any]] = [
        {
            **ids.student_key(course, assignment, student, anonymous),
            "grader_ids": list(graders) if names_graders else None,
        }
        for student, graders in sorted(allocations.items())
    ]
    if anonymous:
        students.sort(key=lambda row: row["anonymous_id"])
    return {
        "assignment_id": assignment.assignment_id,
        "enforced": enforced,
        "graders": count_progress(course, assignment, allocations) if names_graders else None,
        "students": students,
    }


def release_slot(data: ReleaseGraderSlot, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Release the slot of a grader who has entered no grade; comments alone do not prevent it."""
    rejection = check_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    anonymous_id = assignment.grader_slots.get(data.grader_id)
    if anonymous_id is None or data.grader_id in assignment.released_graders:
        return SLOT_UNKNOWN
    if data.grader_id in assignment.entering_graders:
        return SLOT_IN_USE
    event = GraderSlotReleased(grader_id=data.grader_id, anonymous_id=anonymous_id)
    return Accepted((event,), {"assignment_id": assignment.assignment_id, "grader_id": data.grader_id})
