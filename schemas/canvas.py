"""Response bodies of the HTTP API with Canvas's names and shapes (contract section 6).

Ids are integers, and strings for a client that accepts ``application/json+canvas-string-ids``. Fields that depend on
the caller are optional; additional fields are allowed.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.event_payloads.values import LatePolicyStatus
from schemas.fields import ID_MAX, ID_PATTERN, UUID_PATTERN

Id = Annotated[int, Field(ge=1, le=ID_MAX)] | Annotated[str, Field(pattern=ID_PATTERN)]
Second = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
Moment = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$")]
AnonymousId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")]


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


class CourseCalendar(BaseModel):
    ics: str


class CourseEnrollment(BaseModel):
    """An enrolment of the caller; ``type`` is Canvas's short name of the role."""

    type: str
    role: str
    user_id: Id
    enrollment_state: str
    limit_privileges_to_course_section: bool


class Course(BaseModel):
    """``course_code`` is the name; only users who see the gradebook get ``sis_course_id``.

    Values that the LMS does not send are null. The calendar's link lacks its secret code and leads to no feed.
    """

    id: Id
    name: str | None
    course_code: str | None
    account_id: Id | None
    root_account_id: Id
    workflow_state: str
    is_public: bool | None
    is_public_to_auth_users: bool | None
    public_syllabus: bool | None
    public_syllabus_to_auth: bool | None
    calendar: CourseCalendar
    enrollments: list[CourseEnrollment]
    sis_course_id: str | None = None


class Assignment(BaseModel):
    """An assignment's settings as the LMS sent them. Only users who see the gradebook get the last two fields."""

    id: Id
    course_id: Id
    name: str | None
    points_possible: float | None
    grading_type: str
    position: int | None
    grading_standard_id: Id | None
    has_submitted_submissions: bool
    published: bool
    workflow_state: str
    only_visible_to_overrides: bool
    post_manually: bool
    moderated_grading: bool
    grader_count: int | None
    final_grader_id: Id | None
    anonymous_grading: bool
    graders_anonymous_to_graders: bool
    grader_names_visible_to_final_grader: bool
    grader_comments_visible_to_graders: bool
    anonymize_students: bool
    grades_published: bool
    html_url: str
    integration_id: str | None = None
    integration_data: dict[str, Any] | None = None


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


class SubmissionComment(BaseModel):
    """An ordinary comment. The author's id is null if the caller may not know the author."""

    id: Id
    comment: str | None
    created_at: Second | None
    edited_at: None
    attempt: None
    author_id: Id | None
    author_name: str | None
    author: UserDisplay | NoAuthor


class ModeratedComment(BaseModel):
    """A comment on a provisional grade. ``anonymous_id`` replaces the id of an author who is anonymous."""

    id: Id
    comment: str | None
    created_at: Second | None
    attempt: None
    draft: bool
    publishable: bool
    group_comment_id: None
    media_comment_id: None
    media_comment_type: None
    cached_attachments: None
    author_id: Id | None = None
    author_name: str | None = None
    anonymous_id: AnonymousId | None = None


class RubricRating(BaseModel):
    """A rating as it was sent: ``points``, ``comments``, and the rating's ``id``."""

    criterion_id: str
    points: Any = None


class RubricAssessment(BaseModel):
    """``score``: the sum of the points."""

    assessor_id: Id
    assessor_name: str | None
    score: float | None
    data: list[RubricRating]


class ProvisionalGrade(BaseModel):
    """``anonymous_grader_id`` replaces ``scorer_id`` if graders are anonymous to the caller."""

    provisional_grade_id: Id
    score: float | None
    entered_score: float | None = None
    grade: str | None
    entered_grade: str | None = None
    graded_at: Second | None
    graded_anonymously: bool | None
    final: bool
    grade_matches_current_submission: bool
    scorer_id: Id | None = None
    anonymous_grader_id: AnonymousId | None = None
    speedgrader_url: str
    submission_comments: list[ModeratedComment] | None = None
    rubric_assessments: list[RubricAssessment] | None = None
    selected: bool | None = None
    readonly: bool | None = None
    scorer_name: str | None = None


class Status(BaseModel):
    needs_provisional_grade: bool
    provisional_grades: list[ProvisionalGrade] | None = None
    final_provisional_grade: ProvisionalGrade | None = None


class Selection(BaseModel):
    """``anonymous_id`` replaces ``student_id`` if students are anonymous to the caller."""

    assignment_id: Id
    student_id: Id | None = None
    anonymous_id: AnonymousId | None = None
    selected_provisional_grade_id: Id


class Group(BaseModel):
    """Always null: there are no group assignments."""

    id: None
    name: None


class Submission(BaseModel):
    """``body``, ``url`` and ``submission_type`` are only in the LMS; ``preview_url`` is its page of the submission."""

    id: Id
    assignment_id: Id
    user_id: Id | None = None
    anonymous_id: AnonymousId | None = None
    score: float | None
    grade: str | None
    graded_at: Second | None
    grader_id: Id | None
    submitted_at: Second | None
    attempt: int | None
    excused: bool | None
    posted_at: Second | None
    workflow_state: str
    grade_matches_current_submission: bool | None
    entered_score: float | None
    entered_grade: str | None
    points_deducted: float | None
    late: bool
    missing: bool
    seconds_late: Annotated[int, Field(ge=0)]
    late_policy_status: LatePolicyStatus | None
    body: str | None
    url: str | None
    submission_type: str | None
    preview_url: str
    submission_comments: list[SubmissionComment] | None = None
    rubric_assessment: dict[str, Any] | None = None
    provisional_grades: list[ProvisionalGrade] | None = None
    assignment_visible: bool | None = None
    group: Group | None = None
    user: User | None = None
    html_url: str | None = None


class Graded(Submission):
    """A submission after it was graded or commented on."""

    all_submissions: list[Submission]


class GradeableStudent(BaseModel):
    """A student to grade: a user, or for a hidden student an anonymous id and a number.

    Moderators get the last three fields with ``include[]=provisional_grades``.
    """

    id: Id | None = None
    anonymous_id: AnonymousId
    display_name: str | None
    avatar_image_url: str
    html_url: str | None = None
    pronouns: None = None
    fake_student: bool | None = None
    in_moderation_set: bool | None = None
    selected_provisional_grade_id: Id | None = None
    provisional_grades: list[ProvisionalGrade] | None = None


class Message(BaseModel):
    message: str


class GradingError(BaseModel):
    error: str


class ErrorLine(BaseModel):
    message: str


class Errors(BaseModel):
    """``status`` names the refusal if Canvas does so."""

    status: str | None = None
    errors: list[ErrorLine]


class Pending(BaseModel):
    """No verdict yet: request ``Location`` later."""

    command_id: Annotated[str, Field(pattern=UUID_PATTERN)]
    status: Annotated[str, Field(pattern="^pending$")]
