"""``export``: what is in the file after any end of it and any beginning anew is the log, each event once, in order."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import CommandLine, Season
from tests.conftest import System

Json = dict[str, Any]


def lines_of(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


async def test_a_course_on_standard_output_is_what_was_published(
    cli: CommandLine, season: Season, running: System
) -> None:
    await running.outside.caught_up("events")
    ran = await cli.run("export", "--course", str(season.world.course_id))

    exported = lines_of(ran.out)
    published = [r for r in running.outside.records["events"] if r.key == str(season.world.course_id).encode()]
    assert [event["position"] for event in exported] == [int(dict(r.headers)["ce_sequence"]) for r in published]
    assert [event["id"] for event in exported] == [dict(r.headers)["ce_id"].decode() for r in published]
    beside = ("id", "event_type", "shard", "position", "live_number", "command_id", "correlation_id")
    for event, record in zip(exported, published, strict=True):
        assert {n: v for n, v in event.items() if n not in beside} == json.loads(record.value or b"")
    assert "secret" not in ran.out


async def test_an_export_that_was_cut_goes_on_at_a_whole_line(
    cli: CommandLine, season: Season, running: System, tmp_path: Path
) -> None:
    file, account = tmp_path / "events.jsonl", ("--assignment", season.essay)
    first = await cli.here("export", "--to", str(file), *account, "--json")
    whole = file.read_text()
    # As it stands when the process dies within a line, far into the next page.
    note = json.loads((tmp_path / "events.jsonl.resume").read_text())
    lines = whole.splitlines(keepends=True)
    kept = lines[: len(lines) // 2]
    note["bytes"] = sum(len(line.encode()) for line in kept)
    shard = lines_of(whole)[0]["shard"]
    note["positions"][shard] = lines_of(kept[-1])[0]["position"]
    (tmp_path / "events.jsonl.resume").write_text(json.dumps(note))
    file.write_text("".join(kept) + whole + lines[-1][:20])

    again = await cli.run("export", "--to", str(file), *account, "--json")
    once_more = await cli.here("export", "--to", str(file), *account)

    assert file.read_text() == whole
    assert (first.json()["events"], again.json()["events"]) == (len(lines), len(lines) - len(kept))
    assert once_more.out == f"0 events added to {file}\n"


async def test_a_file_that_holds_something_else_is_left_as_it_is(
    cli: CommandLine, season: Season, tmp_path: Path
) -> None:
    foreign, other = tmp_path / "notes.txt", tmp_path / "events.jsonl"
    foreign.write_text("mine")
    await cli.here("export", "--to", str(other), "--assignment", season.essay)
    before = other.read_text()
    broken = tmp_path / "broken.jsonl"
    broken.with_name("broken.jsonl.resume").write_text("{")

    refused = await asyncio.gather(
        cli.here("export", "--to", str(foreign)),
        cli.here("export", "--to", str(other)),
        cli.here("export", "--to", str(tmp_path / "missing" / "events.jsonl")),
        cli.here("export", "--to", str(broken)),
        cli.here("export", "--json"),
        cli.here("export", "--to", str(tmp_path / "slip.jsonl"), "--course", "1"),
    )

    assert [ran.code for ran in refused] == [2, 2, 2, 2, 2, 4]
    assert refused[5].err == "there is nothing of root_account=1 course=1 in the log\n"
    assert not (tmp_path / "slip.jsonl").exists()
    assert "is not an export" in refused[0].err
    assert f"holds root_account=1 assignment={season.essay}, not everything" in refused[1].err
    assert (foreign.read_text(), other.read_text()) == ("mine", before)
