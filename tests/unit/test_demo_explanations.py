"""The demo notices every explanation that differs from the records on the topics."""

import copy
from typing import Any

import pytest

from deploy.season.explanations import expected_phrases, find_differences
from deploy.season.sample_data import CLASS_POLICY

Json = dict[str, Any]


def event(version: int, event_type: str, user: int, payload: Json) -> Json:
    return {"type": event_type, "stream_version": version, "user_id": str(user), "payload": payload}


def mark(version: int, user: int, number: int, score: float) -> Json:
    payload = {"id": str(number), "score": score, "grade": f"{score:g}", "final": False, "graded_at": "2026-01-01"}
    return event(version, "provisional_grade_created", user, payload)


def adjudicated(version: int, *marks: float, failed: tuple[str, ...] = ()) -> Json:
    payload = {
        "policy": CLASS_POLICY, "outcome": "agreed", "score": 61, "failed": list(failed), "missing": 0,
        "comparisons": [], "provisional_grade_id": "9", "marks": [{"score": score} for score in marks or (60, 62)],
    }  # fmt: skip
    return event(version, "provisional_grade_adjudicated", 11, payload)


def published(version: int, number: int, old: float | None, score: float) -> Json:
    payload = {"provisional_grade_id": str(number), "score": [old, score], "grade": [old, f"{score:g}"]}
    return event(version, "grade_published", 11, {**payload, "entered_score": score})


def revised(version: int) -> Json:
    payload = {"score": [61, 63], "grade": ["61", "63"], "excused": [False, False], "reason": "Appeal: page 3"}
    return event(version, "grade_revised", 11, payload)


def grade_change(sequence: int, score: float) -> Json:
    headers = {"ce_id": f"id-{sequence}", "ce_sequence": f"{sequence:020}"}
    return {"headers": headers, "body": {"score": score, "grade": f"{score:g}"}}


def row(domain_event: Json, details: Json, sequence: int | None = None) -> Json:
    return {
        "event_type": domain_event["type"],
        "version": domain_event["stream_version"],
        "actor": {"user_id": int(domain_event["user_id"])},
        "details": details,
        "record": None if sequence is None else {"ce_id": f"id-{sequence}", "sequence": sequence},
    }


COMMENT = event(2, "provisional_grade_created", 21, {"id": "7", "score": None, "grade": None, "graded_at": None})
EVENTS = [COMMENT, mark(3, 21, 7, 60), mark(4, 22, 8, 62), adjudicated(5), published(6, 9, None, 61), revised(7)]
CHANGES = [grade_change(41, 61), grade_change(45, 63)]
EXPLANATION: Json = {
    "score": 63,
    "grade": "63",
    "sentence": "The grade was revised on 2026-01-01 at 12:00 UTC: 63 instead of 61.",
    "trail": [
        row(EVENTS[1], {"provisional_grade_id": 7, "score": 60, "grade": "60", "final": False}),
        row(EVENTS[2], {"provisional_grade_id": 8, "score": 62, "grade": "62", "final": False}),
        row(
            EVENTS[3],
            {"policy": CLASS_POLICY, "outcome": "agreed", "score": 61, "failed": [], "missing": 0, "comparisons": [],
             "provisional_grade_id": 9},
        ),
        row(
            EVENTS[4], {"provisional_grade_id": 9, "score": [None, 61], "grade": [None, "61"], "entered_score": 61}, 41
        ),
        row(
            EVENTS[5],
            {"score": [61, 63], "grade": ["61", "63"], "excused": [False, False], "reason": "Appeal: page 3"},
            45,
        ),
    ],
}  # fmt: skip


def test_explanation_that_agrees_with_the_records_has_no_differences() -> None:
    assert find_differences(EXPLANATION, EVENTS, CHANGES) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["score"], 61),
        (["grade"], "61"),
        (["sentence"], "The grade was revised on 2026-01-01 at 12:00 UTC: 63 instead of 60."),
        (["trail", 0, "details", "score"], 59),
        (["trail", 1, "actor"], {"user_id": 21}),
        (["trail", 2, "details", "provisional_grade_id"], 8),
        (["trail", 3, "details", "provisional_grade_id"], 8),
        (["trail", 3, "record"], None),
        (["trail", 4, "record", "ce_id"], "id-41"),
        (["trail", 4, "details", "reason"], "Appeal: page 4"),
        (["trail", 4, "version"], 8),
    ],
)
def test_explanation_that_differs_in_one_place_is_noticed(path: list[Any], value: Any) -> None:
    explanation = copy.deepcopy(EXPLANATION)
    part: Any = explanation
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert len(find_differences(explanation, EVENTS, CHANGES)) == 1


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        (
            [mark(3, 21, 7, 60), published(6, 7, None, 60)],
            "The grade 60 was published on …, the only grade to publish.",
        ),
        (
            [mark(3, 21, 7, 60), event(4, "provisional_grade_selected", 11, {"id": "7"}), published(6, 7, None, 60)],
            "The grade 60 was published on …, selected by a moderator.",
        ),
        (
            [adjudicated(5), published(6, 9, None, 60)],
            "The grade 60 was published on …, agreed from the marks 60 and 62 by the policy of version 1 (mean).",
        ),
        (
            [adjudicated(5, 60, 61, 20), published(6, 9, None, 60)],
            "The grade 60 was published on …, agreed from the marks 60 and 61 by the policy of version 1 (mean).",
        ),
        (
            [adjudicated(5, 59, 61, 60, 20, failed=("boundaries",)), published(6, 9, None, 60)],
            "The grade 60 was published on …, agreed from the marks 59, 61 and 60 by the policy of version 1 "
            "(mean_of_nearest_two) after the first two did not agree.",
        ),
    ],
)
def test_sentence_must_name_how_the_grade_was_chosen(events: list[Json], sentence: str) -> None:
    def find_sentence_differences(text: str) -> list[str]:
        rows = [row(e, {}, 41 if e["type"] == "grade_published" else None) for e in events]
        explanation = {"score": 60, "grade": "60", "sentence": text, "trail": rows}
        return find_differences(explanation, events, [grade_change(41, 60)])

    assert find_sentence_differences(sentence) == []
    assert find_sentence_differences("The grade 60 was published on …, drawn by lot.")


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        (
            [adjudicated(5, 59, 61, 60, failed=("boundaries",)), published(6, 9, None, 60)],
            "The grade 60 was published on …, agreed from the marks 59, 61 and 60 by the policy of version 1 (mean).",
        ),
        (
            [adjudicated(5, 60, 61, 20), published(6, 9, None, 60)],
            "The grade 60 was published on …, agreed from the marks 60, 61 and 20 by the policy of version 1 (mean).",
        ),
        (
            [{**published(6, 9, None, 60), "payload": {**published(6, 9, None, 60)["payload"], "points_deducted": 2}}],
            "The grade 60 was published on …, the only grade to publish.",
        ),
    ],
)
def test_sentence_that_names_another_rule_other_marks_or_no_deduction_is_noticed(
    events: list[Json], sentence: str
) -> None:
    phrases = expected_phrases(events)
    assert [phrase for phrase in phrases if phrase not in sentence], phrases
