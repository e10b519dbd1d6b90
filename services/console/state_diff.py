"""Builds table rows from an assignment's state document, and compares two documents."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
CHANGES_MAX = 200
# The field that identifies a list item in both states; a setting may have the same name as a list.
LIST_KEYS = {
    "moderation_set": "student_id",
    "moderation_graders": "user_id",
    "provisional_grades": "provisional_grade_id",
    "graders": "grader_id",
    "students": "student_id",
    "submissions": "student_id",
}


@dataclass(frozen=True, slots=True)
class GradeCell:
    """A provisional grade; ``is_selected``: it is selected for publication."""

    scorer_id: int
    grade: str | None
    score: float | None
    final: bool
    is_selected: bool
    comment_count: int


@dataclass(frozen=True, slots=True)
class StudentRow:
    """One student; ``state`` and ``grade`` are those of the submission in the gradebook."""

    student_id: int
    in_moderation_set: bool
    grade_cells: tuple[GradeCell, ...]
    state: str
    grade: str | None
    is_posted: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A changed field; ``before`` and ``after`` are None if the field is missing."""

    path: str
    before: str | None
    after: str | None


def build_student_rows(document: Json) -> list[StudentRow]:
    """Build one row per student, ordered by id."""
    selected_grade_ids = {row["student_id"]: row["selected_provisional_grade_id"] for row in document["moderation_set"]}
    cells_by_student: dict[int, list[GradeCell]] = {}
    for grade in document["provisional_grades"]:
        student_id, grade_id = grade["student_id"], grade["provisional_grade_id"]
        is_selected, comment_count = selected_grade_ids.get(student_id) == grade_id, len(grade["submission_comments"])
        cell = GradeCell(grade["scorer_id"], grade["grade"], grade["score"], grade["final"], is_selected, comment_count)
        cells_by_student.setdefault(student_id, []).append(cell)
    return [
        StudentRow(
            submission["student_id"],
            submission["student_id"] in selected_grade_ids,
            tuple(cells_by_student.get(submission["student_id"], ())),
            "excused" if submission["excused"] else submission["workflow_state"],
            submission["grade"],
            submission["posted_at"] is not None,
        )
        for submission in document["submissions"]
    ]


def find_changes(before: Json | None, after: Json) -> list[Change]:
    """List changed fields, at most CHANGES_MAX + 1; comments are shown by length only."""
    found_changes = []
    for change in _iter_changes("", before or {}, after):
        found_changes.append(change)
        if len(found_changes) > CHANGES_MAX:
            break
    return found_changes


def _iter_changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*after, *(name for name in before if name not in after)]:
            child_path = f"{path}.{name}" if path else str(name)
            old, new = before.get(name), after.get(name)
            if child_path in LIST_KEYS:
                yield from _iter_changes(
                    child_path,
                    _index_by_key(old or [], LIST_KEYS[child_path]),
                    _index_by_key(new or [], LIST_KEYS[child_path]),
                )
            else:
                yield from _iter_changes(child_path, old, new)
        return
    yield Change(path, _format_value(path, before), _format_value(path, after))


def _index_by_key(items: list[Json], key: str) -> dict[str, Json]:
    return {f"[{item[key]}]": item for item in items}


def _format_value(path: str, value: Any) -> str | None:
    if value is None:
        return None
    if path.endswith("submission_comments"):
        return "; ".join(f"{len(comment['comment'])} characters by {comment['author_id']}" for comment in value)
    if isinstance(value, Mapping):
        scalars = {name: part for name, part in value.items() if part is not None and not isinstance(part, list)}
        return ", ".join(f"{name} {part}" for name, part in scalars.items())
    return str(value)
