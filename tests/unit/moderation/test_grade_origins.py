"""The sentence of an explanation says truly where a published grade came from."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.grade_origin import describe_origin
from services.moderation.publication_plan import build_plan
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
    moderated_course,
)
from tests.unit.moderation.random_histories import random_history, with_grade_ids
from tests.unit.moderation.view_helpers import events_about, explain

MEAN = AdjudicationPolicy(result="mean")
THIRD_STANDS = AdjudicationPolicy(
    result="highest", within_points=Decimal(0), otherwise="third_mark", third="third_stands"
)
NEAREST_TWO = AdjudicationPolicy(
    result="mean",
    boundaries=tuple(map(Decimal, ("40", "50", "60", "70"))),
    otherwise="third_mark",
    third="mean_of_nearest_two",
)


def adjudicated_course(policy: AdjudicationPolicy, *scores: str) -> InMemoryCourse:
    """Build a course in which TAs, then the final grader, marked Ann's work and a policy was applied after each."""
    memory = moderated_course(adjudication=policy, grader_count=3, points_possible=Decimal(100))
    for grader, score in zip((TA1, TA2, TA3, FINAL_GRADER), scores, strict=False):
        memory.grade(grader, ANN, score)
        memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    return memory


def publish_and_explain(memory: InMemoryCourse) -> str:
    """Return what the sentence says about the origin."""
    memory.publish()
    sentence = explain(memory)["sentence"]
    assert sentence.startswith("The grade ")
    return str(sentence).partition(" UTC, ")[2]


@pytest.mark.parametrize(
    ("policy", "scores", "grade", "origin"),
    [
        pytest.param(
            THIRD_STANDS, ("7", "7.5", "2"), "2",
            "agreed from the marks 7, 7.5 and 2 by the policy of version 1 (third_stands) after the first two did not "
            "agree.", id="the third mark decides",
        ),
        pytest.param(
            THIRD_STANDS, ("7", "7.5", "2", "9"), "2",
            "agreed from the marks 7, 7.5 and 2 by the policy of version 1 (third_stands) after the first two did not "
            "agree.", id="a fourth mark counts for nothing",
        ),
        pytest.param(
            NEAREST_TWO, ("69", "71", "70"), "70.5",
            "agreed from the marks 69, 71 and 70 by the policy of version 1 (mean_of_nearest_two) after the first two "
            "did not agree.", id="the rule for three marks",
        ),
        pytest.param(
            NEAREST_TWO, ("60", "61", "20"), "60.5",
            "agreed from the marks 60 and 61 by the policy of version 1 (mean).", id="the first two agree",
        ),
        pytest.param(
            AdjudicationPolicy(result="median"), ("5", "9", "8"), "8",
            "agreed from the marks 5, 9 and 8 by the policy of version 1 (median).", id="all are compared",
        ),
    ],
)  # fmt: skip
def test_agreed_grade_names_the_marks_and_the_rule_that_made_it(
    policy: AdjudicationPolicy, scores: tuple[str, ...], grade: str, origin: str
) -> None:
    memory = adjudicated_course(policy, *scores)
    assert publish_and_explain(memory) == origin
    assert explain(memory)["grade"] == grade


def test_final_grade_entered_by_hand_over_an_adjudicated_one_is_explained_as_entered() -> None:
    memory = adjudicated_course(MEAN, "8", "9")
    memory.grade(FINAL_GRADER, ANN, 3, final=True)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    assert publish_and_explain(memory) == "entered by a moderator."


def test_final_graders_own_mark_that_changed_after_it_was_agreed_is_explained_as_entered() -> None:
    memory = moderated_course(adjudication=AdjudicationPolicy(result="first"))
    for grader in (FINAL_GRADER, TA1):
        memory.grade(grader, ANN, 8)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.expect_accepted(commands.SetAdjudicationPolicy(adjudication=None), FINAL_GRADER)
    memory.grade(FINAL_GRADER, ANN, 5)
    assert publish_and_explain(memory) == "entered by a moderator."


def test_grade_that_was_adjudicated_again_is_explained_as_agreed_from_the_new_marks() -> None:
    memory = adjudicated_course(MEAN, "8", "9")
    memory.grade(TA2, ANN, 10)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.comment(FINAL_GRADER, ANN, final=True)
    assert publish_and_explain(memory).startswith("agreed from the marks 8 and 10 by the policy")


def test_agreed_selection_that_a_final_grade_by_hand_ended_is_explained_as_ended() -> None:
    memory = adjudicated_course(MEAN, "8", "8")
    assert "; none is selected" not in explain(memory)["sentence"]
    final = memory.grade(FINAL_GRADER, ANN, 3, final=True)
    memory.grade(FINAL_GRADER, ANN, 3, final=True)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    ended = "; none is selected, because the agreed selection ended when a final grade was entered by hand."
    assert explain(memory)["sentence"].endswith(ended)
    memory.select(final)
    assert explain(memory)["sentence"].endswith(f"; {final} is selected.")
    assert publish_and_explain(memory) == "selected by a moderator."


