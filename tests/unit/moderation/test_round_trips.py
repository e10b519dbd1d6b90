"""Written events are read back unchanged."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decide import decide
from services.moderation.decisions import Accepted
from services.moderation.event_payloads import from_payload, to_payload
from services.moderation.events import AssignmentEvent, CourseEvent, Event
from services.moderation.evolve import evolve_assignment
from services.moderation.evolve_course import evolve_course
from services.moderation.state_document import state_document

START = datetime(2026, 1, 1, tzinfo=UTC)
MODERATOR, TA, STUDENTS = 11, 21, (31, 32, 33)


class History:
    """A course and an assignment, and the log of their events."""

    def __init__(self) -> None:
        self.course, self.assignment = self.empty_state()
        self.log: list[tuple[bool, Event]] = []

    @staticmethod
    def empty_state() -> tuple[Course, Assignment]:
        return Course(1, 1001), Assignment(7, b"secret", 1, 1001, 2001)

    def decide(self, data: commands.CommandData, actor: int | None = None) -> Any:
        command = Command(
            command_id="", type="", root_account_id=1, course_id=1001, assignment_id=2001, actor_id=actor, data=data
        )
        decision = decide(command, self.course, self.assignment, at=START + timedelta(seconds=len(self.log)))
        for event in decision.events if isinstance(decision, Accepted) else ():
            self.log.append((isinstance(event, CourseEvent), event))
            apply_event(self.course, self.assignment, *self.log[-1], len(self.log))
        return decision


def apply_event(course: Course, assignment: Assignment, of_course: bool, event: Event, position: int) -> None:
    at = START + timedelta(seconds=position)
    if of_course:
        evolve_course(course, cast(CourseEvent, event), position=position, at=at)
    else:
        evolve_assignment(assignment, cast(AssignmentEvent, event), position=position, at=at)


def enrollment_fact(user: int, kind: str, state: str = "active") -> commands.UpsertEnrollments:
    row = commands.EnrollmentUpsert(user_id=user, type=kind, section_id=None, fields={"state": state})
    return commands.UpsertEnrollments(enrollments=(row,))


def history_with_course() -> History:
    history = History()
    history.decide(commands.UpsertCourse(fields={"name": "Course"}))
    history.decide(enrollment_fact(MODERATOR, "TeacherEnrollment"))
    history.decide(enrollment_fact(TA, "TaEnrollment"))
    for student in STUDENTS:
        history.decide(enrollment_fact(student, "StudentEnrollment"))
    stated = {
        "name": "Essay", "points_possible": Decimal(10), "grading_type": "points", "moderated_grading": True,
        "grader_count": 1, "final_grader_id": MODERATOR,
    }  # fmt: skip
    history.decide(commands.ConfigureAssignment(fields=stated))
    return history


students = some.sampled_from(STUDENTS)
states = some.sampled_from(["active", "completed", "deleted"])
scores = some.decimals(-100, 100, places=2)
lateness = some.builds(
    lambda student, seconds, status: commands.RecordSubmission(
        student_id=student, fields={"attempt": 1, "seconds_late": seconds, "late_policy_status": status}
    ),
    students,
    some.none() | some.integers(0, 100_000),
    some.sampled_from([None, "late", "missing", "extended", "none"]),
)
late_policies = some.builds(
    lambda enabled, percent: commands.UpsertCourse(
        fields={"late_policy": {"late_submission_deduction_enabled": enabled, "late_submission_deduction": percent}}
    ),
    some.booleans(),
    some.decimals(0, 100, places=2),
)
facts = some.one_of(
    lateness,
    late_policies,
    some.builds(enrollment_fact, students, some.just("StudentEnrollment"), states),
    some.builds(
        lambda student, score: commands.RecordSubmission(student_id=student, fields={"score": score}), students, scores
    ),
    some.builds(
        lambda name: commands.ConfigureAssignment(fields=name),
        some.sampled_from([
            {"moderation_set": "selected"}, {"moderation_set": "assigned"}, {"assigned_to": [31, 32]},
            {"assigned_to": None}, {"grader_count": 2}, {"anonymous_grading": True},
        ]),
    ),
)  # fmt: skip
grades = some.builds(
    commands.RecordProvisionalGrade,
    student_id=students,
    score=some.none() | scores,
    excuse=some.none() | some.booleans(),
    final=some.booleans(),
    comment=some.none() | some.text(max_size=5),
)
moderation = some.one_of(
    grades,
    some.builds(commands.SelectProvisionalGrade, provisional_grade_id=some.integers(7 << 20, (7 << 20) + 5)),
    some.builds(commands.SelectStudentsForModeration, student_ids=some.lists(students).map(tuple)),
    some.just(commands.PublishProvisionalGrades()),
)
steps = some.lists(some.tuples(some.one_of(facts, moderation), some.sampled_from([MODERATOR, TA])), max_size=15)


def decode_log(log: list[tuple[bool, Event]]) -> Iterator[tuple[bool, Event]]:
    for of_course, event in log:
        about = {
            "student_id": getattr(event, "student_id", None),
            "submission_id": getattr(event, "submission_id", None),
        }
        yield of_course, from_payload(event.name, to_payload(event), **about)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(steps)
def test_state_replayed_from_the_log_equals_the_cached_state(
    history_steps: list[tuple[commands.CommandData, int]],
) -> None:
    history = history_with_course()
    for data, actor in history_steps:
        history.decide(data, actor)
    course, assignment = History.empty_state()
    for position, (of_course, event) in enumerate(decode_log(history.log), 1):
        apply_event(course, assignment, of_course, event, position)
    assert state_document(course, assignment) == state_document(history.course, history.assignment)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(steps, facts)
def test_repeated_lms_fact_emits_no_event(
    history_steps: list[tuple[commands.CommandData, int]], fact: commands.CommandData
) -> None:
    history = history_with_course()
    for data, actor in history_steps:
        history.decide(data, actor)
    history.decide(fact)
    assert not getattr(history.decide(fact), "events", ())
