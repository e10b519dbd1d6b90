"""What a user sees and may do of an assignment's moderation on the console's pages.

An operator sees it as an auditor does; any other user by the roles in the course, as at the gateway. While an
assignment hides students, they are anonymous here for every reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException

from services.console.web.dependencies import AnyUser, ConsoleDependencies, Dependencies, parse_id
from services.console.web.signed_in_user import SignedInUser
from services.eventlog.aggregates import load_as_of
from services.eventlog.moderation_rights import may_have_rights
from services.eventlog.schedules import find_refusal
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.schedule import schedule_document
from services.moderation.visibility import may_moderate, reads_grader_names, reads_moderation

Json = dict[str, Any]
NOT_A_USER = 0
"""The user id of operators of other root accounts, whose own ids mean other users in this one."""


@dataclass(frozen=True, slots=True)
class ModerationView:
    """An assignment and its course, as ``user`` reads them.

    ``actor_id``: the user's id in the course. ``acts``: the user may moderate, and the console may send commands.
    ``cannot_act_because``: for a moderator whose commands the console cannot send.
    """

    user: SignedInUser
    course: Course
    assignment: Assignment
    actor_id: int
    moderates: bool
    names_graders: bool
    cannot_act_because: str | None

    @property
    def acts(self) -> bool:
        """Whether the page offers commands."""
        return self.moderates and self.cannot_act_because is None

    @property
    def as_auditor(self) -> bool:
        """Whether the user reads as an operator, not by a role in the course."""
        return self.user.can_view and not self.moderates

    @property
    def sections(self) -> frozenset[int | None] | None:
        """The sections that the user's commands concern; None for all."""
        return self.course.visible_sections(self.actor_id) if self.moderates else None

    @property
    def is_anonymous(self) -> bool:
        """Whether students have anonymous ids now."""
        return self.assignment.anonymizes_students(self.course)

    @property
    def path(self) -> str:
        """The path of the assignment's pages."""
        return f"/assignments/{self.assignment.root_account_id}/{self.assignment.assignment_id}"

    @property
    def target(self) -> dict[str, object]:
        """What a page about the assignment shows, for the record of its reading."""
        return {"root_account": self.assignment.root_account_id, "assignment": self.assignment.assignment_id}

    def name_grader(self, row: Mapping[str, Any]) -> str:
        """Return the name of a row's grader, or the anonymous id."""
        grader_id = row.get("scorer_id", row.get("user_id"))
        if grader_id is None:
            anonymous_id = row.get("anonymous_grader_id")
            return "a hidden moderator" if anonymous_id is None else f"grader {anonymous_id}"
        return str(self.course.users.get(grader_id, {}).get("name") or f"user {grader_id}")

    def name_user(self, user_id: int) -> str:
        """Return the name of a user who acted; hidden graders stay hidden."""
        if self.names_graders or user_id == self.actor_id:
            return self.name_grader({"user_id": user_id})
        return self.name_grader({"anonymous_grader_id": self.assignment.grader_slots.get(user_id)})


async def load_view(
    dependencies: Dependencies, user: SignedInUser, root_account: int, assignment_id: int
) -> ModerationView:
    """Load an assignment for its pages of moderation. Raises HTTPException (404) if the user may not read them.

    A user without rights costs neither the state of the course nor that of the assignment.
    """
    if parse_id(root_account) is None or parse_id(assignment_id) is None:
        raise HTTPException(404)
    is_own_account = user.root_account_id == root_account
    if not (is_own_account or user.sees(root_account)):
        raise HTTPException(404)
    actor_id = user.user_id if is_own_account else NOT_A_USER
    reader = StreamReader(dependencies.pool)
    if not (user.can_view or await may_have_rights(reader, root_account, assignment_id, actor_id)):
        raise HTTPException(404)
    loaded = await load_as_of(reader, root_account, assignment_id)
    if loaded is None or loaded[1].deleted:
        raise HTTPException(404)
    course, assignment = loaded
    if not (user.can_view or reads_moderation(course, assignment, actor_id)):
        raise HTTPException(404)
    moderates = may_moderate(course, assignment, actor_id)
    names_graders = reads_grader_names(course, assignment, actor_id) or (user.can_view and not moderates)
    return ModerationView(
        user, course, assignment, actor_id, moderates, names_graders, _find_obstacle(dependencies, user)
    )


async def load_requested_view(
    dependencies: ConsoleDependencies, user: AnyUser, root_account: int, assignment: int
) -> ModerationView:
    """Load the assignment in the request's path. Raises NotSignedIn, HTTPException (404)."""
    return await load_view(dependencies, user, root_account, assignment)


RequestedView = Annotated[ModerationView, Depends(load_requested_view)]


def _find_obstacle(dependencies: Dependencies, user: SignedInUser) -> str | None:
    if dependencies.settings.gateway_url is None:
        return "This console has no gateway: set GATEWAY_URL, or use deploy/operate"
    if not user.opens_gateway:
        return "To publish or schedule here, sign in with a token that also has scope moderation.moderator"
    return None


async def load_schedule(dependencies: Dependencies, view: ModerationView) -> Json | None:
    """Describe the schedule in force, and what its publication would do now; None without one."""
    refused_with = await find_refusal(StreamReader(dependencies.pool), view.assignment)
    return schedule_document(view.course, view.assignment, refused_with)


def get_student(row: Mapping[str, Any]) -> Any:
    """Return a row's student: the anonymous id while the assignment hides students."""
    return row.get("student_id", row.get("anonymous_id"))
