"""Events of a course: the course, its people, their erasure."""

from collections.abc import Mapping
from typing import Any, ClassVar

from services.moderation.events.base import Changes, DomainEvent
from services.moderation.value_object import value_object


@value_object(kw_only=True)
class CourseUpdated(DomainEvent):
    name: ClassVar[str] = "course_updated"
    changes: Changes


@value_object(kw_only=True)
class UsersUpdated(DomainEvent):
    """``users``: ``user_id`` and the fields that changed, new values only."""

    name: ClassVar[str] = "users_updated"
    users: tuple[Mapping[str, Any], ...]


@value_object(kw_only=True)
class EnrollmentsUpdated(DomainEvent):
    """``enrollments``: whole rows (user_id, type, section_id, state, limited_to_section, permissions)."""

    name: ClassVar[str] = "enrollments_updated"
    enrollments: tuple[Mapping[str, Any], ...]


@value_object(kw_only=True)
class AdminsUpdated(DomainEvent):
    """``admins``: user_id and permissions, whole rows."""

    name: ClassVar[str] = "admins_updated"
    admins: tuple[Mapping[str, Any], ...]


@value_object(kw_only=True)
class PersonErased(DomainEvent):
    """The texts about a person in all earlier events of the course and its assignments are null from here on."""

    name: ClassVar[str] = "person_erased"
    user_id: int
