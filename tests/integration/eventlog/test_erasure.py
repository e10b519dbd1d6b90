"""Personal data is encrypted in the log with a key of its person and course, and erased with the key."""

import base64
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import ConsumerRecord

from schemas.live_events import GradeChange
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.aggregates import load_as_of
from services.eventlog.dead_letters import DeadLetterReader
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import DeadLetterRow, EventRow
from services.eventlog.store import EventStore
from services.eventlog.stream_reader import StreamReader
from services.gateway.state_cache import StateCache
from services.gateway.state_document_cache import StateDocumentCache
from services.kafka.partitioning import get_course_shard
from services.moderation.state_document import state_document
from services.publishing.cloudevents import PublishingFormat
from services.publishing.erased_form import is_erased_form
from services.publishing.record_mapper import RecordMapper
from tests.fixtures.command_samples import TIME

Json = dict[str, Any]
COURSE, ASSIGNMENT = 1001, 2001
TEACHER, TA, ANN, BEN = 11, 21, 31, 32
SHARD = get_course_shard(COURSE)
ANNS_TEXTS = ("Ann Secretname", "ann.secretlogin", "SIS-SECRET-ANN", "Her secret comment", "A secret rubric remark")
PUBLISHER_TEXTS = ("203.0.113.77", "SecretBrowser/1.0", "https://canvas.example/secret-path")
BENS_TEXTS = ("Ben Keeper", "His kept comment")
REQUEST = {
    "request_id": "01930000-0000-7000-8000-000000000001", "session_id": None, "hostname": "canvas.example",
    "http_method": "POST", "user_agent": PUBLISHER_TEXTS[1], "client_ip": PUBLISHER_TEXTS[0],
    "url": PUBLISHER_TEXTS[2], "referrer": None,
}  # fmt: skip
CACHE_BYTES = 64 << 20
EVERY_ROW = "select t::text from {table} t"


