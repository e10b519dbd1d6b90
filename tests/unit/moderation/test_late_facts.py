"""LMS facts about late policies and lateness are stored, and repeating them changes nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest

from services.commands.parse import ParsedCommand, parse
from services.moderation import commands
from services.moderation.late_policy import LatePolicy
from tests.fixtures.command_samples import build_command
from tests.fixtures.in_memory_course import ANN, BEN, COURSE, InMemoryCourse, moderated_course
from tests.unit.moderation.lms_fact_builders import submission_fact


def policy_fact(**stated: Any) -> commands.UpsertCourse:
    return commands.UpsertCourse(fields={"late_policy": stated})


def kept_policy(memory: InMemoryCourse) -> LatePolicy | None:
    assert memory.replay().courses[COURSE].late_policy == memory.courses[COURSE].late_policy
    return memory.courses[COURSE].late_policy


def test_new_late_policy_has_canvas_defaults_and_deducts_nothing() -> None:
    memory = moderated_course()
    assert kept_policy(memory) is None
    memory.expect_accepted(policy_fact())
    assert kept_policy(memory) == LatePolicy(
        late_submission_deduction_enabled=False,
        late_submission_deduction=Decimal(0),
        late_submission_interval="day",
        late_submission_minimum_percent_enabled=False,
        late_submission_minimum_percent=Decimal(0),
    )


def test_field_of_a_late_policy_that_is_left_out_keeps_its_value() -> None:
    memory = moderated_course()
    memory.expect_accepted(policy_fact(late_submission_deduction=Decimal("2.35"), late_submission_interval="hour"))
    memory.expect_accepted(policy_fact(late_submission_deduction_enabled=True))
    assert kept_policy(memory) == LatePolicy(
        late_submission_deduction_enabled=True,
        late_submission_deduction=Decimal("2.35"),
        late_submission_interval="hour",
    )


def test_late_policy_stated_again_changes_nothing() -> None:
    memory = moderated_course()
    fact = policy_fact(late_submission_deduction_enabled=True, late_submission_deduction=Decimal(10))
    (event,) = memory.expect_accepted(fact).events
    assert event.name == "course_updated"
    assert memory.expect_accepted(fact).events == ()
    assert memory.expect_accepted(policy_fact()).events == ()


def test_null_removes_the_late_policy() -> None:
    memory = moderated_course()
    memory.expect_accepted(policy_fact(late_submission_deduction=Decimal(10)))
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": None}))
    assert kept_policy(memory) is None
    memory.expect_accepted(policy_fact(late_submission_deduction_enabled=True))
    policy = kept_policy(memory)
    assert policy is not None
    assert policy.late_submission_deduction == 0


@pytest.mark.parametrize(("stated", "kept"), [("25.223", "25.22"), ("25.225", "25.23"), ("0.005", "0.01"), ("7", "7")])
def test_percentages_of_a_late_policy_are_kept_to_two_decimals(stated: str, kept: str) -> None:
    policy = {"late_submission_deduction": float(stated), "late_submission_minimum_percent": float(stated)}
    parsed = parse(json.dumps(build_command("upsert_course", data={"late_policy": policy})).encode())
    assert isinstance(parsed, ParsedCommand)
    assert isinstance(parsed.command.data, commands.UpsertCourse)
    assert parsed.command.data.fields["late_policy"] == dict.fromkeys(policy, Decimal(kept))


def test_lateness_of_a_submission_is_kept_and_cleared() -> None:
    memory = moderated_course()
    fact = submission_fact(ANN, seconds_late=3_601, late_policy_status="late")
    assert len(memory.expect_accepted(fact).events) == 1
    assert memory.expect_accepted(fact).events == ()
    row = memory.get_submission(ANN)
    assert (row["seconds_late"], row["late_policy_status"], row["workflow_state"]) == (3_601, "late", "unsubmitted")
    memory.expect_accepted(submission_fact(ANN, seconds_late=0, late_policy_status=None))
    row = memory.get_submission(ANN)
    assert (row["seconds_late"], row["late_policy_status"]) == (0, None)
    memory.expect_accepted(submission_fact(ANN, seconds_late=None))
    assert memory.get_submission(ANN)["seconds_late"] is None
    assert memory.get_submission(BEN)["late_policy_status"] is None
    assert memory.replay().snapshot() == memory.snapshot()
