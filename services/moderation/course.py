"""A course as its stream tells it: roster, roles, defaults; and what people may do in it."""

from dataclasses import dataclass, field
from typing import Any

from services.moderation.scheme import Scheme

STUDENT = "StudentEnrollment"
# Canvas: app/models/role_override.rb. select_final_grade of a course role only makes somebody eligible to be named.
DEFAULT_PERMISSIONS: dict[str, frozenset[str]] = {
    "TeacherEnrollment": frozenset({"manage_grades", "view_all_grades", "select_final_grade"}),
    "TaEnrollment": frozenset({"manage_grades", "view_all_grades", "select_final_grade"}),
    "DesignerEnrollment": frozenset(),
    "ObserverEnrollment": frozenset(),
    STUDENT: frozenset(),
}
GRADABLE = ("active", "inactive")


@dataclass(slots=True)
class Enrollment:
    """One enrolment; ``permissions`` overrides the type's defaults."""

    user_id: int
    type: str
    section_id: int | None
    state: str = "active"
    limited_to_section: bool = False
    permissions: dict[str, bool] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "user_id": self.user_id,
            "type": self.type,
            "section_id": self.section_id,
            "state": self.state,
            "limited_to_section": self.limited_to_section,
            "permissions": self.permissions,
        }

    def grants(self, permission: str) -> bool:
        """Whether this active enrolment gives a course permission."""
        granted = self.permissions.get(permission)
        return permission in DEFAULT_PERMISSIONS[self.type] if granted is None else granted


COURSE_FIELDS = ("name", "sis_source_id", "account_id", "root_account_uuid", "root_account_lti_guid", "grading_scheme")
USER_FIELDS = ("name", "sortable_name", "short_name", "sis_user_id", "login_id", "created_at")


@dataclass(slots=True)
class Course:
    """State of a course's stream. ``version`` 0: it does not exist."""

    root_account_id: int
    course_id: int
    version: int = 0
    name: str | None = None
    sis_source_id: str | None = None
    account_id: int | None = None
    root_account_uuid: str | None = None
    root_account_lti_guid: str | None = None
    grading_scheme: Scheme | None = None
    users: dict[int, dict[str, Any]] = field(default_factory=dict)
    enrollments: dict[int, dict[tuple[str, int | None], Enrollment]] = field(default_factory=dict)
    admins: dict[int, frozenset[str]] = field(default_factory=dict)
    # Ordinal of first enrolment as a student, from 1: part of the ids the service draws.
    student_ordinals: dict[int, int] = field(default_factory=dict)
    # Shard position at which a student last stopped being enrolled: a choice made before does not count any more.
    unenrolled_at: dict[int, int] = field(default_factory=dict)

    def may(self, user_id: int, permission: str) -> bool:
        """Course permission by an active enrolment, or by an account-level role."""
        held = self.enrollments.get(user_id)
        if held is not None and any(e.state == "active" and e.grants(permission) for e in held.values()):
            return True
        return permission in self.admins.get(user_id, ())

    def removed(self, user_id: int) -> bool:
        """Whether the user was enrolled and every enrolment has been deleted."""
        held = self.enrollments.get(user_id)
        return held is not None and all(e.state == "deleted" for e in held.values())

    def is_enrolled_student(self, user_id: int) -> bool:
        """A student whose enrolment is not deleted, whatever its state."""
        held = self.enrollments.get(user_id)
        return held is not None and any(e.type == STUDENT and e.state != "deleted" for e in held.values())

    def is_gradable(self, user_id: int) -> bool:
        """Active or inactive as a student; concluded and deleted ones are not graded (Canvas: grade_student)."""
        held = self.enrollments.get(user_id)
        return held is not None and any(e.type == STUDENT and e.state in GRADABLE for e in held.values())

    def sections_seen_by(self, user_id: int) -> frozenset[int | None] | None:
        """Sections a caller is limited to, None for no limit (Canvas: Course#section_visibilities_for)."""
        if user_id in self.admins:
            return None
        active = [e for e in self.enrollments.get(user_id, {}).values() if e.state == "active" and e.type != STUDENT]
        if not active or any(not e.limited_to_section for e in active):
            return None
        return frozenset(e.section_id for e in active)

    def is_visible_student(self, student_id: int, sections: frozenset[int | None] | None) -> bool:
        """A gradable student in one of the sections (None: in any)."""
        held = self.enrollments.get(student_id)
        return held is not None and any(
            e.type == STUDENT and e.state in GRADABLE and (sections is None or e.section_id in sections)
            for e in held.values()
        )
