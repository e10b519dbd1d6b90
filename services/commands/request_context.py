"""The HTTP request that a command came from, from its record's header."""

from typing import Any

from pydantic import ValidationError

from schemas.http_request import HTTP_REQUEST_HEADER, HTTP_REQUEST_HEADER_BYTES_MAX, HttpRequest
from services.commands.incoming_command import Record
from services.moderation.course import Course


def read_request_header(record: Record) -> dict[str, Any] | None:
    """Return the content of the record's one ``http_request`` header.

    None without exactly one valid header: the events then count as caused by a job. Never raises.
    """
    values = [value for name, value in record.headers if name == HTTP_REQUEST_HEADER]
    if len(values) != 1 or values[0] is None or len(values[0]) > HTTP_REQUEST_HEADER_BYTES_MAX:
        return None
    try:
        return HttpRequest.model_validate_json(values[0]).model_dump()
    except ValidationError:
        return None


def add_role(request: dict[str, Any], course: Course, actor_id: int | None) -> dict[str, Any]:
    """Return the request with ``context_role``, the user's current role in the course, if there is one."""
    role = None if actor_id is None else course.get_role(actor_id)
    return request if role is None else {**request, "context_role": role}
