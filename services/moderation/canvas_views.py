"""The Canvas API's views of an assignment for one user; nothing is changed.

Ids are integers and times strings with seconds, as in Canvas's JSON. Links to the LMS begin with ``lms_url``.
"""

from collections.abc import Container
from datetime import datetime
from typing import Any

from services.moderation import comment_visibility, ids
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.canvas_people import (
    anonymous_user_display_json,
    user_display_json,
    user_json,
)
from services.moderation.canvas_rubrics import indexed_rubric_json, rubric_assessment_json
from services.moderation.course import Course
from services.moderation.current_grades import (
    current_gradebook_grade,
    current_provisional_grade,
    entered_gradebook_grade,
)
from services.moderation.decisions import ALREADY_PUBLISHED, NOT_FOUND, NOT_MODERATED, UNAUTHORIZED, Rejected
from services.moderation.json_values import decimal_to_json, format_canvas_time
from services.moderation.student_lists import StudentLists

Json = dict[str, Any]
Includes = Container[str]


CONTENT_FIELDS: Json = {"body": None, "url": None, "submission_type": None}
"""The content of a submission is known to the LMS only; typed clients of Canvas fail if these fields are missing."""
STATUS_INCLUDES = frozenset({"submission_comments", "rubric_assessment"})
"""The includes that the status always has."""


