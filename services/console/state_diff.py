"""An assignment's state as rows for the eye, and what differs between two states. ``document``: the contract's JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
CHANGES_MAX = 200
# By which field the items of a list are the same item in both states.
KEYS = {
    "moderation_set": "student_id",
    "moderation_graders": "user_id",
    "provisional_grades": "provisional_grade_id",
    "submissions": "student_id",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A provisional grade. ``chosen``: selected for publication."""

    scorer_id: int
    grade: str | None
    score: float | None
    final: bool
    chosen: bool
    comments: int


@dataclass(frozen=True, slots=True)
class StudentRow:
    """``in_set``: in the moderation set; ``grade``: the gradebook's, with where it stands."""

    student_id: int
    in_set: bool
    marks: tuple[Mark, ...]
    state: str
    grade: str | None
    posted: bool


@dataclass(frozen=True, slots=True)
class Change:
    """``before``, ``after``: None where it was not there."""

    path: str
    before: str | None
    after: str | None


def students_of(document: Json) -> list[StudentRow]:
    """One row a student, in the order of ids."""
    chosen = {row["student_id"]: row["selected_provisional_grade_id"] for row in document["moderation_set"]}
    marks: dict[int, list[Mark]] = {}
    for grade in document["provisional_grades"]:
        student, number = grade["student_id"], grade["provisional_grade_id"]
        is_chosen, comments = chosen.get(student) == number, len(grade["submission_comments"])
        mark = Mark(grade["scorer_id"], grade["grade"], grade["score"], grade["final"], is_chosen, comments)
        marks.setdefault(student, []).append(mark)
    return [
        StudentRow(
            submission["student_id"],
            submission["student_id"] in chosen,
            tuple(marks.get(submission["student_id"], ())),
            "excused" if submission["excused"] else submission["workflow_state"],
            submission["grade"],
            submission["posted_at"] is not None,
        )
        for submission in document["submissions"]
    ]


def changes(before: Json | None, after: Json) -> list[Change]:
    """What differs, one more than CHANGES_MAX at the most; texts of comments are masked."""
    found = []
    for change in _differences("", before or {}, after):
        found.append(change)
        if len(found) > CHANGES_MAX:
            break
    return found


def _differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*after, *(name for name in before if name not in after)]:
            where = f"{path}.{name}" if path else str(name)
            old, new = before.get(name), after.get(name)
            if name in KEYS:
                yield from _differences(where, _keyed(old or [], KEYS[name]), _keyed(new or [], KEYS[name]))
            else:
                yield from _differences(where, old, new)
        return
    yield Change(path, _shown(path, before), _shown(path, after))


def _keyed(items: list[Json], key: str) -> dict[str, Json]:
    return {f"[{item[key]}]": item for item in items}


def _shown(path: str, value: Any) -> str | None:
    if value is None:
        return None
    if path.endswith("submission_comments"):
        return "; ".join(f"{len(comment['comment'])} characters by {comment['author_id']}" for comment in value)
    if isinstance(value, Mapping):
        plain = {name: part for name, part in value.items() if part is not None and not isinstance(part, list)}
        return ", ".join(f"{name} {part}" for name, part in plain.items())
    return str(value)
