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
Namespace = Field(alias="com.instructure.canvas")


class Person(Strict):
    """A user of the LMS; number 0 if the user is unknown."""

    id: UserUrn
    type: Literal["Person"]


class SoftwareApplication(Strict):
    """The LMS itself."""

    id: Iri
    type: Literal["SoftwareApplication"]


class SisFields(Strict):
    sis_id: str


class SisExtensions(Strict):
    canvas: SisFields = Namespace


class Assignee(Person):
    """The student."""

    extensions: SisExtensions | SkipJsonSchema[None] = None


class Assignable(Strict):
    """The assignment."""

    id: Annotated[str, _urn("assignment")]
    type: Literal["AssignableDigitalResource"]


class GradeFields(Strict):
    grade: str | SkipJsonSchema[None] = None
    entity_id: IdText | SkipJsonSchema[None] = None


class GradeExtensions(Strict):
    canvas: GradeFields = Namespace


class Attempt(Strict):
    """The submission."""

    id: SubmissionUrn
    type: Literal["Attempt"]
    extensions: GradeExtensions | SkipJsonSchema[None] = None
    assignee: Assignee
    assignable: Assignable


class Score(Strict):
    """The grade. ``scoredBy``: the scorer of the chosen provisional grade."""

    id: SubmissionUrn
    type: Literal["Score"]
    extensions: GradeExtensions | SkipJsonSchema[None] = None
    attempt: Attempt
    maxScore: Points | SkipJsonSchema[None] = None
    scoreGiven: Points | SkipJsonSchema[None] = None
    scoredBy: UserUrn | SkipJsonSchema[None] = None


class CourseFields(Strict):
    context_type: Literal["Course"]
    entity_id: IdText


class CourseExtensions(Strict):
    canvas: CourseFields = Namespace


class CourseOffering(Strict):
    id: CourseUrn
    type: Literal["CourseOffering"]


class Group(CourseOffering):
    extensions: CourseExtensions


class Membership(Strict):
    """The role in which the actor published."""

    id: Annotated[str, _urn("course", r"[1-9][0-9]{0,18}:[A-Za-z]+:(0|[1-9][0-9]{0,18})")]
    type: Literal["Membership"]
    member: Person
    organization: CourseOffering
    roles: Annotated[list[Role], Field(min_length=1, max_length=1)]


class Session(Strict):
    id: Annotated[str, StringConstraints(pattern=r"^urn:instructure:canvas:session:[0-9A-Za-z_-]{1,32}$")]
    type: Literal["Session"]


class JobFields(Strict):
    version: Literal["1.0.0"]
    job_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
    job_tag: str


class RequestFields(Strict):
    version: Literal["1.0.0"]
    client_ip: str
    hostname: str
    request_id: str
    request_url: str
    user_agent: str | SkipJsonSchema[None] = None


class EventExtensions(Strict):
    canvas: JobFields | RequestFields = Namespace


class GradeEvent(Strict):
    """``actor``: the user who published; the LMS itself if there was no user."""

    context: Context = Field(alias="@context")
    id: Annotated[str, StringConstraints(pattern=rf"^urn:uuid:{UUID4_PATTERN}$")]
    type: Literal["GradeEvent"]
    actor: Person | SoftwareApplication
    action: Literal["Graded"]
    object: Attempt
    eventTime: TimeText
    generated: Score
    edApp: SoftwareApplication
    group: Group
    membership: Membership | SkipJsonSchema[None] = None
    session: Session | SkipJsonSchema[None] = None
    referrer: Iri | SkipJsonSchema[None] = None
    extensions: EventExtensions


class Envelope(Strict):
    """A grade that was published, posted or hidden, as one GradeEvent.

    ``sendTime`` is the time of the event, so that an event has the same bytes whenever it is sent.
    """

    sensor: Iri
    sendTime: TimeText
    dataVersion: Context
    data: Annotated[list[GradeEvent], Field(min_length=1, max_length=1)]
