"""Two relays at once, one killed, one paused and resumed: every record once, in order."""

import asyncio
import json
import signal

import asyncpg

from tests.cases.adapter import World
from tests.conftest import System
from tests.faults.test_kills import assert_dense
from tests.processes.running import until


async def test_a_second_relay_stands_by_and_takes_over_and_a_paused_one_does_no_harm(system: System) -> None:
    outside = system.outside
    relays = [system.process("relay") for _ in range(2)]
    for process in (system.process("handler"), *relays):
        process.start()
        await process.ready()
    sending = True
    sent: list[str] = []

    async def send() -> None:
        while sending:
            command = World().command("upsert_course", {"name": "Course"})
            sent.append(command["command_id"])
            await outside.send(command)
            await asyncio.sleep(0.002)

    async def goes_on() -> None:
        seen = len(outside.records["verdicts"])
        await until(lambda: len(outside.records["verdicts"]) > seen + 50, "verdicts go on", 60)

    task = asyncio.create_task(send())
    await goes_on()
    relays[0].kill()
    await goes_on()
    relays[0].start()
    await relays[0].ready()
    relays[1].signal(signal.SIGSTOP)
    await release_lock_of(system)
    await goes_on()
    relays[1].signal(signal.SIGCONT)
    await goes_on()
    sending = False
    await task
    await until(lambda: len(outside.verdicts) == len(sent), "every verdict", 60)
    assert sorted(outside.verdicts) == sorted(sent)
    for name in ("verdicts", "events"):
        assert_dense(outside.records[name])
        assert len(outside.records[name]) == len(sent)
    assert {json.loads(r.value or b"")["command_id"] for r in outside.records["verdicts"]} == set(sent)


async def release_lock_of(system: System) -> None:
    """End the session that holds the lock, as PostgreSQL's keep-alive would after a while: its lock is free then."""
    connection = await asyncpg.connect(system.database_url)
    try:
        ended = await connection.fetch(
            "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database"
            " where l.locktype = 'advisory' and l.granted and d.datname = current_database()"
        )
        assert len(ended) == 1
    finally:
        await connection.close()
