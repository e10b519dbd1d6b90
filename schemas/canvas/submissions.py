"""Submissions, provisional grades and comments."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from schemas.canvas.people import NoAuthor, User, UserDisplay
from schemas.canvas.values import AnonymousId, Id, Second
from schemas.event_payloads.values import LatePolicyStatus

_GRADE_FORM = "grade as text in the form of the grading type, such as `16.5`, `82%`, `B+`"
_PROVISIONAL_GRADES = "provisional grades that the caller sees, the final one last; only with"


class SubmissionComment(BaseModel):
    """An ordinary comment."""

    id: Id = Field(description="the comment")
    comment: str | None = Field(description="the text; null once its person was erased")
    created_at: Second | None = Field(description="when it was written")
    edited_at: None = Field(description="always null: comments are not edited here")
    attempt: None = Field(description="always null: comments do not concern single attempts")
    author_id: Id | None = Field(description="the author; null if the caller may not know the author")
    author_name: str | None = Field(description="the author's short name; `Anonymous User` for a hidden author")
    author: UserDisplay | NoAuthor = Field(description="the author; empty if the caller may not know the author")


class ModeratedComment(BaseModel):
    """A comment that is listed with a provisional grade. ``anonymous_id`` replaces the id of an anonymous author."""

    id: Id = Field(description="the comment")
    comment: str | None = Field(description="the text; null once its person was erased")
    created_at: Second | None = Field(description="when it was written")
    attempt: None = Field(description="always null: comments do not concern single attempts")
    draft: bool = Field(description="always false: there are no drafts")
    publishable: bool = Field(description="always false: there are no drafts to publish")
    group_comment_id: None = Field(description="always null: there are no group assignments")
    media_comment_id: None = Field(description="always null: there are no media comments")
    media_comment_type: None = Field(description="always null: there are no media comments")
    cached_attachments: None = Field(description="always null: there are no attachments")
    author_id: Id | None = Field(
        default=None, description="the author; null for a hidden author without an anonymous id"
    )
    author_name: str | None = Field(
        default=None, description="the author's short name; `Anonymous User` for a hidden author without anonymous id"
    )
    anonymous_id: AnonymousId | None = Field(default=None, description="anonymous id of a hidden grader or student")


class RubricRating(BaseModel):
    """A rating as it was sent; further fields are `comments` and the rating's `id`."""

    criterion_id: str = Field(description="the rubric's criterion")
    points: Any = Field(default=None, description="points as a number; other values as they were sent")


class RubricAssessment(BaseModel):
    assessor_id: Id = Field(description="the grader")
    assessor_name: str | None = Field(description="the grader's name; null if unknown")
    score: float | None = Field(description="sum of the points; null without points")
    data: list[RubricRating] = Field(description="a rating for each criterion")


class ProvisionalGrade(BaseModel):
    """``anonymous_grader_id`` replaces ``scorer_id`` if graders are anonymous to the caller."""

    provisional_grade_id: Id = Field(description="the provisional grade, for a selection")
    score: float | None = Field(description="score in points; null without a score")
    entered_score: float | None = Field(default=None, description="the same: no deduction before publication")
    grade: str | None = Field(description=f"{_GRADE_FORM}; null without a grade")
    entered_grade: str | None = Field(default=None, description="the same as `grade`")
    graded_at: Second | None = Field(description="when the grade was entered; null: only comments")
    graded_anonymously: bool | None = Field(description="whether the grader did not see the student's name, as sent")
    final: bool = Field(description="whether it is a moderator's final grade")
    grade_matches_current_submission: bool = Field(description="whether the student has not resubmitted since")
    scorer_id: Id | None = Field(default=None, description="the grader; left out if graders are anonymous")
    anonymous_grader_id: AnonymousId | None = Field(
        default=None, description="anonymous id of the grader, if graders are anonymous; null without a slot"
    )
    speedgrader_url: str = Field(description="URL of the LMS's grading page for the student")
    submission_comments: list[ModeratedComment] | None = Field(
        default=None,
        description="comments of this grade, and the ordinary ones, which after publication include the copies of "
        "the chosen grade's; only if included",
    )
    rubric_assessments: list[RubricAssessment] | None = Field(
        default=None, description="the assessment, or none; only if included, and if graders are not anonymous"
    )
    selected: bool | None = Field(default=None, description="whether it is the selected grade; only in a status")
    readonly: bool | None = Field(
        default=None, description="whether it is another grader's ordinary grade; only in a status"
    )
    scorer_name: str | None = Field(
        default=None, description="the grader's name; only in a status, and if graders are not anonymous"
    )


class Status(BaseModel):
    needs_provisional_grade: bool = Field(description="whether the caller may give a provisional grade")
    provisional_grades: list[ProvisionalGrade] | None = Field(
        default=None, description="the ordinary ones; only if the submission changed since `last_updated_at`"
    )
    final_provisional_grade: ProvisionalGrade | None = Field(
        default=None, description="the moderator's final one, if any; only if the submission changed likewise"
    )


