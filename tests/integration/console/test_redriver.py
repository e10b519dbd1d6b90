"""A dead letter is redriven once, in order and byte for byte, through crashes of Kafka and PostgreSQL."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import MIB
from services.console.operator_service import Actor, InvalidReason, OperatorService
from services.console.redriver import ACTION_HEADER, DEAD_LETTER_BYTES_MAX, POLL_SECONDS, Redriver
from services.eventlog.dead_letters import DeadLetterFilter, DeadLetterReader
from services.eventlog.operator_actions import (
    Action,
    ActionAlreadyRecorded,
    NoOpenDeadLetters,
    OperatorActions,
    get_action,
)
from services.eventlog.postgres import OPERATOR, Pool, connect, create_pool
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from tests.fixtures.bad_inputs import BAD_INPUTS, RawRecord
from tests.fixtures.console_client import Connection
from tests.fixtures.dead_letter_fixtures import HEADERS, append_dead_letters, read_commands_partition
from tests.fixtures.process_runner import DEADLINE_SECONDS, wait_until
from tests.fixtures.system import System, create_system
from tests.system.journeys.test_bad_inputs import produce_raw_record

Json = dict[str, Any]
ACTOR = Actor(root_account=1, user_id=77)
REASON = "the exporter was fixed"


class RedriveHarness:
    """A log, topics and the operator actions, without a handler."""

    def __init__(self, system: System, actions: OperatorService, connections: Pool) -> None:
        self.system = system
        self.actions = actions
        self.pool = connections
        self.failures = DeadLetterReader(connections)

    def redriver(self) -> Redriver:
        return Redriver(self.system.database_url, self.system.bootstrap, self.system.prefix)

    async def send_pending(self, redriver: Redriver | None = None) -> None:
        """Send all pending dead letters; PostgreSQL may notice late that the previous sender is gone."""
        await wait_until((redriver or self.redriver()).send_pending, "the lock is free")

    async def redrive(self, selection: DeadLetterFilter, action: uuid.UUID | None = None) -> uuid.UUID:
        action = action or uuid.uuid4()
        await self.actions.redrive(action, ACTOR, REASON, selection)
        return action

    async def count_rows(self) -> list[int]:
        tables = ("event", "verdict", "dead_letter", "stream", "operator_action", "dead_letter_settled", "redriven")
        return [await self.pool.fetchval(f"select count(*) from {table}") for table in tables]


@pytest.fixture(scope="module")
async def harness(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RedriveHarness]:
    async for system in create_system(bootstrap, new_database(), tmp_path_factory.mktemp("redriving")):
        connections = await create_pool(system.database_url, "test", OPERATOR, 4, 10)
        actions = OperatorService(system.database_url, bootstrap, full_topic_name(system.prefix, "commands"), None)
        yield RedriveHarness(system, actions, connections)
        connections.terminate()


async def test_partition_is_redriven_in_order_with_original_bytes_and_redrive_headers(harness: RedriveHarness) -> None:
    values = [b"{first", b"\xff\xfe", None, b"", b'{"last": 1}']
    letters = await append_dead_letters(harness.system, 0, values)
    action = await harness.redrive(DeadLetterFilter(partition=0))
    await harness.send_pending()
    records = await read_commands_partition(harness.system, 0)
    assert [record.value for record in records] == values
    assert {record.key for record in records} == {b"1001"}
    for record, (shard, number) in zip(records, letters, strict=True):
        redrive_headers = [
            ("redrive_action", str(action).encode()),
            ("redrive_dead_letter", f"{shard}-{number}".encode()),
        ]
        assert list(record.headers) == [*HEADERS, *redrive_headers]
    stored = await get_action(harness.pool, action)
    assert stored is not None
    assert (stored.kind, stored.user_id, stored.reason, stored.closed_count, stored.redriven_count) == (
        "redrive",
        77,
        REASON,
        5,
        5,
    )
    assert json.loads(stored.detail) == {"partition": 0}


async def test_concurrent_identical_redrives_send_one_record(harness: RedriveHarness) -> None:
    (letter,) = await append_dead_letters(harness.system, 1, [b"{"])
    selection, action = DeadLetterFilter(id=letter), uuid.uuid4()
    twice = await asyncio.gather(
        *(harness.redrive(selection, action) for _ in range(2)), harness.redrive(selection), return_exceptions=True
    )
    failures = [type(outcome) for outcome in twice if isinstance(outcome, Exception)]
    assert len(failures) == 2
    assert set(failures) <= {ActionAlreadyRecorded, NoOpenDeadLetters}
    with pytest.raises(NoOpenDeadLetters):
        await harness.actions.discard(uuid.uuid4(), ACTOR, REASON, selection)
    await asyncio.gather(*(harness.redriver().send_pending() for _ in range(3)))
    await harness.send_pending()
    assert len(await read_commands_partition(harness.system, 1)) == 1


async def test_group_redrive_skips_a_concurrently_discarded_dead_letter(harness: RedriveHarness) -> None:
    letters = await append_dead_letters(harness.system, 11, [b"1", b"2"])
    waiting_locks = (
        "select count(*) from pg_locks l join pg_stat_activity a using (pid)"
        " where not l.granted and a.datname = current_database()"
    )
    connection = await connect(harness.system.database_url, "test", OPERATOR)
    async with connection.transaction():
        other_action = Action(uuid.uuid4(), "discard", 1, 78, REASON, "{}")
        await OperatorActions(connection).record_action(other_action, DeadLetterFilter(id=letters[0]), None)
        group = asyncio.create_task(harness.redrive(DeadLetterFilter(partition=11)))
        await wait_until(lambda: harness.pool.fetchval(waiting_locks), "the group redrive waits for the lock")
    await connection.close()
    await group
    await harness.send_pending()
    assert [record.value for record in await read_commands_partition(harness.system, 11)] == [b"2"]


@pytest.mark.parametrize("sees", ["the topic", "nothing"])
async def test_crash_between_kafka_and_postgresql_sends_no_duplicates(
    sees: str, harness: RedriveHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = 2 if sees == "the topic" else 3
    values: list[bytes | None] = [b"{%d" % number for number in range(5 if sees == "nothing" else 12)]
    await append_dead_letters(harness.system, partition, values)
    action = await harness.redrive(DeadLetterFilter(partition=partition))
    crashing, record_redriven = harness.redriver(), OperatorActions.record_redriven

    async def crash(
        operator_actions: OperatorActions, action_id: uuid.UUID, offsets: list[tuple[int, int, int, int]]
    ) -> None:
        if offsets:
            raise ConnectionError("killed between Kafka's acknowledgement and PostgreSQL")
        await record_redriven(operator_actions, action_id, offsets)

    monkeypatch.setattr(OperatorActions, "record_redriven", crash)
    with pytest.raises(ConnectionError):
        await harness.send_pending(crashing)
    monkeypatch.setattr(OperatorActions, "record_redriven", record_redriven)
    assert [record.value for record in await read_commands_partition(harness.system, partition)] == values
    next_redriver = harness.redriver()
    if sees == "nothing":
        # Readers cannot see records in flight, so the broker must recognise the duplicates.
        async def find_nothing(_: Any) -> list[tuple[int, int, int, int]]:
            return []

        monkeypatch.setattr(next_redriver, "_find_already_sent", find_nothing)
    await harness.send_pending(next_redriver)
    assert [record.value for record in await read_commands_partition(harness.system, partition)] == values
    stored = await get_action(harness.pool, action)
    assert stored is not None
    assert stored.redriven_count == len(values)


async def test_unsent_redrive_is_completed_by_another_redriver(harness: RedriveHarness) -> None:
    (letter,) = await append_dead_letters(harness.system, 4, [b"{"])
    await harness.redrive(DeadLetterFilter(id=letter))
    assert await read_commands_partition(harness.system, 4) == []
    disconnected = Redriver(harness.system.database_url, "127.0.0.1:1", harness.system.prefix)
    running = asyncio.create_task(disconnected.run())
    await wait_until(lambda: disconnected.problem is not None, "the problem is reported")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert disconnected.problem == "Kafka does not answer: KafkaConnectionError"
    await harness.send_pending()
    assert len(await read_commands_partition(harness.system, 4)) == 1


REDRIVER_CONNECTIONS = """
select pid, query_start from pg_stat_activity
where application_name = 'moderation-redrive' and datname = current_database() and query_start is not null
"""
ADVISORY_LOCKS = """
select count(*) from pg_locks where locktype = 'advisory'
  and database = (select oid from pg_database where datname = current_database())
