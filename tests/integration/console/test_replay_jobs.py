"""A requested replay continues after the console was killed; an old one can be requested again."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta

from aiokafka import TopicPartition

from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topic_reader import read_to_end
from tests.fixtures.console_client import ConsoleClient, connect_to_log, create_graded_assignment
from tests.fixtures.process_runner import wait_until

STUDENTS = 20
RECORDS_PER_SECOND = 4


async def read_command_ids(console: ConsoleClient, target: str) -> list[str]:
    """Read the command ids of the verdicts on a topic, as consumers see them."""
    partitions = [TopicPartition(target, number) for number in ALL_SHARDS]
    return [
        json.loads(record.value or b"")["command_id"]
        async for records in read_to_end(console.system.bootstrap, partitions)
        for record in records
    ]


async def test_replay_resumes_without_duplicates_after_the_console_is_killed(
    console: ConsoleClient,
) -> None:
    assignment_fields = await create_graded_assignment(console, 9_700, 9_701, STUDENTS)
    target = f"{console.system.prefix}-of-a-course"
    form = {
        "output": "verdicts",
        "target": target,
        "course": assignment_fields["course_id"],
        "per_second": str(RECORDS_PER_SECOND),
    }
    action = str(uuid.uuid4())
    submitted = {**form, "action": action, "why": "an auditor asks"}
    command_line_action = uuid.uuid4()
    async with connect_to_log(console) as log:
        detail = {"output": "verdicts", "target": f"{target}-without-an-end"}
        query = "insert into operator_action values ($1, 'replay', 1, 77, 'an auditor asked', $2)"
        await log.execute(query, command_line_action, json.dumps(detail))
    assert (await console.request("POST", "/topics/replay", "operator", data=submitted)).status_code == 303

    async def page_matching(pattern: str) -> str:
        text = (await console.request("GET", f"/actions/{action}")).text
        return text if re.search(pattern, text) else ""

    await wait_until(lambda: page_matching(r"\D[1-9]\d* records? so far"), "the replay is running")
    console.process.kill()
    console.process.start()
    await console.process.wait_until_ready()
    page = await wait_until(lambda: page_matching(">complete<"), "the replay is complete")
    async with connect_to_log(console) as log:
        rows = await log.fetch(
            "select command_id::text from verdict where body->>'course_id' = $1 order by number",
            assignment_fields["course_id"],
        )
    emitted = re.search(r"\D(\d+) records? published by this process", page)
    assert emitted is not None
    assert 0 < int(emitted[1]) < len(rows) == STUDENTS + 3
    assert await read_command_ids(console, target) == [row[0] for row in rows]
    command_line_page = (await console.request("GET", f"/actions/{command_line_action}")).text
    assert "This replay runs from the command line and has no end time" in command_line_page


async def test_old_replay_links_to_a_prefilled_form(console: ConsoleClient) -> None:
    action, requested_at = uuid.uuid4(), datetime.now(UTC) - timedelta(days=2)
    detail = {"output": "verdicts", "target": "audit.of-old", "course": 9_700, "root_account": 1}
    detail |= {"until": requested_at.isoformat()}
    async with connect_to_log(console) as log:
        await log.execute(
            "insert into operator_action values ($1, 'replay', 1, 77, 'an auditor asked', $2, $3)",
            action,
            json.dumps(detail),
            requested_at,
        )
    page = (await console.request("GET", f"/actions/{action}", "operator")).text
    assert "requested more than a day ago" in page
    link = re.search(r'id="again" href="([^"]+)"', page)
    assert link is not None
    form = (await console.request("GET", link[1].replace("&amp;", "&"), "operator")).text
    for value in ("audit.of-old", "9700"):
        assert f'value="{value}"' in form
    assert "<option selected>verdicts</option>" in form
    assert 'id="again"' not in (await console.request("GET", f"/actions/{action}")).text
