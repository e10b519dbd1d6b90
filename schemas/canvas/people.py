"""Users, and students whose names are hidden."""

from pydantic import BaseModel, ConfigDict, Field

from schemas.canvas.values import AnonymousId, Id, Second

_NOT_SENT = "always null: the LMS does not send it"


class User(BaseModel):
    id: Id = Field(description="the user")
    name: str | None = Field(description="full name; null if the LMS has sent none, or the person was erased")
    created_at: Second | None = Field(description="when the LMS created the user; null if the LMS has not sent it")
    sortable_name: str | None = Field(description="such as `Lovelace, Ada`; the full name if the LMS has sent no other")
    short_name: str | None = Field(description="display name; the full name if the LMS has sent no other")
    sis_user_id: str | None = Field(
        default=None,
        description="id in the student information system; left out if unknown, or if the caller may not read it",
    )
    login_id: str | None = Field(
        default=None, description="login name; left out if unknown, or if the caller may not read it"
    )


class AnonymousStudent(BaseModel):
    """A student whose name is hidden."""

    anonymous_id: str = Field(description="anonymous id of the submission, of letters and digits")
    avatar_image_url: str = Field(description="URL of the LMS's default picture")
    display_name: str = Field(description="`Student 1`, `Student 2` … in the order of the anonymous ids")


class UserEnrollment(BaseModel):
    user_id: Id = Field(description="the user")
    course_id: Id = Field(description="the course")
    course_section_id: Id | None = Field(description="the section; null: none")
    type: str = Field(description="role in Canvas's long form, such as `StudentEnrollment`")
    role: str = Field(description="the same as `type`")
    enrollment_state: str = Field(description="`active`, `invited`, `creation_pending`, `inactive` or `completed`")
    limit_privileges_to_course_section: bool = Field(description="whether the user sees only their own section")
    html_url: str = Field(description="URL of the user's page in the LMS")
    last_activity_at: Second | None = Field(description=_NOT_SENT)
    total_activity_time: int | None = Field(description=_NOT_SENT)


class CourseUser(User):
    """A user of a course."""

    enrollments: list[UserEnrollment] | None = Field(
        default=None, description="enrolments in the course, not deleted; only with `include[]=enrollments`"
    )


class UserDisplay(BaseModel):
    """A user in another object."""

    id: Id = Field(description="the user")
    anonymous_id: AnonymousId = Field(description="the user's id in base 36")
    display_name: str | None = Field(description="short name, else full name; null if the LMS has sent neither")
    avatar_image_url: str = Field(description="URL of the LMS's default picture")
    html_url: str = Field(description="URL of the user's page in the LMS")
    pronouns: None = Field(description="always null: the LMS does not send them")
    fake_student: bool | None = Field(default=None, description="true for a Test Student, else left out")


class NoAuthor(BaseModel):
    """Replaces an author whom the caller may not know."""

    model_config = ConfigDict(extra="forbid")
