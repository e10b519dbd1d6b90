"""Rows of state documents, encoded once and again only when their student was touched: a class has thousands."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.state_document import grade_row, state_document, submission_row

# The assignment least recently asked for goes first. A row is half a kilobyte.
ROWS_MAX = 100_000

# By id: what the row was made of, the student's revision above all, and the row.
Encoded = dict[int, tuple[int | tuple[int, int], orjson.Fragment]]


@dataclass(slots=True)
class Rows:
    """Of one assignment."""

    grades: Encoded = field(default_factory=dict)
    submissions: Encoded = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.grades) + len(self.submissions)


class StateDocuments:
    """State documents of assignments as they are now, for orjson: their rows are there already."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, Rows] = OrderedDict()

    def document(self, course: Course, assignment: Assignment) -> dict[str, Any]:
        """The document; what it says is :func:`state_document`'s."""
        rows = self._held.setdefault(assignment.stream_number, Rows())
        self._held.move_to_end(assignment.stream_number)

        def grade(each: ProvisionalGrade) -> orjson.Fragment:
            revision = assignment.submissions[each.student_id].revision
            held = rows.grades.get(each.provisional_grade_id)
            if held is None or held[0] != revision:
                held = rows.grades[each.provisional_grade_id] = revision, _encoded(grade_row(each))
            return held[1]

        def submission(student_id: int) -> orjson.Fragment:
            # A drawn id gives way to one that is stated for another student.
            made_of = assignment.submission(student_id).revision, assignment.submission_id(course, student_id)
            held = rows.submissions.get(student_id)
            if held is None or held[0] != made_of:
                row = submission_row(course, assignment, student_id)
                held = rows.submissions[student_id] = made_of, _encoded(row)
            return held[1]

        found = state_document(course, assignment, grade_encoder=grade, submission_encoder=submission)
        self._forget_oldest()
        return found

    def _forget_oldest(self) -> None:
        count = sum(map(len, self._held.values()))
        while count > ROWS_MAX and len(self._held) > 1:
            count -= len(self._held.popitem(last=False)[1])


def _encoded(row: dict[str, Any]) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(row))
