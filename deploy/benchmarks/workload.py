"""Commands of the benchmarks: rosters, first grades, and the mix that graders and moderators send."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.moderation.ids import IDS_PER_ASSIGNMENT

FINAL_GRADER, GRADER, SECOND_GRADER = 1, 2, 3
FIRST_STUDENT = 101
ENROLLMENTS_PER_COMMAND = 5_000
# Selections go to the last fifth of a class and grades to the others, because a selected grade cannot change.
SELECTED_SHARE = 5
Json = dict[str, Any]


class ProducerRecord(NamedTuple):
    """A record for the commands topic."""

    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Course:
    """A course with one grade per student; ``stream_numbers`` by assignment."""

    course_id: int
    students: int
    stream_numbers: dict[int, int]


def build_command(course: int, type_: str, data: Json, assignment: int | None = None, actor: int | None = None) -> Json:
    """Build a command of root account 1."""
    fields: Json = {
        "command_id": str(uuid.uuid4()),
        "type": type_,
        "issued_at": "2026-01-01T00:00:00.123Z",
        "root_account_id": "1",
        "course_id": str(course),
        "data": data,
    }
    if assignment is not None:
        fields["assignment_id"] = str(assignment)
    if actor is not None:
        fields["actor"] = {"user_id": str(actor)}
    return fields


def list_assignment_ids(course: int, count: int) -> range:
    """Return the ids of a course's assignments."""
    return range(course * 100, course * 100 + count)


def roster_commands(course: int, students: int, assignment_ids: Iterable[int]) -> Iterator[Json]:
    """Build the commands that create a course with students and moderated assignments."""
    staff: list[tuple[int, str]] = [
        (FINAL_GRADER, "TeacherEnrollment"),
        (GRADER, "TaEnrollment"),
        (SECOND_GRADER, "TaEnrollment"),
    ]
    members = staff + [(FIRST_STUDENT + student, "StudentEnrollment") for student in range(students)]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in members]
    yield build_command(course, "upsert_course", {"name": "Course"})
    for start in range(0, len(rows), ENROLLMENTS_PER_COMMAND):
        yield build_command(
            course, "upsert_enrollments", {"enrollments": rows[start : start + ENROLLMENTS_PER_COMMAND]}
        )
    settings = {
        "name": "Essay",
        "points_possible": 100,
        "grading_type": "points",
        "moderated_grading": True,
        "grader_count": 2,
        "final_grader_id": FINAL_GRADER,
    }
    for assignment in assignment_ids:
        yield build_command(course, "configure_assignment", settings, assignment)


def first_grade_commands(course: int, students: int, assignment_ids: Iterable[int]) -> Iterator[Json]:
    """Build a first provisional grade of every student; the nth student's is the assignment's nth."""
    for assignment in assignment_ids:
        for student in range(students):
            yield grade_command(course, assignment, FIRST_STUDENT + student, student % 101, GRADER)


def grade_command(course: int, assignment: int, student: int, score: int, actor: int) -> Json:
    """Build a provisional grade."""
    return build_command(course, "record_provisional_grade", {"student_id": student, "score": score}, assignment, actor)


def publish_command(course: int, assignment: int) -> Json:
    """Build the command that publishes an assignment's grades."""
    return build_command(course, "publish_provisional_grades", {}, assignment, FINAL_GRADER)


def mixed_command(courses: Sequence[Course], number: int) -> Json:
    """Build the command with this number: 60 % grades, 20 % selections, 10 % comments, 10 % refusals."""
    turn, course_index = divmod(number, len(courses))
    course = courses[course_index]
    assignment = course.course_id * 100 + turn // 10 % len(course.stream_numbers)
    first_selected = course.students - course.students // SELECTED_SHARE
    student = turn * 7919 % first_selected
    match turn % 10:
        case 2 | 6:
            selected_index = first_selected + turn * 7919 % (course.students - first_selected)
            data: Json = {
                "provisional_grade_id": course.stream_numbers[assignment] * IDS_PER_ASSIGNMENT + selected_index + 1
            }
            return build_command(course.course_id, "select_provisional_grade", data, assignment, FINAL_GRADER)
        case 4:
            data = {"student_id": FIRST_STUDENT + student, "comment": "See the margin."}
            return build_command(course.course_id, "record_provisional_comment", data, assignment, SECOND_GRADER)
        case 8:
            unenrolled_user = FIRST_STUDENT + student
            return grade_command(course.course_id, assignment, unenrolled_user, turn % 101, unenrolled_user)
        case 1 | 5 | 9:
            return grade_command(course.course_id, assignment, FIRST_STUDENT + student, turn % 101, SECOND_GRADER)
        case _:
            return grade_command(course.course_id, assignment, FIRST_STUDENT + student, turn % 101, GRADER)


def mixed_records(
    courses: Sequence[Course], count: int, token: Callable[[Json], str] | None = None, first_number: int = 0
) -> list[ProducerRecord]:
    """Build records of mixed commands; one in twenty is sent twice. ``token`` creates each bearer token."""
    records: list[ProducerRecord] = []
    for number in range(first_number, first_number + count):
        new_record = build_record(mixed_command(courses, number), token)
        records.append(records[-10] if number % 20 == 19 and len(records) >= 10 else new_record)
    return records


def encode_command(command: Json) -> bytes:
    """Return the value of a command's record."""
    return json.dumps(command).encode()


def build_record(command: Json, token: Callable[[Json], str] | None = None) -> ProducerRecord:
    """Build the record of a command."""
    headers: list[tuple[str, str | bytes | None]] = []
    if token is not None:
        headers.append(("authorization", f"Bearer {token(command)}".encode()))
    return ProducerRecord(command["course_id"].encode(), encode_command(command), headers)
