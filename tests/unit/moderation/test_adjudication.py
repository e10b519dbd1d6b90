"""Adjudication: what it selects and records, what it keeps, and when it becomes stale."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.adjudication_documents import what_if_document
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.decisions import Accepted, Rejected
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    CAT,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TA3,
    InMemoryCourse,
    event_names,
    moderated_course,
)
from tests.unit.moderation.random_histories import random_history, with_grade_ids

Json = dict[str, Any]
MEAN = AdjudicationPolicy(result="mean")
WITHIN_2 = AdjudicationPolicy(result="mean", within_points=Decimal(2))
THIRD = AdjudicationPolicy(result="mean", within_points=Decimal(1), otherwise="third_mark", third="mean_of_nearest_two")


def adjudicate(memory: InMemoryCourse, *students: int) -> Accepted:
    return memory.expect_accepted(commands.AdjudicateProvisionalGrades(student_ids=students or None), FINAL_GRADER)


def set_policy(memory: InMemoryCourse, policy: AdjudicationPolicy | None) -> Accepted:
    return memory.expect_accepted(commands.SetAdjudicationPolicy(adjudication=policy), FINAL_GRADER)


def row(decision: Accepted, student: int) -> Json:
    return next(
        {k: v for k, v in r.items() if k != "student_id"}
        for r in decision.result["students"]
        if r["student_id"] == student
    )


def adjudicated_course(policy: AdjudicationPolicy = MEAN, **settings: Any) -> InMemoryCourse:
    return moderated_course(**{"grader_count": 3, "adjudication": policy, **settings})


def test_agreed_score_is_selected_if_a_grader_gave_it_and_recorded_otherwise() -> None:
    memory = adjudicated_course()
    grades = {(s, g): memory.grade(g, s, score) for s, g, score in
              ((ANN, TA1, 7), (ANN, TA2, 7), (BEN, TA1, 6), (BEN, TA2, 9), (CAT, TA1, 5))}  # fmt: skip

    decision = adjudicate(memory)

    assert row(decision, ANN) == {"outcome": "agreed", "score": "7", "provisional_grade_id": grades[ANN, TA1],
                                  "failed": [], "missing": 0}  # fmt: skip
    recorded = row(decision, BEN)["provisional_grade_id"]
    assert memory.get_provisional_grade(recorded)["score"] == 7.5
    assert memory.get_provisional_grade(recorded)["final"] is True
    assert memory.get_provisional_grade(recorded)["scorer_id"] == FINAL_GRADER
    assert row(decision, CAT) == {"outcome": "waiting", "score": None, "provisional_grade_id": None, "failed": [],
                                  "missing": 1}  # fmt: skip
    assert memory.selections() == {ANN: grades[ANN, TA1], BEN: recorded, CAT: None}
    assert decision.result["counts"] == {
        "kept": 0,
        "waiting": 1,
        "agreed": 2,
        "needs_third_mark": 0,
        "needs_moderator": 0,
    }
    adjudicated, selected = "provisional_grade_adjudicated", "provisional_grade_selected"
    assert event_names(decision) == [
        adjudicated,
        selected,
        adjudicated,
        "provisional_grade_created",
        selected,
        adjudicated,
    ]
    assert FINAL_GRADER not in {row["user_id"] for row in memory.document()["moderation_graders"]}
    assert adjudicate(memory).events == ()


def test_marks_count_in_the_order_of_their_first_entry() -> None:
    memory = adjudicated_course(AdjudicationPolicy(result="first"))
    memory.comment(TA1, ANN)
    second = memory.grade(TA2, ANN, 8)
    memory.grade(TA1, ANN, 5)
    memory.grade(TA2, ANN, 6)
    assert row(adjudicate(memory), ANN)["provisional_grade_id"] == second


def test_nothing_is_stale_of_a_student_whose_selection_ended() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 7)
    adjudicate(memory)
    memory.grade(TA2, ANN, 8)
    assert is_stale(memory, ANN)
    memory.configure(assigned_to=(BEN, CAT))
    assert not is_stale(memory, ANN)


def test_an_excused_student_is_not_stale_and_is_again_once_the_excusal_is_lifted() -> None:
    memory = adjudicated_course(WITHIN_2)
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 7)
    adjudicate(memory)
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    memory.grade(TA2, ANN, 8)
    adjudicate(memory)
    assert not is_stale(memory, ANN)
    memory.grade(FINAL_GRADER, ANN, posted_grade="")
    assert is_stale(memory, ANN)
    assert row(adjudicate(memory), ANN)["score"] == "7.5"
    assert not is_stale(memory, ANN)
    memory.publish()


def is_stale(memory: InMemoryCourse, student: int) -> bool:
    return any(row["stale"] for row in memory.document()["adjudications"] if row["student_id"] == student)


def test_manual_decisions_are_kept() -> None:
    memory = adjudicated_course()
    for student in (ANN, BEN, CAT):
        for grader, score in ((TA1, 4), (TA2, 6)):
            memory.grade(grader, student, score)
    chosen = memory.grade(TA3, ANN, 9)
    memory.select(chosen)
    memory.grade(FINAL_GRADER, BEN, 8, final=True)
    memory.grade(FINAL_GRADER, CAT, excuse=True)
    before = memory.selections()
    decision = adjudicate(memory)
    assert [row(decision, s)["outcome"] for s in (ANN, BEN, CAT)] == ["kept"] * 3
    assert row(decision, ANN)["provisional_grade_id"] == chosen
    assert memory.selections() == before
    assert set(event_names(decision)) == {"provisional_grade_adjudicated"}
    assert adjudicate(memory).events == ()


def test_third_mark_decides_if_the_first_two_disagree() -> None:
    memory = adjudicated_course(THIRD)
    memory.grade(TA1, ANN, 4)
    memory.grade(TA2, ANN, 8)
    assert row(adjudicate(memory), ANN) == {"outcome": "needs_third_mark", "score": None, "provisional_grade_id": None,
                                            "failed": ["within_points"], "missing": 1}  # fmt: skip
    memory.grade(TA3, ANN, 7)
    decided = row(adjudicate(memory), ANN)
    assert (decided["outcome"], decided["score"], decided["missing"]) == ("agreed", "7.5", 0)


def test_changed_mark_makes_the_adjudication_stale_until_it_is_repeated() -> None:
    memory = adjudicated_course(WITHIN_2)
    memory.grade(TA1, ANN, 6)
    memory.grade(TA2, ANN, 7)
    recorded = row(adjudicate(memory), ANN)["provisional_grade_id"]
    assert memory.document()["adjudications"][0]["stale"] is False

    memory.grade(TA2, ANN, 8)

    assert memory.document()["adjudications"][0]["stale"] is True
    refused = memory.submit(commands.PublishProvisionalGrades(), FINAL_GRADER)
    assert isinstance(refused, Rejected)
    assert refused.reason == "adjudication_stale"
    assert str(ANN) in refused.message
    plan = memory.expect_accepted(commands.PlanPublication(), FINAL_GRADER).result
    assert (plan["reason"], plan["blocked"][0]["reason"]) == ("adjudication_stale", "adjudication_stale")
    assert row(adjudicate(memory), ANN)["score"] == "7"
    assert memory.get_provisional_grade(recorded)["score"] == 7
    plan = memory.expect_accepted(commands.PlanPublication(), FINAL_GRADER).result
    assert plan["students"][0]["chosen_by"] == "adjudication"

    memory.grade(TA2, ANN, 10)
    assert row(adjudicate(memory), ANN)["outcome"] == "needs_moderator"
    assert memory.selections()[ANN] is None
    assert memory.expect_rejection(commands.PublishProvisionalGrades(), FINAL_GRADER) == "selection_required"


@pytest.mark.parametrize(
    "change", [{"points_possible": Decimal(20)}, {"grading_type": "percent"}, {"adjudication": WITHIN_2}]
)
def test_changed_settings_that_an_adjudication_depends_on_make_it_stale(change: Json) -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 6)
    memory.grade(TA2, ANN, 7)
    adjudicate(memory)
    memory.configure(name="Another name", grader_count=4)
    memory.grade(TA1, ANN, 6)
    assert memory.document()["adjudications"][0]["stale"] is False
    memory.configure(**change)
    assert memory.document()["adjudications"][0]["stale"] is True


def test_manual_selection_ends_the_adjudication_and_without_a_policy_nothing_is_stale() -> None:
    memory = adjudicated_course()
    for student in (ANN, BEN, CAT):
        memory.grade(TA1, student, 6)
        memory.grade(TA2, student, 7)
    decision = adjudicate(memory)
    memory.select(row(decision, ANN)["provisional_grade_id"])
    memory.grade(FINAL_GRADER, BEN, 9, final=True)
    for student in (ANN, BEN, CAT):
        memory.grade(TA1, student, 8)
    assert [r["stale"] for r in memory.document()["adjudications"]] == [False, False, True]
    assert [row(adjudicate(memory), s)["outcome"] for s in (ANN, BEN, CAT)] == ["kept", "kept", "agreed"]
    memory.grade(TA1, CAT, 9)
    set_policy(memory, None)
    memory.publish()


@pytest.mark.parametrize(("first", "second"), [(7, 7), (6, 8)])
def test_final_grade_by_hand_is_published_or_asks_for_a_selection_whoever_gave_the_agreed_score(
    first: int, second: int
) -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, first)
    memory.grade(TA2, ANN, second)
    agreed = row(adjudicate(memory), ANN)["provisional_grade_id"]
    final = memory.grade(FINAL_GRADER, ANN, 4, final=True)
    if first == second:
        assert memory.selections()[ANN] is None
        memory.grade(TA2, ANN, 2)
        assert not is_stale(memory, ANN)
        kept = row(adjudicate(memory), ANN)
        assert (kept["outcome"], kept["provisional_grade_id"]) == ("kept", None)
        plan = memory.expect_accepted(commands.PlanPublication(), FINAL_GRADER).result
        assert [(blocked["reason"], final in blocked["provisional_grade_ids"]) for blocked in plan["blocked"]] == [
            ("selection_required", True)
        ]
        memory.select(final)
    else:
        assert memory.selections()[ANN] == agreed == final
    memory.publish()
    assert memory.get_submission(ANN)["score"] == 4
    assert memory.replay().snapshot() == memory.snapshot()


def test_final_grade_by_hand_leaves_selections_by_hand_and_those_without_a_policy() -> None:
    memory = adjudicated_course()
    for student in (ANN, BEN):
        memory.grade(TA1, student, 7)
        memory.grade(TA2, student, 7)
    agreed = {student: row(adjudicate(memory), student)["provisional_grade_id"] for student in (ANN, BEN)}
    memory.select(agreed[ANN])
    memory.grade(FINAL_GRADER, ANN, 4, final=True)
    set_policy(memory, None)
    memory.grade(FINAL_GRADER, BEN, 4, final=True)
    set_policy(memory, MEAN)
    assert [row(adjudicate(memory), student)["outcome"] for student in (ANN, BEN)] == ["kept", "kept"]
    assert {student: memory.selections()[student] for student in (ANN, BEN)} == agreed


def clear_final_grade(memory: InMemoryCourse) -> None:
    memory.grade(FINAL_GRADER, ANN, posted_grade="", final=True)


def test_cleared_final_grade_ends_its_agreed_selection_and_is_agreed_again() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 8)
    first = row(adjudicate(memory), ANN)
    clear_final_grade(memory)
    assert memory.selections()[ANN] is None
    assert memory.expect_rejection(commands.PublishProvisionalGrades(), FINAL_GRADER) == "selection_required"
    assert row(adjudicate(memory), ANN) == first
    memory.publish()
    assert memory.get_submission(ANN)["score"] == 7.5
    assert memory.replay().snapshot() == memory.snapshot()


def test_excusal_through_an_agreed_final_grade_leaves_the_class_publishable() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 8)
    recorded = row(adjudicate(memory), ANN)["provisional_grade_id"]
    memory.grade(FINAL_GRADER, ANN, excuse=True, final=True)
    assert memory.selections()[ANN] == recorded
    assert row(adjudicate(memory), ANN)["outcome"] == "kept"
    memory.publish()
    submission = memory.get_submission(ANN)
    assert (submission["excused"], submission["score"]) == (True, None)
    assert memory.replay().snapshot() == memory.snapshot()


def test_final_grade_that_was_given_by_hand_and_cleared_decides_nothing() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 8)
    final = memory.grade(FINAL_GRADER, ANN, 4, final=True)
    assert row(adjudicate(memory), ANN)["outcome"] == "kept"
    clear_final_grade(memory)
    agreed = row(adjudicate(memory), ANN)
    assert (agreed["outcome"], agreed["score"], agreed["provisional_grade_id"]) == ("agreed", "7.5", final)


def test_clearing_a_final_grade_leaves_the_agreed_selection_of_a_mark() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 8)
    adjudicate(memory)
    memory.grade(TA2, ANN, 7)
    agreed = row(adjudicate(memory), ANN)["provisional_grade_id"]
    assert not memory.get_provisional_grade(agreed)["final"]
    clear_final_grade(memory)
    assert memory.selections()[ANN] == agreed
    assert adjudicate(memory).events == ()
    memory.grade(TA2, ANN, 9)
    assert is_stale(memory, ANN)


def test_without_a_policy_clearing_the_selected_final_grade_leaves_it_selected_by_hand() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 8)
    agreed = row(adjudicate(memory), ANN)["provisional_grade_id"]
    set_policy(memory, None)
    clear_final_grade(memory)
    set_policy(memory, MEAN)
    kept = row(adjudicate(memory), ANN)
    assert (kept["outcome"], kept["provisional_grade_id"]) == ("kept", agreed)


def test_final_comment_leaves_an_agreed_selection() -> None:
    memory = adjudicated_course()
    memory.grade(TA1, ANN, 7)
    memory.grade(TA2, ANN, 7)
    agreed = row(adjudicate(memory), ANN)["provisional_grade_id"]
    memory.comment(FINAL_GRADER, ANN, final=True)
    assert memory.selections()[ANN] == agreed
    assert adjudicate(memory).events == ()


@pytest.mark.parametrize("while_without_policy", [False, True])
def test_bulk_selection_of_exactly_what_was_agreed_is_a_selection_by_hand(while_without_policy: bool) -> None:
    memory = adjudicated_course()
    for student in (ANN, BEN):
        memory.grade(TA1, student, 6)
        memory.grade(TA2, student, 7)
    agreed = row(adjudicate(memory), ANN)["provisional_grade_id"]
    bulk = commands.BulkSelectProvisionalGrades(provisional_grade_ids=(agreed,))
    if while_without_policy:
        set_policy(memory, None)
    chosen = memory.expect_accepted(bulk, FINAL_GRADER)
    assert event_names(chosen) == ["provisional_grade_selected"]
    assert [r["selected_provisional_grade_id"] for r in chosen.result] == [agreed]
    assert memory.expect_accepted(bulk, FINAL_GRADER).events == (), "as in Canvas, once it is chosen by hand"
    set_policy(memory, MEAN)
    for student in (ANN, BEN):
        memory.grade(TA2, student, 9)
    assert [is_stale(memory, student) for student in (ANN, BEN)] == [False, True]
    again = adjudicate(memory)
    assert [row(again, student)["outcome"] for student in (ANN, BEN)] == ["kept", "agreed"]
    assert memory.selections()[ANN] == agreed
    memory.publish()


@pytest.mark.parametrize(
    ("grading_type", "points", "first", "second"),
    [
        ("letter_grade", None, "A", "F"),
        ("gpa_scale", Decimal(0), "A", "B"),
        ("pass_fail", Decimal(0), "complete", "incomplete"),
    ],
)
def test_changed_letter_or_word_without_points_makes_an_adjudication_stale(
    grading_type: str, points: Decimal | None, first: str, second: str
) -> None:
    memory = adjudicated_course(AdjudicationPolicy(result="first"), grading_type=grading_type, points_possible=points)
    for grader in (TA1, TA2):
        memory.grade(grader, ANN, posted_grade=first)
    adjudicate(memory)
    memory.grade(TA2, ANN, posted_grade=first)
    assert not is_stale(memory, ANN)
    memory.grade(TA2, ANN, posted_grade=second)
    assert memory.document()["provisional_grades"][1]["score"] == 0
    assert is_stale(memory, ANN)
    decided = row(adjudicate(memory), ANN)
    assert (decided["outcome"], decided["failed"]) == ("needs_moderator", ["boundaries"])
    assert memory.selections()[ANN] is None
    assert adjudicate(memory).events == ()
    assert memory.replay().snapshot() == memory.snapshot()


def test_adjudication_is_idempotent_keeps_selections_and_equals_its_what_if_in_any_history() -> None:
    outcomes = set()
    for seed in range(30):
        draw = Random(seed)
        memory = adjudicated_course()
        for step in random_history(seed):
            if isinstance(step.data, commands.PublishProvisionalGrades):
                continue
            memory.submit(with_grade_ids(step.data), step.actor)
            if draw.random() < 0.2:
                policy = draw.choice([MEAN, WITHIN_2, THIRD, AdjudicationPolicy(result="first"), None])
                memory.submit(commands.SetAdjudicationPolicy(adjudication=policy), FINAL_GRADER)
            course, assignment = memory.courses[COURSE], memory.assignments[ESSAY]
            if assignment.deleted or assignment.adjudication is None or draw.random() < 0.5:
                continue
            foretold = what_if_document(
                assignment.adjudication, course.visible_sections(FINAL_GRADER), course, assignment
            )
            by_hand = {
                student: grade
                for student, grade in memory.selections().items()
                if grade is not None and not assignment.is_selected_by_adjudication(student)
            }
            gradebook = memory.document()["submissions"]
            decision = memory.submit(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
            if isinstance(decision, Rejected):
                continue
            own = ("student_id", "outcome", "score", "provisional_grade_id", "failed", "missing")
            assert decision.result["students"] == [{name: r[name] for name in own} for r in foretold["students"]]
            assert decision.result["counts"] == foretold["counts"]
            assert by_hand.items() <= memory.selections().items()
            for after, before in zip(memory.document()["submissions"], gradebook, strict=True):
                assert (after["score"], after["grade"]) == (before["score"], before["grade"])
            again = adjudicate(memory)
            assert (again.events, again.result) == ((), decision.result)
            for r in decision.result["students"]:
                outcomes.add(r["outcome"])
                assert memory.selections()[r["student_id"]] == r["provisional_grade_id"]
        assert memory.replay().snapshot() == memory.snapshot()
    assert outcomes == {"kept", "waiting", "agreed", "needs_third_mark", "needs_moderator"}