class Selection(BaseModel):
    """``anonymous_id`` replaces ``student_id`` if students are anonymous to the caller."""

    assignment_id: Id = Field(description="the assignment")
    student_id: Id | None = Field(default=None, description="the student")
    anonymous_id: AnonymousId | None = Field(default=None, description="anonymous id of the submission")
    selected_provisional_grade_id: Id = Field(description="the provisional grade that is selected now")


class Group(BaseModel):
    id: None = Field(description="always null: there are no group assignments")
    name: None = Field(description="always null: there are no group assignments")


class Submission(BaseModel):
    """Students see score, grade, grader and time of grading of their own submission once it is posted."""

    id: Id = Field(description="the submission; a generated id while the student is hidden")
    assignment_id: Id = Field(description="the assignment")
    user_id: Id | None = Field(default=None, description="the student; left out while students are hidden")
    anonymous_id: AnonymousId | None = Field(
        default=None, description="anonymous id of the submission, for hidden students and account-level admins"
    )
    score: float | None = Field(description="score in points, minus a late policy's deduction; null: none")
    grade: str | None = Field(description=f"{_GRADE_FORM}; null: none")
    graded_at: Second | None = Field(description="when the grade was given; null: never")
    grader_id: Id | None = Field(description="grader of the grade in the gradebook; null: none")
    submitted_at: Second | None = Field(description="when the student handed it in; null: not handed in")
    attempt: int | None = Field(description="number of the student's attempt, from 1; null: none")
    excused: bool | None = Field(description="whether the student is excused")
    posted_at: Second | None = Field(description="when the grade was posted to the student; null: hidden")
    workflow_state: str = Field(description="`unsubmitted`, `submitted` or `graded`")
    grade_matches_current_submission: bool | None = Field(
        description="whether the student has not resubmitted since the grade was given"
    )
    entered_score: float | None = Field(description="score in points before the late policy's deduction")
    entered_grade: str | None = Field(description="grade as text before the late policy's deduction")
    points_deducted: float | None = Field(description="points that the late policy deducts; null: not late")
    late: bool = Field(description="whether it was handed in late")
    missing: bool = Field(description="whether it is overdue and not handed in")
    seconds_late: Annotated[int, Field(ge=0)] = Field(
        description="seconds after the due date, as the LMS has sent them; 0: in time"
    )
    late_policy_status: LatePolicyStatus | None = Field(
        description="status that the LMS has set by hand; null: derived from the times"
    )
    body: str | None = Field(description="always null: the content is only in the LMS")
    url: str | None = Field(description="always null: the content is only in the LMS")
    submission_type: str | None = Field(description="always null: the content is only in the LMS")
    preview_url: str = Field(description="URL of the submission in the LMS")
    submission_comments: list[SubmissionComment] | None = Field(
        default=None, description="ordinary comments that the caller sees, oldest first; only if included"
    )
    rubric_assessment: dict[str, Any] | None = Field(
        default=None, description="ratings of the published grade by criterion; only if included, and if there are any"
    )
    provisional_grades: list[ProvisionalGrade] | None = Field(
        default=None, description=f"{_PROVISIONAL_GRADES} `include[]=provisional_grades`, in a moderated assignment"
    )
    assignment_visible: bool | None = Field(
        default=None, description="whether the student has the assignment; only with `include[]=visibility`"
    )
    group: Group | None = Field(default=None, description="only with `include[]=group`")
    user: User | None = Field(
        default=None, description="the student; only with `include[]=user`, and not while students are hidden"
    )
    html_url: str | None = Field(
        default=None, description="URL of the submission in the LMS; only with `include[]=html_url`"
    )


class Graded(Submission):
    """A submission after it was graded or commented on."""

    all_submissions: list[Submission] = Field(description="the same submission without its comments, alone in the list")


class GradeableStudent(BaseModel):
    """A student to grade: a user, or for a hidden student an anonymous id and a number.

    Moderators get the last three fields with ``include[]=provisional_grades``.
    """

    id: Id | None = Field(default=None, description="the student; left out while students are hidden")
    anonymous_id: AnonymousId = Field(
        description="anonymous id of the submission while students are hidden, else the user's id in base 36"
    )
    display_name: str | None = Field(description="short name; `Student 1`, `Student 2` … while students are hidden")
    avatar_image_url: str = Field(description="URL of the LMS's default picture")
    html_url: str | None = Field(
        default=None, description="URL of the student's page in the LMS; left out while students are hidden"
    )
    pronouns: None = Field(default=None, description="always null: the LMS does not send them")
    fake_student: bool | None = Field(default=None, description="true for a Test Student, else left out")
    in_moderation_set: bool | None = Field(
        default=None, description="whether a grade of the student is selected, as in Canvas"
    )
    selected_provisional_grade_id: Id | None = Field(
        default=None, description="the provisional grade that is selected; null: none"
    )
    provisional_grades: list[ProvisionalGrade] | None = Field(
        default=None, description=f"{_PROVISIONAL_GRADES} `include[]=provisional_grades`"
    )
