"""The lists of an assignment's students, as a user may see and sort them.

Canvas: app/controllers/submissions_api_controller.rb, app/controllers/moderation_set_controller.rb.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from services.moderation import ids
from services.moderation.canvas_people import get_sortable_name
from services.moderation.course import GRADABLE_STATES, LISTED_STATES
from services.moderation.decisions import UNAUTHORIZED, Rejected
from services.moderation.visibility import Viewer


class StudentLists(Viewer):
    """A user's view of an assignment's students."""

    def list_moderated_students(self) -> list[int] | Rejected:
        """Return the moderation set's students, ascending (Canvas: ModerationSetController#index)."""
        if not self.can_moderate:
            return UNAUTHORIZED
        return self._cached_list(("set", self.anonymizes_moderation_set), self._load_moderation_set)

    def _load_moderation_set(self) -> list[int]:
        candidates = {*self.course.student_ordinals, *self.assignment.added_students}
        students = [s for s in candidates if self.assignment.is_in_moderation_set(self.course, s)]
        return self._sort_anonymously(students) if self.anonymizes_moderation_set else sorted(students)

    def _cached_list(self, key: Any, load: Callable[[], list[int]]) -> list[int]:
        """Return a list of students, built once for all its pages."""
        version, students = self.assignment.student_list_cache.get(key, (0, []))
        if version != self.course.version:
            students = load()
            self.assignment.student_list_cache[key] = self.course.version, students
        return students

    def hides_student(self, student_id: int | None) -> bool:
        """Return whether the user must not look up a student by user id: the answer would link it to an anonymous id.

        Return True for an unknown id too, so that the answer does not reveal who is enrolled.
        """
        return self.anonymizes_students and student_id != self.user_id

    def find_student(self, anonymous_id: str) -> int | None:
        """Return the student with an anonymous id of this assignment."""
        return ids.find_student_by_anonymous_id(self.course, self.assignment, anonymous_id)

    def has_submission(self, student_id: int) -> bool:
        """Return whether the student has a submission: every assigned student has one.

        Canvas deletes the submission of a student who is unassigned.
        """
        return self.assignment.is_assigned(self.course, student_id)

    def with_anonymous_ids(self, document: Any, field: str = "student_id") -> Any:
        """Replace the student ids in ``field``, at any depth, by anonymous ids; only while students are hidden."""
        if not self.anonymizes_students:
            return document
        if isinstance(document, list):
            items = [self.with_anonymous_ids(item, field) for item in document]
            if all(isinstance(item, dict) and field in item for item in document):
                # The order of student ids would reveal the students.
                items.sort(key=lambda item: item["anonymous_id"])
            return items
        if not isinstance(document, dict):
            return document
        body = {name: self.with_anonymous_ids(item, field) for name, item in document.items() if name != field}
        if field in document:
            body["anonymous_id"] = ids.anonymous_id(self.course, self.assignment, int(document[field]))
        return body

    def list_submission_students(self) -> list[int] | Rejected:
        """List the students whose submissions the user may see; inactive ones are left out.

        Canvas: SubmissionsApiController#index (Course#student_enrollments). While students are hidden, the list is that
        of the gradeable students: a student in only one of the lists could be identified by the state of the enrolment.
        """
        return self._list_students(GRADABLE_STATES if self.anonymizes_students else LISTED_STATES)

    def _list_students(self, states: frozenset[str]) -> list[int] | Rejected:
        if not self.can_view_gradebook:
            return UNAUTHORIZED
        sections = self.course.visible_sections(self.user_id)
        key = (states, sections, self.can_view_student_names)
        return self._cached_list(key, partial(self._load_students, states, sections))

    def _load_students(self, states: frozenset[str], sections: frozenset[int | None] | None) -> list[int]:
        students = (s for s in self.course.student_ordinals if self.course.is_visible_student(s, sections, states))
        return self._sort_students([s for s in students if self.assignment.is_assigned(self.course, s)])

    def list_gradeable_students(
        self, *, with_grades: bool, by_name: bool = False, descending: bool = False
    ) -> list[int] | Rejected:
        """List the students to grade, inactive ones too; only moderators also see provisional grades.

        ``by_name``: while students are hidden the order stays that of their anonymous ids.
        """
        students = self._list_students(GRADABLE_STATES)
        if isinstance(students, Rejected):
            return students
        if with_grades and not self.can_moderate:
            return UNAUTHORIZED
        if by_name and self.can_view_student_names:
            sections = self.course.visible_sections(self.user_id)
            students = self._cached_list((sections, "name"), partial(self._sort_by_name, students))
        return students[::-1] if descending else students

    def _sort_by_name(self, students: Sequence[int]) -> list[int]:
        return sorted(students, key=lambda student: (get_sortable_name(self.course, student), student))

    def _sort_students(self, students: Sequence[int]) -> list[int]:
        if self.can_view_student_names:
            return sorted(students)
        return self._sort_anonymously(students)

    def _sort_anonymously(self, students: Sequence[int]) -> list[int]:
        return sorted(students, key=lambda student: ids.anonymous_id(self.course, self.assignment, student))

    def anonymous_number(self, anonymous_id: str) -> int:
        """Return an anonymous id's position among those of all of the assignment's students, from 1."""
        key = (GRADABLE_STATES, None, False)
        students = self._cached_list(key, partial(self._load_students, GRADABLE_STATES, None))
        return 1 + bisect_left(
            students, anonymous_id, key=lambda student: ids.anonymous_id(self.course, self.assignment, student)
        )