class AssignmentView(StudentLists):
    """A course and an assignment as one user sees them."""

    def provisional_grade_status(self, student_id: int | None, last_updated_at: datetime | None) -> Json | Rejected:
        """Return a student's status (Canvas: ProvisionalGradesController#status); ``student_id`` None: not found."""
        if self.hides_student(student_id):
            return UNAUTHORIZED
        return self._status_of(student_id, last_updated_at)

    def anonymous_provisional_grade_status(
        self, anonymous_id: str, last_updated_at: datetime | None
    ) -> Json | Rejected:
        """Return the status of an anonymous id's student (Canvas: AnonymousProvisionalGradesController#status).

        Callers without the gradebook do not find out which anonymous ids exist.
        """
        if not self.can_view_gradebook:
            return UNAUTHORIZED
        return self._status_of(self.find_student(anonymous_id), last_updated_at)

    def _status_of(self, student_id: int | None, last_updated_at: datetime | None) -> Json | Rejected:
        course, assignment = self.course, self.assignment
        if student_id is None or not has_submission(course, assignment, student_id):
            return NOT_FOUND
        if not self.can_view_gradebook:
            return UNAUTHORIZED
        if not assignment.moderated_grading:
            return NOT_MODERATED
        if assignment.grades_published_at is not None:
            return ALREADY_PUBLISHED
        body: Json = {"needs_provisional_grade": assignment.can_be_moderated_grader(course, self.user_id)}
        if last_updated_at is None or _is_same_second(last_updated_at, assignment.submission(student_id).updated_at):
            return body
        if not self.can_moderate:
            return UNAUTHORIZED
        grades = assignment.grades_by_student.get(student_id, ())
        body["provisional_grades"] = [self._grade_with_selection_json(grade) for grade in grades if not grade.final]
        for grade in grades:
            if grade.final:
                body["final_provisional_grade"] = self._grade_with_selection_json(grade)
        return body

    def _grade_with_selection_json(self, grade: ProvisionalGrade) -> Json:
        selected_grade_id = self.assignment.selected_grade_id(self.course, grade.student_id)
        body = {
            **self.provisional_grade_json(grade, STATUS_INCLUDES),
            "selected": selected_grade_id == grade.provisional_grade_id,
            "readonly": not grade.final and grade.scorer_id != self.user_id,
        }
        if self.can_view_grader_names:
            body["scorer_name"] = self.get_user_name(grade.scorer_id)
        return body

    def provisional_grades_json(self, student_id: int, includes: Includes) -> list[Json]:
        """Describe the student's provisional grades that the user sees.

        A moderator sees all, the final one last; other users see their own.
        """
        grades = self.assignment.grades_by_student.get(student_id, ())
        visible_grades = [grade for grade in grades if self.can_moderate or grade.scorer_id == self.user_id]
        sorted_grades = sorted(visible_grades, key=lambda grade: (grade.final, grade.provisional_grade_id))
        return [self.provisional_grade_json(grade, includes) for grade in sorted_grades]

    def provisional_grade_json(self, grade: ProvisionalGrade, includes: Includes) -> Json:
        """Describe a provisional grade (Canvas: lib/api/v1/submission.rb, provisional_grade_json)."""
        submitted_at = self.assignment.submission(grade.student_id).submitted_at
        score, text = current_provisional_grade(self.course, self.assignment, grade)
        body: Json = {
            "provisional_grade_id": grade.provisional_grade_id,
            "score": decimal_to_json(score),
            "entered_score": decimal_to_json(score),
            "grade": text,
            "entered_grade": text,
            "graded_at": format_canvas_time(grade.graded_at),
            "graded_anonymously": grade.graded_anonymously,
            "final": grade.final,
            "grade_matches_current_submission": submitted_at is None
            or grade.graded_at is None
            or submitted_at <= grade.graded_at,
        }
        if self.can_view_grader_names:
            body["scorer_id"] = grade.scorer_id
            if "rubric_assessment" in includes:
                body["rubric_assessments"] = self._rubric_assessments_json(grade)
        else:
            body["anonymous_grader_id"] = self.assignment.grader_slots.get(grade.scorer_id)
        body["speedgrader_url"] = self.speedgrader_url(grade.student_id)
        if "submission_comments" in includes:
            body["submission_comments"] = comment_visibility.list_provisional_grade_comments(
                self, grade.student_id, grade.comments
            )
        return body

    def _rubric_assessments_json(self, grade: ProvisionalGrade) -> list[Json]:
        if grade.rubric_assessment is None:
            return []
        return [
            {
                **rubric_assessment_json(grade.rubric_assessment),
                "assessor_id": grade.scorer_id,
                "assessor_name": self.get_user_name(grade.scorer_id),
            }
        ]

    def speedgrader_url(self, student_id: int) -> str:
        """Return the URL of the LMS's grading page for the student."""
        assignment = self.assignment
        if self.can_view_student_names:
            student_parameter = f"student_id={student_id}"
        else:
            student_parameter = f"anonymous_id={ids.anonymous_id(self.course, assignment, student_id)}"
        base_url = f"{self.lms_url}/courses/{self.course.course_id}/gradebook/speed_grader"
        return f"{base_url}?assignment_id={assignment.assignment_id}&{student_parameter}"

    def submission_json(self, student_id: int | None, includes: Includes) -> Json | Rejected:
        """Describe the submission of a student; ``student_id`` None: there is no such student."""
        return UNAUTHORIZED if self.hides_student(student_id) else self._submission_json(student_id, includes)

    def anonymous_submission_json(self, anonymous_id: str, includes: Includes) -> Json | Rejected:
        """Describe the submission of an anonymous id without naming its student.

        Canvas: SubmissionsApiController#show_anonymous, which answers 404 for an unknown anonymous id. Here callers
        without the gradebook do not find out which of the others' ids exist.
        """
        student_id = self.find_student(anonymous_id)
        if not self.can_view_gradebook and student_id != self.user_id:
            return UNAUTHORIZED
        return self._submission_json(student_id, includes, is_anonymous=True)

    def listed_submission_json(self, student_id: int, includes: Includes) -> Json | Rejected:
        """Describe a submission in the list."""
        return self._submission_json(student_id, includes)

    def _submission_json(
        self, student_id: int | None, includes: Includes, *, is_anonymous: bool = False
    ) -> Json | Rejected:
        """Describe a student's submission; students see their own grade once it is posted.

        A student whom the user may not see is not found (Canvas: students_visible_to).
        """
        if student_id is None or not has_submission(self.course, self.assignment, student_id):
            return NOT_FOUND
        is_own_submission = student_id == self.user_id
        can_view_gradebook = self.can_view_gradebook
        sees_as_grader = can_view_gradebook and self._is_in_visible_section(student_id)
        if not (is_own_submission or sees_as_grader):
            return NOT_FOUND if can_view_gradebook else UNAUTHORIZED
        body = {
            **self._student_fields(student_id, is_anonymous=is_anonymous),
            **self._submission_fields(student_id, hide_unposted=not sees_as_grader),
        }
        if "submission_comments" in includes:
            body["submission_comments"] = comment_visibility.list_submission_comments(self, student_id)
        rubric = self.assignment.submission(student_id).rubric_assessment
        if "rubric_assessment" in includes and rubric is not None and (sees_as_grader or body["posted_at"]):
            body["rubric_assessment"] = indexed_rubric_json(rubric)
        body |= self._included_fields(student_id, includes)
        if "provisional_grades" in includes and sees_as_grader and self.assignment.moderated_grading:
            body["provisional_grades"] = self.provisional_grades_json(student_id, includes)
        return body

    def _included_fields(self, student_id: int, includes: Includes) -> Json:
        """Build the remaining fields of ``include[]``; none of them names a hidden student.

        Canvas: submission_json. Groups are not known here: no assignment is a group assignment.
        """
        fields: Json = {}
        if "visibility" in includes:
            fields["assignment_visible"] = self.assignment.is_assigned(self.course, student_id)
        if "group" in includes:
            fields["group"] = {"id": None, "name": None}
        if "user" in includes and self.can_view_student_names:
            fields["user"] = user_json(self.course, student_id)
        if "html_url" in includes:
            fields["html_url"] = self._submission_url(student_id)
        return fields

    def _submission_url(self, student_id: int) -> str:
        """Return the URL of a submission in the LMS; for a hidden student, of the page that grades by anonymous id."""
        if self.hides_student(student_id):
            return self.speedgrader_url(student_id)
        return f"{self._assignment_url()}/submissions/{student_id}"

    def _assignment_url(self) -> str:
        return f"{self.lms_url}/courses/{self.course.course_id}/assignments/{self.assignment.assignment_id}"

    def _is_in_visible_section(self, student_id: int) -> bool:
        sections = self.course.visible_sections(self.user_id)
        return sections is None or any(
            enrollment.section_id in sections for enrollment in self.course.enrollments.get(student_id, {}).values()
        )

    def _submission_fields(self, student_id: int, *, hide_unposted: bool) -> Json:
        course, assignment = self.course, self.assignment
        submission = assignment.submission(student_id)
        hides_grade = hide_unposted and submission.posted_at is None
        score, text = current_gradebook_grade(course, assignment, submission)
        entered_score, entered_text = entered_gradebook_grade(course, assignment, submission)
        return {
            "id": self._submission_id(student_id),
            "assignment_id": assignment.assignment_id,
            "score": None if hides_grade else decimal_to_json(score),
            "entered_score": None if hides_grade else decimal_to_json(entered_score),
            "grade": None if hides_grade else text,
            "entered_grade": None if hides_grade else entered_text,
            "points_deducted": None if hides_grade else decimal_to_json(submission.points_deducted),
            "graded_at": None if hides_grade else format_canvas_time(submission.graded_at),
            "grader_id": None if hides_grade else submission.grader_id,
            "submitted_at": format_canvas_time(submission.submitted_at),
            "attempt": submission.attempt,
            "excused": submission.excused,
            "late": submission.is_late,
            "missing": submission.is_missing,
            "seconds_late": submission.seconds_late or 0,
            "late_policy_status": submission.late_policy_status,
            "posted_at": format_canvas_time(submission.posted_at),
            "workflow_state": "submitted"
            if hides_grade and submission.workflow_state == "graded"
            else submission.workflow_state,
            "grade_matches_current_submission": submission.grade_matches_current_submission,
            **CONTENT_FIELDS,
        }

    def _submission_id(self, student_id: int) -> int:
        """Return the submission's id; for a hidden student, the generated one.

        The LMS's ids may follow the order of the roster, and so identify the student.
        """
        if self.hides_student(student_id):
            return ids.generated_submission_id(self.course, self.assignment, student_id)
        return ids.submission_id(self.course, self.assignment, student_id)

    def _student_fields(self, student_id: int, *, is_anonymous: bool) -> Json:
        """Return ``user_id`` or ``anonymous_id``; both for an account-level admin, unless students are hidden.

        ``preview_url`` is the LMS's page, with the same id.
        """
        names_student = not is_anonymous and (student_id == self.user_id or self.can_view_student_names)
        anonymous_id = ids.anonymous_id(self.course, self.assignment, student_id)
        fields: Json = {"user_id": student_id} if names_student else {}
        is_admin = self.user_id in self.course.admins and not self.anonymizes_students
        if not names_student or is_admin:
            fields["anonymous_id"] = anonymous_id
        place = f"submissions/{student_id}" if names_student else f"anonymous_submissions/{anonymous_id}"
        fields["preview_url"] = f"{self._assignment_url()}/{place}?preview=1"
        return fields

    def moderated_student_json(self, student_id: int) -> Json:
        """Describe a student of the moderation set (Canvas: ModerationSetController#index)."""
        if self.anonymizes_moderation_set:
            return self._anonymous_student_json(student_id)
        return user_json(self.course, student_id)

    def _anonymous_student_json(self, student_id: int) -> Json:
        anonymous_id = ids.anonymous_id(self.course, self.assignment, student_id)
        return anonymous_user_display_json(anonymous_id, self.anonymous_number(anonymous_id), self.lms_url)

    def gradeable_student_json(self, student_id: int, includes: Includes) -> Json:
        """Describe a student to grade (Canvas: SubmissionsApiController#gradeable_students)."""
        if self.can_view_student_names:
            body = user_display_json(self.course, student_id, self.lms_url)
        else:
            body = self._anonymous_student_json(student_id)
        if "provisional_grades" in includes:
            selected_grade_id = self.assignment.selected_grade_id(self.course, student_id)
            body["in_moderation_set"] = selected_grade_id is not None
            body["selected_provisional_grade_id"] = selected_grade_id
            body["provisional_grades"] = self.provisional_grades_json(student_id, includes)
        return body


def has_submission(course: Course, assignment: Assignment, student_id: int) -> bool:
    """Return whether the student has a submission: every assigned student has one.

    Canvas deletes the submission of a student who is unassigned.
    """
    return assignment.is_assigned(course, student_id)


def _is_same_second(one: datetime, other: datetime | None) -> bool:
    return other is not None and int(one.timestamp()) == int(other.timestamp())
