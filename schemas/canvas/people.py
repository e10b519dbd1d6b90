"""Users, and students whose names are hidden."""

from pydantic import BaseModel, ConfigDict

from schemas.canvas.values import AnonymousId, Id, Second


class User(BaseModel):
    id: Id
    name: str | None
    created_at: Second | None
    sortable_name: str | None
    short_name: str | None
    sis_user_id: str | None = None
    login_id: str | None = None


class AnonymousStudent(BaseModel):
    """A student whose name is hidden."""

    anonymous_id: str
    avatar_image_url: str
    display_name: str


class UserEnrollment(BaseModel):
    user_id: Id
    course_id: Id
    course_section_id: Id | None
    type: str
    role: str
    enrollment_state: str
    limit_privileges_to_course_section: bool
    html_url: str
    last_activity_at: Second | None
    total_activity_time: int | None


class CourseUser(User):
    """A user of a course; with ``include[]=enrollments`` also the enrolments."""

    enrollments: list[UserEnrollment] | None = None


class UserDisplay(BaseModel):
    """A user in another object; ``anonymous_id`` is the id in base 36."""

    id: Id
    anonymous_id: AnonymousId
    display_name: str | None
    avatar_image_url: str
    html_url: str
    pronouns: None
    fake_student: bool | None = None


class NoAuthor(BaseModel):
    """Replaces an author whom the caller may not know."""

    model_config = ConfigDict(extra="forbid")
