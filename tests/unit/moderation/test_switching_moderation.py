"""Switching moderation and anonymity on and off: refusals, and the effect on their settings."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from services.moderation.event_payloads import to_payload
from tests.fixtures.in_memory_course import ANN, TA1, TEACHER, moderated_course
from tests.unit.moderation.lms_fact_builders import submission_fact


@pytest.mark.parametrize("stated", [{"score": Decimal(5), "grade": "5"}, {"excused": True}, {}])
def test_moderation_cannot_be_switched_off_while_grades_exist(stated: dict[str, Any]) -> None:
    memory = moderated_course()
    memory.comment(TA1, ANN)
    if stated:
        memory.expect_accepted(submission_fact(ANN, **stated))
    else:
        memory.grade(TA1, ANN, 5)
    refused = memory.submit(commands.ConfigureAssignment(fields={"moderated_grading": False}))
    assert isinstance(refused, Rejected)
    assert refused.reason == "moderation_locked"
    assert refused.message == "Moderated grading setting cannot be changed if graded submissions exist"
    assert memory.configure(moderated_grading=True, grader_count=3).events != ()


def test_moderation_can_be_switched_off_while_only_comments_exist() -> None:
    memory = moderated_course()
    memory.comment(TA1, ANN)
    memory.configure(moderated_grading=False)


def test_unmoderated_assignment_has_default_moderation_settings() -> None:
    settings = {
        "final_grader_id": TEACHER,
        "grader_count": 3,
        "graders_anonymous_to_graders": True,
        "grader_names_visible_to_final_grader": False,
        "grader_comments_visible_to_graders": False,
    }
    memory = moderated_course(**settings)
    (event,) = memory.configure(moderated_grading=False).events
    assert to_payload(event) == {
        "moderated_grading": [True, False],
        "final_grader_id": [str(TEACHER), None],
        "grader_count": [3, 0],
        "graders_anonymous_to_graders": [True, False],
        "grader_names_visible_to_final_grader": [False, True],
        "grader_comments_visible_to_graders": [False, True],
    }
    assert memory.configure(**settings).events == ()
    never = moderated_course(moderated_grading=False, **settings)
    assert {name: never.document()["settings"][name] for name in settings} == {
        "final_grader_id": None,
        "grader_count": 0,
        "graders_anonymous_to_graders": False,
        "grader_names_visible_to_final_grader": True,
        "grader_comments_visible_to_graders": True,
    }


@pytest.mark.parametrize(
    ("before", "switched_on"),
    [
        ({"moderated_grading": False}, {"moderated_grading": True, "final_grader_id": TEACHER, "grader_count": 2}),
        ({}, {"anonymous_grading": True}),
    ],
)
def test_switching_on_moderation_or_anonymity_records_all_audited_settings(
    before: dict[str, Any], switched_on: dict[str, Any]
) -> None:
    memory = moderated_course(final_grader_id=TEACHER, grader_count=2, **before)
    (event,) = memory.configure(**switched_on).events
    old = {"moderated_grading": True, "anonymous_grading": False, "grader_count": 2, "final_grader_id": str(TEACHER)}
    old |= {"grader_count": 0, "final_grader_id": None} if before else {}
    assert to_payload(event) == {
        "points_possible": [10, 10],
        "anonymous_grading": [False, "anonymous_grading" in switched_on],
        "moderated_grading": [bool(not before), True],
        "final_grader_id": [old["final_grader_id"], str(TEACHER)],
        "grader_count": [old["grader_count"], 2],
        "grader_names_visible_to_final_grader": [True, True],
        "grader_comments_visible_to_graders": [True, True],
        "graders_anonymous_to_graders": [False, False],
    }
    (later,) = memory.configure(grader_count=5).events
    assert to_payload(later) == {"grader_count": [2, 5]}
