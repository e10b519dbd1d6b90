"""The log loses published commits: the relay stops and names the lost records, and one command makes verify pass again.

A failover to a replica that lacks the last commits, a restore, and a crash without ``synchronous_commit`` all look like
this. The handler decides the lost commands again under the same numbers: only contents show the difference.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any, NoReturn

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from deploy.local.paths import ROOT
from schemas.topics import OUTPUT_TOPICS
from services.admin import rewinder
from services.config.cli import ReplaySettings
from services.eventlog.feeds import FEED_BY_TOPIC
from services.kafka.client_options import client_options
from services.kafka.progress_topic import read_progress
from services.kafka.topics import full_topic_name
from services.relay.transaction_builder import RECORDS_MAX
from tests.fixtures.dead_letter_fixtures import append_dead_letters
from tests.fixtures.fault_helpers import (
    course_commands,
    publication_commands,
    rewind_relay,
    send_all,
    start_handler,
    wait_until_no_relay_is_connected,
    wait_until_processed,
    wait_until_published,
)
from tests.fixtures.process_runner import Json, wait_until
from tests.fixtures.recorded_topics import RecordedTopics
from tests.fixtures.system import System

LOST = 100
# Deletes rows after a position of the log, as if they had never been committed. Streams stay: they hold no commands.
LOSE = """
alter table event disable trigger append_only;
alter table decided_command disable trigger append_only;
alter table only verdict_body disable trigger append_only;
alter table stream disable trigger append_only;
delete from event e using kept k where e.shard = k.shard and e.position > k.position;
delete from decided_command v using kept k where v.shard = k.shard and v.number > k.verdict_number;
delete from verdict_body v using kept k where v.shard = k.shard and v.number > k.verdict_number;
delete from stream s where not exists (select from event e where e.stream = s.number);
alter table event enable always trigger append_only;
alter table decided_command enable always trigger append_only;
alter table only verdict_body enable always trigger append_only;
alter table stream enable always trigger append_only;
"""


async def add_partitions(system: System) -> None:
    """Give the commands topic twice as many partitions as shards: two of them feed each shard."""
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    await admin.create_partitions({full_topic_name(system.prefix, "commands"): NewPartitions(24)})
    await admin.close()
    await system.client.producer.stop()
    await system.client.recreate_producer()


async def send_without_keys(system: System, commands: list[Json]) -> None:
    """Send commands without a key, to partitions that do not depend on their courses."""
    for command in commands:
        await system.client.send_raw(json.dumps(command).encode())
    await system.client.producer.flush()


async def execute(system: System, sql: str) -> None:
    connection = await asyncpg.connect(system.database_url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def list_lost(system: System) -> list[str]:
    """Return the lines in which the command lists published records that are lost."""
    command = [sys.executable, "-m", "services.cli", "admin", "rewind", "log", "--dry-run"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=system.environment, check=True, capture_output=True, text=True
    )
    return [line for line in done.stdout.splitlines() if " id " in line]


async def interrupt_rewind(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``admin rewind log`` until it has emptied partitions, and let it fail there."""
    empty_partitions = rewinder._empty_partitions

    async def fail(*arguments: Any) -> NoReturn:
        await empty_partitions(*arguments)
        raise ConnectionError("a broker failed")

    with monkeypatch.context() as patches:
        for name, value in system.environment.items():
            patches.setenv(name, value)
        patches.setattr(rewinder, "_empty_partitions", fail)
        with pytest.raises(ConnectionError):
            await rewinder.rewind_to_log(ReplaySettings(), list(OUTPUT_TOPICS), lambda line: None, dry_run=False)


