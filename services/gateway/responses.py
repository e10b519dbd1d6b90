"""Answers in Canvas's manner: bodies of refusals, ids as strings for who asks so."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

JSON = "application/json; charset=utf-8"
STRING_IDS = "application/json+canvas-string-ids"
UNAUTHORIZED = {"status": "unauthorized", "errors": [{"message": "user not authorized to perform that action"}]}
NOT_FOUND = {"errors": [{"message": "The specified resource does not exist."}]}
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}
AGAIN_SECONDS = 2


class Refused(Exception):
    """A request ends with this status and JSON body."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


def bad_request(message: str) -> Refused:
    """400, with what is wrong and its remedy."""
    return Refused(400, {"message": message})


def unauthenticated() -> Refused:
    """401 for a request without credentials."""
    body = {"status": "unauthenticated", "errors": [{"message": "user authorization required"}]}
    return Refused(401, body, CHALLENGE)


def invalid_token(why: str) -> Refused:
    """401 for a token that is not believed."""
    body = {"status": "unauthenticated", "errors": [{"message": "Invalid access token."}, {"message": why}]}
    return Refused(401, body, CHALLENGE)


def unauthorized() -> Refused:
    """403 for who is known but may not."""
    return Refused(403, UNAUTHORIZED)


def not_found() -> Refused:
    """404, the same for what does not exist and for what the caller may not know of."""
    return Refused(404, NOT_FOUND)


def unavailable(what: str) -> Refused:
    """503: nothing happened, ask again."""
    return Refused(
        503, {"message": f"{what}: nothing was changed, send the request again"}, {"Retry-After": str(AGAIN_SECONDS)}
    )


def answer(request: Request, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; ids as strings where the request accepts only those."""
    if string_ids(request):
        body = with_string_ids(body)
    return Response(orjson.dumps(body), status, headers, media_type=JSON)


def string_ids(request: Request) -> bool:
    """Whether the request accepts ids as strings only."""
    return STRING_IDS in request.headers.get("accept", "")


def with_string_ids(value: Any) -> Any:
    """Integers under ``id``, ``…_id``, ``ids`` and ``…_ids`` as strings (Canvas: lib/stringify_ids.rb)."""
    if isinstance(value, list):
        return [with_string_ids(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {name: _stringified(name, part) for name, part in value.items()}


def _stringified(name: str, part: Any) -> Any:
    if type(part) is int and (name == "id" or name.endswith("_id")):
        return str(part)
    if isinstance(part, list) and (name == "ids" or name.endswith("_ids")):
        return [str(item) if type(item) is int else with_string_ids(item) for item in part]
    return with_string_ids(part)
