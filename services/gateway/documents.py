"""What OpenAPI says of each operation: its answers, its parameters, its bodies in all three encodings."""

from typing import Any

from pydantic import BaseModel

from schemas import agreement, canvas
from schemas.verdicts import Verdict

Document = dict[str, Any]
Answers = dict[int | str, dict[str, Any]]
_LINK = {"Link": {"description": "current, next, prev, first, last", "schema": {"type": "string"}}}
_RATE = {
    "X-Request-Cost": {"schema": {"type": "string"}},
    "X-Rate-Limit-Remaining": {"schema": {"type": "string"}},
}
_ID = {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}]}
_REFUSALS: Answers = {
    400: {"model": canvas.Message, "description": "The request is wrong, or Canvas's rules refuse it"},
    401: {"model": canvas.Errors, "description": "Nobody known asks"},
    403: {"model": canvas.Errors, "description": "The caller may not do that"},
    404: {"model": canvas.Errors, "description": "There is no such thing, or the caller may not know of it"},
    429: {"model": canvas.Errors, "description": "The caller asks too much", "headers": _RATE},
    503: {"model": canvas.Message, "description": "PostgreSQL or Kafka does not answer; nothing was changed"},
}
_WRITING: Answers = {
    202: {
        "model": canvas.Pending,
        "description": "No verdict in time: it will be at Location",
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
    413: {"model": canvas.Message, "description": "The body is larger than 1 MiB"},
    415: {"model": canvas.Message, "description": "The body's content type is not understood"},
    422: {"model": canvas.Message, "description": "The Idempotency-Key was used for another request"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "the same key: the same command, the same answer",
    "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
}


def reading(model: Any, description: str, *, paginated: bool = False, query: tuple[Document, ...] = ()) -> Document:
    """Arguments of a route that reads."""
    found: Document = {"model": model, "description": description, "headers": {**_RATE, **(_LINK if paginated else {})}}
    return {"responses": {200: found, **_REFUSALS}, "openapi_extra": {"parameters": [*query]}}


def writing(
    model: Any,
    description: str,
    fields: dict[str, Document],
    *,
    form: dict[str, Document] | None = None,
    refusal: type[BaseModel] = canvas.Message,
) -> Document:
    """Arguments of a route that writes; ``fields`` of the JSON body, ``form``: of the form, with bracketed names."""
    found = {"model": model, "description": description, "headers": _RATE}
    refusals: Answers = {**_REFUSALS, 400: {**_REFUSALS[400], "model": refusal}}
    extra: Document = {"parameters": [_IDEMPOTENCY_KEY]}
    if fields:
        nested = {"schema": {"type": "object", "properties": fields}}
        flat = {
            "schema": {"type": "object", "properties": form or {f"{name}[]": part for name, part in fields.items()}}
        }
        extra["requestBody"] = {
            "content": {
                "application/json": nested,
                "application/x-www-form-urlencoded": flat,
                "multipart/form-data": flat,
            }
        }
    return {"responses": {200: found, **_WRITING, **refusals}, "openapi_extra": extra}


def _query(name: str, description: str, schema: Document, *, required: bool = False) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": schema, "required": required}


_PAGES = (
    _query("page", "from 1", {"type": "integer", "minimum": 1}),
    _query("per_page", "10 unless said, at most 100", {"type": "integer", "minimum": 1, "maximum": 100}),
)
_INCLUDE = _query(
    "include[]",
    "what to add",
    {"type": "array", "items": {"enum": ["provisional_grades", "submission_comments", "rubric_assessment"]}},
)
_LAST_UPDATED_AT = _query(
    "last_updated_at", "the submission's change time as known to the caller", {"type": "string", "format": "date-time"}
)
_GRADE: dict[str, Document] = {
    "submission": {
        "type": "object",
        "properties": {
            "posted_grade": {"type": "string", "maxLength": 255},
            "excuse": {"type": "boolean"},
            "provisional": {"type": "boolean"},
            "final": {"type": "boolean"},
            "graded_anonymously": {"type": "boolean"},
        },
    },
    "comment": {"type": "object", "properties": {"text_comment": {"type": "string", "maxLength": 65_536}}},
    "rubric_assessment": {"type": "object"},
}
_GRADE_FORM = {
    f"{group}[{name}]": schema
    for group in ("submission", "comment")
    for name, schema in _GRADE[group]["properties"].items()
}

LIST_STUDENTS = reading(list[canvas.User], "The moderation set, by user id", paginated=True, query=_PAGES)
STATUS = reading(
    canvas.Status,
    "Whether the caller may grade, and what others have",
    query=(_query("student_id", "the student", _ID, required=True), _LAST_UPDATED_AT),
)
ANONYMOUS_STATUS = reading(
    canvas.Status,
    "The same by the submission's anonymous id",
    query=(_query("anonymous_id", "of the submission", {"type": "string"}, required=True), _LAST_UPDATED_AT),
)
SHOW_SUBMISSION = reading(canvas.Submission, "A student's submission", query=(_INCLUDE,))
LIST_SUBMISSIONS = reading(
    list[canvas.Submission], "The submissions, by student", paginated=True, query=(_INCLUDE, *_PAGES)
)
LIST_GRADEABLE = reading(
    list[canvas.GradeableStudent], "The students to grade", paginated=True, query=(_INCLUDE, *_PAGES)
)
ADD_STUDENTS = writing(
    list[canvas.User],
    "All students that count, new in the set or not",
    {"student_ids": {"type": "array", "items": _ID}},
    refusal=canvas.Message,
)
ADD_STUDENTS["responses"][400] = {
    "model": canvas.Message | list[None],
    "description": "The request is wrong; an empty list where student_ids is missing",
}
BULK_SELECT = writing(
    list[canvas.Selection],
    "The selections that changed",
    {"provisional_grade_ids": {"type": "array", "items": _ID}},
)
SELECT = writing(canvas.Selection, "The selection", {})
PUBLISH = writing(canvas.Message, "All chosen grades are published", {})
GRADE = writing(canvas.Graded, "The submission after it", _GRADE, form=_GRADE_FORM, refusal=canvas.GradingError)
OWN_COMMAND: Document = {
    "responses": {
        200: {"model": Verdict, "description": "The verdict", "headers": _RATE},
        202: {"model": canvas.Pending, "description": "The record waits to be decided"},
        **_REFUSALS,
    }
}
OWN_STATE = reading(canvas.AssignmentState, "The state")
OWN_EVENTS = reading(list[canvas.AuditEvent], "The events, in their order", paginated=True, query=_PAGES)
OWN_AGREEMENT = reading(agreement.Agreement, "The figures")
OWN_AGREEMENT["responses"][200]["content"] = {
    "text/csv": {"schema": {"type": "string"}},
    "text/plain": {"schema": {"type": "string"}},
}


def without_own_errors(document: Document) -> Document:
    """The document without FastAPI's own 422: no parameter is validated by it, every refusal is Canvas's."""
    for operations in document["paths"].values():
        for operation in operations.values():
            said = operation["responses"].get("422", {})
            if said.get("description") == "Validation Error":
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document
