"""The quick way of the two most common events leads to the state that the way of all events leads to."""

from collections.abc import Callable
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.eventlog.aggregates import apply_assignment_event, decode_event
from services.eventlog.grade_events import TYPE_VERSION, apply_grade_event
from services.eventlog.stored_events import StoredEvent
from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.event_payloads import to_payload
from services.moderation.events import AssignmentEvent, ProvisionalGradeCreated, ProvisionalGradeUpdated
from services.moderation.evolve import evolve_assignment
from services.moderation.upcasters import UPCASTERS
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    InMemoryCourse,
    moderated_course,
)

QUICK_TYPES = (ProvisionalGradeCreated.name, ProvisionalGradeUpdated.name)
GRADES = some.builds(
    commands.RecordProvisionalGrade,
    student_id=some.sampled_from([ANN, BEN]),
    score=some.none() | some.decimals(0, 12, places=2),
    posted_grade=some.none() | some.sampled_from(["", "7", "62.5%", "0.1"]),
    graded_anonymously=some.none() | some.booleans(),
    final=some.booleans(),
    comment=some.none() | some.just("Well."),
    rubric_assessment=some.none()
    | some.just({"c": {"points": 1.5, "comments": "é", "tags": [True, None, 2**62, 1e300, -0.0]}}),
)
ACTIONS = some.lists(some.tuples(some.sampled_from([TA1, TA2, FINAL_GRADER]), GRADES), max_size=8)


def to_stored_events(memory: InMemoryCourse) -> list[StoredEvent]:
    """The rows of the assignment's events, as the log gives them back."""
    assignment_events = [entry for entry in enumerate(memory.log, 1) if isinstance(entry[1][1], AssignmentEvent)]
    stored_events = []
    for version, (position, (_, event, at)) in enumerate(assignment_events, 1):
        data = {
            "user_id": "21",
            "student_id": format_id(event, "student_id"),
            "submission_id": format_id(event, "submission_id"),
            "stream_version": version,
            "payload": to_payload(event),
        }
        text = orjson.dumps(data).decode()
        stored_events.append(StoredEvent(1, position, version, event.name, TYPE_VERSION, text, "{}", at))
    return stored_events


def format_id(event: Any, name: str) -> str | None:
    return None if getattr(event, name, None) is None else str(getattr(event, name))


def new_assignment() -> Assignment:
    return Assignment(1, b"secret %d" % ESSAY, 1, COURSE, ESSAY)


def fold_every_event(stored_events: list[StoredEvent]) -> Assignment:
    assignment = new_assignment()
    for stored_event in stored_events:
        event = cast(AssignmentEvent, decode_event(stored_event))
        evolve_assignment(assignment, event, position=stored_event.position, at=stored_event.recorded_at)
    return assignment


def fold_quickly(stored_events: list[StoredEvent]) -> Assignment:
    assignment = new_assignment()
    for stored_event in stored_events:
        if stored_event.type in QUICK_TYPES:
            assert apply_grade_event(assignment, stored_event), stored_event
        else:
            apply_assignment_event(assignment, stored_event)
    return assignment


@given(ACTIONS)
def test_grades_fold_to_the_same_state_both_ways(actions: list[tuple[int, commands.RecordProvisionalGrade]]) -> None:
    memory = moderated_course()
    for actor, data in actions:
        memory.submit(data, actor)
    stored_events = to_stored_events(memory)

    quickly, every_event = fold_quickly(stored_events), fold_every_event(stored_events)

    assert quickly == every_event == memory.assignments[ESSAY]
    # Equal numbers may be written differently: 5 and 5.0 are different states to a reader.
    assert repr(quickly) == repr(every_event)


@pytest.mark.parametrize("event_type", QUICK_TYPES)
@pytest.mark.parametrize("change", [{"unknown": 1}, {"id": 5}, {"graded_anonymously": "yes"}])
def test_event_of_another_form_is_left_to_the_way_of_all_events(event_type: str, change: dict[str, Any]) -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, ANN, 6)
    stored_events = to_stored_events(memory)
    number = [event.type for event in stored_events].index(event_type)
    data = orjson.loads(stored_events[number].data)
    data["payload"].update(change)
    changed = stored_events[number]._replace(data=orjson.dumps(data).decode())
    before, assignment = fold_every_event(stored_events[:number]), fold_every_event(stored_events[:number])

    assert not apply_grade_event(assignment, changed)
    assert assignment == before


@pytest.mark.parametrize("event_type", QUICK_TYPES)
def test_stored_form_that_is_read_quickly_is_the_current_one(event_type: str) -> None:
    assert (event_type, TYPE_VERSION) not in UPCASTERS


def test_later_version_of_the_form_is_left_to_the_way_of_all_events() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    stored_events = to_stored_events(memory)
    later = stored_events[-1]._replace(type_version=TYPE_VERSION + 1)

    assert later.type == ProvisionalGradeCreated.name
    assert not apply_grade_event(fold_every_event(stored_events[:-1]), later)


@pytest.mark.parametrize("event_type", QUICK_TYPES)
def test_earlier_version_is_upcast_even_if_its_form_could_be_read_quickly(
    event_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version counts, not the form: here an earlier one stored tenths of points in the fields of today."""

    def convert(score: Any, change: Callable[[int], int]) -> Any:
        return [convert(part, change) for part in score] if isinstance(score, list) else score and change(score)

    def upcast_tenths(payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "score": convert(payload["score"], lambda tenths: tenths // 10)}

    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, ANN, 6)
    stored_events = to_stored_events(memory)
    number = [event.type for event in stored_events].index(event_type)
    before, current = stored_events[:number], stored_events[number]
    data = orjson.loads(current.data)
    data["payload"]["score"] = convert(data["payload"]["score"], lambda points: points * 10)
    earlier = current._replace(type_version=TYPE_VERSION - 1, data=orjson.dumps(data).decode())
    monkeypatch.setitem(UPCASTERS, (event_type, TYPE_VERSION - 1), upcast_tenths)

    assignment = fold_every_event(before)
    apply_assignment_event(assignment, earlier)
    assert assignment == fold_every_event([*before, current])
