"""Roles and permissions in a course, implemented a second time from Canvas's rules."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from services.moderation import commands

INSTRUCTORS = ("TeacherEnrollment", "TaEnrollment")
STUDENTS = ("StudentEnrollment", "StudentViewEnrollment")
LEARNERS = (*STUDENTS, "ObserverEnrollment")


@dataclass
class Enrolled:
    user: int
    type: str
    section: int | None
    state: str
    limited: bool = False
    permissions: dict[str, bool] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, str, int | None]:
        return self.user, self.type, self.section


@dataclass
class ReferenceRoster:
    """Enrolments by user, type and section; account-level permissions by user."""

    rows: dict[tuple[int, str, int | None], Enrolled] = field(default_factory=dict)
    admins: dict[int, set[str]] = field(default_factory=dict)

    def enroll(self, upserts: Iterable[commands.EnrollmentUpsert]) -> None:
        for upsert in upserts:
            key = (upsert.user_id, upsert.type, upsert.section_id)
            row = self.rows.setdefault(key, Enrolled(*key, state="active"))
            stated: dict[str, Any] = dict(upsert.fields)
            row.state = stated.get("state", row.state)
            row.limited = stated.get("limited_to_section", row.limited)
            row.permissions = stated.get("permissions", row.permissions)

    def appoint(self, upserts: Iterable[commands.AdminUpsert]) -> None:
        for upsert in upserts:
            self.admins[upsert.user_id] = set(upsert.permissions)
            if not upsert.permissions:
                del self.admins[upsert.user_id]

    def of(self, user: int) -> list[Enrolled]:
        return [row for row in self.rows.values() if row.user == user]

    def _live_types(self, user: int) -> set[str]:
        return {row.type for row in self.of(user) if row.state != "deleted"}

    def enrolled_students(self) -> set[int]:
        return {row.user for row in self.rows.values() if row.type in STUDENTS and row.state != "deleted"}

    def is_gradable(self, user: int) -> bool:
        return any(row.type in STUDENTS and row.state in ("active", "inactive") for row in self.of(user))

    def is_test_student(self, user: int) -> bool:
        is_one = any(row.type == "StudentViewEnrollment" for row in self.of(user))
        return is_one and "StudentEnrollment" not in self._live_types(user)

    def can_grade(self, user: int) -> bool:
        """Return whether a role in the course, which may override it, or in the account gives ``manage_grades``."""
        for row in self.of(user):
            may = row.type not in LEARNERS and row.permissions.get("manage_grades", row.type in INSTRUCTORS)
            if may and row.state == "active":
                return True
        return "manage_grades" in self.admins.get(user, ())

    def is_only_learner(self, user: int) -> bool:
        live = self._live_types(user)
        return user not in self.admins and bool(live) and all(type_ in LEARNERS for type_ in live)

    def still_teaches(self, user: int) -> bool:
        """Return whether a user may still be final grader: an outsider may, a removed instructor or learner not."""
        roles = [row for row in self.of(user) if row.type in INSTRUCTORS] or self.of(user)
        removed = bool(roles) and all(row.state == "deleted" for row in roles)
        return not removed and not self.is_only_learner(user)

    def can_see(self, user: int, student: int, *, ever: bool = False) -> bool:
        """Return whether the student can be graded and is in a section that the user may see."""
        roles = [row for row in self.of(user) if row.state == "active" and row.type not in STUDENTS]
        limited = bool(roles) and all(row.limited for row in roles) and user not in self.admins
        sections = {row.section for row in roles}
        return any(
            row.type in STUDENTS
            and (ever or row.state in ("active", "inactive"))
            and (not limited or row.section in sections)
            for row in self.of(student)
        )
