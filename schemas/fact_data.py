"""The data of facts: what the LMS says about courses, people, assignments and submissions (contract section 3.1)."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from schemas.adjudication import AdjudicationPolicy
from schemas.fields import (
    ITEMS_MAX,
    Comment,
    Count,
    GradeText,
    GradingScheme,
    Id,
    Name,
    Number,
    Percent,
    PointsPossible,
    Text,
    Time,
)
from schemas.personal import PERSONAL
from schemas.strict import Strict


class LatePolicy(Strict):
    """Canvas's late policy; a field left out keeps its value, initially Canvas's default (nothing is deducted)."""

    late_submission_deduction_enabled: bool = False
    late_submission_deduction: Percent = Field(
        default=Decimal(0),
        description="percent of the points possible deducted for each started interval, kept to two decimals",
    )
    late_submission_interval: Literal["day", "hour"] = "day"
    late_submission_minimum_percent_enabled: bool = False
    late_submission_minimum_percent: Percent = Field(
        default=Decimal(0),
        description="percent of the points possible below which nothing is deducted, kept to two decimals",
    )


class CourseData(Strict):
    name: Name | None = None
    sis_source_id: Text | None = None
    account_id: Id | None = None
    root_account_uuid: Text | None = None
    root_account_lti_guid: Text | None = None
    grading_scheme: GradingScheme | None = None
    late_policy: LatePolicy | None = None


class User(Strict):
    user_id: Id
    name: Annotated[Name | None, PERSONAL] = None
    sortable_name: Annotated[Name | None, PERSONAL] = None
    short_name: Annotated[Name | None, PERSONAL] = None
    sis_user_id: Annotated[Text | None, PERSONAL] = None
    login_id: Annotated[Text | None, PERSONAL] = None
    created_at: Time | None = None


class UsersData(Strict):
    users: Annotated[list[User], Field(max_length=ITEMS_MAX)]


class CoursePermissions(Strict):
    manage_grades: bool | None = None
    view_all_grades: bool | None = None
    select_final_grade: bool | None = None


class Enrollment(Strict):
    user_id: Id
    type: Literal[
        "StudentEnrollment",
        "TeacherEnrollment",
        "TaEnrollment",
        "DesignerEnrollment",
        "ObserverEnrollment",
        "StudentViewEnrollment",
    ] = Field(description="StudentViewEnrollment is Canvas's Test Student, who is never on live-events or caliper")
    state: Literal["active", "inactive", "invited", "creation_pending", "completed", "deleted"] = "active"
    section_id: Id | None = None
    limited_to_section: bool | None = None
    permissions: CoursePermissions | None = None


class EnrollmentsData(Strict):
    enrollments: Annotated[list[Enrollment], Field(max_length=ITEMS_MAX)]


class Admin(Strict):
    user_id: Id
    permissions: Annotated[list[Text], Field(max_length=ITEMS_MAX)]


class AdminsData(Strict):
    admins: Annotated[list[Admin], Field(max_length=ITEMS_MAX)]


class ErasureData(Strict):
    user_id: Id


class AssignmentData(Strict):
    name: Name | None = None
    points_possible: PointsPossible | None = None
    grading_type: Literal["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded"] | None = None
    grading_scheme: GradingScheme | None = None
    moderated_grading: bool | None = None
    grader_count: Count | None = None
    final_grader_id: Id | None = None
    anonymous_grading: bool | None = None
    graders_anonymous_to_graders: bool | None = None
    grader_names_visible_to_final_grader: bool | None = None
    grader_comments_visible_to_graders: bool | None = None
    moderation_set: Literal["assigned", "selected"] | None = None
    assigned_to: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None
    deleted: bool | None = None
    adjudication: AdjudicationPolicy | None = Field(
        default=None, description="the adjudication policy; null for none, reset when moderation is switched off"
    )


class SubmissionData(Strict):
    student_id: Id
    submission_id: Id | None = None
    anonymous_id: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z]+$")] | None = None
    attempt: Count | None = None
    submitted_at: Time | None = None
    score: Number | None = None
    grade: GradeText | None = None
    grader_id: Id | None = None
    graded_at: Time | None = None
    excused: bool | None = None
    posted_at: Time | None = None
    seconds_late: Count | None = None
    late_policy_status: Literal["late", "missing", "extended", "none"] | None = None


class SubmissionCommentData(Strict):
    student_id: Id
    author_id: Id
    comment: Annotated[Comment, PERSONAL]
    created_at: Time | None = None


class PostData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None
    posted_at: Time | None = None


class HideData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None
