"""The OpenAPI description of each operation: responses, parameters, and bodies in all three encodings."""

from typing import Any

from pydantic import BaseModel

from schemas import agreement, canvas
from schemas.fields import COUNT_MAX, DIGEST_PATTERN, ID_MAX, ITEMS_MAX, REASON_MAX
from schemas.moderation_results import (
    Adjudication,
    Allocation,
    PublicationPlan,
    RevisionResult,
    Sample,
    ScheduleResult,
    SlotResult,
    WhatIf,
)
from schemas.reasons import REASONS

Document = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]
_LINK_HEADER = {"Link": {"description": "current, next, prev, first, last", "schema": {"type": "string"}}}
_REASON_HEADERS = {"X-Moderation-Reason": {"$ref": "#/components/headers/ModerationReason"}}
_HEADER_COMPONENTS = {
    "ModerationReason": {
        "description": "the reason in the command's verdict, if a rule rejected it",
        "schema": {"type": "string", "enum": list(REASONS)},
    }
}
_RATE_LIMIT_HEADERS = {
    "X-Request-Cost": {"schema": {"type": "string"}},
    "X-Rate-Limit-Remaining": {"schema": {"type": "string"}},
}


def _max_number_pattern(maximum: int) -> str:
    """Return a pattern that matches the positive decimal numbers up to a maximum."""
    digits = str(maximum)
    alternatives = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for index, digit in enumerate(digits):
        lowest_digit, remaining_digits = int(index == 0), len(digits) - index - 1
        if int(digit) > lowest_digit:
            alternatives.append(f"{digits[:index]}[{lowest_digit}-{int(digit) - 1}][0-9]{{{remaining_digits}}}")
    return f"^({'|'.join([*alternatives, digits])})$"


