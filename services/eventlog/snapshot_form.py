"""The stored form of an assignment's state: a column for each field of its many rows. Pure.

Values that repeat are stored once, and decoded rows share them, as rows that are folded from events do. Personal texts
are not part of the form: they are taken out of a state and put back. What a state derives on first use is left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from itertools import islice, repeat
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast, get_type_hints

import msgspec

from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.submission import Comment, Submission, TouchedSubmission

Value = TypeVar("Value")
Row = TypeVar("Row")
Texts: TypeAlias = list[Any]
"""The personal texts about a student, in the order of ``_walk_texts``: rubric assessments, and texts of comments."""

DERIVED: Final = frozenset(
    {"generated_anonymous_ids", "students_by_generated_anonymous_id", "ordinal_permutation", "student_list_cache"}
)
_STORED_AS_ROWS: Final = frozenset({"provisional_grades", "grades_by_student", "submissions", "full_submission_count"})
_PERSONAL: Final[Mapping[str, Any]] = {"rubric_assessment": None, "comments": (), "comment": None}
"""Fields with personal texts, with the value that a decoded row has until the texts are put back."""


class Column(msgspec.Struct, Generic[Value], array_like=True, gc=False):
    """The different values of a field, and for each row the index of its value.

    Without ``indices`` each row has a value of its own, or all rows have the only one.
    """

    values: list[Value]
    indices: list[int]


def _define_columns(row_type: type) -> Any:
    """Return a structure with a column for each field of a row that is not personal."""
    hints, column = get_type_hints(row_type), cast(Any, Column)
    names = [field.name for field in fields(row_type) if field.name not in _PERSONAL]
    return msgspec.defstruct(
        f"{row_type.__name__}Columns", [(name, column[hints[name]]) for name in names], array_like=True, gc=False
    )


def _define_rest() -> Any:
    """Return a structure with the fields of an assignment that are neither rows nor derived."""
    hints, left_out = get_type_hints(Assignment), DERIVED | _STORED_AS_ROWS
    names = [field.name for field in fields(Assignment) if field.name not in left_out]
    return msgspec.defstruct("AssignmentRest", [(name, hints[name]) for name in names])


# Structures that are made at run time are no types to a type checker.
_REST: Any = _define_rest()
_GRADES: Any = _define_columns(ProvisionalGrade)
_SUBMISSIONS: Any = _define_columns(Submission)
_TOUCHED: Any = _define_columns(TouchedSubmission)
_COMMENTS: Any = _define_columns(Comment)


class _Form(msgspec.Struct, array_like=True):
    """``students``: those with a submission, in order; ``is_full``: whether theirs is a Submission.

    ``comment_counts``: of each grade, then of each Submission.
    """

    rest: _REST
    grades: _GRADES
    students: list[int]
    is_full: list[bool]
    submissions: _SUBMISSIONS
    touched: _TOUCHED
    comment_counts: Column[int]
    comments: _COMMENTS


def encode_state(assignment: Assignment) -> bytes:
    """Encode a state without its personal texts."""
    grades = list(assignment.provisional_grades.values())
    submissions = list(assignment.submissions.values())
    full = [submission for submission in submissions if isinstance(submission, Submission)]
    touched = [submission for submission in submissions if isinstance(submission, TouchedSubmission)]
    owners: list[ProvisionalGrade | Submission] = [*grades, *full]
    form = _Form(
        _REST(**{name: getattr(assignment, name) for name in _REST.__struct_fields__}),
        _to_columns(_GRADES, grades),
        list(assignment.submissions),
        [isinstance(submission, Submission) for submission in submissions],
        _to_columns(_SUBMISSIONS, full),
        _to_columns(_TOUCHED, touched),
        _to_column([len(owner.comments) for owner in owners]),
        _to_columns(_COMMENTS, [comment for owner in owners for comment in owner.comments]),
    )
    return msgspec.msgpack.encode(form)


def decode_state(data: bytes) -> Assignment:
    """Decode a state; its personal texts are None. Raises msgspec.MsgspecError if it has another form."""
    form = _decode(data)
    rest = {name: getattr(form.rest, name) for name in _REST.__struct_fields__}
    # Each grade has an id of its own.
    grades = _from_columns(ProvisionalGrade, form.grades, len(form.grades.provisional_grade_id.values))
    full_count = sum(form.is_full)
    full = _from_columns(Submission, form.submissions, full_count)
    touched = _from_columns(TouchedSubmission, form.touched, len(form.is_full) - full_count)
    owners: list[ProvisionalGrade | Submission] = [*grades, *full]
    comment_counts = list(_expand(form.comment_counts, len(owners)))
    comments = iter(_from_columns(Comment, form.comments, sum(comment_counts)))
    for owner, count in zip(owners, comment_counts, strict=True):
        if count:
            owner.comments = tuple(islice(comments, count))
    next_full: Iterator[Submission | TouchedSubmission] = iter(full)
    next_touched: Iterator[Submission | TouchedSubmission] = iter(touched)
    assignment = Assignment(**rest, full_submission_count=full_count)
    assignment.submissions = {
        student: next(next_full if is_full else next_touched)
        for student, is_full in zip(form.students, form.is_full, strict=True)
    }
    assignment.provisional_grades = {grade.provisional_grade_id: grade for grade in grades}
    by_student = assignment.grades_by_student
    for grade in grades:
        by_student[grade.student_id] = (*by_student.get(grade.student_id, ()), grade)
    return assignment


def take_texts(assignment: Assignment) -> dict[int, Texts]:
    """Return the personal texts by the student whom they are about; students without any are left out."""
    texts = {
        student: [getattr(holder, name) for holder, name in _walk_texts(assignment, student)]
        for student in assignment.grades_by_student.keys() | assignment.submissions.keys()
    }
    return {student: values for student, values in texts.items() if any(value is not None for value in values)}


def put_texts(assignment: Assignment, student_id: int, texts: Texts) -> None:
    """Put a student's texts back into a decoded state."""
    for (holder, name), text in zip(_walk_texts(assignment, student_id), texts, strict=True):
        setattr(holder, name, text)


