"""Courses and assignments."""

from typing import Any

from pydantic import BaseModel

from schemas.canvas.values import Id


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
