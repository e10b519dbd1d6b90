"""What the routes work with: the parts of one gateway process, and the dependencies that hand them out."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from services.eventlog.reader import Reader
from services.gateway.answers import bad_request, not_found, unauthorized
from services.gateway.authentication import Authentication, Caller
from services.gateway.commands import Commands
from services.gateway.parameters import path_id
from services.gateway.sender import Sender
from services.gateway.states import States
from services.gateway.verdicts import Verdicts
from services.moderation.decision import Rejected
from services.moderation.viewing import View

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """``gateway_url``, ``lms_url``: the beginnings of links; ``commands_topic``: its full name."""

    authentication: Authentication
    reader: Reader
    states: States
    sender: Sender
    verdicts: Verdicts
    commands: Commands
    commands_topic: str
    gateway_url: str
    lms_url: str


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


async def view_of(parts: Parts, caller: Caller, course: str, assignment: str, *, also_deleted: bool = False) -> View:
    """An assignment of a path as the caller sees it now. Raises Refused: 404 where there is none."""
    course_id, assignment_id = ids_of(course, assignment)
    found = await parts.states.assignment(caller.root_account_id, assignment_id, course_id)
    if found is None or (found[1].deleted and not also_deleted):
        raise not_found()
    return View(*found, caller.user_id, parts.lms_url)


def ids_of(course: str, assignment: str) -> tuple[int, int]:
    """The ids of a path. Raises Refused: 404 where they are none."""
    course_id, assignment_id = path_id(course), path_id(assignment)
    if course_id is None or assignment_id is None:
        raise not_found()
    return course_id, assignment_id


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
