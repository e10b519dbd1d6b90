"""A console and what it looks at; commands of the corpus's for it to show."""

import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import httpx

from tests.cases.bad_inputs import BAD_INPUTS
from tests.cases.tokens import TokenIssuer
from tests.conftest import System
from tests.console.letters import append_dead_letters
from tests.processes.running import Process, wait_until

Json = dict[str, Any]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
HOSTILE = '</td><script>window.pwned=1</script><img src=x onerror="window.pwned=2">\u202e\u2066evil\u200b' + "W" * 90
COURSE, ASSIGNMENT = 7001, 7002


@dataclass
class ConsoleClient:
    """``system``: what it looks at."""

    system: System
    process: Process
    issuer: TokenIssuer
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.process.url

    def token(self, role: str, user_id: int = 77) -> str:
        return self.issuer.token(user_id, scope=f"moderation.{role}")

    async def request(self, method: str, path: str, role: str = "viewer", **options: object) -> httpx.Response:
        """As a program with a bearer token."""
        headers = {"authorization": f"Bearer {self.token(role)}"}
        return await self.http.request(method, path, headers=headers, **options)  # type: ignore[arg-type]


async def send_command(console: ConsoleClient, kind: str, *, course: int = COURSE, **changes: Any) -> Json:
    """Send a command of the corpus's and await its verdict."""
    command = {**BAD_INPUTS["bases"][kind], "command_id": str(uuid.uuid4()), "course_id": str(course), **changes}
    return await console.system.client.send_and_wait(command)


async def create_graded_assignment(console: ConsoleClient, course: int, assignment: int, students: int) -> Json:
    """An assignment of so many students, from 31 on, with a provisional grade each; the fields that name it."""
    people = [(11, "TeacherEnrollment"), (21, "TaEnrollment")]
    people += [(student, "StudentEnrollment") for student in range(31, 31 + students)]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in people]
    assignment_fields: Json = {"assignment_id": str(assignment)}
    verdicts = [
        await send_command(console, "upsert_course", course=course),
        await send_command(
            console, "upsert_users", course=course, type="upsert_enrollments", data={"enrollments": rows}
        ),
        await send_command(console, "assignment", course=course, **assignment_fields),
    ]
    for student in range(31, 31 + students):
        grade = {"student_id": str(student), "posted_grade": "7"}
        verdicts.append(
            await send_command(
                console, "record_grade", course=course, **assignment_fields, data=grade, actor={"user_id": "21"}
            )
        )
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}, verdicts
    return {**assignment_fields, "course_id": str(course)}


async def newest_dead_letter_id(console: ConsoleClient, query: str) -> str:
    """The newest dead letter of a list."""
    text = (await console.request("GET", f"/failures/dead-letters?{query}")).text
    return text.split("/failures/dead-letters/")[1].split('"')[0]


@asynccontextmanager
async def connect_to_log(console: ConsoleClient) -> AsyncIterator[Connection]:
    """Its log, for whoever compares."""
    connection = await asyncpg.connect(console.system.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def wait_until_time(monotonic_time: float) -> None:
    """Wait for a moment of the monotonic clock."""
    await wait_until(lambda: time.monotonic() >= monotonic_time, "the moment")


async def create_dead_letter(console: ConsoleClient, value: bytes = b"{", partition: int = 9, **given: Any) -> str:
    ((shard, number),) = await append_dead_letters(console.system, partition, [value], **given)
    return f"{shard}-{number}"


@asynccontextmanager
async def sign_in(console: ConsoleClient) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=console.url, timeout=90) as client:
        answer = await client.post("/sign-in", data={"token": console.token("operator"), "next": "/failures"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/failures")
        yield client


def parse_csrf_token(page: httpx.Response) -> str:
    match = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert match is not None
    return match[1]
