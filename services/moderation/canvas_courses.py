"""A course, its assignments and its roster in the Canvas API's form, as far as the LMS has stated them.

Canvas: lib/api/v1/course.rb, lib/api/v1/assignment.rb, app/controllers/courses_controller.rb (users).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from services.moderation.assignment import Assignment
from services.moderation.canvas_people import get_sortable_name, user_json
from services.moderation.course import LISTED_STATES, TEST_STUDENT, Course, Enrollment
from services.moderation.json_values import decimal_to_json
from services.moderation.submission import Submission
from services.moderation.visibility import can_view_gradebook

Json = dict[str, Any]
READING_STATES = LISTED_STATES | {"completed"}
MODERATION_FIELDS = (
    "moderated_grading", "grader_count", "final_grader_id", "anonymous_grading", "graders_anonymous_to_graders",
    "grader_names_visible_to_final_grader", "grader_comments_visible_to_graders",
)  # fmt: skip
VISIBILITY_FIELDS = ("is_public", "is_public_to_auth_users", "public_syllabus", "public_syllabus_to_auth")
_STAFF_ROLES = frozenset({"TeacherEnrollment", "TaEnrollment", "DesignerEnrollment"})


def can_read_course(course: Course, user_id: int) -> bool:
    """Return whether the user has a role in the course, an account-level one included."""
    return user_id in course.admins or any(e.state in READING_STATES for e in _enrollments(course, user_id))


def _enrollments(course: Course, user_id: int) -> Collection[Enrollment]:
    return course.enrollments.get(user_id, {}).values()


def _role_name(enrollment_type: str) -> str:
    """Return Canvas's short name of an enrolment's type: ``teacher``, ``ta``, ``student_view``."""
    return "student_view" if enrollment_type == TEST_STUDENT else enrollment_type.removesuffix("Enrollment").lower()


def course_json(course: Course, user_id: int, lms_url: str) -> Json:
    """Return the course with the user's own enrolments. The LMS states no course code: the name replaces it.

    How public the course is is not stated either: null. The calendar's link ends in the id instead of a secret code.
    """
    body: Json = {
        "id": course.course_id,
        "name": course.name,
        "course_code": course.name,
        "account_id": course.account_id,
        "root_account_id": course.root_account_id,
        "workflow_state": "available",
        **dict.fromkeys(VISIBILITY_FIELDS),
        "calendar": {"ics": f"{lms_url}/feeds/calendars/course_{course.course_id}.ics"},
        "enrollments": [
            {
                "type": _role_name(enrollment.type),
                "role": enrollment.type,
                "user_id": user_id,
                "enrollment_state": enrollment.state,
                "limit_privileges_to_course_section": enrollment.limited_to_section,
            }
            for enrollment in _enrollments(course, user_id)
            if enrollment.state in READING_STATES
        ],
    }
    if can_view_gradebook(course, user_id):
        body["sis_course_id"] = course.sis_source_id
    return body


def can_read_assignment(course: Course, assignment: Assignment, user_id: int) -> bool:
    """Return whether the user may read the assignment.

    Staff read every assignment, others those that are assigned to everyone or to them.
    """
    if user_id in course.admins or course.get_role(user_id) in _STAFF_ROLES:
        return True
    return assignment.assigned_to is None or user_id in assignment.assigned_to


def assignment_json(course: Course, assignment: Assignment, user_id: int, lms_url: str) -> Json:
    """Return the assignment's settings. Every assignment is published; a moderated one posts its grades by hand.

    Canvas shows ``integration_id`` and ``integration_data`` to those who read SIS ids.
    """
    body: Json = {
        "id": assignment.assignment_id,
        "course_id": course.course_id,
        "name": assignment.name,
        "points_possible": decimal_to_json(assignment.points_possible),
        "grading_type": assignment.grading_type,
        "position": None,
        "grading_standard_id": None,
        "has_submitted_submissions": any(
            isinstance(s, Submission) and s.submitted_at is not None for s in assignment.submissions.values()
        ),
        "published": True,
        "workflow_state": "published",
        "only_visible_to_overrides": assignment.assigned_to is not None,
        "post_manually": assignment.moderated_grading,
        **{name: getattr(assignment, name) for name in MODERATION_FIELDS},
        "anonymize_students": assignment.anonymizes_students(course),
        "grades_published": not assignment.moderated_grading or assignment.grades_published_at is not None,
        "html_url": f"{lms_url}/courses/{course.course_id}/assignments/{assignment.assignment_id}",
    }
    if can_view_gradebook(course, user_id):
        body |= {"integration_id": None, "integration_data": {}}
    return body


@dataclass(frozen=True, slots=True)
class RosterFilter:
    """The users to list; an empty collection does not filter. ``roles``: Canvas's short names."""

    roles: Collection[str] = ()
    states: Collection[str] = LISTED_STATES
    user_ids: Collection[int] = ()
    search_term: str = ""


def list_course_users(course: Course, viewer_id: int, roster_filter: RosterFilter) -> list[int]:
    """List the users by sortable name; students only of the sections that the viewer is limited to."""
    sections = course.visible_sections(viewer_id)
    with_logins = can_view_gradebook(course, viewer_id)
    listed = [
        user_id
        for user_id in course.enrollments
        if _is_listed(course, user_id, sections, roster_filter)
        and _matches(user_json(course, user_id, with_logins=with_logins), roster_filter.search_term.casefold())
    ]
    return sorted(listed, key=lambda user_id: (get_sortable_name(course, user_id), user_id))


def _is_listed(
    course: Course, user_id: int, sections: frozenset[int | None] | None, roster_filter: RosterFilter
) -> bool:
    if roster_filter.user_ids and user_id not in roster_filter.user_ids:
        return False
    return any(
        enrollment.state in roster_filter.states
        and (not roster_filter.roles or _role_name(enrollment.type) in roster_filter.roles)
        and (sections is None or enrollment.type in _STAFF_ROLES or enrollment.section_id in sections)
        for enrollment in _enrollments(course, user_id)
    )


def _matches(shown_user: Json, search_term: str) -> bool:
    """Return whether the term is part of a name, login or SIS id, or is the user's id."""
    texts = (str(text).casefold() for name, text in shown_user.items() if name not in ("id", "created_at"))
    return not search_term or search_term == str(shown_user["id"]) or any(search_term in text for text in texts)


def course_user_json(course: Course, user_id: int, viewer_id: int, includes: Collection[str], lms_url: str) -> Json:
    """Describe a user of the course; logins and SIS ids only for viewers who see the gradebook."""
    body = user_json(course, user_id, with_logins=can_view_gradebook(course, viewer_id))
    if "enrollments" in includes:
        body["enrollments"] = [
            {
                "user_id": user_id,
                "course_id": course.course_id,
                "course_section_id": enrollment.section_id,
                "type": enrollment.type,
                "role": enrollment.type,
                "enrollment_state": enrollment.state,
                "limit_privileges_to_course_section": enrollment.limited_to_section,
                "html_url": f"{lms_url}/courses/{course.course_id}/users/{user_id}",
                "last_activity_at": None,
                "total_activity_time": None,
            }
            for enrollment in _enrollments(course, user_id)
            if enrollment.state != "deleted"
        ]
    return body
