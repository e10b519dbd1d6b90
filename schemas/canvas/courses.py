"""Courses and assignments."""

from typing import Any

from pydantic import BaseModel, Field

from schemas.canvas.values import Id

_NOT_SENT = "always null: the LMS does not send it"


class CourseCalendar(BaseModel):
    ics: str = Field(description="URL of the course's calendar; it lacks the secret code and leads to no feed")


class CourseEnrollment(BaseModel):
    """An enrolment of the caller."""

    type: str = Field(description="role in Canvas's short form: `teacher`, `ta`, `student`, `student_view` …")
    role: str = Field(description="role in Canvas's long form, such as `TeacherEnrollment`")
    user_id: Id = Field(description="the caller")
    enrollment_state: str = Field(description="`active`, `invited`, `creation_pending` or `completed`")
    limit_privileges_to_course_section: bool = Field(description="whether the caller sees only their own section")


class Course(BaseModel):
    id: Id = Field(description="the course")
    name: str | None = Field(description="name; null if the LMS has sent none")
    course_code: str | None = Field(description="the name: the LMS sends no course code")
    account_id: Id | None = Field(description="account that the course belongs to; null if the LMS has not sent it")
    root_account_id: Id = Field(description="root account, the caller's own")
    workflow_state: str = Field(description="always `available`")
    is_public: bool | None = Field(description=_NOT_SENT)
    is_public_to_auth_users: bool | None = Field(description=_NOT_SENT)
    public_syllabus: bool | None = Field(description=_NOT_SENT)
    public_syllabus_to_auth: bool | None = Field(description=_NOT_SENT)
    calendar: CourseCalendar = Field(description="link to the calendar in the LMS")
    enrollments: list[CourseEnrollment] = Field(description="the caller's own enrolments, not deleted")
    sis_course_id: str | None = Field(
        default=None,
        description="id in the student information system, null if unknown; left out for callers without the gradebook",
    )


class Assignment(BaseModel):
    """An assignment's settings as the LMS sent them."""

    id: Id = Field(description="the assignment")
    course_id: Id = Field(description="its course")
    name: str | None = Field(description="name; null if the LMS has sent none")
    points_possible: float | None = Field(description="maximum score in points; null: none")
    grading_type: str = Field(
        description="`points`, `percent`, `letter_grade`, `gpa_scale`, `pass_fail` or `not_graded`"
    )
    position: int | None = Field(description=_NOT_SENT)
    grading_standard_id: Id | None = Field(description="always null: the LMS sends the grading scheme without its id")
    has_submitted_submissions: bool = Field(description="whether a student has handed in work")
    published: bool = Field(description="always true: the LMS sends only published assignments")
    workflow_state: str = Field(description="always `published`")
    only_visible_to_overrides: bool = Field(description="whether it is assigned to some students only")
    post_manually: bool = Field(description="whether grades stay hidden until they are posted; true if it is moderated")
    moderated_grading: bool = Field(description="whether several graders give provisional grades")
    grader_count: int | None = Field(description="number of grader slots, the final grader's not counted")
    final_grader_id: Id | None = Field(description="user who chooses the grades; null: no final grader")
    anonymous_grading: bool = Field(description="whether students are hidden from graders")
    graders_anonymous_to_graders: bool = Field(description="whether graders are hidden from each other")
    grader_names_visible_to_final_grader: bool = Field(description="whether the final grader sees the graders' names")
    grader_comments_visible_to_graders: bool = Field(description="whether graders see each other's comments")
    anonymize_students: bool = Field(description="whether students are hidden now; publication ends it")
    grades_published: bool = Field(description="whether the grades are published; true if it is not moderated")
    html_url: str = Field(description="URL of the assignment in the LMS")
    integration_id: str | None = Field(
        default=None, description=f"{_NOT_SENT}; left out for callers without the gradebook"
    )
    integration_data: dict[str, Any] | None = Field(
        default=None, description="always empty: the LMS does not send it; left out for callers without the gradebook"
    )
