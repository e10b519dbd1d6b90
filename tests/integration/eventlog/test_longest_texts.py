"""Every text that the contract accepts is decided and appended, also one that does not compress."""

import json
import random

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from services.commands.batch_limits import BatchLimits
from services.eventlog.store import EventStore
from services.eventlog.stream_reader import COURSES_BY_SIS_ID
from tests.fixtures.command_samples import build_command, encode, replace_field
from tests.integration.eventlog.test_batch_limits import Record, build_processor

SOURCE, PARTITION = "commands", 3
FACTS = [
    ("upsert_course", None, ""),
    ("upsert_users", None, ""),
    ("upsert_enrollments", "data.enrollments.0.type", "StudentEnrollment"),
    ("configure_assignment", None, ""),
]
# The contract's limits, in characters.
TEXTS = [
    ("upsert_course", "data.name", 255),
    ("upsert_course", "data.sis_source_id", 1_024),
    ("upsert_course", "data.root_account_uuid", 1_024),
    ("upsert_course", "data.root_account_lti_guid", 1_024),
    ("upsert_course", "data.grading_scheme.0.0", 255),
    ("upsert_users", "data.users.0.name", 255),
    ("upsert_users", "data.users.0.sis_user_id", 1_024),
    ("upsert_users", "data.users.0.login_id", 1_024),
    ("upsert_admins", "data.admins.0.permissions.0", 1_024),
    ("configure_assignment", "data.name", 255),
    ("record_submission", "data.grade", 255),
    ("record_submission_comment", "data.comment", 65_536),
]


def incompressible_text(characters: int) -> str:
    """Return characters of four bytes each, at random."""
    chance = random.Random(characters)
    return "".join(chr(chance.randrange(0x20000, 0x2A000)) for _ in range(characters))


def build_record(offset: int, type_: str, path: str | None = None, text: str = "") -> Record:
    command = build_command(type_, command_id=f"01930000-0000-7000-8000-{offset:012d}")
    value = encode(command) if path is None else replace_field(command, path, json.dumps(text))
    return ConsumerRecord(SOURCE, PARTITION, offset, 1, 1, b"1001", value, None, len(value), 1, ())


@pytest.mark.parametrize(("type_", "path", "characters"), TEXTS, ids=[f"{type_} {path}" for type_, path, _ in TEXTS])
async def test_longest_text_is_accepted_into_the_log(database_url: str, type_: str, path: str, characters: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        processor = await build_processor(EventStore(connection), BatchLimits())
        records = [build_record(offset, *fact) for offset, fact in enumerate(FACTS)]
        records.append(build_record(len(FACTS), type_, path, incompressible_text(characters)))

        await processor.process(records, {PARTITION: -1})

        verdict = json.loads(await connection.fetchval("select body from verdict order by number desc limit 1"))
        assert (verdict["status"], verdict["message"]) == ("accepted", None)
    finally:
        await connection.close()


async def test_courses_are_found_by_the_longest_sis_id(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        processor = await build_processor(EventStore(connection), BatchLimits())
        sis_id = incompressible_text(1_024)
        await processor.process([build_record(0, "upsert_course", "data.sis_source_id", sis_id)], {PARTITION: -1})

        courses = await connection.fetch(COURSES_BY_SIS_ID, 1, sis_id)

        assert [row["course"] for row in courses] == [1001]
    finally:
        await connection.close()
