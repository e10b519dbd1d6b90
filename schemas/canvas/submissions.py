"""Submissions, provisional grades and comments."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from schemas.canvas.people import NoAuthor, User, UserDisplay
from schemas.canvas.values import AnonymousId, Id, Second
from schemas.event_payloads.values import LatePolicyStatus


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
