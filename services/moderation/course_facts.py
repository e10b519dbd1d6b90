"""Facts from the LMS about a course and its people; repeating a fact that is known changes nothing."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from services.moderation import commands
from services.moderation.course import COURSE_FIELDS, Course, Enrollment
from services.moderation.decisions import NOTHING_CHANGED, Accepted, Decision, field_not_clearable, field_required
from services.moderation.events import AdminsUpdated, CourseUpdated, EnrollmentsUpdated, UsersUpdated
from services.moderation.fact_checks import check_account, check_times
from services.moderation.late_policy import LatePolicy


def upsert_course(data: commands.UpsertCourse, course: Course) -> Decision:
    rejection = check_account(course, data.fields.get("account_id"))
    if rejection is not None:
        return rejection
    fields = data.fields
    if fields.get("late_policy") is not None:
        fields = {**fields, "late_policy": replace(course.late_policy or LatePolicy(), **fields["late_policy"])}
    changes = {
        name: (getattr(course, name), new)
        for name in COURSE_FIELDS
        if name in fields and getattr(course, name) != (new := fields[name])
    }
    if not changes and course.version:
        return NOTHING_CHANGED
    return Accepted((CourseUpdated(changes=changes),))


def upsert_users(data: commands.UpsertUsers, course: Course, at: datetime) -> Decision:
    rows: dict[int, dict[str, Any]] = {}
    for index, user in enumerate(data.users):
        rejection = check_times(user.fields, f"data.users[{index}]", at)
        if rejection is not None:
            return rejection
        current_fields = {**course.users.get(user.user_id, {}), **rows.get(user.user_id, {})}
        if user.fields.get("name") is None and (not current_fields or "name" in user.fields):
            return (field_not_clearable if current_fields else field_required)(f"data.users[{index}].name")
        changed_fields = {name: new for name, new in user.fields.items() if current_fields.get(name) != new}
        if changed_fields or not current_fields:
            rows[user.user_id] = {**rows.get(user.user_id, {}), "user_id": user.user_id, **changed_fields}
    return Accepted((UsersUpdated(users=tuple(rows.values())),)) if rows else NOTHING_CHANGED


def upsert_enrollments(data: commands.UpsertEnrollments, course: Course) -> Decision:
    rows: dict[tuple[int, str, int | None], dict[str, Any]] = {}
    for index, upsert in enumerate(data.enrollments):
        key = (upsert.user_id, upsert.type, upsert.section_id)
        current_enrollment = course.enrollments.get(upsert.user_id, {}).get((upsert.type, upsert.section_id))
        current_row = rows.get(key) or (current_enrollment.to_dict() if current_enrollment else None)
        if upsert.fields.get("state") is None and (current_row is None or "state" in upsert.fields):
            return (field_not_clearable if current_row else field_required)(f"data.enrollments[{index}].state")
        base_row = current_row or Enrollment(upsert.user_id, upsert.type, upsert.section_id).to_dict()
        row = {**base_row, **{name: _default_for_null(name, new) for name, new in upsert.fields.items()}}
        if row != current_row:
            rows[key] = row
    return Accepted((EnrollmentsUpdated(enrollments=tuple(rows.values())),)) if rows else NOTHING_CHANGED


def _default_for_null(name: str, value: Any) -> Any:
    if value is not None:
        return value
    return {} if name == "permissions" else False


def upsert_admins(data: commands.UpsertAdmins, course: Course) -> Decision:
    permissions_by_user = {admin.user_id: frozenset(admin.permissions) for admin in data.admins}
    rows = tuple(
        {"user_id": user, "permissions": sorted(permissions)}
        for user, permissions in permissions_by_user.items()
        if course.admins.get(user, frozenset()) != permissions
    )
    return Accepted((AdminsUpdated(admins=rows),)) if rows else NOTHING_CHANGED
