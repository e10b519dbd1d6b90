"""Follows an assignment while a page about its moderation is open: its schedule, and whether the page is outdated."""

from dataclasses import dataclass

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from services.console.web.dependencies import AnyUser, ConsoleDependencies, Dependencies
from services.console.web.live_stream import Fragments, respond_with_stream
from services.console.web.moderation_view import ModerationView, load_schedule, load_view
from services.console.web.status_page import FRAGMENTS_TEMPLATE
from services.eventlog.stream_reader import StreamReader
from services.moderation.publication_plan import plan_document

router = APIRouter()
MODERATION_FRAGMENTS = "moderation_fragments.html"


@dataclass(frozen=True, slots=True)
class ShownState:
    """What an open page shows: the plan with a digest, or the assignment at a version."""

    digest: str
    version: int

    def is_outdated(self, view: ModerationView) -> bool:
        """Return whether the page would show something else now."""
        if not self.digest:
            return view.assignment.version != self.version
        plan = plan_document(view.course, view.assignment, view.actor_id, as_auditor=view.as_auditor)
        return bool(plan["digest"] != self.digest)


@router.get("/assignments/{root_account}/{assignment}/moderation/live")
async def live_moderation(
    dependencies: ConsoleDependencies,
    user: AnyUser,
    root_account: int,
    assignment: int,
    plan: str = "",
    version: int = 0,
) -> Response:
    """Stream the schedule, and whether the page with this plan or version is outdated."""
    view = await load_view(dependencies, user, root_account, assignment)
    streams = await StreamReader(dependencies.pool).streams(root_account, view.course.course_id, None)
    watch = ModerationWatch(dependencies, view, ShownState(plan, version), streams[0].number)

    async def is_open() -> bool:
        return watch.is_readable and await dependencies.sessions.is_open(user)

    return respond_with_stream(dependencies.monitor, watch.render, is_open)


class ModerationWatch:
    """Renders the fragments of one open page.

    The state is loaded again only after a new event of the assignment or its course.
    """

    def __init__(self, dependencies: Dependencies, view: ModerationView, shown: ShownState, course_stream: int) -> None:
        self.dependencies = dependencies
        self.view = view
        self.shown = shown
        self.course_stream = course_stream
        self.is_readable = True
        self._is_outdated = shown.is_outdated(view)

    async def render(self) -> Fragments:
        """Return the fragments of the present state; the last ones after the user lost the right to read them."""
        await self._refresh()
        templates, monitor = self.dependencies.templates, self.dependencies.monitor
        schedule = await load_schedule(self.dependencies, self.view)
        # A submitted form leaves a path that only a form may request.
        page = f"{self.view.path}/publication" if self.shown.digest else ""
        fragments = {
            "schedule-state": templates.render_fragment(MODERATION_FRAGMENTS, "schedule_state", self.view, schedule),
            "page-notice": templates.render_fragment(MODERATION_FRAGMENTS, "page_notice", page, self._is_outdated),
        }
        if self.view.user.can_view:
            fragments["glance"] = templates.render_fragment(FRAGMENTS_TEMPLATE, "glance", monitor.status)
        return fragments

    async def _refresh(self) -> None:
        assignment = self.view.assignment
        versions = {assignment.stream_number: assignment.version, self.course_stream: self.view.course.version}
        if not await StreamReader(self.dependencies.pool).events_after(versions):
            return
        try:
            self.view = await load_view(
                self.dependencies, self.view.user, assignment.root_account_id, assignment.assignment_id
            )
        except HTTPException:
            self.is_readable = False
        else:
            self._is_outdated = self.shown.is_outdated(self.view)
