"""A verdict that is appended during the request is found; only its recipient sees a pending command."""

import json
import uuid
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import asyncpg
import pytest
from fastapi import Request

from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.store import EventStore
from services.eventlog.stream_reader import StoredVerdict, StreamReader
from services.gateway.authentication import Caller
from services.gateway.pending_places import ARRIVAL_SECONDS_MAX, PendingPlaces
from services.gateway.responses import ApiError
from services.gateway.service_routes import command as get_command

T = TypeVar("T")
TOPIC, SHARD = "commands", 1
GRADER = Caller(user_id=21, root_account_id=1)


class InterruptedReader(StreamReader):
    """Calls a function after a number of queries."""

    def __init__(self, connection: Any, questions: int, happens: Callable[[], Awaitable[None]]) -> None:
        super().__init__(connection)
        self.queries_left = questions
        self.on_interrupt = happens

    async def _run_query(self, answer: Awaitable[T]) -> T:
        found = await answer
        self.queries_left -= 1
        if self.queries_left == 0:
            await self.on_interrupt()
        return found

    async def watermark(self, *question: Any) -> int:
        return await self._run_query(super().watermark(*question))

    async def verdicts_at(self, *question: Any) -> list[StoredVerdict]:
        return await self._run_query(super().verdicts_at(*question))

    async def first_verdict(self, *question: Any) -> StoredVerdict | None:
        return await self._run_query(super().first_verdict(*question))


@pytest.mark.parametrize(("questions", "status"), [(1, 200), (2, 200), (3, 202)])
async def test_verdict_appended_between_two_log_queries_is_found(
    questions: int, status: int, database_url: str
) -> None:
    connection, command_id = await asyncpg.connect(database_url), str(uuid.uuid4())
    log = EventStore(connection)
    source = await log.current_incarnation(TOPIC)

    async def decide() -> None:
        context = await log.read_batch_context([SHARD], [])
        batch = AppendBatch(source, context.decided_at, context.heads, {SHARD: -1})
        body = {"command_id": command_id, "status": "accepted", "reason": None, "message": None, "result": None}
        metadata = {"actor_id": GRADER.user_id}
        coordinates = RecordCoordinates(SHARD, 0, 1)
        batch.add_verdict(
            SHARD, 1, command_id, True, b"hash", coordinates, None, json.dumps(body), json.dumps(metadata)
        )
        assert await log.append(batch)

    reader = InterruptedReader(connection, questions, decide)
    places = PendingPlaces(connection)  # type: ignore[arg-type]
    await places.load_key()
    record = places.sign(GRADER, command_id, (SHARD, 0))
    parts: Any = SimpleNamespace(reader=reader, commands_topic=TOPIC, pending_places=places)
    request = Request({"type": "http", "headers": [], "method": "GET", "path": "/"})
    try:
        answer = await get_command(request, parts, GRADER, command_id, record=record)
    finally:
        await connection.close()
    assert answer.status_code == status


async def test_pending_status_is_shown_only_to_the_recipient_of_its_location(database_url: str) -> None:
    connection, command_id = await asyncpg.connect(database_url), str(uuid.uuid4())
    await EventStore(connection).current_incarnation(TOPIC)
    places = PendingPlaces(connection)  # type: ignore[arg-type]
    parts: Any = SimpleNamespace(reader=StreamReader(connection), commands_topic=TOPIC, pending_places=places)
    request = Request({"type": "http", "headers": [], "method": "GET", "path": "/"})
    another_gateway = PendingPlaces(connection)  # type: ignore[arg-type]
    await another_gateway.load_key()
    told = another_gateway.sign(GRADER, command_id, (SHARD, 5))

    async def status(record: str, caller: Caller = GRADER, command: str = command_id) -> int:
        try:
            return (await get_command(request, parts, caller, command, record=record)).status_code
        except ApiError as error:
            return error.status

    try:
        assert await status(told) == 202
        assert await status(f"{SHARD}-5") == 404
        assert await status(told.replace("-5-", "-6-")) == 404
        assert await status(told, Caller(user_id=22, root_account_id=1)) == 404
        assert await status(told, Caller(user_id=21, root_account_id=2)) == 404
        assert await status(told, command=str(uuid.uuid4())) == 404
    finally:
        await connection.close()


async def test_unacknowledged_command_is_pending_at_every_gateway_until_it_cannot_arrive_any_more(
    database_url: str,
) -> None:
    connection, command_id, now = await asyncpg.connect(database_url), str(uuid.uuid4()), [1_000.0]
    sender, another = (PendingPlaces(connection, lambda: now[0]) for _ in range(2))  # type: ignore[arg-type]
    held_by_producer: set[str] = set()
    parts: Any = SimpleNamespace(
        reader=StreamReader(connection),
        commands_topic=TOPIC,
        pending_places=another,
        producer=SimpleNamespace(is_pending=held_by_producer.__contains__),
    )
    request = Request({"type": "http", "headers": [], "method": "GET", "path": "/"})
    await sender.load_key()
    told = sender.sign(GRADER, command_id, None)

    async def status(record: str, caller: Caller = GRADER) -> int:
        try:
            return (await get_command(request, parts, caller, command_id, record=record)).status_code
        except ApiError as error:
            return error.status

    try:
        assert await status(told) == 202
        assert await status(told, Caller(user_id=22, root_account_id=1)) == 404
        assert await status(told.replace("-1600-", "-9999-")) == 404
        now[0] += ARRIVAL_SECONDS_MAX
        assert await status(told) == 404
        # The gateway that sent it still holds it.
        held_by_producer.add(command_id)
        assert await status(told) == 202
    finally:
        await connection.close()
