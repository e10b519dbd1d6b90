"""A grading office in memory: rules alone; its log is a list and its clock moves a second a command."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decide import decide
from services.moderation.decisions import Accepted, Decision, Rejected
from services.moderation.event_payloads import from_payload, to_payload
from services.moderation.events import AssignmentEvent, CourseEvent, Event
from services.moderation.evolve import evolve_assignment, evolve_course
from services.moderation.state_document import state_document

Json = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
COURSE, ESSAY = 1001, 2001
FINAL_GRADER, TEACHER, TA1, TA2, TA3 = 11, 12, 21, 22, 23
ANN, BEN, CAT = 31, 32, 33
ADMIN = 41
STRANGER = 99


class InMemoryCourse:
    """Courses and assignments of one root account, all in one shard."""

    def __init__(self) -> None:
        self.courses: dict[int, Course] = {}
        self.assignments: dict[int, Assignment] = {}
        self.log: list[tuple[Command, Event, datetime]] = []
        self.command_count = 0

    def decide(self, command: Command) -> Decision:
        """Decide and, if accepted, apply."""
        at = START + timedelta(seconds=self.command_count)
        self.command_count += 1
        course = self.courses.get(command.course_id) or Course(1, command.course_id)
        assignment = self._assignment(command)
        decision = decide(command, course, assignment, at=at)
        if isinstance(decision, Accepted):
            for event in decision.events:
                self.log.append((command, event, at))
                apply_event(self.courses, self.assignments, course, assignment, event, len(self.log), at)
        return decision

    def _assignment(self, command: Command) -> Assignment | None:
        number = command.assignment_id
        if number is None:
            return None
        held = self.assignments.get(number)
        return held or Assignment(len(self.assignments) + 1, b"secret %d" % number, 1, command.course_id, number)

    def submit(
        self, data: commands.CommandData, actor: int | None = None, assignment: int = ESSAY, course: int = COURSE
    ) -> Decision:
        """Decide one command about a course and an assignment."""
        number = None if isinstance(data, commands.CourseFact) else assignment
        return self.decide(
            Command(
                command_id="",
                type="",
                root_account_id=1,
                course_id=course,
                assignment_id=number,
                actor_id=actor,
                data=data,
            )
        )

    def expect_accepted(
        self, data: commands.CommandData, actor: int | None = None, assignment: int = ESSAY
    ) -> Accepted:
        """Decide one command that must be accepted."""
        decision = self.submit(data, actor, assignment)
        assert isinstance(decision, Accepted), decision
        return decision

    def expect_rejection(self, data: commands.CommandData, actor: int | None = None, assignment: int = ESSAY) -> str:
        """The reason for which one command is refused; a refusal leaves no trace."""
        before = self.snapshot()
        decision = self.submit(data, actor, assignment)
        assert isinstance(decision, Rejected), decision
        assert self.snapshot() == before
        return decision.reason

    def document(self, assignment: int = ESSAY) -> Json:
        """The state document of an assignment."""
        held = self.assignments[assignment]
        return state_document(self.courses[held.course_id], held)

    def snapshot(self) -> Json:
        """All state documents and stream versions."""
        versions = {number: course.version for number, course in self.courses.items()}
        return {"courses": versions, **{str(number): self.document(number) for number in self.assignments}}

    def replay(self) -> "InMemoryCourse":
        """A second office that knows only what the log's JSON says."""
        other = InMemoryCourse()
        for position, (command, event, at) in enumerate(self.log, 1):
            about = {
                "student_id": getattr(event, "student_id", None),
                "submission_id": getattr(event, "submission_id", None),
            }
            read = from_payload(event.name, json.loads(json.dumps(to_payload(event))), **about)
            course = other.courses.get(command.course_id) or Course(1, command.course_id)
            assignment = other._assignment(command)
            apply_event(other.courses, other.assignments, course, assignment, read, position, at)
        return other

    # What tests ask for again and again.

    def enroll(
        self, user: int, kind: str, state: str = "active", section: int | None = None, **stated: Any
    ) -> Accepted:
        """One enrolment."""
        row = commands.EnrollmentUpsert(
            user_id=user, type=f"{kind}Enrollment", section_id=section, fields={"state": state, **stated}
        )
        return self.expect_accepted(commands.UpsertEnrollments(enrollments=(row,)))

    def configure(self, assignment: int = ESSAY, **stated: Any) -> Accepted:
        """Settings of an assignment."""
        return self.expect_accepted(commands.ConfigureAssignment(fields=stated), assignment=assignment)

    def grade(self, actor: int, student: int, score: int | str | None = None, **fields: Any) -> int:
        """A provisional grade; its id."""
        points = None if score is None else Decimal(score)
        data = commands.RecordProvisionalGrade(student_id=student, score=points, **fields)
        number = self.expect_accepted(data, actor).result["provisional_grade_id"]
        assert isinstance(number, int)
        return number

    def comment(self, actor: int, student: int, text: str = "well", final: bool = False) -> int:
        """A provisional comment; the id of its provisional grade."""
        data = commands.RecordProvisionalComment(student_id=student, comment=text, final=final)
        number = self.expect_accepted(data, actor).result["provisional_grade_id"]
        assert isinstance(number, int)
        return number

    def select(self, number: int, actor: int = FINAL_GRADER) -> Accepted:
        """Choose a provisional grade."""
        return self.expect_accepted(commands.SelectProvisionalGrade(provisional_grade_id=number), actor)

    def publish(self, actor: int = FINAL_GRADER) -> Accepted:
        """Publish the grades."""
        return self.expect_accepted(commands.PublishProvisionalGrades(), actor)

    def get_provisional_grade(self, number: int) -> Json:
        """One provisional grade of the document."""
        found: list[Json] = [g for g in self.document()["provisional_grades"] if g["provisional_grade_id"] == number]
        return found[0]

    def get_submission(self, student: int) -> Json:
        """One submission of the document."""
        found: list[Json] = [s for s in self.document()["submissions"] if s["student_id"] == student]
        return found[0]

    def selections(self) -> dict[int, int | None]:
        """The moderation set: student to chosen provisional grade."""
        return {row["student_id"]: row["selected_provisional_grade_id"] for row in self.document()["moderation_set"]}


