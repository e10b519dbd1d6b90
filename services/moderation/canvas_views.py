"""The Canvas API's views of an assignment for one user; nothing is changed.

Ids are integers and times strings with seconds, as in Canvas's JSON. Links to the LMS begin with ``lms_url``.
"""

from services.moderation import ids
from services.moderation.canvas_people import anonymous_user_display_json, user_display_json, user_json
from services.moderation.canvas_provisional_grades import Includes, Json
from services.moderation.canvas_submissions import SubmissionViews


class AssignmentView(SubmissionViews):
    """A course and an assignment as one user sees them: students, submissions, provisional grades."""

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
