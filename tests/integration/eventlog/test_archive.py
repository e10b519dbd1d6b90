"""Verdicts of old months can be archived and attached again; command ids and record coordinates stay."""

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import sql

from deploy.local.postgres import create_database
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.incoming_command import Record
from services.commands.processor import CommandProcessor
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.archive import add_coming_months, archive_months, attach_month
from services.eventlog.archive_file import ArchiveRefused
from services.eventlog.clocks import ClocksDiffer
from services.eventlog.feeds import FEED_QUERIES, HEADS, Feed, FeedReader, VerdictRow
from services.eventlog.migrate import migrate
from services.eventlog.pipeline_queries import PipelineQueries, TopicLag
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.eventlog.stream_reader import StreamReader, VerdictArchived
from services.eventlog.table_changes import TablesInUse
from services.eventlog.verdict_months import read_months_ahead
from services.handler.key_expiry import delete_old_keys
from services.kafka.relay_progress import RelayProgress
from services.relay.feed_queue import FeedQueue
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import RUN_PREFIX
from tests.integration.eventlog.test_complexity import CommandRecords

TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
NEXT_MONTH = date(TOMORROW.year + TOMORROW.month // 12, TOMORROW.month % 12 + 1, 1)
THIS_MONTH_TOO = (TOMORROW - NEXT_MONTH).days - 1
"""The number of days after which the months up to this one are old."""


class Log:
    """A log with commands of some courses, processed like in a handler."""

    def __init__(self, url: str, store: EventStore, source: int) -> None:
        self.url = url
        self.store = store
        self.source = source
        self.records = CommandRecords()

    async def process(self, records: Sequence[Record]) -> None:
        processor = CommandProcessor(self.store, self.source, DEFAULT_SHARD_COUNT)
        partitions = list({record.partition for record in records})
        await processor.process(records, await self.store.watermarks(self.source, partitions))

    async def repeat(self, record: Record, **changes: Any) -> dict[str, Any]:
        """Send the command of a record again; return its verdict."""
        world = self.records.worlds[0]
        repeated = self.records.to_record(world, {**json.loads(record.value or b""), **changes})
        await self.process([repeated])
        (verdict,) = await StreamReader(self.store.connection).verdicts_at(
            "commands", [(repeated.partition, repeated.offset)]
        )
        return dict(json.loads(verdict.body))


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    connection = await connect(database_url, "test", WRITER)
    store = EventStore(connection)
    log = Log(database_url, store, await store.current_incarnation("commands"))
    await log.process(log.records.setup_records())
    yield log
    await connection.close()


def archive(log: Log, folder: Path) -> list[Path]:
    return list(archive_months(log.url, folder, THIS_MONTH_TOO))


async def test_repeat_of_a_command_whose_verdict_is_archived_is_refused_as_expired(log: Log, tmp_path: Path) -> None:
    (record,) = log.records.grade_records(1)
    await log.process([record])
    first = json.loads(record.value or b"")
    watermark = await log.store.watermarks(log.source, [record.partition])

    assert len(archive(log, tmp_path)) == 1

    assert await log.store.watermarks(log.source, [record.partition]) == watermark
    events = await log.store.connection.fetchval("select count(*) from event")
    for _ in range(2):
        expired = await log.repeat(record)
        assert (expired["reason"], expired["http_status"], expired["events"]) == ("command_expired", 410, 0)
        assert (expired["command_id"], expired["duplicate"]) == (first["command_id"], False)
    reused = await log.repeat(record, data={**first["data"], "score": 1})
    assert reused["reason"] == "command_id_reused"
    assert await log.store.connection.fetchval("select count(*) from event") == events
    with pytest.raises(VerdictArchived):
        await StreamReader(log.store.connection).first_verdict(first["command_id"], int(first["root_account_id"]))


async def test_attached_month_answers_repeats_again(log: Log, tmp_path: Path) -> None:
    (record,) = log.records.grade_records(1)
    await log.process([record])
    verdicts = await log.store.connection.fetch("select * from verdict order by shard, number")

    (file,) = archive(log, tmp_path)
    archived = await log.store.connection.fetch("select * from verdict order by shard, number")
    described = attach_month(log.url, file)

    assert [row["body"] for row in archived] == [None] * len(verdicts)
    assert described.rows == len(verdicts)
    assert await log.store.connection.fetch("select * from verdict order by shard, number") == verdicts
    assert (await log.repeat(record))["duplicate"] is True
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await log.store.connection.execute(f"delete from {file.name.partition('.')[0]}")
    with psycopg.connect(log.url) as owner, pytest.raises(psycopg.errors.RestrictViolation):
        owner.execute(f"delete from {file.name.partition('.')[0]}".encode())


async def test_relay_skips_archived_verdicts(log: Log, tmp_path: Path) -> None:
    archive(log, tmp_path)
    (record,) = log.records.grade_records(1)
    await log.process([record])
    reader = FeedReader(log.store.connection)
    shards = list(range(DEFAULT_SHARD_COUNT))
    heads = (await reader.heads(shards))["verdicts"]

    rows = await reader.read("verdicts", shards, [0] * len(shards), heads, 1_000, 1 << 20)

    assert [(row.shard, row.number) for row in rows] == [(record.partition, heads[record.partition])]  # type: ignore[union-attr]


async def test_relay_looks_once_for_verdicts_after_archived_ones_at_the_end_of_a_shard(
    log: Log, tmp_path: Path
) -> None:
    shards = list(range(DEFAULT_SHARD_COUNT))
    archive(log, tmp_path)
    (record,) = log.records.grade_records(1)
    await log.process([record])
    connection = log.store.connection
    reader, queries = FeedReader(connection), list[str]()
    heads = (await reader.heads(shards))["verdicts"]
    only_archived = [shard for shard in shards if heads[shard] and shard != record.partition]
    assert only_archived
    queue = FeedQueue(reader, RelayProgress.initial("an installation"), dict.fromkeys(shards, 0), 10_000)
    connection.add_query_logger(lambda logged: queries.append(logged.query))

    await queue.fill()
    await asyncio.sleep(0)  # A query is logged in the loop's next pass.
    assert FEED_QUERIES["verdicts"][0] in queries
    verdicts = [(row.shard, row.number) for row, _ in queue.rows if isinstance(row, VerdictRow)]
    assert verdicts == [(record.partition, heads[record.partition])]
    queries.clear()
    await queue.fill()
    await asyncio.sleep(0)
    assert queries == [HEADS]

    (record,) = log.records.grade_records(1)
    await log.process([record])
    await queue.fill()
    assert sum(isinstance(row, VerdictRow) for row, _ in queue.rows) == 2


async def test_relay_reads_none_of_the_archived_commands_before_a_verdict(log: Log, tmp_path: Path) -> None:
    archive(log, tmp_path)
    (record,) = log.records.grade_records(1)
    await log.process([record])
    head = (await FeedReader(log.store.connection).heads([record.partition]))["verdicts"][0]
    assert head > 3
    query, _ = FEED_QUERIES["verdicts"]
    arguments = ([record.partition], [0], [head], 1_000, 1 << 20)

    plan = await log.store.connection.fetchval(f"explain (analyze, format json) {query}", *arguments)

    scanned = [
        node for node in walk_plan(json.loads(plan)[0]["Plan"]) if node.get("Relation Name") == "decided_command"
    ]
    # One row shows that the next verdict is archived, the other one is that of the verdict.
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scanned) == 2


