"""What the routes work with: the parts of one gateway process, and the dependencies that hand them out."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from services.eventlog.stream_reader import Reader
from services.gateway.authentication import Authentication, Caller
from services.gateway.command_client import Commands
from services.gateway.command_producer import Sender
from services.gateway.responses import bad_request, not_found, unauthorized
from services.gateway.state_cache import States
from services.gateway.state_document_cache import StateDocuments
from services.gateway.verdict_waiter import Verdicts
from services.moderation.decisions import Rejected
from services.runtime.health import Health

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """``gateway_url``, ``lms_url``: the beginnings of links; ``commands_topic``: its full name."""

    authentication: Authentication
    health: Health
    reader: Reader
    states: States
    documents: StateDocuments
    sender: Sender
    verdicts: Verdicts
    commands: Commands
    commands_topic: str
    gateway_url: str
    lms_url: str

    def problem(self) -> str | None:
        """Why requests cannot be answered now, None while they can."""
        return "; ".join(filter(None, (self.verdicts.problem, self.sender.problem))) or None


def parts_of(request: Request) -> Parts:
    """The parts of the process that answers the request."""
    parts: Parts = request.app.state.parts
    return parts


_BEARER = HTTPBearer(auto_error=False, scheme_name="token", bearerFormat="JWT")


async def caller_of(request: Request, _: Annotated[object, Security(_BEARER)]) -> Caller:
    """Who asks. Raises Refused."""
    return await parts_of(request).authentication.caller(request)


ASSIGNMENT_PATH = "/api/v1/courses/{course_id}/assignments/{assignment_id}"
GatewayParts = Annotated[Parts, Depends(parts_of)]
KnownCaller = Annotated[Caller, Depends(caller_of)]


def allowed(shown: T | Rejected) -> T:
    """What the rules show. Raises Refused, as Canvas answers, where they refuse."""
    if not isinstance(shown, Rejected):
        return shown
    match shown.reason:
        case "unauthorized":
            raise unauthorized()
        case "not_found":
            raise not_found()
    raise bad_request(shown.message)
