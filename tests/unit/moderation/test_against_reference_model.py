"""Two independent implementations of Canvas's rules agree on any history of facts and commands."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Accepted, Rejected
from services.moderation.ids import IDS_PER_ASSIGNMENT
from tests.fixtures.in_memory_course import ADMIN, FINAL_GRADER, START, InMemoryCourse, add_admin, moderated_course
from tests.unit.moderation.random_histories import (
    EARLIER_SCHEDULE,
    NEWEST_SCHEDULE,
    TEST_STUDENT,
    TODAYS_DIGEST,
    TYPES,
    Step,
    random_history,
    shrink,
    with_grade_ids,
)
from tests.unit.moderation.reference_grades import exact
from tests.unit.moderation.reference_model import ReferenceModel
from tests.unit.moderation.reference_roster import Enrolled, ReferenceRoster

pytestmark = pytest.mark.slow
HISTORIES_PER_TEST = 50
BLANK_ROW = (None, None, None, None, None, None, False, False, "unsubmitted")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by blocks of seeds, which several workers can share."""
    first, count = (int(metafunc.config.getoption(option)) for option in ("--seed", "--histories"))
    if "seeds" in metafunc.fixturenames:
        starts = range(first, first + count, HISTORIES_PER_TEST)
        blocks = [range(start, min(start + HISTORIES_PER_TEST, first + count)) for start in starts]
        metafunc.parametrize("seeds", blocks, ids=lambda block: f"seeds {block.start} to {block.stop - 1}")


def with_todays_digest(data: commands.CommandData, model: ReferenceModel, actor: int) -> commands.CommandData:
    names_a_plan = commands.PublishProvisionalGrades | commands.SchedulePublication
    if isinstance(data, names_a_plan) and data.plan_digest == TODAYS_DIGEST:
        return replace(data, plan_digest=model.digest(model.to_publish(actor)[0]))
    return data


def with_schedule_id(data: commands.CommandData, sent: list[str]) -> commands.CommandData:
    """Name a schedule by its id; ``sent``: the ids of all commands that scheduled, also of refused ones."""
    if isinstance(data, commands.PublishProvisionalGrades) and data.schedule_id is not None:
        back = {NEWEST_SCHEDULE: 1, EARLIER_SCHEDULE: 2}[data.schedule_id]
        return replace(data, schedule_id=sent[-back] if len(sent) >= back else "of no schedule")
    return data


def grade_number(provisional_grade_id: int | None) -> int | None:
    return None if provisional_grade_id is None else provisional_grade_id - IDS_PER_ASSIGNMENT


def snapshot(memory: InMemoryCourse) -> dict[str, Any]:
    shown = memory.document()
    rows = {
        s["student_id"]: (
            exact(s["score"]), s["grade"], exact(s["entered_score"]), s["entered_grade"], exact(s["points_deducted"]),
            s["grader_id"], s["excused"], s["posted_at"] is not None, s["workflow_state"],
        )
        for s in shown["submissions"]
    }  # fmt: skip
    return {
        "marks": [
            (grade_number(g["provisional_grade_id"]), g["student_id"], g["final"], g["scorer_id"], exact(g["score"]),
             g["grade"], g["graded_at"] is not None)
            for g in shown["provisional_grades"]
        ],
        "set": {
            row["student_id"]: grade_number(row["selected_provisional_grade_id"]) for row in shown["moderation_set"]
        },
        "slots": {grader["user_id"] for grader in shown["moderation_graders"] if grader["slot_taken"]},
        "rulings": {
            row["student_id"]: (row["outcome"], exact(row["score"]), row["failed"], row["missing"])
            for row in shown["adjudications"]
        },
        "stale": {row["student_id"] for row in shown["adjudications"] if row["stale"]},
        "samples": {
            row["student_id"]: row["sample_reasons"] for row in shown["moderation_set"] if row["sample_reasons"]
        },
        "allocation": (
            {row["student_id"]: row["grader_ids"] for row in shown["allocation"]["students"]},
            shown["allocation"]["enforced"],
        ),
        "gradebook": {student: row for student, row in rows.items() if row != BLANK_ROW},
        "published": shown["grades_published_at"] is not None,
        "schedule": read_schedule(shown["scheduled_publication"]),
    }  # fmt: skip