def walk_plan(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a query's plan and all nodes below it."""
    yield node
    for child in node.get("Plans", []):
        yield from walk_plan(child)


class LogBeforeFailover(FeedReader):
    """The log whose heads were read, a moment ago, from a server that had one verdict more in a shard."""

    shard = 0
    lost = 1

    async def heads(self, shards: Sequence[int]) -> dict[Feed, list[int]]:
        heads = await super().heads(shards)
        heads["verdicts"][self.shard] += self.lost
        return heads


async def test_verdict_that_was_lost_before_it_was_read_is_not_passed_over_like_an_archived_one(
    log: Log,
) -> None:
    (record,) = log.records.grade_records(1)
    reader = LogBeforeFailover(log.store.connection)
    reader.shard = record.partition
    shards = list(range(DEFAULT_SHARD_COUNT))
    queue = FeedQueue(reader, RelayProgress.initial("an installation"), dict.fromkeys(shards, 0), 10_000)
    await queue.fill()
    before = len(queue.rows)
    await queue.fill()
    reader.lost = 0
    await log.process([record])
    await queue.fill()

    again = list(queue.rows)[before:]
    assert [row.shard for row, _ in again if isinstance(row, VerdictRow)] == [record.partition]


async def test_archived_verdicts_do_not_wait_for_the_relay(log: Log, tmp_path: Path) -> None:
    queries, rewound = PipelineQueries(log.store.connection), RelayProgress.initial("an installation")

    async def read_lag() -> TopicLag:
        return next(lag for lag in await queries.topic_lags(rewound) if lag.topic == "verdicts")

    assert (await read_lag()).since is not None
    archive(log, tmp_path)
    assert await read_lag() == TopicLag("verdicts", 0, None)

    (record,) = log.records.grade_records(1)
    await log.process([record])
    recorded_at = await log.store.connection.fetchval("select max(recorded_at) from decided_command")
    lag = await read_lag()
    assert (lag.waiting > 0, lag.since) == (True, recorded_at)


@contextlib.asynccontextmanager
async def removal_that_waits(
    log: Log, folder: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[tuple[Path, asyncio.Task[list[Path]]]]:
    """Archive a month while a reader holds the table: yield its file and the task, which waits to remove the month."""
    with psycopg.connect(log.url) as reader:
        reader.execute("select 1 from verdict_body limit 1")
        task = asyncio.create_task(asyncio.to_thread(archive, log, folder))
        await wait_until(lambda: "removing verdict_body" in caplog.text, "the removal waits")
        yield next(folder.glob("*.copy.gz")), task


async def test_runs_that_overlap_leave_files_that_can_be_attached(
    log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with removal_that_waits(log, tmp_path, caplog) as (file, run):
        with pytest.raises(ArchiveRefused, match="another archive detach or attach works on this log"):
            await asyncio.to_thread(archive, log, tmp_path)
        with pytest.raises(ArchiveRefused, match="another archive detach or attach works on this log"):
            attach_month(log.url, file)
    assert await run == [file]
    attach_month(log.url, file)


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: content[:40] + content[41:]])
async def test_month_stays_if_its_file_is_not_what_was_written(
    log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    async with removal_that_waits(log, tmp_path, caplog) as (file, run):
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArchiveRefused, match="is not what was written to it; verdict_body_.* stays in the database"):
        await run
    assert await log.store.connection.fetchval("select count(*) from verdict where body is null") == 0


async def test_file_with_other_rows_than_described_is_refused(log: Log, tmp_path: Path) -> None:
    (file,) = archive(log, tmp_path)
    description = file.with_name(file.name.replace(".copy.gz", ".json"))
    described = json.loads(description.read_bytes())
    description.write_text(json.dumps({**described, "rows": described["rows"] + 1}))
    with pytest.raises(ArchiveRefused, match="has other rows than its .json file says; nothing was changed"):
        attach_month(log.url, file)


async def test_month_is_attached_while_others_read(log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file,) = archive(log, tmp_path)
    month = file.name.partition(".")[0]
    with psycopg.connect(log.url) as reader:
        reader.execute("select 1 from verdict_body limit 1")
        run = asyncio.create_task(asyncio.to_thread(attach_month, log.url, file))
        await wait_until(lambda: f"attaching {month}" in caplog.text or run.done(), "the attachment waits")
        assert not run.done()
    described = await run

    found = await log.store.connection.fetchrow(
        "select pg_stat_get_tuples_returned($1::text::regclass),"
        " (select count(*) from pg_constraint where conrelid = $1::text::regclass and contype = 'c'),"
        " (select count(*) from verdict_body)",
        month,
    )
    assert found is not None
    assert tuple(found) == (0, 0, described.rows)


async def test_attachment_that_gets_no_locks_changes_nothing(log: Log, tmp_path: Path) -> None:
    (file,) = archive(log, tmp_path)
    tables = "select array_agg(relname order by relname) from pg_class where relname ^@ 'verdict_body'"
    before = await log.store.connection.fetchval(tables)
    with psycopg.connect(log.url) as reader:
        reader.execute("select 1 from verdict_body limit 1")
        with pytest.raises(TablesInUse, match=f"attaching {file.name.partition('.')[0]} did not get its locks"):
            await asyncio.to_thread(attach_month, log.url, file, wait_seconds=0)
    assert await log.store.connection.fetchval(tables) == before
    attach_month(log.url, file)


async def test_recent_months_are_not_archived(log: Log, tmp_path: Path) -> None:
    assert list(archive_months(log.url, tmp_path, days=1)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong_by", [-400 * 86_400, 400 * 86_400])
async def test_nothing_is_removed_for_good_while_the_clocks_differ(log: Log, tmp_path: Path, wrong_by: int) -> None:
    connection = log.store.connection
    insert = "insert into encryption_key (id, day, key) values (1, now() - interval '90 days', $1)"
    await connection.execute(insert, bytes(32))

    with pytest.raises(ClocksDiffer, match="no month is removed until they agree"):
        list(archive_months(log.url, tmp_path, THIS_MONTH_TOO, clock=lambda: time.time() + wrong_by))
    with pytest.raises(ClocksDiffer, match="no key is deleted until they agree"):
        await delete_old_keys(connection, 30, 120, clock=lambda: time.time() + wrong_by)

    assert list(tmp_path.iterdir()) == []
    assert await delete_old_keys(connection, 90, 120) == 0
    assert await delete_old_keys(connection, 89, 120) == 1


async def test_damaged_or_foreign_file_is_refused_and_changes_nothing(log: Log, tmp_path: Path, postgres: str) -> None:
    (file,) = archive(log, tmp_path)
    other = create_database(postgres, f"{RUN_PREFIX}-another-log")
    migrate(other)

    with pytest.raises(ArchiveRefused, match="not to this one; nothing was changed"):
        attach_month(other, file)
    whole = file.read_bytes()
    file.write_bytes(gzip.compress(gzip.decompress(whole).replace(b"accepted", b"rejected")))
    with pytest.raises(ArchiveRefused, match="is damaged, or has other rows"):
        attach_month(log.url, file)
    file.write_bytes(whole)
    attach_month(log.url, file)
    with pytest.raises(ArchiveRefused, match="is in the database already; nothing was changed"):
        attach_month(log.url, file)


async def test_months_of_the_next_year_have_partitions(log: Log) -> None:
    days = "select count(*) from generate_series(0, 360, 30) n where to_regclass(to_char("
    month = "clock_timestamp() at time zone 'UTC' + make_interval(days => n), '\"verdict_body_\"YYYY_MM')) is null"
    assert await log.store.connection.fetchval(days + month) == 0


@pytest.mark.parametrize(("gap", "months_ahead"), [(None, 12), (5, 4), (0, -1)])
async def test_months_ahead_are_counted_up_to_the_first_gap(log: Log, gap: int | None, months_ahead: int) -> None:
    if gap is not None:
        month = f"date_trunc('month', clock_timestamp() at time zone 'UTC') + interval '{gap} months'"
        name = await log.store.connection.fetchval(f"select to_char({month}, '\"verdict_body_\"YYYY_MM')")
        with psycopg.connect(log.url) as owner:
            owner.execute(sql.SQL("drop table {}").format(sql.Identifier(name)))

    assert await read_months_ahead(log.store.connection) == months_ahead


async def test_append_in_a_month_without_partition_succeeds_and_is_sorted_later(log: Log) -> None:
    at = datetime(2037, 5, 31, 23, 59, 59, tzinfo=UTC)
    for number in range(3):
        context = await log.store.read_batch_context([0], [])
        watermarks = await log.store.watermarks(log.source, [99])
        batch = AppendBatch(log.source, at + timedelta(days=number), context.heads, watermarks)
        command_id = f"00000000-0000-4000-8000-{number:012d}"
        batch.add_verdict(0, 1, command_id, True, b"", RecordCoordinates(99, number, 1), None, f"{number}", "{}")
        assert await log.store.append(batch)
    rows = "select tableoid::regclass::text, body::text from verdict_body where recorded_at > '2037-01-01' order by 2"
    default = "verdict_body_default"
    unsorted = await log.store.connection.fetch(rows)
    assert [tuple(row) for row in unsorted] == [(default, "0"), (default, "1"), (default, "2")]

    add_coming_months(log.url)
    add_coming_months(log.url)

    may, june = "verdict_body_2037_05", "verdict_body_2037_06"
    assert [tuple(row) for row in await log.store.connection.fetch(rows)] == [(may, "0"), (june, "1"), (june, "2")]
    with psycopg.connect(log.url) as owner, pytest.raises(psycopg.errors.RestrictViolation):
        owner.execute(f"truncate {june}".encode())