_ID_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": ID_MAX},
        {"type": "string", "pattern": _max_number_pattern(ID_MAX)},
    ]
}
_STUDENT_SCHEMA = {
    "anyOf": [*_ID_SCHEMA["anyOf"], {"type": "string", "pattern": "^[0-9A-Za-z]{5}$"}],
    "description": "a user id; an anonymous id if the set is picked by hand and the assignment hides its students",
}
_ERROR_RESPONSES: Responses = {
    400: {"model": canvas.Message, "description": "The request is invalid, or Canvas's rules reject it"},
    401: {"model": canvas.Errors, "description": "Missing or invalid credentials"},
    403: {"model": canvas.Errors, "description": "The caller lacks the permission"},
    404: {"model": canvas.Errors, "description": "Not found, or hidden from the caller"},
    429: {"model": canvas.Errors, "description": "Rate limit exceeded", "headers": _RATE_LIMIT_HEADERS},
    503: {"model": canvas.Message, "description": "PostgreSQL or Kafka does not answer; nothing was changed"},
}
_WRITE_RESPONSES: Responses = {
    202: {
        "model": canvas.Pending,
        "description": "The verdict did not arrive in time; it will be at Location",
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
    413: {"model": canvas.Message, "description": "The body is larger than 1 MiB"},
    415: {"model": canvas.Message, "description": "The body's content type is not supported"},
    422: {"model": canvas.Message, "description": "The Idempotency-Key was used for another request"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "a request with the same key is not processed again and receives the same response",
    "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
}


def read_operation(
    model: Any, description: str, *, paginated: bool = False, query: tuple[Document, ...] = ()
) -> Document:
    """Build the arguments of a read route."""
    success_response: Document = {
        "model": model,
        "description": description,
        "headers": {**_RATE_LIMIT_HEADERS, **(_LINK_HEADER if paginated else {})},
    }
    return {"responses": {200: success_response, **_ERROR_RESPONSES}, "openapi_extra": {"parameters": [*query]}}


def write_operation(
    model: Any,
    description: str,
    fields: dict[str, Document],
    *,
    form: dict[str, Document] | None = None,
    form_patterns: Document | None = None,
    bad_request_model: type[BaseModel] = canvas.Message,
) -> Document:
    """Build the arguments of a write route: ``fields`` of the JSON body, ``form`` fields with bracketed names."""
    success_response = {"model": model, "description": description, "headers": _RATE_LIMIT_HEADERS}
    error_responses: Responses = {**_ERROR_RESPONSES, 400: {**_ERROR_RESPONSES[400], "model": bad_request_model}}
    error_responses = {
        status: response | {"headers": {**response.get("headers", {}), **_REASON_HEADERS}}
        for status, response in error_responses.items()
    }
    openapi_extra: Document = {"parameters": [_IDEMPOTENCY_KEY]}
    if fields:
        list_fields = {f"{name}[]": {**schema, "minItems": 1} for name, schema in fields.items()}
        json_content = {"schema": _object_schema(fields, required=form is None)}
        form_schema = _object_schema(form or list_fields, required=form is None)
        form_content = {"schema": form_schema | ({"patternProperties": form_patterns} if form_patterns else {})}
        openapi_extra["requestBody"] = {
            "required": form is None,
            "content": {
                "application/json": json_content,
                "application/x-www-form-urlencoded": form_content,
                "multipart/form-data": form_content,
            },
        }
    return {"responses": {200: success_response, **_WRITE_RESPONSES, **error_responses}, "openapi_extra": openapi_extra}


def _object_schema(properties: dict[str, Document], *, required: bool) -> Document:
    required_names = {"required": list(properties)} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **required_names}


def _query_parameter(name: str, description: str, schema: Document, *, required: bool = False) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": schema, "required": required}


_PAGE_PARAMETERS = (
    _query_parameter("page", "from 1", {"type": "integer", "minimum": 1}),
    # Text that is no number counts as 10, as in Canvas.
    _query_parameter("per_page", "default 10, from 1 to 100", {"type": ["integer", "string"]}),
)
_INCLUDE_PARAMETER = _query_parameter(
    "include[]",
    "what to add: provisional_grades, submission_comments, rubric_assessment, visibility, user, html_url, group;"
    " other names are ignored",
    {"type": "array", "items": {"type": "string"}},
)
_SORT_PARAMETERS = (
    _query_parameter("sort", "`name` sorts by sortable name, anything else by id", {"type": "string"}),
    _query_parameter("order", "`desc` reverses the order", {"type": "string"}),
)
_LAST_UPDATED_AT_PARAMETER = _query_parameter(
    "last_updated_at",
    "the last change of the submission that the caller knows",
    {"type": "string", "format": "date-time"},
)
# Canvas takes any other value as false.
_BOOLEAN_SCHEMA: Document = {"description": "true, t, 1, on, yes or y; everything else is false", "examples": [True]}
_TEXT_TYPES = ["string", "number", "null"]
_EMPTY_SCHEMAS = [{"type": "null"}, {"const": ""}]
_GRADE_GROUPS: dict[str, dict[str, Document]] = {
    "submission": {
        "posted_grade": {"type": _TEXT_TYPES, "maxLength": 255},
        "grade": {"type": _TEXT_TYPES, "maxLength": 255, "description": "used if there is no posted_grade"},
        "score": {"type": ["number", "string", "null"], "description": "a number, used if there is no posted_grade"},
        "excuse": _BOOLEAN_SCHEMA,
        "provisional": _BOOLEAN_SCHEMA,
        "final": _BOOLEAN_SCHEMA,
        "graded_anonymously": _BOOLEAN_SCHEMA,
    },
    "comment": {"text_comment": {"type": _TEXT_TYPES, "maxLength": 65_536}},
    "rubric_assessment": {},
}
_INCLUDE_SCHEMA = {"type": "array", "items": {"type": "string"}, "description": "`visibility`; others are ignored"}
_PREFER_POINTS_FIELD = {
    "prefer_points_over_scheme": {
        **_BOOLEAN_SCHEMA,
        "description": "a number means points, even if a band has that name",
    }
}
_GRADE_FIELDS: dict[str, Document] = (
    {
        group: {"anyOf": [_object_schema(parts, required=False) if parts else {"type": "object"}, *_EMPTY_SCHEMAS]}
        for group, parts in _GRADE_GROUPS.items()
    }
    | _PREFER_POINTS_FIELD
    | {"include": _INCLUDE_SCHEMA}
)
_GRADE_FORM_FIELDS = (
    {f"{group}[{name}]": schema for group, parts in _GRADE_GROUPS.items() for name, schema in parts.items()}
    | _PREFER_POINTS_FIELD
    | {"include[]": _INCLUDE_SCHEMA}
)
_RUBRIC_FORM_PATTERN = {"^rubric_assessment\\[[^\\[\\]]+\\]\\[[^\\[\\]]+\\]$": {"type": "string"}}

LIST_STUDENTS = read_operation(
    list[canvas.User | canvas.AnonymousStudent],
    "The moderation set, by user id; by anonymous id if it was picked by hand and the assignment hides its students",
    paginated=True,
    query=_PAGE_PARAMETERS,
)
STATUS = read_operation(
    canvas.Status,
    "Whether the caller may grade, and the provisional grades",
    query=(_query_parameter("student_id", "the student", _ID_SCHEMA, required=True), _LAST_UPDATED_AT_PARAMETER),
)
ANONYMOUS_STATUS = read_operation(
    canvas.Status,
    "The status by the submission's anonymous id",
    query=(
        _query_parameter("anonymous_id", "of the submission", {"type": "string", "minLength": 1}, required=True),
        _LAST_UPDATED_AT_PARAMETER,
    ),
)
SHOW_SUBMISSION = read_operation(canvas.Submission, "A student's submission", query=(_INCLUDE_PARAMETER,))
SHOW_ANONYMOUS_SUBMISSION = SHOW_SUBMISSION
LIST_SUBMISSIONS = read_operation(
    list[canvas.Submission],
    "The submissions, by student",
    paginated=True,
    query=(_INCLUDE_PARAMETER, *_PAGE_PARAMETERS),
)
LIST_GRADEABLE = read_operation(
    list[canvas.GradeableStudent],
    "The students to grade",
    paginated=True,
    query=(_INCLUDE_PARAMETER, *_SORT_PARAMETERS, *_PAGE_PARAMETERS),
)
ADD_STUDENTS = write_operation(
    list[canvas.User | canvas.AnonymousStudent],
    "All accepted students, new in the set or not",
    {"student_ids": {"type": "array", "items": _STUDENT_SCHEMA, "minItems": 1, "maxItems": ITEMS_MAX}},
    bad_request_model=canvas.Message,
)
ADD_STUDENTS["responses"][400] = {
    "model": canvas.Message | list[None],
    "description": "The request is invalid; an empty list if student_ids is missing",
}
BULK_SELECT = write_operation(
    list[canvas.Selection],
    "The selections that changed",
    {"provisional_grade_ids": {"type": "array", "items": _ID_SCHEMA, "maxItems": ITEMS_MAX}},
)
SELECT = write_operation(canvas.Selection, "The selection", {})
_PUBLICATION_FIELDS: dict[str, Document] = {
    "plan_digest": {
        "type": ["string", "null"],
        "pattern": DIGEST_PATTERN,
        "description": "publish only if the plan still has this digest, else 409 `plan_outdated`",
    }
}
PUBLISH = write_operation(
    canvas.Message, "The chosen grades are published", _PUBLICATION_FIELDS, form=_PUBLICATION_FIELDS
)
PUBLISH["responses"][409] = {"model": canvas.Message, "description": "The plan has changed since"}
PLAN_PUBLICATION = write_operation(PublicationPlan[canvas.Id], "What a publication by the caller would do", {})
_SCHEDULE_FIELDS: dict[str, Document] = {
    "publish_at": {
        "type": "string",
        "format": "date-time",
        "description": "time of the publication (RFC 3339): in the future, within 400 days",
    },
    "plan_digest": {
        **_PUBLICATION_FIELDS["plan_digest"],
        "description": "publish only this plan: 409 `plan_outdated` if it is not the current plan, and no publication"
        " if it changes before the scheduled time",
    },
}
SCHEDULE_PUBLICATION = write_operation(
    ScheduleResult[canvas.Id], "The schedule in force", _SCHEDULE_FIELDS, form=_SCHEDULE_FIELDS
)
SCHEDULE_PUBLICATION["responses"][409] = {"model": canvas.Message, "description": "The plan has changed since"}
CANCEL_SCHEDULED_PUBLICATION = write_operation(ScheduleResult[canvas.Id], "The cancelled schedule", {})
GET_PUBLICATION_PLAN = read_operation(PublicationPlan[canvas.Id], "What a publication by the caller would do")
GRADE = write_operation(
    canvas.Graded,
    "The submission after the change",
    _GRADE_FIELDS,
    form=_GRADE_FORM_FIELDS,
    form_patterns=_RUBRIC_FORM_PATTERN,
    bad_request_model=canvas.GradingError,
)
GRADE_ANONYMOUSLY = GRADE
_POLICY_FIELDS: dict[str, Document] = {
    "adjudication": {
        "type": ["object", "null"],
        "description": "marks, within_points, within_percent, boundaries, result, rounding, otherwise, third; or null",
    }
}
SET_ADJUDICATION_POLICY = write_operation(
    canvas.AdjudicationPolicyAnswer,
    "The policy in force",
    _POLICY_FIELDS,
    form={"adjudication[result]": {"type": "string"}},
)
ADJUDICATE = write_operation(
    Adjudication[canvas.Id],
    "The result for each student",
    {
        "student_ids": {
            "type": ["array", "null"],
            "items": {"type": ["integer", "string"]},
            "description": "students of the moderation set, by anonymous id while they are hidden; default: all",
        }
    },
    form={"student_ids[]": {"type": "array", "items": {"type": "string"}}},
)
GET_ADJUDICATION = read_operation(WhatIf[canvas.Id], "What an adjudication by the policy would do")
_WITHDRAWAL_FIELDS: dict[str, Document] = {
    "student_id": _ID_SCHEMA,
    "reason": {"type": "string", "minLength": 1, "maxLength": REASON_MAX},
}
_REVISION_FIELDS: dict[str, Document] = {
    **_WITHDRAWAL_FIELDS,
    "posted_grade": _GRADE_GROUPS["submission"]["posted_grade"],
    "score": _GRADE_GROUPS["submission"]["score"],
    "excuse": _BOOLEAN_SCHEMA,
}
REVISE_GRADE = write_operation(
    RevisionResult[canvas.Id], "The gradebook entry after the revision", _REVISION_FIELDS, form=_REVISION_FIELDS
)
WITHDRAW_GRADE = write_operation(
    RevisionResult[canvas.Id], "The gradebook entry after the withdrawal", _WITHDRAWAL_FIELDS, form=_WITHDRAWAL_FIELDS
)
_SLOT_FIELDS: dict[str, Document] = {"grader_id": _ID_SCHEMA}
RELEASE_SLOT = write_operation(
    SlotResult[canvas.Id], "The grader whose slot is free now", _SLOT_FIELDS, form=_SLOT_FIELDS
)
RELEASE_SLOT["responses"][409] = {"model": canvas.Message, "description": "The grader has entered a grade"}
_STUDENT_KEYS: Document = {
    "type": "array",
    "items": {"type": ["integer", "string"]},
    "description": "students, by anonymous id while they are hidden",
}
_ALLOCATION_FIELDS: dict[str, Document] = {
    "allocations": {
        "type": ["array", "null"],
        "items": _object_schema({"grader_id": _ID_SCHEMA, "student_ids": _STUDENT_KEYS}, required=True),
        "description": "each grader with the students to mark; either this or evenly",
    },
    "evenly": {
        "anyOf": [
            _object_schema(
                {
                    "grader_ids": {"type": "array", "items": _ID_SCHEMA, "minItems": 1},
                    "marks": {"type": ["integer", "string"], "minimum": 1, "maximum": 10},
                },
                required=True,
            ),
            {"type": "null"},
        ],
        "description": "distribute the moderation set over graders, with this number of marks for each student",
    },
    "enforced": {**_BOOLEAN_SCHEMA, "description": "true: other graders are refused; absent: unchanged"},
}
_ALLOCATION_FORM_FIELDS: dict[str, Document] = {
    "evenly[grader_ids][]": {"type": "array", "items": _ID_SCHEMA},
    "evenly[marks]": {"type": ["integer", "string"]},
    "enforced": _BOOLEAN_SCHEMA,
}
ALLOCATE = write_operation(
    Allocation[canvas.Id], "The allocation in force", _ALLOCATION_FIELDS, form=_ALLOCATION_FORM_FIELDS
)
ALLOCATE["responses"][403] = {
    **ALLOCATE["responses"][403],
    "model": canvas.Errors | canvas.Message,
    "description": "The caller lacks the permission, or there are more graders than slots",
}
GET_ALLOCATION = read_operation(Allocation[canvas.Id], "The allocation in force")
_PERCENT_FIELD: Document = {"type": ["number", "string", "null"], "minimum": 0, "maximum": 100}
_SAMPLE_FIELDS: dict[str, Document] = {
    "percent": {**_PERCENT_FIELD, "description": "of the students with a mark, rounded up"},
    "at_least": {
        "type": ["integer", "string", "null"],
        "minimum": 0,
        "maximum": COUNT_MAX,
        "description": "students, or all with a mark if they are fewer",
    },
    "square_root": {**_BOOLEAN_SCHEMA, "description": "true: the square root of their number, rounded up"},
    "include": {
        "type": ["array", "null"],
        "items": {"type": "string", "enum": ["failing", "borderline"]},
        "description": "`failing`: below the first boundary; `borderline`: near one; not while students are hidden",
    },
    "borderline_within": {**_PERCENT_FIELD, "description": "with borderline: maximum distance, in percent of points"},
    "strata": {
        "type": ["integer", "string", "null"],
        "minimum": 1,
        "maximum": 100,
        "description": "number of parts into which the order of first marks is divided; default 3",
    },
}
DRAW_SAMPLE = write_operation(
    Sample[canvas.Id],
    "The students with a mark who are in the moderation set now",
    _SAMPLE_FIELDS,
    form={("include[]" if name == "include" else name): schema for name, schema in _SAMPLE_FIELDS.items()},
)
GET_EXPLANATION = read_operation(canvas.Explanation, "The explanation, the grade and its history")
GET_COURSE = read_operation(canvas.Course, "The course")
LIST_ASSIGNMENTS = read_operation(
    list[canvas.Assignment], "The assignments, by id", paginated=True, query=_PAGE_PARAMETERS
)
GET_ASSIGNMENT = read_operation(canvas.Assignment, "The assignment")
_TEXT_LIST = {"type": "array", "items": {"type": "string"}}
_USER_INCLUDE_PARAMETER = _query_parameter("include[]", "`enrollments`; other names are ignored", _TEXT_LIST)
LIST_COURSE_USERS = read_operation(
    list[canvas.CourseUser],
    "The users, by sortable name",
    paginated=True,
    query=(
        _query_parameter("enrollment_type[]", "teacher, ta, student, observer, designer, student_view", _TEXT_LIST),
        _query_parameter("enrollment_state[]", "default active and invited", _TEXT_LIST),
        _query_parameter("user_ids[]", "only these users", {"type": "array", "items": _ID_SCHEMA, "minItems": 1}),
        _query_parameter("search_term", "part of a name, login or SIS id, or a whole id", {"type": "string"}),
        _USER_INCLUDE_PARAMETER,
        *_PAGE_PARAMETERS,
    ),
)
GET_COURSE_USER = read_operation(canvas.CourseUser, "The user", query=(_USER_INCLUDE_PARAMETER,))
GET_SELF = read_operation(canvas.User, "The caller")
GET_COMMAND: Document = {
    "responses": {
        200: {"model": canvas.CommandVerdict, "description": "The verdict", "headers": _RATE_LIMIT_HEADERS},
        202: {"model": canvas.Pending, "description": "The record is not decided yet"},
        410: {"model": canvas.Message, "description": "The command was decided, but its verdict is no longer kept"},
        **_ERROR_RESPONSES,
    }
}
GET_STATE = read_operation(canvas.AssignmentState, "The state")
LIST_EVENTS = read_operation(list[canvas.AuditEvent], "The events, by version", paginated=True, query=_PAGE_PARAMETERS)
GET_AGREEMENT = read_operation(agreement.Agreement, "The agreement figures")
GET_AGREEMENT["responses"][200]["content"] = {
    "text/csv": {"schema": {"type": "string"}},
    "text/plain": {"schema": {"type": "string"}},
}


def complete_document(document: Document) -> Document:
    """Add the headers that responses refer to. Remove FastAPI's own 422 responses: it validates no parameters here."""
    for operations in document["paths"].values():
        for operation in operations.values():
            validation_response = operation["responses"].get("422", {})
            if validation_response.get("description") == "Validation Error":
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    document["components"]["headers"] = _HEADER_COMPONENTS
    return document
