"""Commands to measure with: rosters, and the mix that graders send."""

import uuid
from typing import Any

COURSES = 24
STUDENTS = 50
Json = dict[str, Any]


def command(course: int, type_: str, data: Json, assignment: int | None = None, actor: int | None = None) -> Json:
    """A command of root account 1."""
    made: Json = {
        "command_id": str(uuid.uuid4()),
        "type": type_,
        "issued_at": "2026-01-01T00:00:00Z",
        "root_account_id": "1",
        "course_id": str(course),
        "data": data,
    }
    if assignment is not None:
        made["assignment_id"] = str(assignment)
    if actor is not None:
        made["actor"] = {"user_id": str(actor)}
    return made


def roster(course: int, students: int) -> list[Json]:
    """A course of so many students with one moderated assignment: the course's id times 10."""
    staff: list[tuple[int, str]] = [(1, "TeacherEnrollment"), (2, "TaEnrollment"), (3, "TaEnrollment")]
    everybody = staff + [(100 + student, "StudentEnrollment") for student in range(students)]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in everybody]
    settings = {
        "name": "Essay",
        "points_possible": 100,
        "grading_type": "points",
        "moderated_grading": True,
        "grader_count": 2,
        "final_grader_id": 1,
    }
    parts = [rows[start : start + 5_000] for start in range(0, len(rows), 5_000)]
    return [
        command(course, "upsert_course", {"name": "Course"}),
        *(command(course, "upsert_enrollments", {"enrollments": part}) for part in parts),
        command(course, "configure_assignment", settings, course * 10),
    ]


def mixed(course: int, number: int, students: int) -> Json:
    """Mostly grades; some remarks, and some refusals."""
    student = 100 + number * 7919 % students
    if number % 20 == 3:
        data: Json = {"student_id": student, "comment": "See the margin."}
        return command(course, "record_provisional_comment", data, course * 10, 3)
    actor = student if number % 20 == 7 else 2
    return command(
        course, "record_provisional_grade", {"student_id": student, "score": number % 101}, course * 10, actor
    )


def many_courses(commands: int) -> list[Json]:
    """Rosters of many courses, then mixed commands about all of them in turn."""
    courses = range(1001, 1001 + COURSES)
    facts = [fact for course in courses for fact in roster(course, STUDENTS)]
    return facts + [mixed(courses[number % COURSES], number, STUDENTS) for number in range(commands)]
