"""A dead letter is redriven once, in its order and byte for byte, whatever happens between Kafka and PostgreSQL."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

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
from services.kafka.topics import MIB, full_topic_name
from tests.cases.bad_inputs import DOCUMENT, Record
from tests.conftest import System, made_system
from tests.console.letters import HEADERS, dead, on_topic
from tests.console.looking import Connection
from tests.journeys.test_bad_inputs import sent
from tests.processes.running import DEADLINE_SECONDS, until

Json = dict[str, Any]
WHO = Actor(root_account=1, user_id=77)
WHY = "the exporter was mended"


class Bench:
    """A log, topics and what operators can do; no handler."""

    def __init__(self, system: System, actions: OperatorService, connections: Pool) -> None:
        self.system = system
        self.actions = actions
        self.pool = connections
        self.failures = DeadLetterReader(connections)

    def redriver(self) -> Redriver:
        return Redriver(self.system.database_url, self.system.bootstrap, self.system.prefix)

    async def drain(self, redriver: Redriver | None = None) -> None:
        """Send all that waits; whoever did so before may hold the lock until the server knows that they are gone."""
        await until((redriver or self.redriver()).send_pending, "it is this one's turn")

    async def redrive(self, selection: DeadLetterFilter, action: uuid.UUID | None = None) -> uuid.UUID:
        action = action or uuid.uuid4()
        await self.actions.redrive(action, WHO, WHY, selection)
        return action

    async def counts(self) -> list[int]:
        tables = ("event", "verdict", "dead_letter", "stream", "operator_action", "dead_letter_settled", "redriven")
        return [await self.pool.fetchval(f"select count(*) from {table}") for table in tables]


@pytest.fixture(scope="module")
async def bench(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench]:
    async for system in made_system(bootstrap, new_database(), tmp_path_factory.mktemp("redriving")):
        connections = await create_pool(system.database_url, "test", OPERATOR, 4, 10)
        actions = OperatorService(system.database_url, bootstrap, full_topic_name(system.prefix, "commands"), None)
        yield Bench(system, actions, connections)
        connections.terminate()


async def test_a_partition_is_redriven_in_order_byte_for_byte_and_marked(bench: Bench) -> None:
    values = [b"{first", b"\xff\xfe", None, b"", b'{"last": 1}']
    letters = await dead(bench.system, 0, values)
    action = await bench.redrive(DeadLetterFilter(partition=0))
    await bench.drain()
    records = await on_topic(bench.system, 0)
    assert [record.value for record in records] == values
    assert {record.key for record in records} == {b"1001"}
    for record, (shard, number) in zip(records, letters, strict=True):
        marks = [("redrive_action", str(action).encode()), ("redrive_dead_letter", f"{shard}-{number}".encode())]
        assert list(record.headers) == [*HEADERS, *marks]
    kept = await get_action(bench.pool, action)
    assert kept is not None
    assert (kept.kind, kept.user_id, kept.reason, kept.closed_count, kept.redriven_count) == ("redrive", 77, WHY, 5, 5)
    assert json.loads(kept.detail) == {"partition": 0}


async def test_the_same_form_twice_and_another_tab_redrive_once(bench: Bench) -> None:
    (letter,) = await dead(bench.system, 1, [b"{"])
    selection, action = DeadLetterFilter(id=letter), uuid.uuid4()
    twice = await asyncio.gather(
        *(bench.redrive(selection, action) for _ in range(2)), bench.redrive(selection), return_exceptions=True
    )
    failures = [type(outcome) for outcome in twice if isinstance(outcome, Exception)]
    assert len(failures) == 2
    assert set(failures) <= {ActionAlreadyRecorded, NoOpenDeadLetters}
    with pytest.raises(NoOpenDeadLetters):
        await bench.actions.discard(uuid.uuid4(), WHO, WHY, selection)
    await asyncio.gather(*(bench.redriver().send_pending() for _ in range(3)))
    await bench.drain()
    assert len(await on_topic(bench.system, 1)) == 1


async def test_of_a_group_somebody_else_takes_one_at_the_same_time_and_the_rest_is_redriven(bench: Bench) -> None:
    letters = await dead(bench.system, 11, [b"1", b"2"])
    waits = (
        "select count(*) from pg_locks l join pg_stat_activity a using (pid)"
        " where not l.granted and a.datname = current_database()"
    )
    connection = await connect(bench.system.database_url, "test", OPERATOR)
    async with connection.transaction():
        theirs = Action(uuid.uuid4(), "discard", 1, 78, WHY, "{}")
        await OperatorActions(connection).record_action(theirs, DeadLetterFilter(id=letters[0]), None)
        group = asyncio.create_task(bench.redrive(DeadLetterFilter(partition=11)))
        await until(lambda: bench.pool.fetchval(waits), "the group waits for it")
    await connection.close()
    await group
    await bench.drain()
    assert [record.value for record in await on_topic(bench.system, 11)] == [b"2"]


@pytest.mark.parametrize("sees", ["the topic", "nothing"])
async def test_a_crash_between_kafka_and_postgresql_sends_nothing_twice(
    sees: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = 2 if sees == "the topic" else 3
    values: list[bytes | None] = [b"{%d" % number for number in range(5 if sees == "nothing" else 12)]
    await dead(bench.system, partition, values)
    action = await bench.redrive(DeadLetterFilter(partition=partition))
    dying, noted = bench.redriver(), OperatorActions.record_redriven

    async def crash(operating: OperatorActions, of: uuid.UUID, places: list[tuple[int, int, int, int]]) -> None:
        if places:
            raise ConnectionError("killed between Kafka's acknowledgement and PostgreSQL")
        await noted(operating, of, places)

    monkeypatch.setattr(OperatorActions, "record_redriven", crash)
    with pytest.raises(ConnectionError):
        await bench.drain(dying)
    monkeypatch.setattr(OperatorActions, "record_redriven", noted)
    assert [record.value for record in await on_topic(bench.system, partition)] == values
    after = bench.redriver()
    if sees == "nothing":
        # Its records may be on their way still, where no reader sees them: then the broker knows them again.
        async def blind(_: Any) -> list[tuple[int, int, int, int]]:
            return []

        monkeypatch.setattr(after, "_find_already_sent", blind)
    await bench.drain(after)
    assert [record.value for record in await on_topic(bench.system, partition)] == values
    kept = await get_action(bench.pool, action)
    assert kept is not None
    assert kept.redriven_count == len(values)


async def test_a_redrive_that_was_decided_and_never_sent_is_sent_by_whoever_comes_next(bench: Bench) -> None:
    (letter,) = await dead(bench.system, 4, [b"{"])
    await bench.redrive(DeadLetterFilter(id=letter))
    assert await on_topic(bench.system, 4) == []
    cut_off = Redriver(bench.system.database_url, "127.0.0.1:1", bench.system.prefix)
    trying = asyncio.create_task(cut_off.run())
    await until(lambda: cut_off.problem is not None, "that it cannot be sent is said")
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    assert cut_off.problem == "Kafka does not answer: KafkaConnectionError"
    await bench.drain()
    assert len(await on_topic(bench.system, 4)) == 1


REDRIVERS = """
select pid, query_start from pg_stat_activity
where application_name = 'moderation-redrive' and datname = current_database() and query_start is not null
"""
LOCKS = """
select count(*) from pg_locks where locktype = 'advisory'
  and database = (select oid from pg_database where datname = current_database())
