"""The consumer kit: its corpus is what the service sends, and its consumers hold what they should."""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from deploy.season import consumer_kit
from deploy.season.consumer_kit import CORPUS
from tests.fixtures.fault_helpers import wait_until_idle, wait_until_published
from tests.fixtures.schema_checks import VALUE_SCHEMAS, load_validator
from tests.fixtures.system import RUN_PREFIX, System

Json = dict[str, Any]
KIT = CORPUS.parent
EXPECTED: dict[str, Json] = json.loads((CORPUS / "expected.json").read_text())
COURSE = 7_001_000


def read_corpus(name: str) -> list[Json]:
    return [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()]


async def run_program(bootstrap: str, *command: str | Path, **environment: str) -> str:
    """Run one of the kit's programs as a team would, and return its output."""
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=KIT, env={**os.environ, "KAFKA_BOOTSTRAP": bootstrap, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_grade_table(file: Path) -> dict[str, Json]:
    """Return the rows of consumer.py's table by submission."""
    with sqlite3.connect(file) as database:
        rows = database.execute("select submission_id, student_id, score, grade, posted from grade").fetchall()
    database.close()
    return {row[0]: {"student_id": row[1], "score": row[2], "grade": row[3], "posted": bool(row[4])} for row in rows}


def read_counts(output: str) -> tuple[int, int]:
    """How many events consumer.py counted, and how many it knew already, by its last line."""
    match = re.search(r"(\d+) events counted, (\d+) known already", output)
    assert match is not None, output
    return int(match[1]), int(match[2])


@pytest.fixture(scope="module")
async def fed(bootstrap: str) -> str:
    """Topics of a team's own, by sequence, with the corpus on them."""
    prefix = f"{RUN_PREFIX}-kit"
    for name in EXPECTED:
        await run_program(bootstrap, sys.executable, "feed.py", CORPUS / f"{name}.jsonl", f"{prefix}-{name}")
    return prefix


def test_corpus_matches_the_contracts() -> None:
    assert {path.stem for path in CORPUS.glob("*.jsonl")} == set(EXPECTED)
    for name in EXPECTED:
        assert consumer_kit.expected_state(read_corpus(name)) == EXPECTED[name]
        for line in read_corpus(name):
            load_validator(f"headers/{line['topic']}").validate(line["headers"])
            value = VALUE_SCHEMAS.get(line["topic"]) or f"events/{line['headers']['ce_type'].split('.')[1]}"
            load_validator(value).validate(line["value"])


async def test_published_records_match_the_corpus(running_system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": running_system.database_url,
        "KAFKA_BOOTSTRAP": running_system.bootstrap,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOPIC_PREFIX", running_system.prefix)
    recorded = await consumer_kit.record_sequences(running_system.bootstrap, running_system.prefix, COURSE)
    for name, found in recorded.items():
        assert sorted(map(record_shape, found)) == sorted(map(record_shape, read_corpus(name))), name


def record_shape(line: Json) -> str:
    """Return a record without its ids, times and numbers."""

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(part) for name, part in value.items()}
        return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__

    headers = sorted(set(line["headers"]) - {"traceparent"})
    return json.dumps([line["topic"], line["headers"]["ce_type"], headers, shape(line["value"])], sort_keys=True)


@pytest.mark.parametrize("name", EXPECTED)
async def test_python_consumer_builds_the_expected_table(name: str, fed: str, bootstrap: str, tmp_path: Path) -> None:
    topic, table = f"{fed}-{name}.live-events", tmp_path / "grades.sqlite"
    output = await run_program(bootstrap, sys.executable, "consumer.py", topic, str(table), "--once")
    assert read_grade_table(table) == EXPECTED[name]["grades"]
    events = EXPECTED[name]["events"]
    lines = [line for line in read_corpus(name) if line["topic"] == "live-events"]
    assert read_counts(output) == (events, len(lines) - events)


async def test_python_consumer_deduplicates_replayed_events(fed: str, bootstrap: str, tmp_path: Path) -> None:
    table = tmp_path / "grades.sqlite"
    for name, counted in (("post-and-hide", EXPECTED["post-and-hide"]["events"]), ("replay", 0)):
        output = await run_program(
            bootstrap, sys.executable, "consumer.py", f"{fed}-{name}.live-events", str(table), "--once"
        )
        assert read_counts(output)[0] == counted
    assert read_grade_table(table) == EXPECTED["post-and-hide"]["grades"]


@pytest.mark.parametrize("name", EXPECTED)
async def test_shell_consumer_prints_every_event_once(name: str, fed: str, bootstrap: str) -> None:
    output = await run_program(bootstrap, "./consumer.sh", f"{fed}-{name}.live-events", "-e")
    events: dict[str, Json] = {}
    for line in read_corpus(name):
        if line["topic"] == "live-events":
            events.setdefault(line["headers"]["ce_id"], line["value"])
    assert [json.loads(line) for line in output.splitlines()] == list(events.values())


async def test_consumers_stop_at_a_missing_event(bootstrap: str, tmp_path: Path) -> None:
    kept = [line for line in read_corpus("post-and-hide") if line["topic"] == "live-events"]
    del kept[1]
    gapped, prefix = tmp_path / "gap.jsonl", f"{RUN_PREFIX}-kit-gap"
    gapped.write_text("".join(json.dumps(line) + "\n" for line in kept))
    await run_program(bootstrap, sys.executable, "feed.py", gapped, prefix)
    topic, table = f"{prefix}.live-events", tmp_path / "grades.sqlite"
    for command in ([sys.executable, "consumer.py", topic, str(table), "--once"], ["./consumer.sh", topic, "-e"]):
        with pytest.raises(AssertionError, match=r"shard \d+: \d+ came after \d+"):
            await run_program(bootstrap, *command)
    assert len(read_grade_table(table)) == 1


async def test_python_consumer_reads_the_running_service(running_system: System, tmp_path: Path) -> None:
    await wait_until_idle(running_system)
    await wait_until_published(running_system, 1)
    table = tmp_path / "grades.sqlite"
    topic = f"{running_system.prefix}.live-events"
    await run_program(running_system.bootstrap, sys.executable, "consumer.py", topic, str(table), "--once")
    again = await run_program(running_system.bootstrap, sys.executable, "consumer.py", topic, str(table), "--once")
    assert (read_counts(again)[0], read_grade_table(table) != {}) == (0, True)


async def test_python_consumer_goes_on_after_a_replay_filled_its_gap(bootstrap: str, tmp_path: Path) -> None:
    live = [line for line in read_corpus("post-and-hide") if line["topic"] == "live-events"]
    prefix, table = f"{RUN_PREFIX}-kit-filled", tmp_path / "grades.sqlite"
    for topic, lines in (("live", [live[0], *live[2:]]), ("replay", read_corpus("replay"))):
        file = tmp_path / f"{topic}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        await run_program(bootstrap, sys.executable, "feed.py", file, f"{prefix}-{topic}")

    def read(topic: str) -> Awaitable[str]:
        return run_program(
            bootstrap, sys.executable, "consumer.py", f"{prefix}-{topic}.live-events", str(table), "--once"
        )

    with pytest.raises(AssertionError, match=r"events are missing: shard \d+: \d+ came after \d+"):
        await read("live")
    assert read_counts(await read("replay")) == (len(live) - 1, 1)
    assert read_counts(await read("live")) == (0, len(live) - 1)
    assert read_grade_table(table) == EXPECTED["post-and-hide"]["grades"]


async def test_table_answers_which_grades_an_assignment_has(fed: str, bootstrap: str, tmp_path: Path) -> None:
    table = tmp_path / "grades.sqlite"
    await run_program(
        bootstrap, sys.executable, "consumer.py", f"{fed}-post-and-hide.live-events", str(table), "--once"
    )
    body, metadata = (read_corpus("replay")[0]["value"][name] for name in ("body", "metadata"))
    question = "select count(*) from grade where (root_account_id, course_id, assignment_id) = (?, ?, ?)"
    with sqlite3.connect(table) as database:
        ids = (metadata["root_account_id"], metadata["context_id"], body["assignment_id"])
        assert database.execute(question, ids).fetchone() == (len(EXPECTED["post-and-hide"]["grades"]),)
    database.close()


@pytest.mark.parametrize("program", ["consumer.py", "feed.py"])
def test_programs_of_the_kit_explain_themselves(program: str) -> None:
    explained = subprocess.run([sys.executable, program, "--help"], cwd=KIT, capture_output=True, text=True, check=True)
    assert "KAFKA_BOOTSTRAP" in explained.stdout
    unused = subprocess.run([sys.executable, program], cwd=KIT, capture_output=True, text=True, check=False)
    assert (unused.returncode, "usage:" in unused.stderr) == (2, True)
