"""The Canvas API's views of submissions: a student's, by user id or by anonymous id, and those of a list."""

from services.moderation import comment_visibility, ids
from services.moderation.canvas_people import user_json
from services.moderation.canvas_provisional_grades import Includes, Json, ProvisionalGradeViews
from services.moderation.canvas_rubrics import indexed_rubric_json
from services.moderation.course import NOT_DELETED_STATES
from services.moderation.current_grades import current_gradebook_grade, entered_gradebook_grade
from services.moderation.decisions import NOT_FOUND, UNAUTHORIZED, Rejected
from services.moderation.json_values import decimal_to_json, format_canvas_time

CONTENT_FIELDS: Json = {"body": None, "url": None, "submission_type": None}
"""The content of a submission is known to the LMS only; typed clients of Canvas fail if these fields are missing."""


class SubmissionViews(ProvisionalGradeViews):
    """The submissions of an assignment as one user sees them."""

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
        if student_id is None or not self.has_submission(student_id):
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
        return sections is None or self.course.is_visible_student(student_id, sections, NOT_DELETED_STATES)

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