def test_agreed_selection_of_a_final_grade_that_was_cleared_is_explained_as_ended() -> None:
    memory = adjudicated_course(MEAN, "8", "9")
    memory.grade(FINAL_GRADER, ANN, posted_grade="", final=True)
    ended = "; none is selected, because the agreed selection ended when the final grade was cleared."
    assert explain(memory)["sentence"].endswith(ended)
    memory.grade(FINAL_GRADER, ANN, posted_grade="", final=True)
    assert explain(memory)["sentence"].endswith(ended)


def test_agreed_selection_that_ended_with_the_assigned_students_is_not_blamed_on_a_final_grade() -> None:
    memory = adjudicated_course(MEAN, "8", "8")
    memory.expect_accepted(commands.SetAdjudicationPolicy(adjudication=None), FINAL_GRADER)
    memory.grade(FINAL_GRADER, ANN, 3, final=True)
    unassign_and_assign(memory)
    assert explain(memory)["sentence"].endswith("; none is selected.")


def test_selection_by_hand_after_a_final_grade_by_hand_is_explained_as_selected() -> None:
    memory = adjudicated_course(MEAN, "8", "9")
    memory.select(memory.grade(FINAL_GRADER, ANN, 3, final=True))
    assert publish_and_explain(memory) == "selected by a moderator."


def test_grade_published_for_want_of_an_entered_one_is_explained_as_such() -> None:
    memory = moderated_course()
    memory.comment(TA1, ANN)
    memory.comment(TA2, ANN)
    assert publish_and_explain(memory) == "because no grade had been entered."
    assert explain(memory)["sentence"].startswith("The grade without a score was published")


def test_selection_that_ended_before_another_grade_was_published_is_not_named() -> None:
    memory = moderated_course()
    memory.select(memory.comment(TA1, ANN))
    memory.configure(assigned_to=(BEN, CAT))
    memory.configure(assigned_to=None)
    memory.grade(TA2, ANN, 6)
    assert publish_and_explain(memory) == "the only grade to publish."


def unassign_and_assign(memory: InMemoryCourse) -> None:
    memory.configure(assigned_to=(BEN, CAT))
    memory.configure(assigned_to=None)


def leave_and_return(memory: InMemoryCourse) -> None:
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student")


@pytest.mark.parametrize("end_selection", [unassign_and_assign, leave_and_return])
def test_selection_that_ended_before_the_same_grade_was_published_is_not_named(
    end_selection: Callable[[InMemoryCourse], None],
) -> None:
    memory = moderated_course()
    memory.select(memory.grade(TA1, ANN, 6))
    end_selection(memory)
    plan = build_plan(memory.courses[COURSE], memory.assignments[ESSAY], None)
    assert [row.chosen_by for row in plan.rows] == ["only_grade"]
    assert publish_and_explain(memory) == "the only grade to publish."


@pytest.mark.parametrize("end_selection", [unassign_and_assign, leave_and_return])
def test_selection_that_ended_after_the_publication_is_named(end_selection: Callable[[InMemoryCourse], None]) -> None:
    memory = moderated_course()
    memory.select(memory.grade(TA1, ANN, 6))
    assert publish_and_explain(memory) == "selected by a moderator."
    end_selection(memory)
    assert explain(memory)["sentence"].endswith(", selected by a moderator.")


def test_origin_agrees_with_the_reason_of_the_publication_plan_in_any_history() -> None:
    seen = set()
    for seed in range(40):
        memory = moderated_course(adjudication=MEAN, grader_count=3)
        for step in random_history(seed):
            memory.submit(with_grade_ids(step.data), step.actor)
            course, assignment = memory.courses[COURSE], memory.assignments[ESSAY]
            if assignment.grades_published_at is not None:
                break
            for planned in build_plan(course, assignment, None).rows:
                origin = describe_origin(
                    planned.chosen.provisional_grade_id, events_about(memory, planned.chosen.student_id)
                )
                kind = "agreed" if origin.startswith("agreed from the marks ") else origin
                if (planned.chosen_by, kind) == ("selection", "agreed"):
                    # It stands as if by hand: the policy was cleared.
                    assert assignment.adjudication is None
                    continue
                seen.add((planned.chosen_by, kind))
    assert seen == {
        ("adjudication", "agreed"),
        ("selection", "selected by a moderator"),
        ("selection", "entered by a moderator"),
        ("only_grade", "the only grade to publish"),
        ("first_of_comments", "because no grade had been entered"),
    }
