"""A course with one moderated assignment, and what its people ask of a gateway."""

from dataclasses import dataclass
from typing import Any

from tests.cases.adapter import World
from tests.cases.over_http import assignment_path, auditor_command
from tests.conftest import System
from tests.processes.client import GatewayClient

Json = dict[str, Any]
STUDENTS = [f"s{number}" for number in range(6)]
ROLES_BY_NAME = {"fg": "teacher", "ta1": "ta", "ta2": "ta", "ta3": "ta", **dict.fromkeys(STUDENTS, "student")}


def moderated_course_commands(world: World) -> list[Json]:
    """A final grader, three other graders, six students, one moderated assignment."""
    steps: list[Json] = [{"do": "enroll", "user": name, "role": role} for name, role in ROLES_BY_NAME.items()]
    steps.append({"do": "assignment", "id": "a1", "moderated_grading": True, "grader_count": 3, "final_grader": "fg",
                  "points_possible": 10, "grading_type": "points"})  # fmt: skip
    users = [
        {
            "user_id": world.user_id(name),
            "name": f"Named {name}",
            "sis_user_id": f"SIS {name}",
            "login_id": f"{name}@x.org",
        }
        for name in ROLES_BY_NAME
    ]
    return [
        *(command for step in steps for command in world.given(step)),
        world.command("upsert_users", {"users": users}),
        world.command("upsert_course", {"sis_source_id": f"HIST {world.course_id}"}),
        auditor_command(world),
    ]


@dataclass
class CourseClient:
    """A course with one moderated assignment and a name, login and SIS id for everybody."""

    world: World
    system: System
    gateway: GatewayClient

    async def send_accepted(self, *commands: Json) -> None:
        for command in commands:
            await self.system.client.send(command)
        for command in commands:
            verdict = await self.system.client.wait_for_verdict(command["command_id"])
            assert verdict["status"] == "accepted", verdict

    async def request(self, method: str, path: str, name: str, status: int = 200, **options: Any) -> Any:
        """The JSON answer to somebody's request below the assignment; ``path`` may begin with ``/``."""
        full_path = path if path.startswith("/") else f"{assignment_path(self.world, 'a1')}/{path}"
        answer = await self.gateway.request(method, full_path, int(self.world.user_id(name)), **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def grade(self, name: str, student: str, grade: str, comment: str, **more: str) -> Json:
        form = {"submission[posted_grade]": grade, "submission[provisional]": "1", "comment[text_comment]": comment}
        path = f"submissions/{self.world.user_id(student)}"
        graded: Json = await self.request("PUT", path, name, data={**form, **more})
        return graded

    async def configure(self, **settings: Any) -> None:
        await self.send_accepted(self.world.command("configure_assignment", settings, "a1"))
