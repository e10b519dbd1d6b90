"""Published grades: Canvas Live Events ``grade_change``, in the form for web requests or for jobs.

Canvas: lib/canvas/live_events.rb, grade_change and its helpers; Data Services documentation, "Event metadata".
"""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from schemas.fields import IdText, TimeText
from schemas.http_request import ClientIp, Hostname, HttpMethod, HttpRequest, RequestId, Url
from schemas.strict import Strict

JobTag = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9_:]*[#.][a-z_]+[?!]?$")]
Points = Annotated[float, Field(allow_inf_nan=False)]
LOGIN_FIELDS = ("user_login", "user_account_id", "user_sis_id")


class CourseMetadata(Strict):
    """Metadata of every event.

    Ids are local or Canvas's global ids, depending on a setting. ``root_account_uuid`` and ``root_account_lti_guid``
    are derived from the account's id if the LMS has sent none.
    """

    event_name: Literal["grade_change"] = Field(description="always grade_change")
    event_time: TimeText = Field(description="when the grade was published")
    producer: Literal["canvas"] = Field(description="always canvas, so that consumers of Canvas's events accept it")
    root_account_id: IdText = Field(description="the root account")
    root_account_uuid: Annotated[str, Field(min_length=1)] = Field(
        description="the root account's UUID, as Canvas has it or generated once"
    )
    root_account_lti_guid: Annotated[str, Field(min_length=1)] = Field(
        description="the root account's LTI guid, as Canvas has it or generated once"
    )
    context_type: Literal["Course"] = Field(description="always Course")
    context_id: IdText = Field(description="the course")
    context_account_id: IdText | None = Field(description="the course's account; null if the LMS does not send it")
    context_sis_source_id: str | None = Field(description="the course's id in the student information system")


class JobMetadata(CourseMetadata):
    """For a command that came over Kafka: a job's id and tag, nothing about a web request."""

    job_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")] = Field(description="an ascending number")
    job_tag: JobTag = Field(description="the type of the command")


class RequestMetadata(CourseMetadata, HttpRequest):
    """For a command that came over HTTP. Unknown values are left out, never null, except as stated below.

    In a replay after the user was erased, everything about the request is null.

    ``user_id`` is the user who sent the request. If the login is known, its account and SIS id are present too.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {name: ["user_id", "time_zone", *LOGIN_FIELDS] for name in LOGIN_FIELDS}
        }
    )

    request_id: RequestId | None = Field(description="of the request to the gateway")  # type: ignore[assignment]
    hostname: Hostname | None = Field(description="of the request")  # type: ignore[assignment]
    http_method: HttpMethod | None = Field(description="of the request")  # type: ignore[assignment]
    client_ip: ClientIp | None = Field(description="of the request; null once the actor was erased")  # type: ignore[assignment]
    url: Url | None = Field(description="of the request; null once the actor was erased")  # type: ignore[assignment]
    user_id: IdText | SkipJsonSchema[None] = Field(default=None, description="who published")
    time_zone: str | None = Field(default=None, description="always null: the LMS does not send it")
    context_role: Annotated[str, Field(max_length=255)] | SkipJsonSchema[None] = Field(
        default=None, description="the actor's enrollment type in the course"
    )
    user_login: str | SkipJsonSchema[None] = Field(default=None, description="the actor's login")
    user_account_id: IdText | SkipJsonSchema[None] = Field(default=None, description="the actor's root account")
    user_sis_id: str | None = Field(default=None, description="the actor's id in the student information system")

    @model_validator(mode="before")
    @classmethod
    def _check_nulls(cls, value: Any) -> Any:
        """Check that a user has a time zone, possibly null, and that a login is complete."""
        if isinstance(value, dict):
            nulls = [name for name in ("user_id", "context_role", *LOGIN_FIELDS[:2]) if value.get(name, "") is None]
            if (
                nulls
                or ("user_id" in value) != ("time_zone" in value)
                or 0 < sum(map(value.__contains__, LOGIN_FIELDS)) < 3
            ):
                raise ValueError("a user has a time zone, a login its account and SIS id; nothing else is null")
        return value


class Body(Strict):
    """``old_*``: previous values; ``grader_id``: the selected grade's scorer; ``muted``: students cannot see it yet."""

    submission_id: IdText = Field(
        description="the submission; its events follow each other in this topic, and the latest one is valid"
    )
    assignment_id: IdText = Field(description="the assignment")
    assignment_name: str = Field(description="its name")
    grade: str | None = Field(description="the new grade as a text; null: none")
    old_grade: str | None = Field(description="the grade before")
    score: Points | None = Field(description="the new score in points; null: none")
    old_score: Points | None = Field(description="the score before")
    points_possible: Points | None = Field(description="the assignment's points")
    old_points_possible: Points | None = Field(description="the same")
    grader_id: IdText | None = Field(description="who gave the chosen grade, or who revised or withdrew it")
    student_id: IdText = Field(description="the student")
    student_sis_id: str | None = Field(description="the student's id in the student information system")
    user_id: IdText = Field(description="the student")
    grading_complete: bool = Field(description="whether the submission is graded")
    muted: bool = Field(description="true: do not show the grade to the student yet")

    @model_validator(mode="after")
    def _student_is_user(self) -> Self:
        """Check that ``user_id`` is the student, unlike in the metadata."""
        if self.user_id != self.student_id:
            raise ValueError("user_id is the student's")
        return self


class GradeChange(Strict):
    """A grade that was published, posted or hidden."""

    metadata: JobMetadata | RequestMetadata = Field(description="about the command and its actor")
    body: Body = Field(description="the grade")
