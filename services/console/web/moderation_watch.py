"""Follows an assignment while a page about its moderation is open: its schedule, and whether the page is outdated."""

import time
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from services.console.web.dependencies import AnyUser, ConsoleDependencies, Dependencies
from services.console.web.live_stream import Fragments, require_free_stream, respond_with_stream
from services.console.web.moderation_view import Json, ModerationView, load_view
from services.console.web.status_page import FRAGMENTS_TEMPLATE
from services.eventlog.schedules import find_refusal
from services.eventlog.stream_reader import StreamReader
from services.moderation.publication_plan import plan_document
from services.moderation.schedule import schedule_document

router = APIRouter()
MODERATION_FRAGMENTS = "moderation_fragments.html"
RELOAD_SECONDS = 3.0
# Back off: the longer an assignment takes to load, the less often it is loaded.
IDLE_PER_LOAD_SECOND = 5


@dataclass(frozen=True, slots=True)
class ShownState:
    """What an open page shows: the plan with a digest, or the assignment at a version.

    ``page``: the last part of the path that shows the page again; "" for the path of the page itself.
    """

    digest: str
    version: int
    page: str = ""

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
    page: Literal["", "adjudication", "publication"] = "",
) -> Response:
    """Stream whether the page with this plan or version is outdated, and the schedule to a page with a plan.

    ``page``: for the answer to a form, the page that shows the present state.
    """
    require_free_stream(user)
    view = await load_view(dependencies, user, root_account, assignment)
    streams = await StreamReader(dependencies.pool).streams(root_account, view.course.course_id, None)
    watch = ModerationWatch(
        dependencies, view, ShownState(plan, version, "publication" if plan else page), streams[0].number
    )

    async def is_open() -> bool:
        return watch.is_readable and await dependencies.sessions.is_open(user)

    return respond_with_stream(user, dependencies.monitor, watch.render, is_open)


class ModerationWatch:
    """Renders the fragments of one open page.

    The state is loaded again only after a new event of the assignment or its course, and at most every
    ``RELOAD_SECONDS``. A page that shows a version is outdated by the assignment's next event, without loading it.
    """

    def __init__(self, dependencies: Dependencies, view: ModerationView, shown: ShownState, course_stream: int) -> None:
        self.dependencies = dependencies
        self.view = view
        self.shown = shown
        self.course_stream = course_stream
        self.is_readable = True
        self._is_outdated = shown.is_outdated(view)
        self._next_load_at = 0.0
        self._schedule: Json | None = None
        self._schedule_basis: tuple[int, int, str | None] | None = None

    async def render(self) -> Fragments:
        """Return the fragments of the present state; the last ones after the user lost the right to read them."""
        await self._refresh()
        templates, monitor = self.dependencies.templates, self.dependencies.monitor
        # A submitted form leaves a path that only a form may request.
        page = f"{self.view.path}/{self.shown.page}" if self.shown.page else ""
        fragments = {
            "page-notice": templates.render_fragment(MODERATION_FRAGMENTS, "page_notice", page, self._is_outdated)
        }
        if self.shown.digest:
            fragments["schedule-state"] = templates.render_fragment(
                MODERATION_FRAGMENTS, "schedule_state", self.view, await self._load_schedule()
            )
        if self.view.user.can_view:
            fragments["glance"] = templates.render_fragment(FRAGMENTS_TEMPLATE, "glance", monitor.status)
        return fragments

    async def _load_schedule(self) -> Json | None:
        """Return the schedule in force; its plan is built only after a change, and not with each update."""
        course, assignment = self.view.course, self.view.assignment
        refused_with = await find_refusal(StreamReader(self.dependencies.pool), assignment)
        basis = (course.version, assignment.version, refused_with)
        if basis != self._schedule_basis:
            self._schedule = schedule_document(course, assignment, refused_with)
            self._schedule_basis = basis
        return self._schedule

    async def _refresh(self) -> None:
        shows_version = not self.shown.digest
        if (shows_version and self._is_outdated) or time.monotonic() < self._next_load_at:
            return
        assignment = self.view.assignment
        versions = {assignment.stream_number: assignment.version, self.course_stream: self.view.course.version}
        changed = await StreamReader(self.dependencies.pool).changed_streams(versions)
        if shows_version and assignment.stream_number in changed:
            self._is_outdated = True
        elif changed:
            started_at = time.monotonic()
            await self._load()
            loaded_at = time.monotonic()
            self._next_load_at = loaded_at + max(RELOAD_SECONDS, IDLE_PER_LOAD_SECOND * (loaded_at - started_at))

    async def _load(self) -> None:
        assignment = self.view.assignment
        try:
            self.view = await load_view(
                self.dependencies, self.view.user, assignment.root_account_id, assignment.assignment_id
            )
        except HTTPException:
            self.is_readable = False
        else:
            self._is_outdated = self.shown.is_outdated(self.view)
