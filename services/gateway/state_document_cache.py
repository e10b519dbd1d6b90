"""Caches the encoded rows of state documents; a large class has thousands."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.moderation import ids
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.current_grades import settings_position
from services.moderation.state_document import grade_row, state_document, submission_row

# Above this the least recently read assignments are evicted. A row has about 500 bytes.
CACHED_ROWS_MAX = 100_000

# By id: the cache key (revision, settings, last erasure), and the encoded row.
EncodedRowsById = dict[int, tuple[tuple[int, ...], orjson.Fragment]]


@dataclass(slots=True)
class AssignmentRows:
    """The rows of one assignment."""

    grades: EncodedRowsById = field(default_factory=dict)
    submissions: EncodedRowsById = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.grades) + len(self.submissions)


class StateDocumentCache:
    """Builds current state documents for orjson from cached rows."""

    def __init__(self) -> None:
        self._rows_by_assignment: OrderedDict[int, AssignmentRows] = OrderedDict()

    def get_document(self, course: Course, assignment: Assignment, refused_with: str | None = None) -> dict[str, Any]:
        """Return the document, equal to :func:`state_document`'s."""
        rows = self._rows_by_assignment.setdefault(assignment.stream_number, AssignmentRows())
        self._rows_by_assignment.move_to_end(assignment.stream_number)
        # How a grade is written depends on the settings.
        grading_settings = settings_position(course, assignment)

        def encode_grade(provisional_grade: ProvisionalGrade) -> orjson.Fragment:
            revision = assignment.submissions[provisional_grade.student_id].revision
            cache_key = revision, grading_settings, course.erased_at_position
            cached_row = rows.grades.get(provisional_grade.provisional_grade_id)
            if cached_row is None or cached_row[0] != cache_key:
                row = grade_row(course, assignment, provisional_grade)
                cached_row = rows.grades[provisional_grade.provisional_grade_id] = cache_key, _encode_row(row)
            return cached_row[1]

        def encode_submission(student_id: int) -> orjson.Fragment:
            # A generated id changes if the LMS assigns the same id to another student.
            submission_id = ids.submission_id(course, assignment, student_id)
            revision = assignment.submission(student_id).revision
            cache_key = revision, grading_settings, submission_id, course.erased_at_position
            cached_row = rows.submissions.get(student_id)
            if cached_row is None or cached_row[0] != cache_key:
                row = submission_row(course, assignment, student_id)
                cached_row = rows.submissions[student_id] = cache_key, _encode_row(row)
            return cached_row[1]

        document = state_document(
            course,
            assignment,
            refused_with=refused_with,
            grade_encoder=encode_grade,
            submission_encoder=encode_submission,
        )
        self._evict_lru()
        return document

    def _evict_lru(self) -> None:
        count = sum(map(len, self._rows_by_assignment.values()))
        while count > CACHED_ROWS_MAX and len(self._rows_by_assignment) > 1:
            count -= len(self._rows_by_assignment.popitem(last=False)[1])


def _encode_row(row: dict[str, Any]) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(row))