def apply_event(
    courses: dict[int, Course],
    assignments: dict[int, Assignment],
    course: Course,
    assignment: Assignment | None,
    event: Event,
    position: int,
    at: datetime,
) -> None:
    """Let the state follow one event."""
    if isinstance(event, CourseEvent):
        courses[course.course_id] = course
        evolve_course(course, event, position=position, at=at)
        return
    assert isinstance(event, AssignmentEvent)
    assert assignment is not None
    assignments[assignment.assignment_id] = assignment
    evolve_assignment(assignment, event, position=position, at=at)


def moderated_course(**settings: Any) -> InMemoryCourse:
    """A course with a final grader, a teacher, three TAs, three students and a moderated essay of 10 points."""
    memory = InMemoryCourse()
    memory.expect_accepted(commands.UpsertCourse(fields={"name": "Course"}))
    for user in (FINAL_GRADER, TEACHER):
        memory.enroll(user, "Teacher")
    for user in (TA1, TA2, TA3):
        memory.enroll(user, "Ta")
    for user in (ANN, BEN, CAT):
        memory.enroll(user, "Student")
    stated = {
        "name": "Essay",
        "points_possible": Decimal(10),
        "grading_type": "points",
        "moderated_grading": True,
        "grader_count": 2,
        "final_grader_id": FINAL_GRADER,
    }
    memory.configure(**{**stated, **settings})
    return memory


def course_with_taken_slots() -> InMemoryCourse:
    """Both slots are taken; Ann's grade by TA1 is selected."""
    memory = moderated_course()
    memory.select(memory.grade(TA1, ANN, 5))
    memory.grade(TA2, ANN, 6)
    return memory


def add_admin(memory: InMemoryCourse, *permissions: str) -> None:
    """Give ADMIN an account-level role."""
    role = commands.AdminUpsert(user_id=ADMIN, permissions=("manage_grades", "view_all_grades", *permissions))
    memory.expect_accepted(commands.UpsertAdmins(admins=(role,)))


def event_names(decision: Accepted) -> list[str]:
    """What happened."""
    return [event.name for event in decision.events]
