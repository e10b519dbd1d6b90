"""Payloads of a course's events: the course, its people, their erasure."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.event_payloads.values import Bands, Changed, EnrollmentState, EnrollmentType, Points
from schemas.fields import IdText, TimeText
from schemas.personal import PERSONAL
from schemas.strict import Strict


class LatePolicy(Strict):
    """Canvas's late policy: percentages of the points possible, the deduction for each started interval."""

    late_submission_deduction_enabled: bool = Field(description="whether late submissions lose points")
    late_submission_deduction: Points = Field(
        description="percent of the points possible deducted for each started interval"
    )
    late_submission_interval: Literal["day", "hour"] = Field(
        description="the interval, of which a started one counts as a whole"
    )
    late_submission_minimum_percent_enabled: bool = Field(description="whether the deduction stops at the minimum")
    late_submission_minimum_percent: Points = Field(
        description="percent of the points possible below which nothing is deducted"
    )


class CourseUpdated(Strict):
    """The course as sent by the LMS: names, account, default grading scheme, late policy."""

    name: Changed[str] = Field(default=None, description="old and new")
    sis_source_id: Changed[str] = Field(default=None, description="old and new")
    account_id: Changed[IdText] = Field(default=None, description="old and new")
    root_account_uuid: Changed[str] = Field(default=None, description="old and new")
    root_account_lti_guid: Changed[str] = Field(default=None, description="old and new")
    grading_scheme: Changed[Bands] = Field(default=None, description="old and new")
    late_policy: Changed[LatePolicy] = Field(default=None, description="old and new")


class User(Strict):
    user_id: IdText = Field(description="the user")
    name: Annotated[str | None, PERSONAL] = Field(default=None, description="full name; required on first mention")
    sortable_name: Annotated[str | None, PERSONAL] = Field(
        default=None, description="such as `Lovelace, Ada`; lists are sorted by it"
    )
    short_name: Annotated[str | None, PERSONAL] = Field(default=None, description="display name")
    sis_user_id: Annotated[str | None, PERSONAL] = Field(
        default=None, description="id in the student information system; published grades carry it"
    )
    login_id: Annotated[str | None, PERSONAL] = Field(
        default=None, description="login name; live events carry the actor's"
    )
    created_at: TimeText | None = Field(default=None, description="when the account was created")


class UsersUpdated(Strict):
    """Users of the course, new values only. No other event holds names, logins or SIS ids."""

    users: list[User] = Field(description="the users, with the values that are new")


class Enrollment(Strict):
    user_id: IdText = Field(description="the user")
    type: EnrollmentType = Field(
        description="StudentEnrollment and StudentViewEnrollment are graded, the others are staff or observers"
    )
    section_id: IdText | None = Field(description="the section, part of the enrollment's key; null: none")
    state: EnrollmentState = Field(
        description="only active and inactive students are graded; Canvas's concluded is completed"
    )
    limited_to_section: bool = Field(description="true: staff see only students of this section")
    permissions: dict[str, bool] = Field(description="overrides of the type's default permissions")


class EnrollmentsUpdated(Strict):
    """Enrollments in the course, as complete rows; one enrollment is (user, type, section)."""

    enrollments: list[Enrollment] = Field(description="the enrollments that changed")


class Admin(Strict):
    user_id: IdText = Field(description="the user")
    permissions: list[str] = Field(
        description="such as manage_grades, view_all_grades, select_final_grade, view_audit_trail; empty: no role"
    )


class AdminsUpdated(Strict):
    """Account-level roles, as complete rows; a role without permissions was removed."""

    admins: list[Admin] = Field(description="the roles that changed")


class PersonErased(Strict):
    """A person's names, logins, SIS ids, comments and rubric assessments of their work were permanently erased.

    From this event on they are null wherever the service shows or publishes them. Grades and ids stay.
    """

    user_id: IdText = Field(description="the erased person")
