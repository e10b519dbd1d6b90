"""A replay that an operator ordered goes on after the console was killed; one of long ago says how to go on with it."""

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime, timedelta

from aiokafka import TopicPartition

from services.eventlog.shards import SHARDS
from services.outputs.reading import read_to_end
from tests.console.looking import Console, graded, log_of

STUDENTS = 20
A_SECOND = 12


async def on_target(console: Console, target: str) -> list[str]:
    """The command ids of the verdicts on a topic, as its readers see them."""
    places = [TopicPartition(target, number) for number in range(SHARDS)]
    return [
        json.loads(record.value or b"")["command_id"] async for record in read_to_end(console.system.bootstrap, places)
    ]


async def test_a_replay_that_was_under_way_when_the_console_was_killed_goes_on_and_doubles_nothing(
    console: Console,
) -> None:
    of = await graded(console, 9_700, 9_701, STUDENTS)
    target = f"{console.system.prefix}-of-a-course"
    form = {"output": "verdicts", "target": target, "course": of["course_id"], "per_second": str(A_SECOND)}
    action = str(uuid.uuid4())
    ordered = {**form, "action": action, "why": "an auditor asks"}
    of_a_command_line = uuid.uuid4()
    async with log_of(console) as log:
        detail = {"output": "verdicts", "target": f"{target}-without-an-end"}
        query = "insert into operator_action values ($1, 'replay', 1, 77, 'an auditor asked', $2)"
        await log.execute(query, of_a_command_line, json.dumps(detail))
    assert (await console.ask("POST", "/topics/replay", "operator", data=ordered)).status_code == 303
    async with asyncio.timeout(20):
        while not re.search(r"\D[1-9]\d* records? so far", (await console.ask("GET", f"/actions/{action}")).text):
            pass
    console.process.kill()
    before = await on_target(console, target)
    console.process.start()
    await console.process.ready()
    async with asyncio.timeout(20):
        while "all of it is there" not in (page := (await console.ask("GET", f"/actions/{action}")).text):
            pass
    async with log_of(console) as log:
        rows = await log.fetch(
            "select command_id::text from verdict where body->>'course_id' = $1 order by number", of["course_id"]
        )
    assert 0 < len(before) < len(rows) == STUDENTS + 3
    assert await on_target(console, target) == [row[0] for row in rows]
    assert f"{len(rows) - len(before)} records emitted by this process" in page
    left = (await console.ask("GET", f"/actions/{of_a_command_line}")).text
    assert "Carried out by a command line, without an end" in left


async def test_a_replay_of_long_ago_says_how_to_go_on_with_it_and_fills_the_form(console: Console) -> None:
    action, until = uuid.uuid4(), datetime.now(UTC) - timedelta(days=2)
    detail = {"output": "verdicts", "target": "audit.of-old", "course": 9_700, "root_account": 1}
    detail |= {"until": until.isoformat()}
    async with log_of(console) as log:
        await log.execute(
            "insert into operator_action values ($1, 'replay', 1, 77, 'an auditor asked', $2, $3)",
            action,
            json.dumps(detail),
            until,
        )
    page = (await console.ask("GET", f"/actions/{action}", "operator")).text
    assert "ordered more than a day ago" in page
    link = re.search(r'id="again" href="([^"]+)"', page)
    assert link is not None
    form = (await console.ask("GET", link[1].replace("&amp;", "&"), "operator")).text
    for value in ("audit.of-old", "9700"):
        assert f'value="{value}"' in form
    assert "<option selected>verdicts</option>" in form
    assert 'id="again"' not in (await console.ask("GET", f"/actions/{action}")).text
