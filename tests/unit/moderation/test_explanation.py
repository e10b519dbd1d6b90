"""An explanation names the origin of the grade, and hides people whom the reader may not identify."""

from decimal import Decimal
from typing import Any

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.events import AssignmentEvent, GradesPosted
from services.moderation.explanation import Explanation, TrailEntry
from tests.fixtures.in_memory_course import ANN, COURSE, ESSAY, FINAL_GRADER, TA1, TA2, InMemoryCourse, moderated_course


def explain(memory: InMemoryCourse, student: int = ANN) -> dict[str, Any]:
    trail = [
        TrailEntry(event, version, at, command.actor_id, None)
        for version, (command, event, at) in enumerate(memory.log, 1)
        if isinstance(event, AssignmentEvent)
        and (isinstance(event, GradesPosted) or getattr(event, "student_id", None) == student)
    ]
    return Explanation(memory.courses[COURSE], memory.assignments[ESSAY], FINAL_GRADER).document(student, trail)


def adjudicated_course(**settings: Any) -> InMemoryCourse:
    memory = moderated_course(adjudication=AdjudicationPolicy(result="mean"), **settings)
    memory.grade(TA1, ANN, 8)
    memory.grade(TA2, ANN, 9)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    return memory


def test_explanation_of_an_agreed_grade_names_its_marks_and_policy() -> None:
    memory = adjudicated_course()
    assert explain(memory)["sentence"].startswith("No grade is published. Provisional grades entered: 3; ")
    memory.publish()
    explained = explain(memory)
    assert explained["sentence"] == (
        "The grade 8.5 was published on 2026-01-01 at 00:00 UTC, agreed from the marks 8 and 9 by the policy of "
        "version 1 (mean)."
    )
    assert (explained["score"], explained["grade"]) == (8.5, "8.5")


def test_explanation_distinguishes_manual_selection_only_grade_and_revision() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.publish()
    assert "the only grade to publish" in explain(memory)["sentence"]
    chosen = moderated_course()
    chosen.select(chosen.grade(TA1, ANN, 5))
    chosen.publish()
    assert "selected by a moderator" in explain(chosen)["sentence"]
    revision = commands.RevisePublishedGrade(student_id=ANN, score=Decimal(7), reason="Appeal.")
    chosen.expect_accepted(revision, FINAL_GRADER)
    explained = explain(chosen)
    assert explained["sentence"] == "The grade was revised on 2026-01-01 at 00:00 UTC: 7 instead of 5."
    assert explained["trail"][-1]["details"] == {
        "score": [5, 7], "grade": ["5", "7"], "excused": [False, False], "reason": "Appeal.",
    }  # fmt: skip


def test_manual_selection_after_an_adjudication_is_explained_as_manual() -> None:
    memory = adjudicated_course()
    selected = memory.selections()[ANN]
    assert selected is not None
    memory.select(selected)
    memory.publish()
    assert "selected by a moderator" in explain(memory)["sentence"]


def test_trail_lists_every_decision_with_its_actor_and_scores() -> None:
    memory = adjudicated_course()
    memory.comment(TA1, ANN)
    trail = explain(memory)["trail"]
    assert [(row["event_type"], row["actor"]["user_id"]) for row in trail] == [
        ("provisional_grade_created", TA1), ("provisional_grade_created", TA2),
        ("provisional_grade_adjudicated", FINAL_GRADER), ("provisional_grade_created", FINAL_GRADER),
        ("provisional_grade_selected", FINAL_GRADER),
    ]  # fmt: skip
    adjudicated = trail[2]["details"]
    assert [(mark["scorer"]["user_id"], mark["score"]) for mark in adjudicated["marks"]] == [(TA1, 8), (TA2, 9)]
    assert (adjudicated["outcome"], adjudicated["score"], adjudicated["policy"]["result"]) == ("agreed", 8.5, "mean")


def test_hidden_graders_and_students_are_not_named() -> None:
    memory = adjudicated_course(anonymous_grading=True, grader_names_visible_to_final_grader=False)
    explained = explain(memory)
    assert "student_id" not in explained
    slots = memory.assignments[ESSAY].grader_slots
    assert [row["actor"] for row in explained["trail"][:3]] == [
        {"anonymous_grader_id": slots[TA1]}, {"anonymous_grader_id": slots[TA2]}, {"user_id": FINAL_GRADER},
    ]  # fmt: skip
    marks = explained["trail"][2]["details"]["marks"]
    assert [mark["scorer"] for mark in marks] == [{"anonymous_grader_id": slots[grader]} for grader in (TA1, TA2)]
