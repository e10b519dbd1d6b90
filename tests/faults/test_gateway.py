"""The gateway while nobody decides and while Kafka is away: nothing is lost, doubled or said that is not so."""

import asyncio
import uuid
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.cases.adapter import World
from tests.cases.over_http import AUDITOR, assignment_path
from tests.cases.room import Room, facts
from tests.cases.tokens import Issuer
from tests.conftest import System
from tests.faults.steps import until_decided
from tests.processes.client import Client
from tests.processes.running import Process, until

GRADE = {"submission[posted_grade]": "7", "submission[provisional]": "true", "comment[text_comment]": "well"}


def path_of(room: Room) -> str:
    return f"{assignment_path(room.world, 'a1')}/submissions/{room.world.user('s1')}"


async def decided(system: System, room: Room, handler: Process) -> None:
    """The facts stand in the log; the handler that decided them has ended."""
    commands = facts(room.world)
    for command in commands:
        await system.outside.send(command)
    handler.start()
    await until_decided(system, len(commands))
    assert handler.stop() == 0


async def settled(client: Client, method: str, path: str, user: int, **options: Any) -> httpx.Response:
    """The answer once the command is decided: at a Location, or to a request with an Idempotency-Key."""
    async with asyncio.timeout(60):
        while (answer := await client.ask(method, path, user, **options)).status_code == 202:
            await asyncio.sleep(0.02)
    return answer


async def test_a_write_that_nobody_decides_in_time_is_found_where_the_answer_says(
    system: System, issuer: Issuer
) -> None:
    handler, gateway = system.process("handler"), system.gateway(issuer, VERDICT_WAIT_SECONDS="2")
    gateway.start()
    await gateway.ready()
    room = Room(World(), system, Client(gateway.url, issuer))
    await decided(system, room, handler)
    grader, other = int(room.world.user("ta1")), int(room.world.user("ta2"))
    try:
        named = {"idempotency-key": "the same"}
        first, again = [
            await room.gateway.ask("PUT", path_of(room), grader, headers=named, data=GRADE) for _ in range(2)
        ]
        assert (first.status_code, first.json()["status"]) == (202, "pending")
        assert int(first.headers["retry-after"]) >= 1
        assert again.json() == first.json()
        location = first.headers["location"]
        assert urlsplit(location).path == f"/api/moderation/v1/commands/{first.json()['command_id']}"
        waiting = await room.gateway.ask("GET", location, grader)
        assert (waiting.status_code, waiting.json()["status"]) == (202, "pending")
        unknown = f"/api/moderation/v1/commands/{uuid.uuid4()}"
        assert (await room.gateway.ask("GET", unknown, grader)).status_code == 404

        handler.start()
        verdict = await settled(room.gateway, "GET", location, grader)
        assert (verdict.status_code, verdict.json()["status"], verdict.json()["duplicate"]) == (200, "accepted", False)
        repeated = await settled(room.gateway, "GET", again.headers["location"], grader)
        assert {**repeated.json(), "duplicate": False} == verdict.json()
        assert (await room.gateway.ask("GET", location, other)).status_code == 404
        assert (await room.gateway.ask("GET", location, int(room.world.user(AUDITOR)))).json() == verdict.json()

        third = await settled(room.gateway, "PUT", path_of(room), grader, headers=named, data=GRADE)
        (grade,) = third.json()["provisional_grades"]
        assert (third.status_code, len(grade["submission_comments"])) == (200, 1)
        changed = await settled(room.gateway, "PUT", path_of(room), grader, headers=named, data={**GRADE, **OTHER})
        assert (changed.status_code, "Idempotency-Key" in changed.text) == (422, True)
        fresh = await settled(room.gateway, "PUT", path_of(room), other, headers=named, data=GRADE)
        assert fresh.status_code == 200
    finally:
        await room.gateway.http.aclose()


OTHER = {"submission[posted_grade]": "8"}


async def test_without_kafka_writes_are_refused_and_reads_answered(
    seeded: System, gateway: Client, issuer: Issuer
) -> None:
    process = seeded.gateway(issuer, KAFKA_BOOTSTRAP="127.0.0.1:1")
    process.start()
    alone = Client(process.url, issuer)
    path, moderator = "/api/v1/courses/1001/assignments/2001", 11
    try:
        await until(lambda: process.health()[0] == 503 and "Kafka" in process.health()[1], "Kafka is missed")
        before = await gateway.ask("GET", f"{path}/submissions", moderator, params={"include[]": "provisional_grades"})
        refused = await alone.ask("PUT", f"{path}/submissions/37", moderator, data=GRADE)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "nothing was changed" in refused.text
        read = await alone.ask("GET", f"{path}/submissions", moderator, params={"include[]": "provisional_grades"})
        assert (read.status_code, read.json()) == (200, before.json())
    finally:
        await alone.http.aclose()
        process.stop()
