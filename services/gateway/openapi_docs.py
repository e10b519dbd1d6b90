"""What OpenAPI says of each operation: its answers, its parameters, its bodies in all three encodings."""

from typing import Any

from pydantic import BaseModel

from schemas import agreement, canvas
from schemas.fields import ID_MAX, ITEMS_MAX

Document = dict[str, Any]
Answers = dict[int | str, dict[str, Any]]
_LINK = {"Link": {"description": "current, next, prev, first, last", "schema": {"type": "string"}}}
_RATE = {
    "X-Request-Cost": {"schema": {"type": "string"}},
    "X-Rate-Limit-Remaining": {"schema": {"type": "string"}},
}


def _up_to(maximum: int) -> str:
    """A pattern of the positive decimal numbers up to one."""
    digits = str(maximum)
    shorter = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for place, digit in enumerate(digits):
        lowest, rest = int(place == 0), len(digits) - place - 1
        if int(digit) > lowest:
            shorter.append(f"{digits[:place]}[{lowest}-{int(digit) - 1}][0-9]{{{rest}}}")
    return f"^({'|'.join([*shorter, digits])})$"


_ID = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": ID_MAX}, {"type": "string", "pattern": _up_to(ID_MAX)}]}
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
        lists = {f"{name}[]": {**part, "minItems": 1} for name, part in fields.items()}
        nested = {"schema": _object(fields, required=form is None)}
        flat = {"schema": _object(form or lists, required=form is None)}
        extra["requestBody"] = {
            "required": form is None,
            "content": {
                "application/json": nested,
                "application/x-www-form-urlencoded": flat,
                "multipart/form-data": flat,
            },
        }
    return {"responses": {200: found, **_WRITING, **refusals}, "openapi_extra": extra}


def _object(properties: dict[str, Document], *, required: bool) -> Document:
    return {"type": "object", "properties": properties, **({"required": list(properties)} if required else {})}


def _query(name: str, description: str, schema: Document, *, required: bool = False) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": schema, "required": required}


_PAGES = (
    _query("page", "from 1", {"type": "integer", "minimum": 1}),
    # Whatever is no number counts as 10, as in Canvas: it is not refused.
    _query("per_page", "10 unless said; from 1 to 100", {"type": ["integer", "string"]}),
)
_INCLUDE = _query(
    "include[]",
    "what to add: provisional_grades, submission_comments, rubric_assessment; others are passed over",
    {"type": "array", "items": {"type": "string"}},
)
_LAST_UPDATED_AT = _query(
    "last_updated_at", "the submission's change time as known to the caller", {"type": "string", "format": "date-time"}
)
# Canvas reads true out of these and false out of everything else: nothing is refused.
_FLAG: Document = {"description": "true, t, 1, on, yes or y; everything else is false", "examples": [True]}
_TEXT = ["string", "number", "null"]
_NOTHING = [{"type": "null"}, {"const": ""}]
_GRADE_PARTS: dict[str, dict[str, Document]] = {
    "submission": {
        "posted_grade": {"type": _TEXT, "maxLength": 255},
        "grade": {"type": _TEXT, "maxLength": 255, "description": "the same, where there is no posted_grade"},
        "score": {"type": ["number", "string", "null"], "description": "a number, where there is no posted_grade"},
        "excuse": _FLAG,
        "provisional": _FLAG,
        "final": _FLAG,
        "graded_anonymously": _FLAG,
    },
    "comment": {"text_comment": {"type": _TEXT, "maxLength": 65_536}},
    "rubric_assessment": {},
}
_PREFER_POINTS = {
    "prefer_points_over_scheme": {**_FLAG, "description": "a number is points, whatever bands are called"}
}
_GRADE: dict[str, Document] = {
    group: {"anyOf": [{"type": "object", "properties": parts}, *_NOTHING]} for group, parts in _GRADE_PARTS.items()
} | _PREFER_POINTS
_GRADE_FORM = {
    f"{group}[{name}]": schema for group, parts in _GRADE_PARTS.items() for name, schema in parts.items()
} | _PREFER_POINTS

LIST_STUDENTS = reading(list[canvas.User], "The moderation set, by user id", paginated=True, query=_PAGES)
STATUS = reading(
    canvas.Status,
    "Whether the caller may grade, and what others have",
    query=(_query("student_id", "the student", _ID, required=True), _LAST_UPDATED_AT),
)
ANONYMOUS_STATUS = reading(
    canvas.Status,
    "The same by the submission's anonymous id",
    query=(
        _query("anonymous_id", "of the submission", {"type": "string", "minLength": 1}, required=True),
        _LAST_UPDATED_AT,
    ),
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
    {"student_ids": {"type": "array", "items": _ID, "minItems": 1, "maxItems": ITEMS_MAX}},
    refusal=canvas.Message,
)
ADD_STUDENTS["responses"][400] = {
    "model": canvas.Message | list[None],
    "description": "The request is wrong; an empty list where student_ids is missing",
}
BULK_SELECT = writing(
    list[canvas.Selection],
    "The selections that changed",
    {"provisional_grade_ids": {"type": "array", "items": _ID, "maxItems": ITEMS_MAX}},
)
SELECT = writing(canvas.Selection, "The selection", {})
PUBLISH = writing(canvas.Message, "All chosen grades are published", {})
GRADE = writing(canvas.Graded, "The submission after it", _GRADE, form=_GRADE_FORM, refusal=canvas.GradingError)
OWN_COMMAND: Document = {
    "responses": {
        200: {"model": canvas.CommandVerdict, "description": "The verdict", "headers": _RATE},
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
