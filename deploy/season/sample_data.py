"""Commands of a grading season: two courses, six assignments, 120 students, four graders per course."""

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
FIRST_NAMES = [
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
STAFF_NAMES = ["Vera Moss", "Noor Haddad", "Tom Okafor", "Ines Ruiz"]
LAST_NAMES = ["Abel", "Brandt", "Costa", "Diaz", "Evans", "Fischer"]


@dataclass(frozen=True)
class Assignment:
    """``grade_texts``: the grades that graders enter, in the form of the grading type.

    ``policy``: the adjudication policy of an assignment whose moderation set is a sample.
    """

    number: int
    name: str
    grading_type: str
    points: int
    grade_texts: tuple[str, ...] = ()
    policy: Json | None = None


CLASS_POLICY: Json = {
    "marks": 2,
    "boundaries": ["40", "50", "60", "70"],
    "result": "mean",
    "otherwise": "third_mark",
    "third": "mean_of_nearest_two",
}


COURSES = {
    "Modern History": (
        Assignment(1, "Essay: The Long Century", "points", 40, tuple(str(n / 2) for n in range(30, 80))),
        Assignment(2, "Source Criticism", "percent", 20, tuple(f"{n}%" for n in range(45, 100))),
        Assignment(3, "Oral Examination", "letter_grade", 100, ("A", "A-", "B+", "B", "B-", "C+", "C", "D", "F")),
        Assignment(6, "Dissertation", "points", 100, policy=CLASS_POLICY),
    ),
    "Organic Chemistry": (
        Assignment(4, "Lab Portfolio", "gpa_scale", 30, ("4.0", "3.0", "2.0", "1.0", "0")),
        Assignment(5, "Safety Certificate", "pass_fail", 10, ("complete", "complete", "complete", "incomplete")),
    ),
}
GPA_SCHEME = [["4.0", 0.9], ["3.0", 0.8], ["2.0", 0.7], ["1.0", 0.6], ["0", 0]]


@dataclass
class Course:
    """People and ids of one course."""

    course_id: int
    name: str
    assignments: tuple[Assignment, ...]
    students: list[int]
    graders: list[int]
    final_grader: int
    names: dict[int, str] = field(default_factory=dict)
    grades: dict[tuple[int, int], list[int]] = field(default_factory=dict)


class SampleData:
    """Generates the commands. The same ``seed`` makes the same season; ids start at ``base_id``, unique per season."""

    def __init__(self, base_id: int, seed: int) -> None:
        self.base_id = base_id
        self.rng = random.Random(seed)
        self.courses = [self._create_course(number, name) for number, name in enumerate(COURSES)]

    def _create_course(self, number: int, name: str) -> Course:
        first_user_id = self.base_id + 1_000 * (number + 1)
        students = [first_user_id + 100 + student for student in range(60)]
        return Course(
            self.base_id + number + 1,
            name,
            COURSES[name],
            students,
            [first_user_id + n for n in (1, 2, 3)],
            first_user_id,
        )

    def assignment_id(self, number: int) -> int:
        """Return the id of an assignment."""
        return self.base_id + 500 + number

    def build_command(
        self, course: Course, type_: str, data: Json, assignment: int | None = None, actor: int | None = None
    ) -> Json:
        """Build a command with a new id."""
        command: Json = {
            "command_id": str(uuid.uuid4()),
            "type": type_,
            "issued_at": datetime.now(UTC).isoformat(),
            "root_account_id": "1",
            "course_id": str(course.course_id),
            "correlation_id": f"season-{self.base_id}",
            "data": data,
        }
        if assignment is not None:
            command["assignment_id"] = str(self.assignment_id(assignment))
        if actor is not None:
            command["actor"] = {"user_id": str(actor)}
        return command

    def lms_facts(self) -> Iterator[Json]:
        """Yield rosters, assignments, submissions and some resubmissions."""
        for course in self.courses:
            course_fields = {
                "name": course.name,
                "account_id": "1",
                "root_account_uuid": "q7TfG2mZr0XbLwYh3KsVn5PdAeUc8JiOx1NtRz4M",
            }
            yield self.build_command(course, "upsert_course", course_fields)
            names = [f"{first} {last}" for last in LAST_NAMES for first in FIRST_NAMES]
            student_names = names[:60] if course is self.courses[0] else names[60:]
            users: list[Json] = [
                {"user_id": s, "name": name, "sis_user_id": f"S-{s - self.base_id}"}
                for s, name in zip(course.students, student_names, strict=True)
            ]
            people = (course.final_grader, *course.graders)
            users += [{"user_id": p, "name": name} for p, name in zip(people, STAFF_NAMES, strict=True)]
            course.names = {user["user_id"]: user["name"] for user in users}
            yield self.build_command(course, "upsert_users", {"users": users})
            staff = [(course.final_grader, "TeacherEnrollment"), *((g, "TaEnrollment") for g in course.graders)]
            members = [*staff, *((student, "StudentEnrollment") for student in course.students)]
            rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in members]
            yield self.build_command(course, "upsert_enrollments", {"enrollments": rows})
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
                    settings["grading_scheme"] = GPA_SCHEME
                if assignment.policy is not None:
                    settings |= {"moderation_set": "selected", "adjudication": assignment.policy}
                yield self.build_command(course, "configure_assignment", settings, assignment.number)
                for student in course.students:
                    for attempt in (1, 2) if self.rng.random() < 0.1 else (1,):
                        submission = {
                            "student_id": student,
                            "attempt": attempt,
                            "submitted_at": datetime.now(UTC).isoformat(),
                        }
                        yield self.build_command(course, "record_submission", submission, assignment.number)

    def grading_commands(self) -> Iterator[tuple[Course, int, int, Json]]:
        """Yield (course, assignment, student, command): one or two grades per student, and some comments.

        Assignments with a policy are left out: their marks depend on the sample.
        """
        for course in self.courses:
            for assignment in course.assignments:
                if assignment.policy is not None:
                    continue
                for student in course.students:
                    sample = self.rng.random()
                    for grader in self.rng.sample(course.graders, 2 if sample < 0.25 else 1):
                        grade: Json = {"student_id": student, "posted_grade": self.rng.choice(assignment.grade_texts)}
                        if sample > 0.8:
                            grade["comment"] = "See my notes in the margin."
                        command = self.build_command(
                            course, "record_provisional_grade", grade, assignment.number, grader
                        )
                        yield course, assignment.number, student, command
                    if sample > 0.9:
                        comment = {"student_id": student, "comment": "A second look is worth it."}
                        command = self.build_command(
                            course, "record_provisional_comment", comment, assignment.number, course.final_grader
                        )
                        yield course, assignment.number, student, command

    def publish_command(self, course: Course, assignment: Assignment, actor: int) -> Json:
        """Return the command to publish an assignment's grades."""
        return self.build_command(course, "publish_provisional_grades", {}, assignment.number, actor)


def encode_command(command: Json) -> bytes:
    """Return the value of the record."""
    return json.dumps(command).encode()
