"""The relay's progress is lost: it stops rather than guess, and goes on from where an operator says."""

import asyncio
from collections import Counter

from aiokafka.admin import AIOKafkaAdminClient

from services import topics
from tests.conftest import System
from tests.faults.steps import courses, run, send_all, started
from tests.faults.test_kills import assert_dense
from tests.processes.running import until


async def lose_progress(system: System) -> None:
    """Delete the progress topic, and let the service's own command make it again."""
    name = topics.topic(system.prefix, "progress")
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    await admin.delete_topics([name])
    while name in await admin.list_topics():
        await asyncio.sleep(0.05)
    await admin.close()
    await run(system, "services.topics")


async def test_a_relay_without_progress_stops_and_resumes_where_it_is_told(system: System) -> None:
    outside = system.outside
    await started(system)
    relay = system.process("relay")
    relay.start()
    await relay.ready()
    await send_all(system, courses(40))
    await until(lambda: len(outside.records["events"]) == 40, "40 events")
    relay.kill()
    await lose_progress(system)
    relay.start()
    await until(lambda: relay.health()[0] == 503 and "services.relay.rewind" in relay.health()[1], "the remedy")
    relay.kill()

    await run(system, "services.relay.rewind", "topics")
    relay.start()
    await relay.ready()
    await send_all(system, courses(40))
    await until(lambda: len(outside.records["events"]) == len(outside.records["verdicts"]) == 80, "80 of each")
    for name in ("verdicts", "events"):
        assert_dense(outside.records[name])

    relay.kill()
    await run(system, "services.relay.rewind", "start")
    relay.start()
    await until(lambda: len(outside.records["events"]) == 160, "every event again")
    again = Counter(dict(record.headers)["ce_id"] for record in outside.records["events"])
    assert set(again.values()) == {2}
