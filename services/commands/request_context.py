"""The HTTP request that a command came by, as its record tells; None where it came by none, or tells it badly."""

from typing import Any

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas.http_request import HTTP_REQUEST_HEADER, HTTP_REQUEST_HEADER_BYTES_MAX, HttpRequest
from services.commands.authorization import CommandAuthorizer
from services.moderation.course import Course


def read_request_header(
    record: ConsumerRecord[Any, Any], authorizer: CommandAuthorizer | None
) -> dict[str, Any] | None:
    """What the record's one header ``http_request`` says, for the log.

    Never raises for what somebody may send: the event that follows is then a job's. Where senders are judged
    (COMMAND_AUTH=required) only a gateway's token may carry it.
    """
    values = [value for name, value in record.headers if name == HTTP_REQUEST_HEADER]
    if len(values) != 1 or values[0] is None or len(values[0]) > HTTP_REQUEST_HEADER_BYTES_MAX:
        return None
    if authorizer is not None and not authorizer.may_carry_request(record):
        return None
    try:
        return HttpRequest.model_validate_json(values[0]).model_dump()
    except ValidationError:
        return None


def add_role(request: dict[str, Any], course: Course, actor_id: int | None) -> dict[str, Any]:
    """The request with the role that its user has in the course now, where they have one."""
    role = None if actor_id is None else course.get_role(actor_id)
    return request if role is None else {**request, "context_role": role}