"""


async def wait_for_idle_connection(owner: Connection, excluded_pid: int | None = None) -> int:
    """Return the pid of the redriver's one connection after it has polled again."""
    first: dict[int, datetime] = {}

    async def find_polling() -> int | None:
        found = await owner.fetch(REDRIVER_CONNECTIONS)
        rests = {pid: looked_at - first.setdefault(pid, looked_at) for pid, looked_at in found}
        if len(found) != 1 or excluded_pid in rests or rests[found[0][0]].total_seconds() <= POLL_SECONDS:
            return None
        return int(found[0][0])

    return int(await wait_until(find_polling, "one redriver's connection polls"))


async def test_redriver_reconnects_after_losing_its_idle_connection(harness: RedriveHarness) -> None:
    (letter,) = await append_dead_letters(harness.system, 7, [b"{"])
    owner = await asyncpg.connect(harness.system.database_url)
    redriver = harness.redriver()
    running = asyncio.create_task(redriver.run())
    try:
        pid = await wait_for_idle_connection(owner)
        await owner.execute("select pg_terminate_backend($1)", pid)
        action = await harness.redrive(DeadLetterFilter(id=letter))
        redriver.wake()
        assert await redriver.wait_until_sent(action, DEADLINE_SECONDS)
        assert len(await read_commands_partition(harness.system, 7)) == 1
        await wait_for_idle_connection(owner, excluded_pid=pid)
        assert await owner.fetchval(ADVISORY_LOCKS) == 0, "the lock is not released"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await owner.close()


