"""Who opens an assignment's pages of moderation, and what a refusal costs."""

from types import SimpleNamespace
from typing import Any

from fastapi import HTTPException

from services.console.roles import Role
from services.console.web.moderation_view import load_view
from services.console.web.signed_in_user import SignedInUser
from services.eventlog.postgres import OPERATOR, Pool, create_pool
from services.eventlog.stored_events import PAGE
from tests.fixtures.canvas.adapter import World, small_course_steps
from tests.fixtures.decided_commands import decide_commands

UNKNOWN_ASSIGNMENT = 987_654_321
PERMISSIONS = {"moderator": "select_final_grade", "auditor": "view_audit_trail", "registrar": "view_all_grades"}


class RecordingPool:
    """A pool that records whether events of all types were read, as for a state."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.has_read_all_types = False

    async def fetch(self, query: str, *arguments: Any) -> Any:
        if query == PAGE:
            _, _, _, types, *_ = arguments
            self.has_read_all_types |= types is None
        return await self.pool.fetch(query, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


async def open_view(pool: Pool, user_id: str, assignment_id: int) -> tuple[bool, bool]:
    """Open an assignment as a user without operator's role; return whether it opens, and whether it was loaded."""
    recording_pool = RecordingPool(pool)
    dependencies: Any = SimpleNamespace(pool=recording_pool, settings=SimpleNamespace(gateway_url=None))
    user = SignedInUser(int(user_id), 1, Role.MODERATOR, None, 0.0, "", False, False)
    try:
        await load_view(dependencies, user, 1, assignment_id)
    except HTTPException as refusal:
        opens = refusal.status_code != 404
    else:
        opens = True
    return opens, recording_pool.has_read_all_types


async def test_only_users_with_rights_cost_the_loading_of_an_assignment(database_url: str) -> None:
    world = World()
    commands = [command for step in small_course_steps() for command in world.given(step)]
    for name, permission in PERMISSIONS.items():
        admin = {"user_id": world.user_id(name), "permissions": ["manage_grades", permission]}
        commands.append(world.command("upsert_admins", {"admins": [admin]}))
    dismissal = {"user_id": world.user_id("fg"), "type": "TeacherEnrollment", "state": "deleted"}
    a1 = int(world.assignment_id("a1"))
    await decide_commands(database_url, commands)
    pool = await create_pool(database_url, "test", OPERATOR, 2, 10)
    try:
        for name in ("fg", "moderator", "auditor"):
            assert await open_view(pool, world.user_id(name), a1) == (True, True), name
        for name in ("registrar", "ta1", "s1", "stranger"):
            assert await open_view(pool, world.user_id(name), a1) == (False, False), name
        assert await open_view(pool, world.user_id("fg"), UNKNOWN_ASSIGNMENT) == (False, False)
        await decide_commands(database_url, [world.command("upsert_enrollments", {"enrollments": [dismissal]})])
        opens, _ = await open_view(pool, world.user_id("fg"), a1)
        assert not opens
    finally:
        pool.terminate()
