"""A replay that an operator ordered goes on after the console was killed; one of long ago says how to go on with it."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta

from aiokafka import TopicPartition

from services.kafka.partitioning import SHARD_COUNT
from services.kafka.topic_reader import read_to_end
from tests.console.looking import Console, graded, log_of
from tests.processes.running import until

STUDENTS = 20
A_SECOND = 4


async def on_target(console: Console, target: str) -> list[str]:
    """The command ids of the verdicts on a topic, as its readers see them."""
    places = [TopicPartition(target, number) for number in range(SHARD_COUNT)]
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

    async def said(pattern: str) -> str:
        text = (await console.ask("GET", f"/actions/{action}")).text
        return text if re.search(pattern, text) else ""

    await until(lambda: said(r"\D[1-9]\d* records? so far"), "it is under way")
    console.process.kill()
    console.process.start()
    await console.process.ready()
    page = await until(lambda: said("all of it is there"), "it is done")
    async with log_of(console) as log:
        rows = await log.fetch(
            "select command_id::text from verdict where body->>'course_id' = $1 order by number", of["course_id"]
        )
    emitted = re.search(r"\D(\d+) records? emitted by this process", page)
    assert emitted is not None
    assert 0 < int(emitted[1]) < len(rows) == STUDENTS + 3
    assert await on_target(console, target) == [row[0] for row in rows]
    left = (await console.ask("GET", f"/actions/{of_a_command_line}")).text
    assert "Carried out by a command line, without an end" in left


async def test_a_replay_of_long_ago_says_how_to_go_on_with_it_and_fills_the_form(console: Console) -> None:
    action, ordered_at = uuid.uuid4(), datetime.now(UTC) - timedelta(days=2)
    detail = {"output": "verdicts", "target": "audit.of-old", "course": 9_700, "root_account": 1}
    detail |= {"until": ordered_at.isoformat()}
    async with log_of(console) as log:
        await log.execute(
            "insert into operator_action values ($1, 'replay', 1, 77, 'an auditor asked', $2, $3)",
            action,
            json.dumps(detail),
            ordered_at,
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