@pytest.mark.parametrize("poisons", ["readers", "marks"])
async def test_foreign_records_on_the_topic_do_not_block_a_redrive(poisons: str, harness: RedriveHarness) -> None:
    partition = 9 if poisons == "readers" else 10
    (letter,) = await append_dead_letters(harness.system, partition, [b"{"])
    action = await harness.redrive(DeadLetterFilter(id=letter))
    action_header = (ACTION_HEADER.encode(), str(action).encode())
    producer = AIOKafkaProducer(**client_options(harness.system.bootstrap))
    await producer.start()
    poison = RawRecord("", None, b"poison", [(b"\xff", b"")] if poisons == "readers" else [action_header])
    await produce_raw_record(producer, harness.system, poison, partition)
    await producer.stop()
    await harness.send_pending()
    assert [record.value for record in await read_commands_partition(harness.system, partition)] == [b"poison", b"{"]


async def test_group_redrive_excludes_dead_letters_added_after_the_form(harness: RedriveHarness) -> None:
    await append_dead_letters(harness.system, 5, [b"1", b"2"], reason="shown")
    matches = await harness.failures.count_matching(DeadLetterFilter(reason="shown"))
    await append_dead_letters(harness.system, 5, [b"3"], reason="shown")
    await harness.redrive(DeadLetterFilter(reason="shown", until=matches.until))
    await harness.send_pending()
    assert matches.count == 2
    assert [record.value for record in await read_commands_partition(harness.system, 5)] == [b"1", b"2"]
    assert len(await harness.failures.dead_letters(10, reason="shown", is_open=True)) == 1


async def test_record_too_large_for_redrive_headers_stays_open(harness: RedriveHarness) -> None:
    fits, too_large = b"{" * (DEAD_LETTER_BYTES_MAX - 200), b"{" * (MIB - 200)
    letters = await append_dead_letters(harness.system, 6, [fits, too_large])
    matches = await harness.failures.count_matching(DeadLetterFilter(partition=6), DEAD_LETTER_BYTES_MAX)
    action = await harness.redrive(DeadLetterFilter(partition=6))
    await harness.send_pending()
    stored = await get_action(harness.pool, action)
    assert stored is not None
    assert (matches.count, matches.too_large_count, matches.too_large_ids) == (
        stored.closed_count,
        1,
        ["{}-{}".format(*letters[1])],
    )
    assert [record.value for record in await read_commands_partition(harness.system, 6)] == [fits]
    with pytest.raises(NoOpenDeadLetters):
        await harness.redrive(DeadLetterFilter(id=letters[1]))


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1_001, "nul\x00"])
async def test_action_without_a_reason_is_rejected(reason: str, harness: RedriveHarness) -> None:
    (letter,) = await append_dead_letters(harness.system, 7, [b"{"])
    before = await harness.count_rows()
    with pytest.raises(InvalidReason):
        await harness.actions.discard(uuid.uuid4(), ACTOR, reason, DeadLetterFilter(id=letter))
    assert await harness.count_rows() == before


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("upsert_course", ("accepted", None, ("course_updated",))),
        ("assignment", ("rejected", "not_found", ())),
        ("nonsense", (None, "not_json", ())),
    ],
)
async def test_dry_run_returns_the_outcome_and_writes_no_rows(
    command: str, outcome: tuple[Any, ...], harness: RedriveHarness
) -> None:
    bases = {**BAD_INPUTS["bases"], "nonsense": None}
    value = b"{" if command == "nonsense" else json.dumps(bases[command]).encode()
    (letter,) = await append_dead_letters(harness.system, 8, [value])
    dead_letter = await harness.failures.dead_letter(*letter)
    assert dead_letter is not None
    before, ends = await harness.count_rows(), len(await read_commands_partition(harness.system, 8))
    result = await harness.actions.dry_run(dead_letter)
    verdict = result.verdict or {"status": None, "reason": result.reason}
    assert (verdict["status"], verdict["reason"], result.events) == outcome
    assert (await harness.count_rows(), len(await read_commands_partition(harness.system, 8))) == (before, ends)


@pytest.mark.parametrize("table", ["operator_action", "dead_letter_settled", "redrive", "redriven"])
async def test_operator_action_tables_are_append_only(table: str, harness: RedriveHarness) -> None:
    column = {"operator_action": "kind", "dead_letter_settled": "shard"}.get(table, "action")
    changes = [f"update {table} set {column} = {column}", f"delete from {table}", f"truncate {table} cascade"]
    owner = await asyncpg.connect(harness.system.database_url)
    try:
        for change in changes:
            for role in ("origin", "replica"):
                await owner.execute(f"set session_replication_role = {role}")
                with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                    await owner.execute(change)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await harness.pool.execute(change)
    finally:
        await owner.close()
