"""A season of moderated grading, as commands: two courses, five assignments, 120 students, four graders a course."""

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
FIRST = [
    "Ada",
    "Ben",
    "Cem",
    "Dana",
    "Eli",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jun",
    "Kim",
    "Lea",
    "Max",
    "Nia",
    "Oto",
    "Pia",
    "Quinn",
    "Rosa",
    "Sam",
    "Tia",
]
STAFF = ["Vera Moss", "Noor Haddad", "Tom Okafor", "Ines Ruiz"]
LAST = ["Abel", "Brandt", "Costa", "Diaz", "Evans", "Fischer"]


@dataclass(frozen=True)
class Assignment:
    """``texts``: what graders write, by grading type."""

    number: int
    name: str
    grading_type: str
    points: int
    texts: tuple[str, ...]


COURSES = {
    "Modern History": (
        Assignment(1, "Essay: The Long Century", "points", 40, tuple(str(n / 2) for n in range(30, 80))),
        Assignment(2, "Source Criticism", "percent", 20, tuple(f"{n}%" for n in range(45, 100))),
        Assignment(3, "Oral Examination", "letter_grade", 100, ("A", "A-", "B+", "B", "B-", "C+", "C", "D", "F")),
    ),
    "Organic Chemistry": (
        Assignment(4, "Lab Portfolio", "gpa_scale", 30, ("4.0", "3.0", "2.0", "1.0", "0")),
        Assignment(5, "Safety Certificate", "pass_fail", 10, ("complete", "complete", "complete", "incomplete")),
    ),
}
GPA = [["4.0", 0.9], ["3.0", 0.8], ["2.0", 0.7], ["1.0", 0.6], ["0", 0]]


@dataclass
class Course:
    """People and ids of one course in this season."""

    course_id: int
    name: str
    assignments: tuple[Assignment, ...]
    students: list[int]
    graders: list[int]
    final_grader: int
    grades: dict[tuple[int, int], list[int]] = field(default_factory=dict)


class Season:
    """Draws the commands. ``seed`` makes the same season; ids begin at ``base``, so that seasons do not meet."""

    def __init__(self, base: int, seed: int) -> None:
        self.base = base
        self.chance = random.Random(seed)
        self.courses = [self._course(number, name) for number, name in enumerate(COURSES)]

    def _course(self, number: int, name: str) -> Course:
        people = self.base + 1_000 * (number + 1)
        students = [people + 100 + student for student in range(60)]
        return Course(self.base + number + 1, name, COURSES[name], students, [people + n for n in (1, 2, 3)], people)

    def command(
        self, course: Course, type_: str, data: Json, assignment: int | None = None, actor: int | None = None
    ) -> Json:
        """A command with an id of its own."""
        command: Json = {
            "command_id": str(uuid.uuid4()),
            "type": type_,
            "issued_at": datetime.now(UTC).isoformat(),
            "root_account_id": "1",
            "course_id": str(course.course_id),
            "correlation_id": f"season-{self.base}",
            "data": data,
        }
        if assignment is not None:
            command["assignment_id"] = str(self.base + assignment)
        if actor is not None:
            command["actor"] = {"user_id": str(actor)}
        return command

    def facts(self) -> Iterator[Json]:
        """Rosters, assignments, work handed in (and some of it again)."""
        for course in self.courses:
            stated = {
                "name": course.name,
                "account_id": "1",
                "root_account_uuid": "q7TfG2mZr0XbLwYh3KsVn5PdAeUc8JiOx1NtRz4M",
            }
            yield self.command(course, "upsert_course", stated)
            names = [f"{first} {last}" for last in LAST for first in FIRST]
            half = names[:60] if course is self.courses[0] else names[60:]
            users: list[Json] = [
                {"user_id": s, "name": name, "sis_user_id": f"S-{s - self.base}"}
                for s, name in zip(course.students, half, strict=True)
            ]
            people = (course.final_grader, *course.graders)
            users += [{"user_id": p, "name": name} for p, name in zip(people, STAFF, strict=True)]
            yield self.command(course, "upsert_users", {"users": users})
            staff = [(course.final_grader, "TeacherEnrollment"), *((g, "TaEnrollment") for g in course.graders)]
            everybody = [*staff, *((student, "StudentEnrollment") for student in course.students)]
            rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in everybody]
            yield self.command(course, "upsert_enrollments", {"enrollments": rows})
            for assignment in course.assignments:
                settings: Json = {
                    "name": assignment.name,
                    "points_possible": assignment.points,
                    "moderated_grading": True,
                    "grading_type": assignment.grading_type,
                    "grader_count": 3,
                    "final_grader_id": course.final_grader,
                }
                if assignment.grading_type == "gpa_scale":
                    settings["grading_scheme"] = GPA
                yield self.command(course, "configure_assignment", settings, assignment.number)
                for student in course.students:
                    for attempt in (1, 2) if self.chance.random() < 0.1 else (1,):
                        work = {
                            "student_id": student,
                            "attempt": attempt,
                            "submitted_at": datetime.now(UTC).isoformat(),
                        }
                        yield self.command(course, "record_submission", work, assignment.number)

    def grading(self) -> Iterator[tuple[Course, int, int, Json]]:
        """(course, assignment, student, command): one or two grades for everybody, some remarks without a grade."""
        for course in self.courses:
            for assignment in course.assignments:
                for student in course.students:
                    draw = self.chance.random()
                    for grader in self.chance.sample(course.graders, 2 if draw < 0.25 else 1):
                        grade: Json = {"student_id": student, "posted_grade": self.chance.choice(assignment.texts)}
                        if draw > 0.8:
                            grade["comment"] = "See my notes in the margin."
                        command = self.command(course, "record_provisional_grade", grade, assignment.number, grader)
                        yield course, assignment.number, student, command
                    if draw > 0.9:
                        remark = {"student_id": student, "comment": "A second look is worth it."}
                        command = self.command(
                            course, "record_provisional_comment", remark, assignment.number, course.final_grader
                        )
                        yield course, assignment.number, student, command

    def publication(self, course: Course, assignment: Assignment, actor: int) -> Json:
        """The request to publish."""
        return self.command(course, "publish_provisional_grades", {}, assignment.number, actor)


def encode(command: Json) -> bytes:
    """The record's value."""
    return json.dumps(command).encode()
