"""The data of facts: what the LMS says about courses, people, assignments and submissions (contract section 3.1)."""

from typing import Annotated, Any, Literal

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

# The default of a field that keeps its value if it is left out: a published default would promise another value.
_UNCHANGED: Any = None


class LatePolicy(Strict):
    """Canvas's late policy; a field left out keeps its value, initially Canvas's default (nothing is deducted)."""

    late_submission_deduction_enabled: bool = Field(
        default=_UNCHANGED, description="whether late submissions lose points; initially false"
    )
    late_submission_deduction: Percent = Field(
        default=_UNCHANGED,
        description="percent of the points possible deducted for each started interval, kept to two decimals; "
        "initially 0",
    )
    late_submission_interval: Literal["day", "hour"] = Field(
        default=_UNCHANGED, description="the interval, of which a started one counts as a whole; initially `day`"
    )
    late_submission_minimum_percent_enabled: bool = Field(
        default=_UNCHANGED, description="whether the deduction stops at the minimum; initially false"
    )
    late_submission_minimum_percent: Percent = Field(
        default=_UNCHANGED,
        description="percent of the points possible below which nothing is deducted, kept to two decimals; initially 0",
    )


class CourseData(Strict):
    name: Name | None = Field(default=None, description="shown to people; published grades do not carry it")
    sis_source_id: Text | None = Field(
        default=None, description="the course's id in the student information system; live events carry it"
    )
    account_id: Id | None = Field(default=None, description="the account that holds the course; live events carry it")
    root_account_uuid: Text | None = Field(
        default=None, description="Canvas's UUID of the root account; generated if the LMS sends none"
    )
    root_account_lti_guid: Text | None = Field(
        default=None, description="Canvas's LTI guid of the root account; generated if the LMS sends none"
    )
    grading_scheme: GradingScheme | None = Field(
        default=None,
        description="pairs of name and lower bound as a fraction, one of them 0; null: Canvas's scheme",
    )
    late_policy: LatePolicy | None = Field(
        default=None, description="deductions for late submissions at publication; null: none"
    )


class User(Strict):
    user_id: Id = Field(description="the user")
    name: Annotated[Name | None, PERSONAL] = Field(default=None, description="full name; required on first mention")
    sortable_name: Annotated[Name | None, PERSONAL] = Field(
        default=None, description="such as `Lovelace, Ada`; lists are sorted by it"
    )
    short_name: Annotated[Name | None, PERSONAL] = Field(default=None, description="display name")
    sis_user_id: Annotated[Text | None, PERSONAL] = Field(
        default=None, description="id in the student information system; published grades carry it"
    )
    login_id: Annotated[Text | None, PERSONAL] = Field(
        default=None, description="login name; live events carry the actor's"
    )
    created_at: Time | None = Field(default=None, description="when the account was created")


class UsersData(Strict):
    users: Annotated[list[User], Field(max_length=ITEMS_MAX)] = Field(description="the users, merged by user_id")


class CoursePermissions(Strict):
    manage_grades: bool | None = Field(default=None, description="may grade")
    view_all_grades: bool | None = Field(default=None, description="may see all grades")
    select_final_grade: bool | None = Field(
        default=None, description="eligible to be named final grader; does not moderate by itself"
    )


class Enrollment(Strict):
    user_id: Id = Field(description="the user")
    type: Literal[
        "StudentEnrollment",
        "TeacherEnrollment",
        "TaEnrollment",
        "DesignerEnrollment",
        "ObserverEnrollment",
        "StudentViewEnrollment",
    ] = Field(description="StudentViewEnrollment is Canvas's Test Student, who is never on live-events or caliper")
    state: Literal["active", "inactive", "invited", "creation_pending", "completed", "deleted"] = Field(
        default=_UNCHANGED,
        description="only active and inactive students are graded; Canvas's concluded is completed; "
        "required on first mention; left out later: unchanged",
    )
    section_id: Id | None = Field(default=None, description="the section, part of the enrollment's key; null: none")
    limited_to_section: bool | None = Field(default=None, description="true: staff see only students of this section")
    permissions: CoursePermissions | None = Field(
        default=None, description="overrides of the type's default permissions"
    )


class EnrollmentsData(Strict):
    enrollments: Annotated[list[Enrollment], Field(max_length=ITEMS_MAX)] = Field(
        description="the enrollments, merged by (user_id, type, section_id)"
    )