def read_schedule(schedule: Any) -> Any:
    if schedule is None:
        return None
    assert schedule["would_publish"] == (schedule["reason"] is None)
    return schedule["publish_at"], schedule["user_id"], schedule["plan_digest"], schedule["reason"]


def read_answer(data: commands.CommandData, result: Any) -> Any:
    """Return the part of an answer that the reference model gives as well."""
    match data:
        case commands.PlanPublication():
            is_shown = result["reason"] not in ("unauthorized", "not_moderated", "already_published")
            return result["reason"], result["digest"] if is_shown else None
        case commands.AdjudicateProvisionalGrades():
            return [
                (row["student_id"], row["outcome"], exact(row["score"]), grade_number(row["provisional_grade_id"]),
                 row["failed"], row["missing"])
                for row in result["students"]
            ]  # fmt: skip
        case commands.DrawModerationSample():
            reasons = {row["student_id"]: row["reasons"] for row in result["students"]}
            return result["students_with_mark"], result["sample_size"], reasons
        case commands.SchedulePublication() | commands.CancelScheduledPublication():
            return tuple(result[name] for name in ("schedule_id", "publish_at", "user_id", "plan_digest"))
        case commands.AllocateSubmissions():
            return {row["student_id"]: set(row["grader_ids"]) for row in result["students"]}, result["enforced"]
    return None


def told_changes(memory: InMemoryCourse, decision: Accepted) -> list[dict[str, Any]]:
    changes = memory.told(decision)
    for change in changes:
        del change["job_tag"]
        change["old_score"], change["score"] = exact(change["old_score"]), exact(change["score"])
    return changes


def find_difference(history: list[Step]) -> str | None:
    """Run a history through both implementations and return the first difference, None if there is none."""
    memory = moderated_course()
    add_admin(memory, "select_final_grade")
    memory.enroll(TEST_STUDENT, "StudentView")
    rows = {row.key: row for row in (Enrolled(user, type_, None, "active") for user, type_ in TYPES.items())}
    admins = {ADMIN: {"manage_grades", "view_all_grades", "select_final_grade"}}
    model = ReferenceModel(
        ReferenceRoster(rows, admins), FINAL_GRADER, secret=b"secret 2001", first_grade_id=IDS_PER_ASSIGNMENT
    )
    schedule_ids: list[str] = []
    for number, step in enumerate(history, 1):
        at = START + timedelta(seconds=memory.command_count)
        data = with_schedule_id(with_todays_digest(step.data, model, step.actor), schedule_ids)
        command_id = memory.next_command_id
        if isinstance(data, commands.SchedulePublication):
            schedule_ids.append(command_id)
        try:
            decision = memory.submit(with_grade_ids(data), step.actor)
            shown = snapshot(memory)
        except Exception as error:  # noqa: BLE001
            return f"step {number}: {error!r}"
        reason, told = model.apply(data, step.actor, at, command_id)
        for name, rules, reference in (
            ("reason", decision.reason if isinstance(decision, Rejected) else None, reason),
            ("answer", read_answer(data, decision.result) if isinstance(decision, Accepted) else None, model.answer),
            ("grade changes", told_changes(memory, decision) if isinstance(decision, Accepted) else [], told),
            *((name, shown[name], value) for name, value in model.snapshot().items()),
        ):
            if rules != reference:
                return f"step {number}, {name}:\nrules:     {readable(rules)}\nreference: {readable(reference)}"
    return None if memory.replay().snapshot() == memory.snapshot() else "replayed events make another state"


def readable(value: Any) -> Any:
    """Return the value with fractions as numbers."""
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, dict):
        return {name: readable(held) for name, held in value.items()}
    return [readable(held) for held in value] if isinstance(value, list | tuple) else value


def test_rules_agree_with_the_reference_model(seeds: range) -> None:
    for seed in seeds:
        history = random_history(seed)
        if find_difference(history) is not None:
            shortest = shrink(history, lambda part: find_difference(part) is not None)
            steps = "\n".join(f"{number}. {step.actor}: {step.data}" for number, step in enumerate(shortest, 1))
            pytest.fail(f"seed {seed}, in {len(shortest)} steps:\n{steps}\n{find_difference(shortest)}", pytrace=False)


def test_failing_history_is_shrunk_to_the_steps_that_matter() -> None:
    history = random_history(0)
    needed = history[7], history[31], history[32]
    assert shrink(history, lambda part: all(step in part for step in needed)) == list(needed)
