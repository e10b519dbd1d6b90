"""Agreement statistics of the marks in an assignment's state."""

import json
import math
import subprocess
from decimal import Decimal
from typing import Any

import pytest

from schemas.agreement import Agreement
from services.agreement.ratings import collect_ratings
from services.agreement.report import agreement_csv, agreement_document, agreement_metrics, get_assignment_ref
from services.agreement.scale import build_scale
from services.agreement.statistics import compute_agreement
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

Json = dict[str, Any]
NONE_SHARED = {"value": None, "count": 0, "reason": "no_shared_works"}


def compute_document(memory: InMemoryCourse, tolerance: Decimal | None = None) -> Json:
    """Build the document of the essay and validate it against its schema."""
    assignment = memory.assignments[ESSAY]
    statistics = compute_agreement(collect_ratings(memory.courses[COURSE], assignment), tolerance)
    document = agreement_document(get_assignment_ref(assignment), statistics)
    assert "NaN" not in json.dumps(document)
    return Agreement.model_validate(document).model_dump()


def find_grader(found: Json, user_id: int) -> Json:
    """Return the statistics of one grader."""
    return next(row for row in found["graders"] if row["user_id"] == user_id)


def course_rated_by_three() -> InMemoryCourse:
    """Build a course with marks out of ten. Ann: 6, 8 and 10; Ben: 5 and 5; Cat: one mark, 7."""
    memory = moderated_course(grader_count=3)
    for user, score in ((TA1, 6), (TA2, 8), (TA3, 10)):
        memory.grade(user, ANN, score)
    for user in (TA1, TA2):
        memory.grade(user, BEN, 5)
    memory.grade(TA1, CAT, 7)
    return memory


def test_rates_cover_all_rating_pairs_of_each_submission() -> None:
    document = compute_document(course_rated_by_three(), tolerance=Decimal(2))

    assert (document["marks"], document["works"], document["works_shared"]) == (6, 3, 2)
    assert document["exact_rate"] == {"value": 0.25, "count": 4, "reason": None}
    assert document["within_tolerance_rate"] == {"value": 0.75, "count": 4, "reason": None}
    assert [(bar["up_to"], bar["pairs"]) for bar in document["distances"]] == [
        (0, 1), (2, 2), (4, 1), (6, 0), (8, 0), (None, 0),
    ]  # fmt: skip


def test_default_tolerance_is_a_twentieth_of_the_points() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, "6")
    memory.grade(TA2, ANN, "6.5")

    assert compute_document(memory)["tolerance"] == 0.5
    assert str(build_scale(memory.courses[COURSE], memory.assignments[ESSAY]).default_tolerance) == "0.5"
    assert compute_document(memory)["within_tolerance_rate"]["value"] == 1
    assert compute_document(memory, Decimal("0.4"))["within_tolerance_rate"]["value"] == 0


def test_grader_difference_is_signed_and_relative_to_the_mean_of_the_others() -> None:
    document = compute_document(course_rated_by_three())

    strict, generous = find_grader(document, TA1), find_grader(document, TA3)
    assert strict["difference_from_others"]["mean"] == {"value": -1.5, "count": 2, "reason": None}
    assert strict["difference_from_others"]["standard_deviation"]["value"] == pytest.approx(math.sqrt(4.5), abs=1e-6)
    assert generous["difference_from_others"]["mean"] == {"value": 3, "count": 1, "reason": None}
    assert generous["difference_from_others"]["standard_deviation"]["reason"] == "one_work"
    assert generous["difference_from_decided"]["mean"]["reason"] == "nothing_decided"


def test_decided_score_is_the_selection_or_else_the_final_grade() -> None:
    memory = course_rated_by_three()
    memory.grade(FINAL_GRADER, ANN, 9, final=True)

    by_final = compute_document(memory)
    assert FINAL_GRADER not in [row["user_id"] for row in by_final["graders"]]
    assert find_grader(by_final, TA1)["difference_from_decided"]["mean"] == {"value": -3, "count": 1, "reason": None}

    own = next(g for g in memory.document()["provisional_grades"] if (g["student_id"], g["scorer_id"]) == (ANN, TA2))
    memory.select(own["provisional_grade_id"])
    by_choice = compute_document(memory)
    assert find_grader(by_choice, TA1)["difference_from_decided"]["mean"]["value"] == -2
    assert find_grader(by_choice, TA2)["difference_from_decided"]["mean"]["value"] == 0
    assert [row["selected"] for row in by_choice["graders"]] == [0, 1, 0]


