"""A course's state, folded from its stream: roster, roles, defaults, and the permissions that follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.moderation.grading_scheme import GradingScheme
from services.moderation.late_policy import LatePolicy

STUDENT = "StudentEnrollment"
TEST_STUDENT = "StudentViewEnrollment"
STUDENT_TYPES = frozenset({STUDENT, TEST_STUDENT})
LEARNER_TYPES = STUDENT_TYPES | {"ObserverEnrollment"}
INSTRUCTOR_TYPES = frozenset({"TeacherEnrollment", "TaEnrollment"})
# Canvas: app/models/role_override.rb. In a course role, select_final_grade only makes a user eligible as final grader.
DEFAULT_PERMISSIONS: dict[str, frozenset[str]] = {
    "TeacherEnrollment": frozenset({"manage_grades", "view_all_grades", "select_final_grade"}),
    "TaEnrollment": frozenset({"manage_grades", "view_all_grades", "select_final_grade"}),
    "DesignerEnrollment": frozenset(),
    "ObserverEnrollment": frozenset(),
    STUDENT: frozenset(),
    TEST_STUDENT: frozenset(),
}
# Canvas: Enrollment's ranks; the first of a user's enrolments is their role in the course.
ROLE_PRECEDENCE = (
    "TeacherEnrollment",
    "TaEnrollment",
    "DesignerEnrollment",
    STUDENT,
    TEST_STUDENT,
    "ObserverEnrollment",
)
ADMIN_ROLE = "AccountAdmin"
ACTIVE_STATES = frozenset({"active"})
GRADABLE_STATES = frozenset({"active", "inactive"})
LISTED_STATES = frozenset({"active", "invited", "creation_pending"})
NOT_DELETED_STATES = frozenset({"active", "inactive", "invited", "creation_pending", "completed"})


@dataclass(slots=True)
class Enrollment:
    """One enrolment; ``permissions`` overrides the type's defaults."""

    user_id: int
    type: str
    section_id: int | None
    state: str = "active"
    limited_to_section: bool = False
    permissions: Mapping[str, bool] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the enrolment as it is stored."""
        return {
            "user_id": self.user_id,
            "type": self.type,
            "section_id": self.section_id,
            "state": self.state,
            "limited_to_section": self.limited_to_section,
            "permissions": self.permissions,
        }

    def grants(self, permission: str) -> bool:
        """Return whether this active enrolment gives a course permission; a student's enrolment never gives one."""
        if self.type in LEARNER_TYPES:
            return False
        granted = self.permissions.get(permission)
        return permission in DEFAULT_PERMISSIONS[self.type] if granted is None else granted