class Course:
    """A course whose commands are processed as the handler does, one batch for each call."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", processor: CommandProcessor) -> None:
        self.connection = connection
        self.processor = processor
        self.reader = StreamReader(connection)
        self.history = FeedHistory(connection)
        self.next_offset = 0

    def record(self, value: bytes, headers: Any = ()) -> ConsumerRecord[Any, Any]:
        self.next_offset += 1
        return ConsumerRecord(
            "commands", SHARD, self.next_offset - 1, 1, 1, b"1001", value, None, 4, len(value), headers
        )

    def command(
        self, kind: str, data: Json, actor: int | None = None, command_id: str | None = None, headers: Any = ()
    ) -> ConsumerRecord[Any, Any]:
        command: Json = {
            "command_id": command_id or str(uuid.uuid4()), "type": kind, "issued_at": TIME, "root_account_id": "1",
            "course_id": str(COURSE), "data": data,
        }  # fmt: skip
        if kind not in ("upsert_course", "upsert_users", "upsert_enrollments", "erase_person"):
            command["assignment_id"] = str(ASSIGNMENT)
        if actor is not None:
            command["actor"] = {"user_id": actor}
        return self.record(json.dumps(command).encode(), headers)

    async def process(self, *records: ConsumerRecord[Any, Any]) -> list[Json]:
        """Process a batch and return the verdicts of its records."""
        await self.processor.process(records, {SHARD: records[0].offset - 1})
        offsets = [(SHARD, record.offset) for record in records]
        verdicts = {
            verdict.offset: json.loads(verdict.body) for verdict in await self.reader.verdicts_at("commands", offsets)
        }
        return [verdicts[record.offset] for record in records if record.offset in verdicts]

    async def seed(self) -> None:
        """Create two students with comments, a rubric assessment and a publication over HTTP."""
        names: Json = {"sis_user_id": ANNS_TEXTS[2], "login_id": ANNS_TEXTS[1], "sortable_name": ANNS_TEXTS[0]}
        people = ((TEACHER, "Teacher"), (TA, "Ta"), (ANN, "Student"), (BEN, "Student"))
        settings = {
            "name": "Essay", "points_possible": 10, "grading_type": "points", "moderated_grading": True,
            "grader_count": 2, "final_grader_id": TEACHER,
        }  # fmt: skip
        request = (("http_request", json.dumps(REQUEST).encode()),)
        rubric = {"criterion": {"points": 7, "comments": ANNS_TEXTS[4]}}
        verdicts = await self.process(
            self.command("upsert_course", {"name": "Course"}),
            self.command("upsert_users", {"users": [{"user_id": ANN, "name": ANNS_TEXTS[0], **names}]}),
            self.command("upsert_users", {"users": [{"user_id": BEN, "name": BENS_TEXTS[0]}]}),
            self.command(
                "upsert_enrollments",
                {"enrollments": [{"user_id": u, "type": f"{kind}Enrollment", "state": "active"} for u, kind in people]},
            ),
            self.command("configure_assignment", settings),
            self.command("record_submission_comment", {"student_id": BEN, "author_id": TA, "comment": BENS_TEXTS[1]}),
            self.command(
                "record_provisional_grade",
                {"student_id": ANN, "score": 7, "comment": ANNS_TEXTS[3], "rubric_assessment": rubric},
                TA,
            ),
            self.command("record_provisional_grade", {"student_id": BEN, "score": 5}, TA),
        )
        verdicts += await self.process(self.command("publish_provisional_grades", {}, TEACHER, headers=request))
        assert [verdict["status"] for verdict in verdicts] == ["accepted"] * 9

    async def erase(self, user: int) -> Json:
        return (await self.process(self.command("erase_person", {"user_id": user})))[0]

    async def stored_texts(self) -> str:
        """Return the contents of every table as stored; bytes also decoded."""
        tables = await self.connection.fetch(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
        )
        rows = [row[0] for (table,) in tables for row in await self.connection.fetch(EVERY_ROW.format(table=table))]
        return "\n".join(rows)

    async def published(self) -> list[EventRow]:
        """Return all events of the course as the relay reads them."""
        heads = await self.history.heads([SHARD])
        rows = await self.history.read("events", [SHARD], [0], heads["events"], 1_000, 1 << 30)
        return [row for row in rows if isinstance(row, EventRow)]

    async def state(self) -> Json:
        loaded = await load_as_of(self.reader, 1, ASSIGNMENT)
        assert loaded is not None
        return {"document": state_document(*loaded), "users": loaded[0].users}


@pytest.fixture
async def course(database_url: str) -> AsyncIterator[Course]:
    connection = await asyncpg.connect(database_url)
    try:
        log = EventStore(connection)
        source = await log.current_incarnation("commands")
        seeded = Course(connection, CommandProcessor(log, source, DEFAULT_SHARD_COUNT))
        await seeded.seed()
        yield seeded
    finally:
        await connection.close()


def forms_of(text: str) -> list[str]:
    """Return the forms in which a text could occur in the raw tables."""
    return [text, text.encode().hex(), *(base64.b64encode(b"x" * n + text.encode()).decode()[4:-4] for n in range(3))]


def assert_absent(texts: tuple[str, ...], haystack: str) -> None:
    assert [form for text in texts for form in forms_of(text) if form in haystack] == []


async def test_personal_data_is_readable_by_readers_and_in_no_table(course: Course) -> None:
    published = "\n".join(row.data + row.metadata for row in await course.published())
    state = json.dumps(await course.state(), default=str)
    stored = await course.stored_texts()

    for text in (*ANNS_TEXTS, *BENS_TEXTS, *PUBLISHER_TEXTS):
        assert text in published
    for text in (ANNS_TEXTS[0], ANNS_TEXTS[3], BENS_TEXTS[1]):
        assert text in state
    assert_absent((*ANNS_TEXTS, *BENS_TEXTS, *PUBLISHER_TEXTS), stored)


async def test_erased_person_is_null_everywhere_and_grades_stay(course: Course) -> None:
    before = await course.published()
    grades_before = (await course.state())["document"]["provisional_grades"]

    verdict = await course.erase(ANN)
    after = await course.published()
    everything = "\n".join(row.data + row.metadata for row in after) + json.dumps(await course.state(), default=str)
    document = (await course.state())["document"]

    assert (verdict["status"], verdict["events"]) == ("accepted", 1)
    assert after[-1].type == "person_erased"
    assert_absent(ANNS_TEXTS, everything + await course.stored_texts())
    for text in BENS_TEXTS:
        assert text in everything
    # Positions, ids and grades are unchanged.
    assert [(row.position, row.type, row.stream) for row in after[:-1]] == [
        (row.position, row.type, row.stream) for row in before
    ]
    assert [grade["grade"] for grade in document["provisional_grades"]] == [grade["grade"] for grade in grades_before]
    ann = next(row for row in document["submissions"] if row["student_id"] == ANN)
    assert (ann["grade"], [comment["comment"] for comment in ann["submission_comments"]]) == ("7", [None])


async def test_request_of_an_erased_publisher_is_null(course: Course) -> None:
    await course.erase(TEACHER)
    requests = [json.loads(row.metadata).get("request") for row in await course.published() if row.live_number]

    assert requests
    assert all(set(request.values()) == {None} for request in requests)


async def test_second_erasure_changes_nothing_and_new_data_gets_a_new_key(course: Course) -> None:
    await course.erase(ANN)
    again = await course.erase(ANN)
    nameless, named = await course.process(
        course.command("upsert_users", {"users": [{"user_id": ANN, "short_name": "A"}]}),
        course.command("upsert_users", {"users": [{"user_id": ANN, "name": "Ann the second"}]}),
    )
    users = (await course.state())["users"]
    erased_once_more = await course.erase(ANN)

    assert (again["status"], again["events"]) == ("accepted", 0)
    assert (nameless["status"], named["status"]) == ("rejected", "accepted")
    assert users[ANN] == {"user_id": ANN, "name": "Ann the second"}
    assert erased_once_more["events"] == 1


async def test_batch_that_erases_between_two_statements_keeps_only_the_later_one(course: Course) -> None:
    comment: Json = {"student_id": ANN, "author_id": TA}
    await course.process(
        course.command("record_submission_comment", {**comment, "comment": "Before, secret"}),
        course.command("erase_person", {"user_id": ANN}),
        course.command("record_submission_comment", {**comment, "comment": "After"}),
    )
    document = (await course.state())["document"]
    comments = next(row for row in document["submissions"] if row["student_id"] == ANN)["submission_comments"]

    assert [comment["comment"] for comment in comments] == [None, None, "After"]


async def test_handler_that_cached_an_assignment_forgets_the_erased_texts(course: Course) -> None:
    await course.erase(ANN)
    await course.process(course.command("configure_assignment", {"name": "Renamed"}))
    cached = course.processor.state_cache.assignments[1, ASSIGNMENT][0]
    texts = [comment.comment for comment in cached.submission(ANN).comments]
    rubrics = [kept.rubric_assessment for kept in cached.grades_by_student[ANN]]

    assert (texts, rubrics) == ([None], [None])


async def test_repeated_command_with_personal_data_is_a_duplicate_until_its_person_is_erased(course: Course) -> None:
    command_id = str(uuid.uuid4())
    data = {"student_id": BEN, "author_id": TA, "comment": "Sent twice"}
    [first] = await course.process(course.command("record_submission_comment", data, command_id=command_id))
    [second] = await course.process(course.command("record_submission_comment", data, command_id=command_id))
    [other] = await course.process(
        course.command("record_submission_comment", {**data, "comment": "Other"}, command_id=command_id)
    )
    await course.erase(BEN)
    [after] = await course.process(course.command("record_submission_comment", data, command_id=command_id))

    assert second == {**first, "duplicate": True}
    assert other["reason"] == "command_id_reused"

    await EncryptionKeys(course.connection).delete_old_days(-2)
    [late] = await course.process(course.command("erase_person", {"user_id": "x"}, command_id=command_id))
    assert late["reason"] == "command_id_reused", "what was said is known no more, and nothing is decided anew"
    assert after["reason"] == "command_id_reused"


async def test_invalid_command_is_recognized_again(course: Course) -> None:
    command_id = str(uuid.uuid4())
    invalid = course.command("erase_person", {"user_id": "x"}, command_id=command_id)
    [first] = await course.process(invalid)
    [second] = await course.process(course.command("erase_person", {"user_id": "x"}, command_id=command_id))
    [other] = await course.process(course.command("erase_person", {"user_id": "y"}, command_id=command_id))

    assert (first["reason"], second) == ("invalid_command", {**first, "duplicate": True})
    assert other["reason"] == "command_id_reused"


async def test_grade_without_texts_creates_no_key(course: Course) -> None:
    count = "select count(*) from encryption_key"
    before = await course.connection.fetchval(count)
    grade = {"student_id": ANN, "score": 9}
    [verdict] = await course.process(course.command("record_submission", grade))

    assert verdict["events"] == 1
    assert await course.connection.fetchval(count) == before


async def test_dead_letter_is_encrypted_and_erased_with_the_key_of_its_day(course: Course) -> None:
    secret = b'{"comment": "secret of a dead letter"'
    await course.process(course.record(secret, (("x-note", b"secret header"), ("authorization", b"Bearer x"))))
    heads = await course.history.heads([SHARD])
    [kept] = await course.history.read("dead_letters", [SHARD], [0], heads["dead_letters"], 10, 1 << 20)
    stored = await course.stored_texts()
    deleted = await EncryptionKeys(course.connection).delete_old_days(-2)
    [erased] = await course.history.read("dead_letters", [SHARD], [0], heads["dead_letters"], 10, 1 << 20)
    letter = await DeadLetterReader(course.connection).dead_letter(SHARD, 1)

    assert isinstance(kept, DeadLetterRow)
    assert isinstance(erased, DeadLetterRow)
    assert (kept.value, kept.key, b"eC1ub3Rl" in kept.headers) == (secret, b"1001", True)
    assert_absent(("secret of a dead letter", "secret header"), stored)
    assert deleted == 1
    assert (erased.value, erased.key, erased.headers, erased.is_erased) == (None, None, b"[]", True)
    assert letter is not None
    assert (letter.value, letter.size, letter.is_erased) == (None, len(secret), True)


async def test_only_keys_may_be_deleted_and_none_may_be_changed(course: Course) -> None:
    with pytest.raises(asyncpg.RestrictViolationError):
        await course.connection.execute("update encryption_key set created_at = now()")
    with pytest.raises(asyncpg.RestrictViolationError):
        await course.connection.execute("truncate encryption_key")
    await course.connection.execute("set role moderation_reader")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await course.connection.execute("delete from encryption_key")


async def test_gateway_that_cached_the_course_answers_without_the_erased_texts(course: Course) -> None:
    cache, documents = StateCache(course.reader, CACHE_BYTES), StateDocumentCache()
    before = await cache.get_assignment(1, ASSIGNMENT)
    assert before is not None
    shown_before = orjson.dumps(documents.get_document(*before)).decode()
    await course.erase(ANN)
    after = await cache.get_assignment(1, ASSIGNMENT)
    assert after is not None
    shown_after = orjson.dumps(documents.get_document(*after)).decode()

    assert ANNS_TEXTS[3] in shown_before
    assert_absent(ANNS_TEXTS, shown_after + str(after[0].users))
    assert BENS_TEXTS[1] in shown_after


async def test_live_events_of_an_erased_student_and_publisher_are_null_where_they_named_them(course: Course) -> None:
    mapper = RecordMapper(course.history, PublishingFormat("urn:test"))

    async def map_rows(rows: Sequence[EventRow]) -> dict[str, list[str]]:
        mapper.hint_upcoming(rows)
        topics = ("live-events", "caliper")
        records = [record for row in rows if row.live_number for record in await mapper.map_row(row, topics)]
        return {
            topic: [(record.value or b"").decode() for record in records if record.topic == topic] for topic in topics
        }

    before = await map_rows(await course.published())
    await course.erase(ANN)
    await course.erase(TEACHER)
    after = await map_rows(await course.published())

    assert_absent((*ANNS_TEXTS, *PUBLISHER_TEXTS), "".join(after["live-events"] + after["caliper"]))
    assert ANNS_TEXTS[2] in "".join(before["live-events"])
    for topic in before:
        for earlier, later in zip(before[topic], after[topic], strict=True):
            assert earlier != later
            # Verification counts the earlier record as erased, and any other difference as changed.
            forms = orjson.loads(later), orjson.loads(earlier)
            assert is_erased_form(topic, "grade_published", *forms)
            assert not is_erased_form(topic, "grade_published", *reversed(forms))
    for change in after["live-events"]:
        GradeChange.model_validate_json(change)
