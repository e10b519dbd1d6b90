"""The same grades in IMS Caliper 1.1: one envelope with one GradeEvent, in the shape that Canvas gives it.

Nothing is null: unknown values are left out. Caliper cannot express that a grade is not posted yet, nor the previous
grade. Canvas: Data Services documentation, "Caliper IMS 1.1".
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from schemas.fields import IdText, TimeText
from schemas.strict import Strict

VERSION = "http://purl.imsglobal.org/ctx/caliper/v1p1"
UUID4_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def _urn(kind: str, number: str = "[1-9][0-9]{0,18}") -> StringConstraints:
    return StringConstraints(pattern=rf"^urn:instructure:canvas:{kind}:{number}$")


Context = Literal["http://purl.imsglobal.org/ctx/caliper/v1p1"]
Role = Literal["Instructor", "TeachingAssistant", "ContentDeveloper", "Learner", "Mentor", "Administrator"]
Iri = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$", max_length=2_048)]
UserUrn = Annotated[str, _urn("user", "(0|[1-9][0-9]{0,18})")]
SubmissionUrn = Annotated[str, _urn("submission")]
CourseUrn = Annotated[str, _urn("course")]
Points = Annotated[float, Field(allow_inf_nan=False)]
NAMESPACE = "com.instructure.canvas"


class Person(Strict):
    """A user of the LMS."""

    id: UserUrn = Field(description="URN with the user's id; 0 for an unknown user")
    type: Literal["Person"] = Field(description="Caliper's type")


class SoftwareApplication(Strict):
    """The LMS itself."""

    id: Iri = Field(description="URL of the LMS, or the name of this service if none is set")
    type: Literal["SoftwareApplication"] = Field(description="Caliper's type")


class SisFields(Strict):
    sis_id: str = Field(description="the student's id in the student information system")


class SisExtensions(Strict):
    canvas: SisFields = Field(alias=NAMESPACE, description="Canvas's own fields")


class Assignee(Person):
    """The student."""

    extensions: SisExtensions | SkipJsonSchema[None] = Field(
        default=None, description="left out if the LMS has sent no SIS id"
    )


class Assignable(Strict):
    """The assignment."""

    id: Annotated[str, _urn("assignment")] = Field(description="URN with the assignment's id")
    type: Literal["AssignableDigitalResource"] = Field(description="Caliper's type")


class GradeFields(Strict):
    grade: str | SkipJsonSchema[None] = Field(default=None, description="the new grade as a text; left out: none")
    entity_id: IdText | SkipJsonSchema[None] = Field(default=None, description="the submission's id")


class GradeExtensions(Strict):
    canvas: GradeFields = Field(alias=NAMESPACE, description="Canvas's own fields")


class Attempt(Strict):
    """The submission."""

    id: SubmissionUrn = Field(description="URN with the submission's id")
    type: Literal["Attempt"] = Field(description="Caliper's type")
    extensions: GradeExtensions | SkipJsonSchema[None] = Field(
        default=None, description="grade and submission; left out if both are"
    )
    assignee: Assignee = Field(description="the student")
    assignable: Assignable = Field(description="the assignment")


class Score(Strict):
    """The grade."""

    id: SubmissionUrn = Field(description="URN with the submission's id")
    type: Literal["Score"] = Field(description="Caliper's type")
    extensions: GradeExtensions | SkipJsonSchema[None] = Field(default=None, description="grade and submission")
    attempt: Attempt = Field(description="the submission")
    maxScore: Points | SkipJsonSchema[None] = Field(default=None, description="the assignment's points; left out: none")
    scoreGiven: Points | SkipJsonSchema[None] = Field(
        default=None, description="the new score in points; left out: none"
    )
    scoredBy: UserUrn | SkipJsonSchema[None] = Field(
        default=None, description="URN of the user who gave the chosen grade, or who revised or withdrew it"
    )


class CourseFields(Strict):
    context_type: Literal["Course"] = Field(description="always Course")
    entity_id: IdText = Field(description="the course's id")


class CourseExtensions(Strict):
    canvas: CourseFields = Field(alias=NAMESPACE, description="Canvas's own fields")


class CourseOffering(Strict):
    id: CourseUrn = Field(description="URN with the course's id")
    type: Literal["CourseOffering"] = Field(description="Caliper's type")


class Group(CourseOffering):
    extensions: CourseExtensions = Field(description="the course's id in Canvas's form")


class Membership(Strict):
    """The role in which the actor published."""

    id: Annotated[str, _urn("course", r"[1-9][0-9]{0,18}:[A-Za-z]+:(0|[1-9][0-9]{0,18})")] = Field(
        description="URN of course, role and user"
    )
    type: Literal["Membership"] = Field(description="Caliper's type")
    member: Person = Field(description="the actor")
    organization: CourseOffering = Field(description="the course")
    roles: Annotated[list[Role], Field(min_length=1, max_length=1)] = Field(description="the actor's role, one")


class Session(Strict):
    id: Annotated[str, StringConstraints(pattern=r"^urn:instructure:canvas:session:[0-9A-Za-z_-]{1,32}$")] = Field(
        description="URN with the session's id"
    )
    type: Literal["Session"] = Field(description="Caliper's type")


class JobFields(Strict):
    """For a command that came over Kafka."""

    version: Literal["1.0.0"] = Field(description="version of Canvas's own fields")
    job_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")] = Field(description="an ascending number")
    job_tag: str = Field(description="the type of the command")


class RequestFields(Strict):
    """For a command that came over HTTP."""

    version: Literal["1.0.0"] = Field(description="version of Canvas's own fields")
    client_ip: str = Field(description="the caller's address")
    hostname: str = Field(description="the requested host")
    request_id: str = Field(description="the request's id, a UUID")
    request_url: str = Field(description="the requested URL")
    user_agent: str | SkipJsonSchema[None] = Field(default=None, description="the caller's; left out if none was sent")


class EventExtensions(Strict):
    canvas: JobFields | RequestFields = Field(
        alias=NAMESPACE, description="the HTTP request that caused the event, or else the command as a job"
    )


class GradeEvent(Strict):
    context: Context = Field(alias="@context", description="version of Caliper")
    id: Annotated[str, StringConstraints(pattern=rf"^urn:uuid:{UUID4_PATTERN}$")] = Field(
        description="URN with the record's ce_id; the same in a replay"
    )
    type: Literal["GradeEvent"] = Field(description="Caliper's type")
    actor: Person | SoftwareApplication = Field(
        description="the user who published; the LMS itself if there was no user"
    )
    action: Literal["Graded"] = Field(description="Caliper's action, always Graded")
    object: Attempt = Field(description="the submission")
    eventTime: TimeText = Field(description="when the grade was published, posted or hidden")
    generated: Score = Field(description="the grade")
    edApp: SoftwareApplication = Field(description="the LMS")
    group: Group = Field(description="the course")
    membership: Membership | SkipJsonSchema[None] = Field(
        default=None, description="the actor's role in the course; left out without one"
    )
    session: Session | SkipJsonSchema[None] = Field(
        default=None, description="the caller's session; left out for a caller with a token"
    )
    referrer: Iri | SkipJsonSchema[None] = Field(
        default=None, description="of the HTTP request; left out if it sent none that is an absolute IRI"
    )
    extensions: EventExtensions = Field(description="what caused the event")


class Envelope(Strict):
    """A grade that was published, posted or hidden, as one GradeEvent."""

    sensor: Iri = Field(description="URL of the LMS, or the name of this service if none is set")
    sendTime: TimeText = Field(description="time of the event, so that an event has the same bytes whenever it is sent")
    dataVersion: Context = Field(description="version of Caliper")
    data: Annotated[list[GradeEvent], Field(min_length=1, max_length=1)] = Field(description="the event, one")
