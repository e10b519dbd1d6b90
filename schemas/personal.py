"""Declares which fields hold personal data: the log stores these encrypted, and an erasure makes them null.

A field is declared personal where it is defined: ``comment: Annotated[str | None, PERSONAL]``. Every other free text is
named in ``PUBLIC_TEXTS``; a test finds the fields that are in neither.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

PERSONAL = Field(json_schema_extra={"x-personal": True})
"""A personal field belongs to the person of its row (``user_id``), else to the student of the event or command."""
PUBLIC_TEXTS = frozenset(
    {
        # Of the course and the assignment.
        *("CourseUpdated.name", "CourseUpdated.sis_source_id", "CourseUpdated.grading_scheme"),
        *("CourseUpdated.root_account_uuid", "CourseUpdated.root_account_lti_guid"),
        *("CourseData.name", "CourseData.sis_source_id", "CourseData.grading_scheme"),
        *("CourseData.root_account_uuid", "CourseData.root_account_lti_guid"),
        *("AssignmentCreated.name", "AssignmentCreated.grading_scheme"),
        *("AssignmentUpdated.name", "AssignmentUpdated.grading_scheme"),
        *("AssignmentData.name", "AssignmentData.grading_scheme"),
        *("Admin.permissions", "Enrollment.permissions"),
        # Grades stay when a person is erased.
        *("SubmissionRecorded.grade", "SubmissionData.grade", "SubmissionUpdated.grade", "GradePublished.grade"),
        *("ProvisionalGradeCreated.grade", "ProvisionalGradeUpdated.grade", "ProvisionalGradeData.posted_grade"),
        *("AdjudicatedStudent.score", "MarkComparison.distance", "MarkComparison.limit"),
        "ProvisionalGradeAdjudicated.grading_scheme",
        *("GradeRevised.grade", "GradeWithdrawn.grade", "RevisionData.posted_grade", "RevisionResult.grade"),
        *("SubmissionPosted.grade", "SubmissionHidden.grade"),
        *("ProvisionalGradeResult.grade", "ProvisionalGradeResult.entered_grade", "PlannedGrade.grade"),
        # The service's own texts, or names of fields.
        *("Verdict.message", "Verdict.error_code", "FieldError.path", "FieldError.message"),
        # A command's id, a UUID.
        "PublicationData.schedule_id",
        # A producer's reference; the contract forbids personal data in it.
        "Verdict.correlation_id",
    }
)
"""Free texts that are not personal, as CLASS.FIELD."""


class PersonalField(NamedTuple):
    """``rows``: the list that the field's rows are in, None for a field of the model itself.

    ``is_change``: the value is a pair, old and new.
    """

    rows: str | None
    name: str
    is_change: bool


@cache
def find_personal_fields(model: type[BaseModel]) -> tuple[PersonalField, ...]:
    """Return the personal fields of a model and of the rows in its lists, in the order of their definition."""
    fields: list[PersonalField] = []
    for name, field in model.model_fields.items():
        if is_personal(field):
            is_change = any(get_origin(part) is tuple for part in _walk_annotation(field.annotation))
            fields.append(PersonalField(None, name, is_change))
            continue
        for row_model in _find_models(field.annotation):
            fields += [PersonalField(name, inner.name, inner.is_change) for inner in find_personal_fields(row_model)]
    return tuple(fields)


def find_undeclared_texts(model: type[BaseModel]) -> set[str]:
    """Return the free texts of a model and its parts that are neither personal nor in ``PUBLIC_TEXTS``."""
    undeclared: set[str] = set()
    for name, field in model.model_fields.items():
        for part_model in _find_models(field.annotation):
            undeclared |= find_undeclared_texts(part_model)
        full_name = f"{model.__name__}.{name}"
        if _is_free_text(field) and not is_personal(field) and full_name not in PUBLIC_TEXTS:
            undeclared.add(full_name)
    return undeclared


def is_personal(field: FieldInfo) -> bool:
    """Return whether a field is declared personal."""
    return isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("x-personal") is True


def _is_free_text(field: FieldInfo) -> bool:
    """Return whether a field accepts free texts: any value, or a string whose pattern allows words."""
    parts = [part for metadata in [*field.metadata, field.annotation] for part in _walk_annotation(metadata)]
    patterns = [pattern for part in parts if (pattern := getattr(part, "pattern", None)) is not None]
    takes_text = any(part in (str, Any, dict) for part in parts)
    return takes_text and not any(pattern.startswith("^[0-9A-Za-z") or "{" in pattern for pattern in patterns)


def _find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in _walk_annotation(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def _walk_annotation(annotation: Any) -> Iterator[Any]:
    """Yield an annotation's parts: its origin, arguments and metadata, and theirs."""
    yield annotation
    if get_origin(annotation) is not None:
        yield get_origin(annotation)
    for metadata in getattr(annotation, "__metadata__", ()):
        yield metadata
        # Constraints of a Field are in its own metadata.
        yield from getattr(metadata, "metadata", ())
    for argument in get_args(annotation):
        if argument is not annotation and not isinstance(argument, str):
            yield from _walk_annotation(argument)
