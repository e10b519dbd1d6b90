"""Users in the Canvas API's form.

Canvas: lib/api/v1/user.rb (user_json, user_display_json, anonymous_user_display_json).
"""

from typing import Any

from services.moderation.course import Course
from services.moderation.json_values import format_canvas_time

Json = dict[str, Any]
_BASE36_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_DEFAULT_AVATAR = "/images/messages/avatar-50.png"


def user_json(course: Course, user_id: int, *, with_logins: bool = True) -> Json:
    """Describe a user. ``with_logins``: for a caller who may read logins and SIS ids."""
    user_fields = course.users.get(user_id, {})
    body: Json = {
        "id": user_id,
        "name": user_fields.get("name"),
        "created_at": format_canvas_time(user_fields.get("created_at")),
    }
    for name in ("sortable_name", "short_name"):
        body[name] = user_fields.get(name) or user_fields.get("name")
    for name in ("sis_user_id", "login_id") if with_logins else ():
        if user_fields.get(name) is not None:
            body[name] = user_fields[name]
    return body


def user_display_json(course: Course, user_id: int, lms_url: str) -> Json:
    """Describe a user in Canvas's short form; ``anonymous_id`` is the id in base 36."""
    body: Json = {
        "id": user_id,
        "anonymous_id": _to_base36(user_id),
        "display_name": get_short_name(course, user_id),
        "avatar_image_url": lms_url + _DEFAULT_AVATAR,
        "html_url": f"{lms_url}/courses/{course.course_id}/users/{user_id}",
        "pronouns": None,
    }
    return {**body, "fake_student": True} if course.is_test_student(user_id) else body


def anonymous_user_display_json(anonymous_id: str, number: int, lms_url: str) -> Json:
    """Describe a student whose name is hidden; ``number``: the student's position in the order of anonymous ids."""
    return {
        "anonymous_id": anonymous_id,
        "avatar_image_url": lms_url + _DEFAULT_AVATAR,
        "display_name": f"Student {number}",
    }


def get_short_name(course: Course, user_id: int) -> str | None:
    """Return a user's short name, or the full name if the LMS stated no short one."""
    user_fields = course.users.get(user_id, {})
    return user_fields.get("short_name") or user_fields.get("name")


def get_sortable_name(course: Course, user_id: int) -> str:
    """Return the case-folded name that lists are sorted by; empty if the LMS stated none."""
    user_fields = course.users.get(user_id, {})
    return (user_fields.get("sortable_name") or user_fields.get("name") or "").casefold()


def _to_base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE36_DIGITS[digit] + digits
    return digits or "0"
