"""The Canvas API's views of provisional grades: a student's status for a grader, and the grades themselves."""

from collections.abc import Container
from datetime import datetime
from typing import Any

from services.moderation import comment_visibility, ids
from services.moderation.assignment import ProvisionalGrade
from services.moderation.canvas_rubrics import rubric_assessment_json
from services.moderation.current_grades import current_provisional_grade
from services.moderation.decisions import ALREADY_PUBLISHED, NOT_FOUND, NOT_MODERATED, UNAUTHORIZED, Rejected
from services.moderation.json_values import decimal_to_json, format_canvas_time
from services.moderation.student_lists import StudentLists

Json = dict[str, Any]
Includes = Container[str]
STATUS_INCLUDES = frozenset({"submission_comments", "rubric_assessment"})
"""The includes that the status always has."""


class ProvisionalGradeViews(StudentLists):
    """The provisional grades of an assignment as one user sees them."""

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
        if student_id is None or not self.has_submission(student_id):
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


def _is_same_second(one: datetime, other: datetime | None) -> bool:
    return other is not None and int(one.timestamp()) == int(other.timestamp())
