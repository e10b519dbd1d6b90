"""The objects that routes use, one set per process, and the FastAPI dependencies that provide them."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from services.eventlog.stream_reader import StreamReader
from services.gateway.authentication import Authentication, Caller
from services.gateway.command_client import CommandClient
from services.gateway.command_producer import CommandProducer
from services.gateway.parameter_checks import reject_acting_as
from services.gateway.pending_places import PendingPlaces
from services.gateway.responses import bad_request, not_found, unauthorized
from services.gateway.state_cache import StateCache
from services.gateway.state_document_cache import StateDocumentCache
from services.gateway.verdict_waiter import VerdictWaiter
from services.moderation.decisions import Rejected
from services.runtime.health import Health

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The objects of one process. ``gateway_url`` and ``lms_url`` begin links; ``commands_topic`` is a full topic name.

    Global ids of ``live_events_shard`` are accepted for local ids.
    """

    authentication: Authentication
    health: Health
    reader: StreamReader
    state_cache: StateCache
    document_cache: StateDocumentCache
    producer: CommandProducer
    verdict_waiter: VerdictWaiter
    command_client: CommandClient
    pending_places: PendingPlaces
    commands_topic: str
    gateway_url: str
    lms_url: str
    live_events_shard: int | None

    def not_ready_reason(self) -> str | None:
        """Return why requests cannot be answered, None while they can."""
        problems = (self.verdict_waiter.problem, self.producer.problem, *self.health.component_problems.values())
        return "; ".join(filter(None, problems)) or None


def get_dependencies(request: Request) -> Dependencies:
    """Return the dependencies of the process."""
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


_BEARER = HTTPBearer(auto_error=False, scheme_name="token", bearerFormat="JWT")


async def authenticate_caller(request: Request, _: Annotated[object, Security(_BEARER)]) -> Caller:
    """Return the user who sent the request. Raises ApiError."""
    caller = await get_dependencies(request).authentication.authenticate(request)
    reject_acting_as(request.query_params.get("as_user_id"))
    return caller


ASSIGNMENT_PATH = "/api/v1/courses/{course_id}/assignments/{assignment_id}"
GatewayDependencies = Annotated[Dependencies, Depends(get_dependencies)]
AuthenticatedCaller = Annotated[Caller, Depends(authenticate_caller)]


def raise_if_rejected(result: T | Rejected) -> T:
    """Return a view's result. Raises ApiError with Canvas's response if the view was rejected."""
    if not isinstance(result, Rejected):
        return result
    match result.reason:
        case "unauthorized":
            raise unauthorized()
        case "not_found":
            raise not_found()
    raise bad_request(result.message)
