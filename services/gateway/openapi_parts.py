"""Parts of the OpenAPI description that operations share: responses, parameters, bodies in all three encodings."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from schemas.canvas import errors
from schemas.fields import ID_MAX

Document = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]
_LINK_HEADER = {
    "Link": {
        "description": "URLs of the pages: current, next, prev, first, last (RFC 8288)",
        "schema": {"type": "string"},
    }
}
_REASON_HEADERS = {"X-Moderation-Reason": {"$ref": "#/components/headers/ModerationReason"}}
RATE_LIMIT_HEADERS = {
    "X-Request-Cost": {
        "description": "cost of this request in units of the rate limit, a decimal number",
        "schema": {"type": "string"},
    },
    "X-Rate-Limit-Remaining": {
        "description": "units that the caller may still use in this minute, a decimal number",
        "schema": {"type": "string"},
    },
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


ID_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": ID_MAX},
        {"type": "string", "pattern": _max_number_pattern(ID_MAX)},
    ]
}
STUDENT_SCHEMA = {
    "anyOf": [*ID_SCHEMA["anyOf"], {"type": "string", "pattern": "^[0-9A-Za-z]{5}$"}],
    "description": "a user id; an anonymous id if the set is picked by hand and the assignment hides its students",
}
ERROR_RESPONSES: Responses = {
    400: {"model": errors.Message, "description": "The request is invalid, or Canvas's rules reject it"},
    401: {"model": errors.Errors, "description": "Missing or invalid credentials"},
    403: {"model": errors.Errors, "description": "The caller lacks the permission"},
    404: {"model": errors.Errors, "description": "Not found, or hidden from the caller"},
    429: {"model": errors.Errors, "description": "Rate limit exceeded", "headers": RATE_LIMIT_HEADERS},
    503: {"model": errors.Message, "description": "PostgreSQL or Kafka does not answer; nothing was changed"},
}
_WRITE_RESPONSES: Responses = {
    202: {
        "model": errors.Pending,
        "description": "The verdict did not arrive in time; it will be at Location",
        "headers": {"Location": {"description": "URL path of the verdict", "schema": {"type": "string"}}},
    },
    413: {"model": errors.Message, "description": "The body is larger than 1 MiB"},
    415: {"model": errors.Message, "description": "The body's content type is not supported"},
}
_REFUSALS: Mapping[int, str] = {
    410: "The request with this Idempotency-Key was decided more than 400 days ago, and its verdict is no longer kept"
    " (`command_expired`)",
    422: "The Idempotency-Key was used for another request (`command_id_reused`)",
}
"""Descriptions by status, for every write."""
_NO_REFUSALS: Mapping[int, str] = MappingProxyType({})
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "a request with the same key is not processed again and receives the same response, without names"
    " that are hidden since",
    "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
}


def read_operation(
    model: Any, description: str, *, paginated: bool = False, query: tuple[Document, ...] = ()
) -> Document:
    """Build the arguments of a read route."""
    success_response: Document = {
        "model": model,
        "description": description,
        "headers": {**RATE_LIMIT_HEADERS, **(_LINK_HEADER if paginated else {})},
    }
    return {"responses": {200: success_response, **ERROR_RESPONSES}, "openapi_extra": {"parameters": [*query]}}


def write_operation(
    model: Any,
    description: str,
    fields: dict[str, Document],
    *,
    form: dict[str, Document] | None = None,
    form_patterns: Document | None = None,
    bad_request_model: type[BaseModel] = errors.Message,
    refusals: Mapping[int, str] = _NO_REFUSALS,
) -> Document:
    """Build the arguments of a write route: ``fields`` of the JSON body, ``form`` fields with bracketed names.

    ``refusals``: by status, the rules' refusals of this operation alone, with their reasons.
    """
    success_response = {"model": model, "description": description, "headers": RATE_LIMIT_HEADERS}
    error_responses: Responses = {**ERROR_RESPONSES, 400: {**ERROR_RESPONSES[400], "model": bad_request_model}}
    error_responses = {
        status: response | {"headers": {**response.get("headers", {}), **_REASON_HEADERS}}
        for status, response in error_responses.items()
    }
    for status in sorted({*refusals, *_REFUSALS}):
        texts = [descriptions[status] for descriptions in (refusals, _REFUSALS) if status in descriptions]
        error_responses[status] = {"model": errors.Message, "description": ". ".join(texts), "headers": _REASON_HEADERS}
    openapi_extra: Document = {"parameters": [_IDEMPOTENCY_KEY]}
    if fields:
        list_fields = {f"{name}[]": {**schema, "minItems": 1} for name, schema in fields.items()}
        json_content = {"schema": object_schema(fields, required=form is None)}
        form_schema = object_schema(form or list_fields, required=form is None)
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


def object_schema(properties: dict[str, Document], *, required: bool) -> Document:
    required_names = {"required": list(properties)} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **required_names}


def boolean_schema(description: str) -> Document:
    """Build the schema of a boolean field. Canvas takes any other value as false."""
    return {"description": f"true, t, 1, on, yes or y: {description}; all other values are false", "examples": [True]}


def query_parameter(name: str, description: str, schema: Document, *, required: bool = False) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": schema, "required": required}


PAGE_PARAMETERS = (
    query_parameter("page", "from 1", {"type": "integer", "minimum": 1}),
    # Text that is no number counts as 10, as in Canvas.
    query_parameter("per_page", "default 10, from 1 to 100", {"type": ["integer", "string"]}),
)
TEXT_TYPES = ["string", "number", "null"]
