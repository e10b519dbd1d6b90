"""The checker's fold agrees with the states that the rules make of what the load sends, and with nothing else."""

import json

from services.commands.serialization import build_event
from services.moderation.commands import RecordProvisionalGrade
from tests.fixtures.in_memory_course import ANN, BEN, ESSAY, TA1, TA2, InMemoryCourse, moderated_course
from tests.system.faults.checker.fold import FoldedAssignment, describe_difference, fold
from tests.system.faults.checker.observations import TopicRecord


def fold_events(memory: InMemoryCourse) -> FoldedAssignment:
    """Fold the events of the essay as they are published."""
    records: list[TopicRecord] = []
    for command, event, at in memory.log:
        if command.assignment_id != ESSAY:
            continue
        value = build_event(event, command, len(records) + 1, at.isoformat(), is_assignment_event=True)
        headers = {"ce_type": f"moderation.{event.name}.v1"}
        records.append(TopicRecord("events", 0, len(records), "1001", json.dumps(value), headers))
    return fold(records)[f"1/{ESSAY}"]


def graded_course() -> InMemoryCourse:
    """Create a course in which Ann has two grades, one of them given as a text, and then again with another text."""
    memory = moderated_course()
    memory.grade(TA1, ANN, 7)
    for text in ("5", "123"):
        memory.expect_accepted(RecordProvisionalGrade(student_id=ANN, posted_grade=text), TA2)
    return memory


def test_fold_of_grades_is_the_state() -> None:
    memory = graded_course()
    assert describe_difference(fold_events(memory), memory.document()) is None


def test_fold_of_selections_and_publication_is_the_state() -> None:
    memory = graded_course()
    memory.grade(TA1, BEN, "6.5")
    memory.select(memory.document()["provisional_grades"][1]["provisional_grade_id"])
    memory.publish()
    folded, document = fold_events(memory), memory.document()
    assert describe_difference(folded, document) is None
    assert folded.published == {ANN: (123, "123"), BEN: (6.5, "6.5")}
