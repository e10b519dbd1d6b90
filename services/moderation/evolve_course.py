"""Applies events of a course's stream to its state, in place."""

from datetime import datetime
from functools import lru_cache
from typing import assert_never

from services.moderation.course import STUDENT_TYPES, Course, Enrollment
from services.moderation.events import (
    AdminsUpdated,
    CourseEvent,
    CourseUpdated,
    EnrollmentsUpdated,
    PersonErased,
    UsersUpdated,
)


def evolve_course(course: Course, event: CourseEvent, *, position: int, at: datetime) -> None:
    """Apply an event of a course's stream; ``position``: its position in the shard."""
    course.version += 1
    match event:
        case CourseUpdated(changes=changes):
            for name, (_, new) in changes.items():
                setattr(course, name, new)
            if "grading_scheme" in changes:
                course.grading_scheme_changes.append((position, course.grading_scheme))
        case UsersUpdated(users=users):
            for row in users:
                course.users.setdefault(row["user_id"], {}).update(row)
        case EnrollmentsUpdated(enrollments=rows):
            _apply_enrollments(course, [Enrollment(**row) for row in rows], position)
        case AdminsUpdated(admins=admins):
            for row in admins:
                if row["permissions"]:
                    course.admins[row["user_id"]] = frozenset(row["permissions"])
                else:
                    course.admins.pop(row["user_id"], None)
        case PersonErased(user_id=user_id):
            course.users.pop(user_id, None)
            course.erased_at_position = position
        case _:
            assert_never(event)


def _apply_enrollments(course: Course, enrollments: list[Enrollment], position: int) -> None:
    # A student whom one command moves between sections is not unenrolled in between.
    students = {e.user_id for e in enrollments if course.is_enrolled_student(e.user_id)}
    for enrollment in enrollments:
        user = enrollment.user_id
        course.enrollments.setdefault(user, {})[_enrollment_key(enrollment.type, enrollment.section_id)] = enrollment
        if enrollment.type in STUDENT_TYPES:
            course.student_ordinals.setdefault(user, len(course.student_ordinals) + 1)
    for student in students:
        if not course.is_enrolled_student(student):
            course.unenrolled_at_position[student] = position


@lru_cache(maxsize=4_096)
def _enrollment_key(enrollment_type: str, section_id: int | None) -> tuple[str, int | None]:
    """Return one shared key per kind of enrolment: a class would hold thousands of equal ones."""
    return enrollment_type, section_id