@pytest.mark.parametrize("relay_runs", [True, False], ids=["running relay", "relay that starts later"])
async def test_lost_commits_stop_the_relay_until_an_operator_removes_the_lost_records(
    system: System, monkeypatch: pytest.MonkeyPatch, relay_runs: bool
) -> None:
    if not relay_runs:
        await add_partitions(system)
    handler, relay = await start_handler(system), system.create_process("relay")
    relay.start()
    await relay.wait_until_ready()
    kept_commands = publication_commands(5)
    await send_all(system, kept_commands)
    await wait_until_published(system, len(kept_commands))
    await execute(system, "create table kept as select h.* from shard s, lateral heads(array[s.shard]) h")
    lost_commands = course_commands(LOST)
    await (send_all if relay_runs else send_without_keys)(system, lost_commands)
    await wait_until_published(system, len(kept_commands) + LOST)

    if not relay_runs:
        relay.kill()
    handler.kill()
    await execute(system, LOSE)
    if relay_runs:
        await wait_until(
            lambda: "the log ends at" in relay.get_readiness()[1], "the relay sees that the log is shorter"
        )
    handler.start()
    await wait_until_processed(system, len(kept_commands) + LOST)
    if not relay_runs:
        relay.start()
    await wait_until(lambda: "but the log has a different" in relay.get_readiness()[1], "the relay compares contents")
    status, reason = relay.get_readiness()
    assert status == 503
    assert "moderated-grading admin rewind log" in reason

    lost_lines = await list_lost(system)
    for command in lost_commands:
        assert sorted(line.split()[0] for line in lost_lines if command["command_id"] in line) == ["events", "verdicts"]
    assert len(lost_lines) == 2 * LOST
    assert relay.get_readiness()[0] == 503, "a relay goes on by itself"
    relay.kill()
    if relay_runs:
        await wait_until_no_relay_is_connected(system)
        await interrupt_rewind(system, monkeypatch)
    await rewind_relay(system, "log")
    relay.start()
    await relay.wait_until_ready()
    reading = RecordedTopics(system, {})

    async def is_sound(output: str) -> bool:
        return (await reading.verify_topic(full_topic_name(system.prefix, output), output, True)).sound

    for output in FEED_BY_TOPIC:
        await wait_until(lambda output=output: is_sound(output), f"{output} is sound")  # type: ignore[misc]
    verdicts = sum((await reading.read_topic("verdicts")).values(), [])
    command_ids = [copy.header("ce_causationid") for copy in verdicts]
    assert {command["command_id"].encode() for command in lost_commands} <= set(command_ids)
    assert len(set(command_ids)) == len(command_ids)
    again = {copy.header("ce_causationid") for copy in verdicts if ("replay", b"true") in copy.headers}
    assert again <= {command["command_id"].encode() for command in kept_commands}, "what is new is not a replay"


REPLAYED, SHARD = 4 * RECORDS_MAX, 3
LOSE_DEAD_LETTERS = f"""
alter table dead_letter disable trigger append_only;
delete from dead_letter where shard = {SHARD} and number > {REPLAYED - LOST};
alter table dead_letter enable always trigger append_only;
"""


async def test_rows_lost_during_a_replay_stop_the_relay_before_others_go_out_in_their_place(system: System) -> None:
    await append_dead_letters(system, SHARD, [b"{"] * REPLAYED)
    relay = system.create_process("relay")
    progress_name = full_topic_name(system.prefix, "progress")

    async def count_relayed() -> int:
        progress = await read_progress(system.bootstrap, progress_name)
        assert progress is not None
        return progress.sequences["dead-letters"][SHARD]

    async def is_complete() -> bool:
        return await count_relayed() == REPLAYED

    async def is_begun() -> bool:
        return await count_relayed() > 0

    relay.start()
    await wait_until(is_complete, "all dead letters are published")
    relay.kill()
    await rewind_relay(system, "start", "dead-letters")
    # Each of four full transactions takes long: checks of the log are due while the next one is pending.
    slow_relay = system.create_process("relay", FAILPOINTS="relay.producer.commit_transaction.before=delay(6)")
    slow_relay.start()
    await wait_until(is_begun, "the replay has begun")
    await execute(system, LOSE_DEAD_LETTERS)
    await append_dead_letters(system, SHARD, [b"["] * 2 * LOST)

    await wait_until(
        lambda: "but the log has a different" in slow_relay.get_readiness()[1], "the relay compares the replay's end"
    )
    assert "moderated-grading admin rewind log" in slow_relay.get_readiness()[1]
    dead_letters = (await RecordedTopics(system, {}).read_topic("dead-letters"))[SHARD]
    assert len(dead_letters) > REPLAYED
    assert {copy.value for copy in dead_letters} == {b"{"}