class Admin(Strict):
    user_id: Id = Field(description="the user")
    permissions: Annotated[list[Text], Field(max_length=ITEMS_MAX)] = Field(
        description="such as manage_grades, view_all_grades, select_final_grade, view_audit_trail; empty: no role"
    )


class AdminsData(Strict):
    admins: Annotated[list[Admin], Field(max_length=ITEMS_MAX)] = Field(
        description="account-level roles, merged by user_id"
    )


class ErasureData(Strict):
    user_id: Id = Field(
        description="the person whose personal data in this course is to be erased; grades and ids stay"
    )


class AssignmentData(Strict):
    name: Name | None = Field(
        default=None, description="shown to people and in published grades; required on first mention"
    )
    points_possible: PointsPossible | None = Field(
        default=None, description="points of a full score; scores may exceed it; required on first mention"
    )
    grading_type: Literal["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded"] | None = Field(
        default=None, description="how `posted_grade` is read and a grade is written; required on first mention"
    )
    grading_scheme: GradingScheme | None = Field(
        default=None,
        description="for letter_grade and gpa_scale: pairs of name and lower bound as a fraction; null: the course's",
    )
    moderated_grading: bool | None = Field(
        default=None, description="whether grades are provisional until they are published; required on first mention"
    )
    grader_count: Count | None = Field(
        default=None,
        description="number of grader slots, not counting the final grader",
    )
    final_grader_id: Id | None = Field(
        default=None,
        description="the user who selects and publishes; null: only account-level admins with select_final_grade "
        "moderate",
    )
    anonymous_grading: bool | None = Field(
        default=None, description="whether students are hidden from graders until grades are published"
    )
    graders_anonymous_to_graders: bool | None = Field(
        default=None, description="whether graders see each other only by anonymous ids"
    )
    grader_names_visible_to_final_grader: bool | None = Field(
        default=None, description="whether the final grader sees the graders' names; default true"
    )
    grader_comments_visible_to_graders: bool | None = Field(
        default=None, description="whether graders see each other's comments; default true"
    )
    moderation_set: Literal["assigned", "selected"] | None = Field(
        default=None,
        description="`assigned`: all assigned students are in the set; `selected`: those who were added to it",
    )
    assigned_to: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="the assigned students; null or left out at first: every student of the course"
    )
    deleted: bool | None = Field(
        default=None, description="true: the assignment no longer exists, and commands are answered with not_found"
    )
    adjudication: AdjudicationPolicy | None = Field(
        default=None, description="the adjudication policy; null for none, reset when moderation is switched off"
    )


class SubmissionData(Strict):
    student_id: Id = Field(description="the student")
    submission_id: Id | None = Field(default=None, description="the LMS's id; generated until the LMS sends one")
    anonymous_id: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z]+$")] | None = Field(
        default=None, description="the LMS's anonymous id of the submission; generated if left out"
    )
    attempt: Count | None = Field(default=None, description="number of the attempt; the latest one is graded")
    submitted_at: Time | None = Field(default=None, description="when it was handed in; null: not handed in")
    score: Number | None = Field(default=None, description="the gradebook's score in points, as the LMS has it")
    grade: GradeText | None = Field(default=None, description="the gradebook's grade as a text, as the LMS has it")
    grader_id: Id | None = Field(default=None, description="who gave the gradebook's grade")
    graded_at: Time | None = Field(default=None, description="when the gradebook's grade was given")
    excused: bool | None = Field(default=None, description="whether the student is excused")
    posted_at: Time | None = Field(default=None, description="since when the student may see the grade; null: hidden")
    seconds_late: Count | None = Field(default=None, description="how late it was handed in; a late policy uses it")
    late_policy_status: Literal["late", "missing", "extended", "none"] | None = Field(
        default=None,
        description="replaces what the times give; null: by the times",
    )


class SubmissionCommentData(Strict):
    student_id: Id = Field(description="the student whose submission has the comment")
    author_id: Id = Field(description="the user who wrote it")
    comment: Annotated[Comment, PERSONAL] = Field(description="the text")
    created_at: Time | None = Field(default=None, description="when it was written; left out: now")


class PostData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="students whose grades become visible; null or left out: all students"
    )
    posted_at: Time | None = Field(default=None, description="since when; left out: now")


class HideData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="students whose grades are hidden; null or left out: all students"
    )