_NO_ENROLLMENTS: Mapping[tuple[str, int | None], Enrollment] = {}
COURSE_FIELDS = (
    "name",
    "sis_source_id",
    "account_id",
    "root_account_uuid",
    "root_account_lti_guid",
    "grading_scheme",
    "late_policy",
)


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
    grading_scheme: GradingScheme | None = None
    # Shard positions at which the scheme changed, each with the new scheme.
    grading_scheme_changes: list[tuple[int, GradingScheme | None]] = field(default_factory=list)
    late_policy: LatePolicy | None = None
    users: dict[int, dict[str, Any]] = field(default_factory=dict)
    enrollments: dict[int, dict[tuple[str, int | None], Enrollment]] = field(default_factory=dict)
    admins: dict[int, frozenset[str]] = field(default_factory=dict)
    # Ordinal of first enrolment as a student, from 1: part of the ids that the service generates.
    student_ordinals: dict[int, int] = field(default_factory=dict)
    # Shard position at which a student last stopped being enrolled: a selection made before no longer counts.
    unenrolled_at_position: dict[int, int] = field(default_factory=dict)
    # Shard position at which a person was last erased: anything derived from comments before may hold erased texts.
    erased_at_position: int = 0

    @property
    def grading_scheme_position(self) -> int:
        """Shard position at which the grading scheme last changed."""
        return self.grading_scheme_changes[-1][0] if self.grading_scheme_changes else 0

    def grading_scheme_at(self, position: int) -> GradingScheme | None:
        """Return the grading scheme as it was at a shard position."""
        for changed_at, scheme in reversed(self.grading_scheme_changes):
            if changed_at <= position:
                return scheme
        return None

    def has_permission(self, user_id: int, permission: str) -> bool:
        """Return whether an active enrolment or an account-level role gives the user a course permission."""
        for enrollment in self.enrollments.get(user_id, _NO_ENROLLMENTS).values():
            if enrollment.state == "active" and enrollment.grants(permission):
                return True
        admin_permissions = self.admins.get(user_id)
        return admin_permissions is not None and permission in admin_permissions

    def get_role(self, user_id: int) -> str | None:
        """Return Canvas's name of the user's role here: the highest active one, else that of an admin."""
        active_types = {e.type for e in self.enrollments.get(user_id, _NO_ENROLLMENTS).values() if e.state == "active"}
        return next(
            (role for role in ROLE_PRECEDENCE if role in active_types), ADMIN_ROLE if user_id in self.admins else None
        )

    def is_removed_instructor(self, user_id: int) -> bool:
        """Return whether all instructor enrolments of the user are deleted; without any, whether all enrolments are.

        Students and observers are not instructors (Canvas: Enrollment#remove_user_as_final_grader?).
        """
        enrollments = self.enrollments.get(user_id, _NO_ENROLLMENTS).values()
        relevant_enrollments = [e for e in enrollments if e.type in INSTRUCTOR_TYPES] or enrollments
        return bool(relevant_enrollments) and all(e.state == "deleted" for e in relevant_enrollments)

    def is_only_learner(self, user_id: int) -> bool:
        """Return whether the user is only a student or observer here, and so neither moderates nor grades."""
        if user_id in self.admins:
            return False
        live_types = {e.type for e in self.enrollments.get(user_id, _NO_ENROLLMENTS).values() if e.state != "deleted"}
        return bool(live_types) and live_types <= LEARNER_TYPES

    def is_enrolled_student(self, user_id: int) -> bool:
        """Return whether the user is a student with an enrolment that is not deleted, in any state."""
        return self._is_student(user_id, NOT_DELETED_STATES)

    def is_active_student(self, user_id: int) -> bool:
        """Return whether the user is a student with an active enrolment."""
        return self._is_student(user_id, ACTIVE_STATES)

    def is_gradable(self, user_id: int) -> bool:
        """Return whether the user is an active or inactive student; concluded, invited and deleted ones are not graded.

        Canvas: app/models/abstract_assignment.rb, grade_student (admin_visible_student_enrollments).
        """
        return self._is_student(user_id, GRADABLE_STATES)

    def _is_student(self, user_id: int, states: frozenset[str]) -> bool:
        for enrollment in self.enrollments.get(user_id, _NO_ENROLLMENTS).values():
            if enrollment.type in STUDENT_TYPES and enrollment.state in states:
                return True
        return False

    def is_test_student(self, user_id: int) -> bool:
        """Return whether the user is Canvas's Test Student, who is graded but never published to other systems."""
        enrollments = self.enrollments.get(user_id, _NO_ENROLLMENTS).values()
        return any(e.type == TEST_STUDENT for e in enrollments) and not any(
            e.type == STUDENT and e.state in NOT_DELETED_STATES for e in enrollments
        )

    def visible_sections(self, user_id: int) -> frozenset[int | None] | None:
        """Return the sections the user is limited to, None for no limit (Canvas: Course#section_visibilities_for)."""
        if user_id in self.admins:
            return None
        sections = []
        for enrollment in self.enrollments.get(user_id, _NO_ENROLLMENTS).values():
            if enrollment.state == "active" and enrollment.type not in STUDENT_TYPES:
                if not enrollment.limited_to_section:
                    return None
                sections.append(enrollment.section_id)
        return frozenset(sections) if sections else None

    def is_visible_student(
        self, student_id: int, sections: frozenset[int | None] | None, states: frozenset[str] = GRADABLE_STATES
    ) -> bool:
        """Return whether the user is a student in one of the states and sections (None: in any)."""
        for enrollment in self.enrollments.get(student_id, _NO_ENROLLMENTS).values():
            is_student = enrollment.type in STUDENT_TYPES and enrollment.state in states
            if is_student and (sections is None or enrollment.section_id in sections):
                return True
        return False
