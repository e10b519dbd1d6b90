"""The gateway without a handler and without Kafka: no write is lost, duplicated or answered incorrectly."""

import asyncio
import uuid
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import CourseClient, moderated_course_commands
from tests.fixtures.canvas.http_adapter import AUDITOR, assignment_path
from tests.fixtures.fault_helpers import wait_until_processed
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import Process, wait_until
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

GRADE = {"submission[posted_grade]": "7", "submission[provisional]": "true", "comment[text_comment]": "well"}


def submission_path(course_client: CourseClient) -> str:
    return f"{assignment_path(course_client.world, 'a1')}/submissions/{course_client.world.user_id('s1')}"


async def process_setup_commands(system: System, course_client: CourseClient, handler: Process) -> None:
    """Process the facts of a course with a handler, and stop it."""
    commands = moderated_course_commands(course_client.world)
    for command in commands:
        await system.client.send(command)
    handler.start()
    await wait_until_processed(system, len(commands))
    assert handler.stop() == 0


async def wait_for_response(client: GatewayClient, method: str, path: str, user: int, **options: Any) -> httpx.Response:
    """Repeat a request with a Location or an Idempotency-Key until its command is decided."""
    async with asyncio.timeout(60):
        response = await client.request(method, path, user, **options)
        while response.status_code == 202:
            await asyncio.sleep(0.02)
            response = await client.request(method, path, user, **options)
    return response


async def test_pending_write_returns_a_location_that_later_has_the_verdict(system: System, issuer: TokenIssuer) -> None:
    handler, gateway = system.create_process("handler"), system.create_gateway(issuer, VERDICT_WAIT_SECONDS="2")
    gateway.start()
    await gateway.wait_until_ready()
    course_client = CourseClient(World(), system, GatewayClient(gateway.url, issuer))
    await process_setup_commands(system, course_client, handler)
    grader, other = int(course_client.world.user_id("ta1")), int(course_client.world.user_id("ta2"))
    try:
        headers = {"idempotency-key": "the same"}
        first, again = [
            await course_client.gateway.request(
                "PUT", submission_path(course_client), grader, headers=headers, data=GRADE
            )
            for _ in range(2)
        ]
        assert (first.status_code, first.json()["status"]) == (202, "pending")
        assert int(first.headers["retry-after"]) >= 1
        assert again.json() == first.json()
        location = first.headers["location"]
        assert urlsplit(location).path == f"/api/moderation/v1/commands/{first.json()['command_id']}"
        waiting = await course_client.gateway.request("GET", location, grader)
        assert (waiting.status_code, waiting.json()["status"]) == (202, "pending")
        unknown = f"/api/moderation/v1/commands/{uuid.uuid4()}"
        assert (await course_client.gateway.request("GET", unknown, grader)).status_code == 404

        handler.start()
        verdict = await wait_for_response(course_client.gateway, "GET", location, grader)
        assert (verdict.status_code, verdict.json()["status"], verdict.json()["duplicate"]) == (200, "accepted", False)
        repeated = await wait_for_response(course_client.gateway, "GET", again.headers["location"], grader)
        assert {**repeated.json(), "duplicate": False} == verdict.json()
        assert (await course_client.gateway.request("GET", location, other)).status_code == 404
        assert (
            await course_client.gateway.request("GET", location, int(course_client.world.user_id(AUDITOR)))
        ).json() == verdict.json()

        third = await wait_for_response(
            course_client.gateway, "PUT", submission_path(course_client), grader, headers=headers, data=GRADE
        )
        (grade,) = third.json()["provisional_grades"]
        assert (third.status_code, len(grade["submission_comments"])) == (200, 1)
        changed = await wait_for_response(
            course_client.gateway,
            "PUT",
            submission_path(course_client),
            grader,
            headers=headers,
            data={**GRADE, **OTHER_GRADE},
        )
        assert (changed.status_code, "Idempotency-Key" in changed.text) == (422, True)
        other_user_response = await wait_for_response(
            course_client.gateway, "PUT", submission_path(course_client), other, headers=headers, data=GRADE
        )
        assert other_user_response.status_code == 200
    finally:
        await course_client.gateway.http.aclose()


HIDE_EVENTS_WITH_A_VERDICT = """
create function hide_events() returns trigger security definer language plpgsql as
$$ begin revoke select on event from moderation_reader; return null; end $$;
create trigger hide_events after insert on decided_command for each row execute function hide_events()
"""
SHOW_EVENTS = "drop function hide_events() cascade; grant select on event to moderation_reader"


async def test_outage_after_a_decision_is_not_answered_as_if_nothing_were_changed(
    system: System, issuer: TokenIssuer
) -> None:
    """PostgreSQL has the verdict, and cannot be read when the gateway needs the state for its answer."""
    handler, gateway = system.create_process("handler"), system.create_gateway(issuer)
    gateway.start()
    await gateway.wait_until_ready()
    course_client = CourseClient(World(), system, GatewayClient(gateway.url, issuer))
    await process_setup_commands(system, course_client, handler)
    grader, headers = int(course_client.world.user_id("ta1")), {"idempotency-key": "the same"}
    connection = await asyncpg.connect(system.database_url)
    try:
        path = submission_path(course_client)
        await connection.execute(HIDE_EVENTS_WITH_A_VERDICT)
        handler.start()
        interrupted = await course_client.gateway.request("PUT", path, grader, headers=headers, data=GRADE)
        assert handler.stop() == 0
        await connection.execute(SHOW_EVENTS)

        assert (interrupted.status_code, interrupted.json()["status"]) == (202, "pending")
        verdict = await course_client.gateway.request("GET", interrupted.headers["location"], grader)
        assert (verdict.status_code, verdict.json()["status"]) == (200, "accepted")
    finally:
        await connection.close()
        await course_client.gateway.http.aclose()


OTHER_GRADE = {"submission[posted_grade]": "8"}


async def test_kafka_outage_rejects_writes_and_serves_reads(
    seeded: System, gateway: GatewayClient, issuer: TokenIssuer
) -> None:
    process = seeded.create_gateway(issuer, KAFKA_BOOTSTRAP="127.0.0.1:1")
    process.start()
    offline = GatewayClient(process.url, issuer)
    path, moderator = "/api/v1/courses/1001/assignments/2001", 11
    try:
        await wait_until(
            lambda: process.get_readiness()[0] == 503 and "Kafka" in process.get_readiness()[1],
            "the gateway notices that Kafka is away",
        )
        before = await gateway.request(
            "GET", f"{path}/submissions", moderator, params={"include[]": "provisional_grades"}
        )
        rejected = await offline.request("PUT", f"{path}/submissions/37", moderator, data=GRADE)
        assert rejected.status_code == 503
        assert int(rejected.headers["retry-after"]) >= 1
        assert "nothing was changed" in rejected.text
        read = await offline.request(
            "GET", f"{path}/submissions", moderator, params={"include[]": "provisional_grades"}
        )
        assert (read.status_code, read.json()) == (200, before.json())
    finally:
        await offline.http.aclose()
        process.stop()