def _walk_texts(assignment: Assignment, student_id: int) -> Iterator[tuple[Any, str]]:
    holders: list[ProvisionalGrade | Submission] = list(assignment.grades_by_student.get(student_id, ()))
    submission = assignment.submissions.get(student_id)
    if isinstance(submission, Submission):
        holders.append(submission)
    for holder in holders:
        yield holder, "rubric_assessment"
        for comment in holder.comments:
            yield comment, "comment"


def _to_columns(columns_type: type[msgspec.Struct], rows: Sequence[Any]) -> msgspec.Struct:
    return columns_type(*(_to_column([getattr(row, name) for row in rows]) for name in columns_type.__struct_fields__))


def _to_column(values: Sequence[Any]) -> Column[Any]:
    # Equal decimals may differ in their digits, and are then different values.
    keys: Iterable[Any] = map(_decimal_key, values) if any(type(value) is Decimal for value in values) else values
    keys = list(keys)
    different = dict(zip(reversed(keys), reversed(values), strict=True))
    if len(different) == len(values):
        return Column(list(values), [])
    if len(different) == 1:
        return Column([values[0]], [])
    index_by_key = {key: index for index, key in enumerate(different)}
    return Column(list(different.values()), [index_by_key[key] for key in keys])


def _decimal_key(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _from_columns(row_type: type[Row], columns: Any, count: int) -> list[Row]:
    by_name = {name: _expand(getattr(columns, name), count) for name in columns.__struct_fields__}
    arguments = [
        by_name[field.name] if field.name in by_name else repeat(_PERSONAL[field.name], count)
        for field in fields(row_type)  # type: ignore[arg-type]  # They are dataclasses.
    ]
    return list(map(row_type, *arguments))


def _expand(column: Column[Value], count: int) -> Iterable[Value]:
    if column.indices:
        return map(column.values.__getitem__, column.indices)
    return column.values if len(column.values) == count else repeat(column.values[0], count)


_decode = msgspec.msgpack.Decoder(_Form).decode
