"""Caches the encoded rows of state documents; a large class has thousands."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from services.eventlog.timelines import seen_timelines
from services.moderation import ids
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.current_grades import settings_position
from services.moderation.state_document import grade_row, state_document, submission_row

# Above this the least recently read assignments are evicted. A row has about 500 bytes, with long comments megabytes.
BYTES_MAX = 48 << 20
# What a row takes besides its text: its key, and its places in tuples and dictionaries.
ROW_BYTES = 400


class CachedRow(NamedTuple):
    """``key``: log, revision, settings and last erasure of which the row is. ``size``: the memory that it takes."""

    key: tuple[int, ...]
    encoded: orjson.Fragment
    size: int


@dataclass(slots=True)
class AssignmentRows:
    """The rows of one assignment, by id, and the memory that they take."""

    grades: dict[int, CachedRow] = field(default_factory=dict)
    submissions: dict[int, CachedRow] = field(default_factory=dict)
    size: int = 0

    def put(self, rows: dict[int, CachedRow], row_id: int, key: tuple[int, ...], row: dict[str, Any]) -> CachedRow:
        """Encode a row, and keep it in place of an earlier one in ``rows``, one of these two."""
        # A copy, because orjson's results keep a buffer of 4 KiB.
        encoded, earlier = bytes(memoryview(orjson.dumps(row))), rows.get(row_id)
        cached_row = rows[row_id] = CachedRow(key, orjson.Fragment(encoded), len(encoded) + ROW_BYTES)
        self.size += cached_row.size - (0 if earlier is None else earlier.size)
        return cached_row


class StateDocumentCache:
    """Builds current state documents for orjson from cached rows; ``bytes_max``: the memory that rows may take."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._rows_by_assignment: OrderedDict[int, AssignmentRows] = OrderedDict()

    @property
    def byte_count(self) -> int:
        """The memory that the cached rows take."""
        return sum(rows.size for rows in self._rows_by_assignment.values())

    def get_document(self, course: Course, assignment: Assignment, refused_with: str | None = None) -> dict[str, Any]:
        """Return the document, equal to :func:`state_document`'s."""
        rows = self._rows_by_assignment.setdefault(assignment.stream_number, AssignmentRows())
        self._rows_by_assignment.move_to_end(assignment.stream_number)
        # How a grade is written depends on the settings.
        grading_settings = settings_position(course, assignment)
        # After a failover that lost commits an assignment may have other grades at the same revisions.
        log = seen_timelines.changes

        def encode_grade(provisional_grade: ProvisionalGrade) -> orjson.Fragment:
            revision = assignment.submissions[provisional_grade.student_id].revision
            cache_key = log, revision, grading_settings, course.erased_at_position
            cached_row = rows.grades.get(provisional_grade.provisional_grade_id)
            if cached_row is None or cached_row.key != cache_key:
                row = grade_row(course, assignment, provisional_grade)
                cached_row = rows.put(rows.grades, provisional_grade.provisional_grade_id, cache_key, row)
            return cached_row.encoded

        def encode_submission(student_id: int) -> orjson.Fragment:
            # A generated id changes if the LMS assigns the same id to another student.
            submission_id = ids.submission_id(course, assignment, student_id)
            revision = assignment.submission(student_id).revision
            cache_key = log, revision, grading_settings, submission_id, course.erased_at_position
            cached_row = rows.submissions.get(student_id)
            if cached_row is None or cached_row.key != cache_key:
                row = submission_row(course, assignment, student_id)
                cached_row = rows.put(rows.submissions, student_id, cache_key, row)
            return cached_row.encoded

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
        byte_count = self.byte_count
        while byte_count > self._bytes_max:
            # The document keeps the rows that it is built from, so that even those of its assignment may go.
            byte_count -= self._rows_by_assignment.popitem(last=False)[1].size
