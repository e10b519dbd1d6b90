"""``export``: what is in the file after any end of it and any beginning anew is the log, each event once, in order."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine, GradedCourse

Json = dict[str, Any]


def parse_lines(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


async def test_exported_course_equals_the_published_events(
    cli: CommandLine, graded_course: GradedCourse, running_system: System
) -> None:
    await running_system.client.wait_until_read("events")
    result = await cli.run("export", "--course", str(graded_course.world.course_id))

    exported = parse_lines(result.stdout)
    published = [
        r for r in running_system.client.records["events"] if r.key == str(graded_course.world.course_id).encode()
    ]
    assert [event["position"] for event in exported] == [int(dict(r.headers)["ce_sequence"]) for r in published]
    assert [event["id"] for event in exported] == [dict(r.headers)["ce_id"].decode() for r in published]
    beside = ("id", "event_type", "shard", "position", "live_number", "command_id", "correlation_id")
    for event, record in zip(exported, published, strict=True):
        assert {n: v for n, v in event.items() if n not in beside} == json.loads(record.value or b"")
    assert "secret" not in result.stdout


async def test_interrupted_export_resumes_at_a_complete_line(
    cli: CommandLine, graded_course: GradedCourse, running_system: System, tmp_path: Path
) -> None:
    file, account = tmp_path / "events.jsonl", ("--assignment", graded_course.assignment_id)
    first = await cli.run_in_process("export", "--to", str(file), *account, "--json")
    whole = file.read_text()
    # As it stands when the process dies within a line, far into the next page.
    note = json.loads((tmp_path / "events.jsonl.resume").read_text())
    lines = whole.splitlines(keepends=True)
    kept = lines[: len(lines) // 2]
    note["bytes"] = sum(len(line.encode()) for line in kept)
    shard = parse_lines(whole)[0]["shard"]
    note["positions"][shard] = parse_lines(kept[-1])[0]["position"]
    (tmp_path / "events.jsonl.resume").write_text(json.dumps(note))
    file.write_text("".join(kept) + whole + lines[-1][:20])

    again = await cli.run("export", "--to", str(file), *account, "--json")
    once_more = await cli.run_in_process("export", "--to", str(file), *account)

    assert file.read_text() == whole
    assert (first.json()["events"], again.json()["events"]) == (len(lines), len(lines) - len(kept))
    assert once_more.stdout == f"0 events added to {file}\n"


async def test_export_does_not_overwrite_another_file(
    cli: CommandLine, graded_course: GradedCourse, tmp_path: Path
) -> None:
    foreign, other = tmp_path / "notes.txt", tmp_path / "events.jsonl"
    foreign.write_text("mine")
    await cli.run_in_process("export", "--to", str(other), "--assignment", graded_course.assignment_id)
    before = other.read_text()
    broken = tmp_path / "broken.jsonl"
    broken.with_name("broken.jsonl.resume").write_text("{")

    refused = await asyncio.gather(
        cli.run_in_process("export", "--to", str(foreign)),
        cli.run_in_process("export", "--to", str(other)),
        cli.run_in_process("export", "--to", str(tmp_path / "missing" / "events.jsonl")),
        cli.run_in_process("export", "--to", str(broken)),
        cli.run_in_process("export", "--json"),
        cli.run_in_process("export", "--to", str(tmp_path / "slip.jsonl"), "--course", "1"),
    )

    assert [ran.exit_code for ran in refused] == [2, 2, 2, 2, 2, 4]
    assert refused[5].stderr == "there is nothing of root_account=1 course=1 in the log\n"
    assert not (tmp_path / "slip.jsonl").exists()
    assert "is not an export" in refused[0].stderr
    assert f"holds root_account=1 assignment={graded_course.assignment_id}, not everything" in refused[1].stderr
    assert (foreign.read_text(), other.read_text()) == ("mine", before)
