"""An explanation names the origin of the grade, and hides people whom the reader may not identify."""

from decimal import Decimal
from typing import Any

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
from tests.fixtures.in_memory_course import ANN, ESSAY, FINAL_GRADER, TA1, TA2, InMemoryCourse, moderated_course
from tests.unit.moderation.lms_fact_builders import DAY1, submission_fact
from tests.unit.moderation.view_helpers import explain


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
        "entered_score": 7, "points_deducted": None,
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


def test_grade_entered_over_a_comment_counts_as_one_entered_grade() -> None:
    memory = moderated_course()
    memory.comment(TA1, ANN)
    memory.comment(TA2, ANN)
    assert "Provisional grades entered: 0; " in explain(memory)["sentence"]
    for score in (8, 9):
        memory.grade(TA1, ANN, score)
    assert "Provisional grades entered: 1; " in explain(memory)["sentence"]


def late_course() -> InMemoryCourse:
    """Build a course in which Ann's work is late and loses a point."""
    memory = moderated_course(adjudication=AdjudicationPolicy(result="mean"))
    policy = {"late_submission_deduction_enabled": True, "late_submission_deduction": Decimal(10)}
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": policy}))
    memory.expect_accepted(submission_fact(ANN, submitted_at=DAY1, attempt=1, seconds_late=3_600))
    for grader in (TA1, TA2):
        memory.grade(grader, ANN, "8.5")
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.publish()
    return memory


def test_points_deducted_for_lateness_are_named_where_a_grade_was_published_or_revised() -> None:
    memory = late_course()
    assert explain(memory)["sentence"] == (
        "The grade 7.5 was published on 2026-01-01 at 00:00 UTC, agreed from the marks 8.5 and 8.5 by the policy of "
        "version 1 (mean), after 1 point was deducted for lateness."
    )
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": {"late_submission_deduction": Decimal(15)}}))
    revision = commands.RevisePublishedGrade(student_id=ANN, score=Decimal(9), reason="Appeal.")
    memory.expect_accepted(revision, FINAL_GRADER)
    explained = explain(memory)
    assert explained["sentence"] == (
        "The grade was revised on 2026-01-01 at 00:00 UTC: 7.5 instead of 7.5, after 1.5 points were deducted for "
        "lateness."
    )
    details = explained["trail"][-1]["details"]
    assert (details["score"], details["entered_score"], details["points_deducted"]) == ([7.5, 7.5], 9, 1.5)


def test_text_that_settings_changed_after_the_publication_is_named() -> None:
    memory = moderated_course(grading_type="percent")
    memory.grade(TA1, ANN, 8)
    memory.publish()
    published = "The grade 80% was published on 2026-01-01 at 00:00 UTC, the only grade to publish"
    assert explain(memory)["sentence"] == f"{published}."
    memory.configure(points_possible=Decimal(20))
    explained = explain(memory)
    assert explained["grade"] == "40%"
    changed = "since the assignment's points, grading type or scheme changed"
    assert explained["sentence"] == f"{published}; it reads 40% {changed}."
    memory.expect_accepted(submission_fact(ANN, score=Decimal(5), grade="25%"))
    assert explain(memory)["sentence"].startswith("The LMS stated the grade on ")
    memory.configure(points_possible=Decimal(10))
    assert explain(memory)["sentence"].endswith(f"; it reads 50% {changed}.")


def test_excusal_that_the_lms_states_is_not_called_a_grade() -> None:
    memory = moderated_course(grading_type="percent")
    memory.grade(TA1, ANN, 8)
    memory.publish()
    memory.configure(points_possible=Decimal(20))
    for excused, fact in ((True, "excused the student"), (False, "ended the excusal")):
        memory.expect_accepted(submission_fact(ANN, excused=excused))
        assert explain(memory)["sentence"] == f"The LMS {fact} on 2026-01-01 at 00:00 UTC."


def test_a_changed_scheme_of_the_course_leaves_the_published_text_and_the_sentence() -> None:
    memory = moderated_course(grading_type="letter_grade")
    memory.grade(TA1, ANN, 8)
    memory.publish()
    before = explain(memory)["sentence"]
    assert before.startswith("The grade B- was published")
    memory.expect_accepted(commands.UpsertCourse(fields={"grading_scheme": (("Pass", Decimal(0)),)}))
    assert (explain(memory)["grade"], explain(memory)["sentence"]) == ("B-", before)
    memory.configure(grading_scheme=(("Merit", Decimal("0.5")), ("Pass", Decimal(0))))
    assert "; it reads Merit since" in explain(memory)["sentence"]
