"""Which names and comments a user may see.

Canvas: app/models/abstract_assignment.rb (can_view_other_grader_identities?, can_view_other_grader_comments?).
"""

from collections.abc import Mapping
from functools import cached_property

from services.moderation.assignment import Assignment
from services.moderation.canvas_people import get_short_name
from services.moderation.course import Course

AUDITOR_PERMISSION = "view_audit_trail"


def can_view_gradebook(course: Course, user_id: int) -> bool:
    """Return whether the user has a permission that opens the gradebook."""
    return course.has_permission(user_id, "manage_grades") or course.has_permission(user_id, "view_all_grades")


def may_moderate(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Return whether the user may moderate in every respect, which includes manage_grades."""
    return course.has_permission(user_id, "manage_grades") and assignment.permits_moderation(course, user_id)


def is_auditor(course: Course, user_id: int) -> bool:
    """Return whether the user may read the audit trail: an account-level permission, as it shows all graders' marks."""
    return AUDITOR_PERMISSION in course.admins.get(user_id, ())


def reads_moderation(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Return whether the user may read plans and proposals of an assignment's moderation: moderators and auditors."""
    return may_moderate(course, assignment, user_id) or is_auditor(course, user_id)


def reads_grader_names(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Return whether a moderator or auditor sees graders' names."""
    return is_auditor(course, user_id) or can_view_grader_names(course, assignment, user_id)


def can_view_grader_names(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Return whether other graders are named to the user."""
    if not can_view_gradebook(course, user_id):
        return False
    if not assignment.moderated_grading or assignment.grades_published_at is not None:
        return True
    if assignment.is_final_grader(course, user_id):
        return assignment.grader_names_visible_to_final_grader
    if assignment.permits_moderation(course, user_id):
        return True
    return assignment.grader_comments_visible_to_graders and not assignment.graders_anonymous_to_graders


def can_view_grader_comments(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Return whether other graders' remarks are shown to the user."""
    if not assignment.moderated_grading or assignment.permits_moderation(course, user_id):
        return True
    return assignment.grader_comments_visible_to_graders and can_view_gradebook(course, user_id)


class Viewer:
    """A user's view of an assignment; valid until the next change, because it caches permissions.

    ``lms_url``: the prefix of links to the LMS.
    """

    def __init__(self, course: Course, assignment: Assignment, user_id: int, lms_url: str) -> None:
        self.course = course
        self.assignment = assignment
        self.user_id = user_id
        self.lms_url = lms_url

    @cached_property
    def can_moderate(self) -> bool:
        """Return whether the user permits moderation of the assignment."""
        return self.assignment.permits_moderation(self.course, self.user_id)

    @cached_property
    def can_view_gradebook(self) -> bool:
        """Return whether the gradebook is open to the user."""
        return can_view_gradebook(self.course, self.user_id)

    @cached_property
    def can_view_grader_names(self) -> bool:
        """Return whether other graders are named to the user."""
        return can_view_grader_names(self.course, self.assignment, self.user_id)

    @cached_property
    def can_view_grader_comments(self) -> bool:
        """Return whether other graders' remarks are shown to the user."""
        return can_view_grader_comments(self.course, self.assignment, self.user_id)

    @cached_property
    def anonymizes_students(self) -> bool:
        """Return whether students are anonymous now."""
        return self.assignment.anonymizes_students(self.course)

    @cached_property
    def anonymizes_moderation_set(self) -> bool:
        """Return whether the moderation set's students are anonymous.

        Canvas always names them. The names in a hand-picked set would reveal whose the anonymous submissions in it are;
        a set of all assigned students reveals nothing.
        """
        return self.anonymizes_students and self.assignment.moderation_set == "selected"

    @cached_property
    def anonymous_graders(self) -> Mapping[int, str]:
        """Return the anonymous ids of the graders whom the user may not know."""
        is_moderated = self.assignment.moderated_grading and self.assignment.grades_published_at is None
        return self.assignment.grader_slots if is_moderated and not self.can_view_grader_names else {}

    def hide_also(self, present: "Viewer") -> None:
        """Hide whom the present view hides too. This is the same user's view of an earlier state, not yet shown."""
        # Before the students, from whom it is derived.
        self.anonymizes_moderation_set = self.anonymizes_moderation_set or present.anonymizes_moderation_set
        self.anonymizes_students = self.anonymizes_students or present.anonymizes_students
        self.anonymous_graders = {**self.anonymous_graders, **present.anonymous_graders}
        self.can_view_grader_names = self.can_view_grader_names and present.can_view_grader_names

    @property
    def can_view_student_names(self) -> bool:
        """Return whether students are named to the user (Canvas: can_view_student_names?)."""
        return self.can_view_gradebook and not self.anonymizes_students

    def get_user_name(self, user_id: int) -> str | None:
        """Return a user's name as the LMS stated it."""
        name: str | None = self.course.users.get(user_id, {}).get("name")
        return name

    def get_short_name(self, user_id: int) -> str | None:
        """Return a user's short name, which Canvas shows as an author's."""
        return get_short_name(self.course, user_id)
