"""A second, simple fold of the events topic, as an integrator would build it from its values alone.

It shares no code with the service, and folds only what a reader of the contract needs: provisional grades, selections,
publication, published grades, and the version.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.system.faults.checker.observations import TopicRecord

Json = dict[str, Any]
NOT_PUBLISHED = (None, None)
"""Score and grade of a submission: in the load nothing but a publication gives it any."""


@dataclass
class FoldedAssignment:
    """``grades``: student, scorer, score and grade by provisional grade; ``published``: score and grade by student."""

    version: int = 0
    published_at: str | None = None
    grades: dict[int, tuple[int, int, float | None, str | None]] = field(default_factory=dict)
    selections: dict[int, int] = field(default_factory=dict)
    published: dict[int, tuple[float | None, str | None]] = field(default_factory=dict)


def fold(records: Iterable[TopicRecord]) -> dict[str, FoldedAssignment]:
    """Fold the records of the events topic, in order; by root account and assignment (``1/2001``)."""
    assignments: dict[str, FoldedAssignment] = {}
    for record in records:
        event = json.loads(record.value)
        if event["assignment_id"] is None:
            continue
        key = f"{event['root_account_id']}/{event['assignment_id']}"
        folded = assignments.setdefault(key, FoldedAssignment())
        # A replay repeats an event, or fills a recreated topic.
        if not record.is_replay or event["stream_version"] > folded.version:
            _apply(folded, record.headers["ce_type"].split(".")[1], event)
    return assignments


def _apply(folded: FoldedAssignment, name: str, event: Json) -> None:
    payload, student = event["payload"], event["student_id"] and int(event["student_id"])
    folded.version = event["stream_version"]
    match name:
        case "provisional_grade_created":
            scorer = int(payload["scorer_id"])
            folded.grades[int(payload["id"])] = (student, scorer, payload["score"], payload["grade"])
        case "provisional_grade_updated":
            student, scorer, score, grade = folded.grades[int(payload["id"])]
            new = {name: payload[name][1] for name in ("scorer_id", "score", "grade") if payload.get(name) is not None}
            folded.grades[int(payload["id"])] = (
                student,
                int(new.get("scorer_id", scorer)),
                new.get("score", score),
                new.get("grade", grade),
            )
        case "provisional_grade_selected":
            folded.selections[int(payload["student_id"])] = int(payload["id"])
        case "grade_published":
            folded.published[student] = (payload["score"][1], payload["grade"][1])
        case "grades_posted":
            folded.published_at = payload["grades_published_at"][1]


def describe_difference(folded: FoldedAssignment, document: Json) -> str | None:
    """Describe how a served state document differs from the fold; None if they agree.

    In the load no student leaves the moderation set.
    """
    if document["version"] != folded.version:
        return f"version {document['version']}, the events end at {folded.version}"
    if (document["grades_published_at"] is None) != (folded.published_at is None):
        return f"grades_published_at {document['grades_published_at']}, by the events {folded.published_at}"
    served = {
        int(grade["provisional_grade_id"]): (
            int(grade["student_id"]),
            int(grade["scorer_id"]),
            grade["score"],
            grade["grade"],
        )
        for grade in document["provisional_grades"]
    }
    if served != folded.grades:
        different = sorted(n for n in served.keys() | folded.grades.keys() if served.get(n) != folded.grades.get(n))[0]
        return f"provisional grade {different} is {served.get(different)}, by the events {folded.grades.get(different)}"
    selections = {int(r["student_id"]): _selected_grade(r) for r in document["moderation_set"]}
    for student in sorted(selections.keys() | folded.selections.keys()):
        selected = folded.selections.get(student)
        if selections.get(student) != selected:
            return f"student {student} has grade {selections.get(student)} selected, by the events {selected}"
    submissions = {int(row["student_id"]): (row["score"], row["grade"]) for row in document["submissions"]}
    for student in sorted(submissions.keys() | folded.published.keys()):
        published = folded.published.get(student, NOT_PUBLISHED)
        if submissions.get(student) != published:
            return f"student {student} has {submissions.get(student)}, published was {published}"
    return None


def _selected_grade(row: Json) -> int | None:
    selected = row["selected_provisional_grade_id"]
    return None if selected is None else int(selected)
