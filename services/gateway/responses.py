"""Canvas's responses: error bodies, and ids as strings on request."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

from services.moderation.decisions import COMMAND_EXPIRED

JSON_MEDIA_TYPE = "application/json; charset=utf-8"
STRING_IDS_MEDIA_TYPE = "application/json+canvas-string-ids"
UNAUTHORIZED = {"status": "unauthorized", "errors": [{"message": "user not authorized to perform that action"}]}
NOT_FOUND = {"errors": [{"message": "The specified resource does not exist."}]}
CHALLENGE_HEADERS = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}
RETRY_AFTER_SECONDS = 2
_TEXT_ID_FIELDS = frozenset({"anonymous_id", "anonymous_grader_id", "schedule_id"})


class ApiError(Exception):
    """Ends a request with this status and JSON body."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


def bad_request(message: str) -> ApiError:
    """Build a 400 response that names the problem and the remedy."""
    return ApiError(400, {"message": message})


def unauthenticated() -> ApiError:
    """Build a 401 response for missing credentials."""
    body = {"status": "unauthenticated", "errors": [{"message": "user authorization required"}]}
    return ApiError(401, body, CHALLENGE_HEADERS)


def invalid_token(reason: str) -> ApiError:
    """Build a 401 response for an invalid token."""
    body = {"status": "unauthenticated", "errors": [{"message": "Invalid access token."}, {"message": reason}]}
    return ApiError(401, body, CHALLENGE_HEADERS)


def unauthorized() -> ApiError:
    """Build a 403 response for a missing permission."""
    return ApiError(403, UNAUTHORIZED)


def not_found() -> ApiError:
    """Build a 404 response, the same for unknown and for hidden resources."""
    return ApiError(404, NOT_FOUND)


def expired() -> ApiError:
    """Build a 410 response: the command was decided, but its verdict is no longer kept."""
    return ApiError(410, {"message": COMMAND_EXPIRED.message})


def unavailable(reason: str) -> ApiError:
    """Build a 503 response: nothing was changed, the client may retry."""
    return ApiError(
        503,
        {"message": f"{reason}: nothing was changed, send the request again"},
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def json_response(request: Request, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Build a JSON response, with ids as strings if the request accepts only those."""
    if wants_string_ids(request):
        body = stringify_ids(body)
    return Response(orjson.dumps(body), status, headers, media_type=JSON_MEDIA_TYPE)


def parse_verdict(body: str) -> dict[str, Any]:
    """Return a stored verdict with the ids in its result as integers; on the topic they are strings."""
    verdict: dict[str, Any] = orjson.loads(body)
    return {**verdict, "result": _integer_ids(verdict["result"])}


def _integer_ids(result: Any) -> Any:
    if isinstance(result, list):
        return [_integer_ids(row) for row in result]
    if not isinstance(result, dict):
        return result
    return {name: _integer_field(name, value) for name, value in result.items()}


def _integer_field(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return int(value) if _is_id_field(name) else value
    if isinstance(value, list) and name.endswith("_ids"):
        return [int(identifier) for identifier in value]
    return _integer_ids(value) if isinstance(value, list | dict) else value


def _is_id_field(name: str) -> bool:
    """Return whether a field of a result holds a numeric id; anonymous ids are not numeric."""
    return name == "id" or (name.endswith("_id") and name not in _TEXT_ID_FIELDS)


def wants_string_ids(request: Request) -> bool:
    """Return whether the request accepts ids only as strings."""
    return STRING_IDS_MEDIA_TYPE in request.headers.get("accept", "")


def stringify_ids(value: Any) -> Any:
    """Convert integers in ``id``, ``…_id``, ``ids`` and ``…_ids`` to strings (Canvas: lib/stringify_ids.rb)."""
    if isinstance(value, list):
        return [stringify_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _stringify_field(name, item) for name, item in value.items()}


def _stringify_field(name: str, value: Any) -> Any:
    if type(value) is int and (name == "id" or name.endswith("_id")):
        return str(value)
    if isinstance(value, list) and (name == "ids" or name.endswith("_ids")):
        return [str(item) if type(item) is int else stringify_ids(item) for item in value]
    return stringify_ids(value)