"""


async def held_by_redriver(owner: Connection, not_this: int | None = None) -> int:
    """The one connection of a redriver, over which it has looked again after a rest."""
    first: dict[int, datetime] = {}

    async def rested() -> int | None:
        found = await owner.fetch(REDRIVERS)
        rests = {pid: looked_at - first.setdefault(pid, looked_at) for pid, looked_at in found}
        if len(found) != 1 or not_this in rests or rests[found[0][0]].total_seconds() <= POLL_SECONDS:
            return None
        return int(found[0][0])

    return int(await until(rested, "one redriver's connection rests"))


async def test_an_idle_redriver_keeps_its_connection_and_without_it_sends_over_another(bench: Bench) -> None:
    (letter,) = await dead(bench.system, 7, [b"{"])
    owner = await asyncpg.connect(bench.system.database_url)
    redriver = bench.redriver()
    running = asyncio.create_task(redriver.run())
    try:
        held = await held_by_redriver(owner)
        await owner.execute("select pg_terminate_backend($1)", held)
        action = await bench.redrive(DeadLetterFilter(id=letter))
        redriver.wake()
        assert await redriver.wait_until_sent(action, DEADLINE_SECONDS)
        assert len(await on_topic(bench.system, 7)) == 1
        await held_by_redriver(owner, not_this=held)
        assert await owner.fetchval(LOCKS) == 0, "others wait for a lock that nobody needs"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await owner.close()


@pytest.mark.parametrize("poisons", ["readers", "marks"])
async def test_what_others_write_does_not_keep_a_redrive_from_going_on(poisons: str, bench: Bench) -> None:
    partition = 9 if poisons == "readers" else 10
    (letter,) = await dead(bench.system, partition, [b"{"])
    action = await bench.redrive(DeadLetterFilter(id=letter))
    mark = (ACTION_HEADER.encode(), str(action).encode())
    producer = AIOKafkaProducer(bootstrap_servers=bench.system.bootstrap)
    await producer.start()
    poison = Record("", None, b"poison", [(b"\xff", b"")] if poisons == "readers" else [mark])
    await sent(producer, bench.system, poison, partition)
    await producer.stop()
    await bench.drain()
    assert [record.value for record in await on_topic(bench.system, partition)] == [b"poison", b"{"]


async def test_a_group_is_what_the_form_showed_and_no_letter_that_died_later(bench: Bench) -> None:
    await dead(bench.system, 5, [b"1", b"2"], reason="shown")
    shown = await bench.failures.count_matching(DeadLetterFilter(reason="shown"))
    await dead(bench.system, 5, [b"3"], reason="shown")
    await bench.redrive(DeadLetterFilter(reason="shown", until=shown.until))
    await bench.drain()
    assert shown.count == 2
    assert [record.value for record in await on_topic(bench.system, 5)] == [b"1", b"2"]
    assert len(await bench.failures.dead_letters(10, reason="shown", is_open=True)) == 1


async def test_a_record_too_large_to_be_marked_stays_open(bench: Bench) -> None:
    fits, too_large = b"{" * (DEAD_LETTER_BYTES_MAX - 200), b"{" * (MIB - 200)
    letters = await dead(bench.system, 6, [fits, too_large])
    shown = await bench.failures.count_matching(DeadLetterFilter(partition=6), DEAD_LETTER_BYTES_MAX)
    action = await bench.redrive(DeadLetterFilter(partition=6))
    await bench.drain()
    kept = await get_action(bench.pool, action)
    assert kept is not None
    assert (shown.count, shown.too_large_count, shown.too_large_ids) == (
        kept.closed_count,
        1,
        ["{}-{}".format(*letters[1])],
    )
    assert [record.value for record in await on_topic(bench.system, 6)] == [fits]
    with pytest.raises(NoOpenDeadLetters):
        await bench.redrive(DeadLetterFilter(id=letters[1]))


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1_001, "nul\x00"])
async def test_without_a_reason_nothing_is_done(reason: str, bench: Bench) -> None:
    (letter,) = await dead(bench.system, 7, [b"{"])
    before = await bench.counts()
    with pytest.raises(InvalidReason):
        await bench.actions.discard(uuid.uuid4(), WHO, reason, DeadLetterFilter(id=letter))
    assert await bench.counts() == before


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("upsert_course", ("accepted", None, ("course_updated",))),
        ("assignment", ("rejected", "not_found", ())),
        ("nonsense", (None, "not_json", ())),
    ],
)
async def test_a_dry_run_says_what_would_come_of_it_and_writes_nothing(
    command: str, outcome: tuple[Any, ...], bench: Bench
) -> None:
    bases = {**DOCUMENT["bases"], "nonsense": None}
    value = b"{" if command == "nonsense" else json.dumps(bases[command]).encode()
    (letter,) = await dead(bench.system, 8, [value])
    found = await bench.failures.dead_letter(*letter)
    assert found is not None
    before, ends = await bench.counts(), len(await on_topic(bench.system, 8))
    rehearsed = await bench.actions.dry_run(found)
    verdict = rehearsed.verdict or {"status": None, "reason": rehearsed.reason}
    assert (verdict["status"], verdict["reason"], rehearsed.events) == outcome
    assert (await bench.counts(), len(await on_topic(bench.system, 8))) == (before, ends)


@pytest.mark.parametrize("table", ["operator_action", "dead_letter_settled", "redrive", "redriven"])
async def test_what_operators_did_can_be_changed_by_nobody(table: str, bench: Bench) -> None:
    column = {"operator_action": "kind", "dead_letter_settled": "shard"}.get(table, "action")
    changes = [f"update {table} set {column} = {column}", f"delete from {table}", f"truncate {table} cascade"]
    owner = await asyncpg.connect(bench.system.database_url)
    try:
        for change in changes:
            for role in ("origin", "replica"):
                await owner.execute(f"set session_replication_role = {role}")
                with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                    await owner.execute(change)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await bench.pool.execute(change)
    finally:
        await owner.close()
