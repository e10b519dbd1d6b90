"""Schedulers publish each schedule once, at its time, despite failures of schedulers and servers."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from services.auth.signer import generate_key, to_public_jwk, write_private_key
from services.eventlog.aggregates import load_as_of
from services.eventlog.schedules import find_refusal
from services.eventlog.stream_reader import StreamReader
from services.moderation.state_document import state_document
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.process_runner import Json, Process, wait_until
from tests.fixtures.system import System, create_system
from tests.fixtures.token_issuer import TokenIssuer
from tests.integration.telemetry.test_outages import TcpProxy

FINAL_GRADER, GRADER, STUDENT = 11, 21, 31
PUNCTUAL_SECONDS = 20
"""A stalled machine does not count as a late scheduler."""
DECIDED_SECONDS = 4
"""By then a busy machine has decided a schedule."""
FAILURES = (
    "scheduler.connect.after=raise@1,scheduler.connection.fetch.before=raise@1,scheduler.connection.fetch.after=raise@2,"
    "scheduler.producer.start.after=raise@1,scheduler.producer.send_and_wait.after=raise@1,"
    "scheduler.producer.stop.before=raise@1,scheduler.outlook.observe.before=raise@1"
)


class Season:
    """A system whose handler verifies tokens, with one scheduled publication per assignment."""

    def __init__(self, system: System, handler: Process, issuer: TokenIssuer, key: Path) -> None:
        self.system = system
        self.handler = handler
        self.issuer = issuer
        self.key = key

    def create_scheduler(self, **environment: str) -> Process:
        return self.system.create_process("scheduler", COMMAND_KEY=str(self.key), **environment)

    async def send(self, base: str, actor: int | None, token: str, **changes: object) -> Json:
        """Send a command that must be accepted, and return its verdict."""
        command = {**BAD_INPUTS["bases"][base], "command_id": str(uuid.uuid4()), **changes}
        if actor is not None:
            command["actor"] = {"user_id": str(actor)}
        headers = [("authorization", f"Bearer {token}".encode())]
        await self.system.client.send_raw(json.dumps(command).encode(), command["course_id"].encode(), headers)
        verdict = await self.system.client.wait_for_verdict(command["command_id"])
        assert verdict["status"] == "accepted", verdict
        return verdict

    async def moderate(self, assignment: str, command_type: str, data: Json, actor: int = FINAL_GRADER) -> Json:
        token = self.issuer.token(actor)
        return await self.send("record_grade", actor, token, type=command_type, assignment_id=assignment, data=data)

    async def create_assignment(self) -> str:
        """Create an assignment with one grade to publish."""
        assignment = str(uuid.uuid4().int % 10**15)
        await self.send("assignment", None, self.issuer.lms_token(), assignment_id=assignment)
        await self.moderate(
            assignment, "record_provisional_grade", {"student_id": STUDENT, "posted_grade": "7"}, GRADER
        )
        return assignment

    async def schedule(self, assignment: str, seconds: float) -> datetime:
        """Schedule the publication for some seconds from now, and return the time."""
        now = await self.query("select clock_timestamp()")
        publish_at = now + timedelta(seconds=seconds)
        text = publish_at.astimezone(UTC).isoformat(timespec="milliseconds")
        await self.moderate(assignment, "schedule_publication", {"publish_at": text})
        return datetime.fromisoformat(text)

    async def query(self, statement: str, *arguments: object) -> Any:
        connection = await asyncpg.connect(self.system.database_url)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def read_state(self, assignment: str, version: int | None = None) -> Json:
        connection = await asyncpg.connect(self.system.database_url)
        try:
            await connection.execute("set role moderation_reader")
            reader = StreamReader(connection)
            loaded = await load_as_of(reader, 1, int(assignment), version=version)
            assert loaded is not None
            return state_document(*loaded, refused_with=await find_refusal(reader, loaded[1], version=version))
        finally:
            await connection.close()

    async def wait_for_publication(self, assignment: str) -> datetime:
        """Wait until the grades are published, and return when it was decided."""

        async def find() -> str | None:
            published_at: str | None = (await self.read_state(assignment))["grades_published_at"]
            return published_at

        return datetime.fromisoformat(await wait_until(find, f"the grades of assignment {assignment} are published"))

    async def count_events(self, assignment: str, event_type: str) -> int:
        """Count the events of one type of an assignment."""
        statement = "select count(*) from event where data->>'assignment_id' = $1 and type = $2"
        count = await self.query(statement, assignment, event_type)
        assert isinstance(count, int)
        return count

    async def count_sent(self, assignment: str) -> int:
        """Count the decided publications of an assignment, including duplicates."""
        statement = (
            "select count(*) from verdict where body->>'assignment_id' = $1"
            " and body->>'type' = 'publish_provisional_grades'"
        )
        count = await self.query(statement, assignment)
        assert isinstance(count, int)
        return count


@pytest.fixture(scope="module")
async def season(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Season]:
    folder, issuer, key = tmp_path_factory.mktemp("season"), TokenIssuer(), generate_key()
    write_private_key(folder / "scheduler.key", key)
    jwks = folder / "commands.jwks"
    jwks.write_text(json.dumps({"keys": [*issuer.public_jwks()["keys"], to_public_jwk(key)]}))
    async for system in create_system(bootstrap, new_database(), folder):
        handler = system.create_process("handler", COMMAND_AUTH="required", JWKS=str(jwks))
        relay = system.create_process("relay")
        for process in (handler, relay):
            process.start()
        started = Season(system, handler, issuer, folder / "scheduler.key")
        people = [(FINAL_GRADER, "TeacherEnrollment"), (GRADER, "TaEnrollment"), (STUDENT, "StudentEnrollment")]
        rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in people]
        await started.send("upsert_course", None, issuer.lms_token())
        await started.send(
            "upsert_users", None, issuer.lms_token(), type="upsert_enrollments", data={"enrollments": rows}
        )
        yield started


@pytest.fixture
async def running(season: Season) -> AsyncIterator[list[Process]]:
    """Two schedulers."""
    schedulers = [season.create_scheduler() for _ in range(2)]
    for scheduler in schedulers:
        scheduler.start()
    for scheduler in schedulers:
        await scheduler.wait_until_ready()
    yield schedulers
    for scheduler in schedulers:
        scheduler.kill()


async def test_two_schedulers_publish_once_at_the_time_and_never_before(season: Season, running: list[Process]) -> None:
    cancelled, replaced, fired = [await season.create_assignment() for _ in range(3)]
    await season.schedule(cancelled, DECIDED_SECONDS)
    await season.moderate(cancelled, "cancel_scheduled_publication", {})
    await season.schedule(replaced, DECIDED_SECONDS)
    later = await season.schedule(replaced, 400)
    publish_at = await season.schedule(fired, DECIDED_SECONDS)

    published_at = await season.wait_for_publication(fired)

    assert publish_at <= published_at < publish_at + timedelta(seconds=PUNCTUAL_SECONDS)
    state = await season.read_state(fired)
    assert (state["scheduled_publication"], state["submissions"][0]["score"]) == (None, 7)

    sent = sum(process.get_metric("moderation_scheduled_publications_sent_total") for process in running)
    assert sent >= 1
    for assignment in (cancelled, replaced):
        assert await season.count_sent(assignment) == 0
        assert (await season.read_state(assignment))["grades_published_at"] is None
    shown = (await season.read_state(replaced))["scheduled_publication"]
    assert datetime.fromisoformat(shown["publish_at"]) == later
    await season.moderate(replaced, "cancel_scheduled_publication", {})


async def test_refused_publication_is_shown_and_not_sent_again(season: Season, running: list[Process]) -> None:
    assignment = await season.create_assignment()
    plan = (await season.moderate(assignment, "plan_publication", {}))["result"]
    publish_at = await season.query(f"select clock_timestamp() + interval '{2 * DECIDED_SECONDS} s'")
    assert isinstance(publish_at, datetime)
    data = {"publish_at": publish_at.isoformat(timespec="milliseconds"), "plan_digest": plan["digest"]}
    publish_version = (await season.moderate(assignment, "schedule_publication", data))["stream_version"]
    grade = {"student_id": STUDENT, "posted_grade": "8"}
    await season.moderate(assignment, "record_provisional_grade", grade, GRADER)
    before = (await season.read_state(assignment))["scheduled_publication"]
    assert (before["would_publish"], before["reason"], before["refused_with"]) == (False, "plan_outdated", None)

    async def is_refused() -> bool:
        shown = (await season.read_state(assignment))["scheduled_publication"]
        return bool(shown["refused_with"] == "plan_outdated")

    await wait_until(is_refused, "the publication is refused")
    sent = await season.count_sent(assignment)
    assert (await season.read_state(assignment, version=1))["scheduled_publication"] is None
    earlier = (await season.read_state(assignment, version=publish_version))["scheduled_publication"]
    assert earlier["refused_with"] is None
    for scheduler in running:
        scheduler.kill()
    restarted = running[0]
    restarted.start()
    await restarted.wait_until_ready()
    # It has no memory of its earlier run, and sends publications that are due from now on.
    next_assignment = await season.create_assignment()
    await season.schedule(next_assignment, DECIDED_SECONDS)
    await season.wait_for_publication(next_assignment)
    assert await season.count_sent(assignment) == sent
    await season.moderate(assignment, "cancel_scheduled_publication", {})
    assert (await season.read_state(assignment))["scheduled_publication"] is None


async def test_publication_sent_by_two_schedulers_before_its_decision_happens_once(season: Season) -> None:
    assignment = await season.create_assignment()
    publish_at = await season.schedule(assignment, DECIDED_SECONDS)
    assert season.handler.stop() == 0
    scheduler = season.create_scheduler()
    for _ in range(2):
        # It is killed after it has sent the command and before that is decided: the next one does not know about it.
        scheduler.start()
        await scheduler.wait_until_ready()
        await wait_until(
            lambda: scheduler.get_metric("moderation_scheduled_publications_sent_total") == 1, "it has sent"
        )
        scheduler.kill()

    season.handler.start()

    assert await season.wait_for_publication(assignment) >= publish_at

    async def both_are_decided() -> bool:
        return await season.count_sent(assignment) == 2

    await wait_until(both_are_decided, "both are decided")
    assert await season.count_events(assignment, "grades_posted") == 1


async def test_publication_happens_once_whichever_boundary_the_scheduler_fails_at(season: Season) -> None:
    scheduler = season.create_scheduler(FAILPOINTS=FAILURES)
    scheduler.start()
    assignments = [await season.create_assignment()]
    times = [await season.schedule(assignments[0], DECIDED_SECONDS)]
    published_at = [await season.wait_for_publication(assignments[0])]
    failed = {f"{choice.split('=')[0]}: raise" for choice in FAILURES.split(",")}
    await wait_until(lambda: all(line in scheduler.log.read_text() for line in failed), "every call has failed once")
    scheduler.kill()

    for moment in ("before", "after"):
        scheduler.environment["FAILPOINTS"] = f"scheduler.producer.send_and_wait.{moment}=crash"
        scheduler.start()
        crashing = scheduler.popen
        assert crashing is not None
        assignments.append(await season.create_assignment())
        times.append(await season.schedule(assignments[-1], DECIDED_SECONDS))
        await wait_until(lambda popen=crashing: popen.poll() is not None, f"it is killed {moment} it sends")  # type: ignore[misc]
        scheduler.environment["FAILPOINTS"] = ""
        scheduler.start()
        published_at.append(await season.wait_for_publication(assignments[-1]))
        scheduler.kill()

    assert [early for early in zip(times, published_at, strict=True) if early[1] < early[0]] == []
    assert [await season.count_events(assignment, "grades_posted") for assignment in assignments] == [1, 1, 1]


async def test_publications_follow_an_outage_of_kafka_and_of_postgresql(season: Season) -> None:
    assignments = [await season.create_assignment() for _ in range(2)]
    kafka_host, kafka_port = season.system.bootstrap.split(",")[0].rsplit(":", 1)
    kafka = TcpProxy(kafka_host, int(kafka_port))
    url = urlsplit(season.system.database_url)
    postgres = TcpProxy(url.hostname or "", url.port or 5432)
    netloc = url.netloc.replace(str(url.port), str(postgres.listen_port))
    await postgres.restore()
    scheduler = season.create_scheduler(
        KAFKA_BOOTSTRAP=f"127.0.0.1:{kafka.listen_port}", DATABASE_URL=urlunsplit(url._replace(netloc=netloc))
    )
    times = [await season.schedule(assignment, DECIDED_SECONDS) for assignment in assignments]
    await wait_until(lambda: datetime.now(UTC) > max(times), "both are due at once")
    scheduler.start()
    await wait_until(
        lambda: "no publications can be sent at present: Kafka" in scheduler.log.read_text(), "Kafka is missed"
    )
    await postgres.cut()
    await wait_until(
        lambda: "no publications can be sent at present: PostgreSQL" in scheduler.log.read_text(), "so is PostgreSQL"
    )
    assert [await season.count_sent(assignment) for assignment in assignments] == [0, 0]

    await kafka.restore()
    await postgres.restore()

    for assignment, publish_at in zip(assignments, times, strict=True):
        assert await season.wait_for_publication(assignment) >= publish_at
    await scheduler.wait_until_ready()
    assert scheduler.stop() == 0
    await kafka.cut()
    await postgres.cut()


async def test_metrics_show_the_next_publication_and_those_that_would_be_refused(season: Season) -> None:
    assignment = await season.create_assignment()
    second = {"student_id": STUDENT, "posted_grade": "8"}
    plan = (await season.moderate(assignment, "plan_publication", {}))["result"]
    publish_at = datetime.now(UTC) + timedelta(hours=2)
    data = {"publish_at": publish_at.isoformat(timespec="milliseconds"), "plan_digest": plan["digest"]}
    await season.moderate(assignment, "schedule_publication", data)
    await season.moderate(assignment, "record_provisional_grade", second, GRADER)
    scheduler = season.create_scheduler()
    scheduler.start()
    await scheduler.wait_until_ready()

    def foretells() -> bool:
        return scheduler.get_metric("moderation_schedules_would_be_refused", reason="plan_outdated") == 1

    await wait_until(foretells, "the refusal is foretold")
    assert scheduler.get_metric("moderation_schedules", state="waiting") == 1
    assert 6_000 < scheduler.get_metric("moderation_schedule_next_due_seconds") <= 7_200
    scheduler.kill()
    await season.moderate(assignment, "cancel_scheduled_publication", {})