def test_only_current_entered_scores_count_as_ratings() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 6)
    memory.grade(TA2, ANN, 8)
    memory.grade(TA2, ANN, 7)
    memory.comment(TA2, BEN)
    memory.grade(TA1, BEN, 4)
    memory.grade(TA1, CAT, 4)
    memory.grade(TA1, CAT, posted_grade="")

    document = compute_document(memory)

    assert document["marks"] == 3
    (pair,) = document["pairs"]
    assert (pair["user_ids"], pair["works"], pair["difference"]["mean"]["value"]) == ([TA1, TA2], 1, -1)


def test_ratings_of_removed_students_still_count() -> None:
    memory = course_rated_by_three()
    before = compute_document(memory)
    memory.enroll(ANN, "Student", "deleted")

    after = compute_document(memory)

    assert {**after, "version": 0} == {**before, "version": 0}


def test_letter_grades_are_compared_by_band_distance() -> None:
    memory = moderated_course(grading_type="letter_grade", points_possible=Decimal(100))
    for student, (one, other) in {ANN: (84, 86), BEN: (86, 87), CAT: (70, 95)}.items():
        memory.grade(TA1, student, one)
        memory.grade(TA2, student, other)

    document = compute_document(memory)

    assert document["categories"] == ["F", "D-", "D", "D+", "C-", "C", "C+", "B-", "B", "B+", "A-", "A"]
    assert document["level_of_measurement"] == "ordinal"
    assert document["exact_rate"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    # B and B; B and B+; C- and A: observed 0 + 1 + 49; by chance over all nine pairings of (8, 8, 4) with (8, 9, 11).
    by_chance = sum((one - other) ** 2 for one in (8, 8, 4) for other in (8, 9, 11)) / 9
    assert document["quadratic_weighted_kappa"]["value"] == pytest.approx(1 - (50 / 3) / by_chance, abs=1e-6)


def test_bands_are_compared_if_the_assignment_has_zero_points() -> None:
    memory = moderated_course(grading_type="letter_grade", points_possible=Decimal(0))
    for student, (one, other) in {ANN: ("A", "A"), BEN: ("C", "F")}.items():
        memory.grade(TA1, student, posted_grade=one)
        memory.grade(TA2, student, posted_grade=other)

    document = compute_document(memory)

    assert document["exact_rate"]["value"] == 0.5
    assert document["within_tolerance_rate"]["reason"] == "no_tolerance"
    assert document["quadratic_weighted_kappa"]["value"] is not None
    assert document["distances"] == []


def test_points_outside_the_scale_fall_into_the_outermost_bins() -> None:
    memory = moderated_course()
    marks: dict[int, tuple[str, str]] = {ANN: ("-5", "0"), BEN: ("25", "10"), CAT: ("4", "4.9")}
    for student, (one, other) in marks.items():
        memory.grade(TA1, student, one)
        memory.grade(TA2, student, other)

    document = compute_document(memory)

    assert document["categories"][0] == "0–1"
    assert document["categories"][9] == "9–10"
    assert document["quadratic_weighted_kappa"] == {"value": 1, "count": 3, "reason": None}
    assert document["krippendorff_alpha"]["value"] < 1


@pytest.mark.parametrize(
    ("marks", "reason"),
    [({}, "no_shared_works"), ({TA1: 5}, "no_shared_works"), ({TA1: 5, TA2: 5}, "no_variance")],
)
def test_missing_statistics_have_a_reason(marks: dict[int, int], reason: str) -> None:
    memory = moderated_course()
    for student in (ANN, BEN, CAT):
        for user, score in marks.items():
            memory.grade(user, student, score)

    document = compute_document(memory)

    for name in ("quadratic_weighted_kappa", "krippendorff_alpha", "intraclass_correlation"):
        assert (document[name]["value"], document[name]["reason"]) == (None, reason)
    if len(marks) < 2:
        assert document["exact_rate"] == document["within_tolerance_rate"] == NONE_SHARED


def test_points_without_a_maximum_have_no_tolerance_or_categories() -> None:
    memory = moderated_course(points_possible=Decimal(0))
    for student, (one, other) in {ANN: (4, 5), BEN: (8, 8)}.items():
        memory.grade(TA1, student, one)
        memory.grade(TA2, student, other)

    document = compute_document(memory)

    assert document["within_tolerance_rate"]["reason"] == "no_tolerance"
    assert document["quadratic_weighted_kappa"]["reason"] == "no_categories"
    assert document["krippendorff_alpha"]["value"] is not None


def test_assignment_kappa_weights_each_pair_by_shared_submissions() -> None:
    memory = course_rated_by_three()
    memory.grade(TA3, BEN, 3)
    memory.grade(TA2, CAT, 9)

    document = compute_document(memory)

    known = [(p["quadratic_weighted_kappa"]["value"], p["works"]) for p in document["pairs"]]
    assert [works for _, works in known] == [3, 2, 2]
    assert document["quadratic_weighted_kappa"]["value"] == pytest.approx(sum(k * w for k, w in known) / 7, abs=1e-5)
    assert len({kappa for kappa, _ in known}) == 3


def test_icc_covers_only_submissions_rated_by_all_compared_graders() -> None:
    memory = moderated_course(grader_count=3)
    marks = {ANN: (5, 7, 4), BEN: (3, 4, 4), CAT: (9, 8, None)}
    for student, scores in marks.items():
        for user, score in zip((TA1, TA2, TA3), scores, strict=True):
            if score is not None:
                memory.grade(user, student, score)

    document = compute_document(memory)

    of_pair = {tuple(pair["user_ids"]): pair["intraclass_correlation"] for pair in document["pairs"]}
    few = {"value": None, "interval": None, "count": 2, "reason": "few_works"}
    assert document["intraclass_correlation"] == of_pair[TA1, TA3] == of_pair[TA2, TA3] == few
    # Mean squares: between works 25 / 2, between graders 2 / 3, residual 7 / 6.
    assert of_pair[TA1, TA2]["value"] == pytest.approx((12.5 - 7 / 6) / (12.5 + 7 / 6 + 2 / 3 * (2 / 3 - 7 / 6)))
    low, high = of_pair[TA1, TA2]["interval"]
    assert low < of_pair[TA1, TA2]["value"] < high
    assert of_pair[TA1, TA2]["count"] == 3


def test_pass_fail_grades_have_no_icc() -> None:
    memory = moderated_course(grading_type="pass_fail")
    for student, (one, other) in {ANN: ("pass", "pass"), BEN: ("fail", "fail"), CAT: ("pass", "fail")}.items():
        memory.grade(TA1, student, posted_grade=one)
        memory.grade(TA2, student, posted_grade=other)

    expected = {"value": None, "interval": None, "count": 3, "reason": "no_measurement"}
    assert compute_document(memory)["intraclass_correlation"] == expected


def test_one_shared_submission_yields_no_kappa() -> None:
    document = compute_document(course_rated_by_three())

    alone = [p["quadratic_weighted_kappa"] for p in document["pairs"] if p["works"] == 1]
    assert alone == [{"value": None, "count": 1, "reason": "one_work"}] * 2
    assert document["quadratic_weighted_kappa"]["count"] == 2


def test_csv_and_metrics_contain_the_same_statistics() -> None:
    memory = course_rated_by_three()
    assignment = memory.assignments[ESSAY]
    found, about = (
        compute_agreement(collect_ratings(memory.courses[COURSE], assignment)),
        get_assignment_ref(assignment),
    )

    lines = agreement_csv(about, found).split("\r\n")
    metrics = agreement_metrics(about, found).decode().split("\n")

    assert lines[0] == "assignment_id,version,figure,grader_id,other_grader_id,value,count,reason"
    assert f"{ESSAY},{assignment.version},exact_rate,,,0.25,4," in lines
    assert f"{ESSAY},{assignment.version},difference_from_others_mean,{TA1},,-1.5,2," in lines
    assert f"{ESSAY},{assignment.version},difference_from_decided_mean,{TA1},,,0,nothing_decided" in lines
    labels = f'assignment="{ESSAY}",figure="difference_from_others_mean",grader="{TA1}",other_grader=""'
    assert f"moderation_agreement{{{labels}}} -1.5" in metrics
    assert f"moderation_agreement_compared{{{labels}}} 2.0" in metrics
    assert not any(line.startswith("moderation_agreement{") and "from_decided" in line for line in metrics)


def test_promtool_accepts_the_agreement_metrics() -> None:
    memory = course_rated_by_three()
    assignment = memory.assignments[ESSAY]
    statistics = compute_agreement(collect_ratings(memory.courses[COURSE], assignment))

    text = agreement_metrics(get_assignment_ref(assignment), statistics)
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)

    assert (result.returncode, result.stderr) == (0, b"")
