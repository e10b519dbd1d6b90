"""After a failover that lost commits a running gateway answers from the log that it has now."""

import orjson

from deploy.local.cluster import PostgresPair
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.postgres import READER, WRITER, connect, create_pool
from services.eventlog.store import EventStore
from services.eventlog.stream_reader import StreamReader
from services.gateway.state_cache import StateCache
from services.gateway.state_document_cache import StateDocumentCache
from services.moderation.assignment import Assignment
from services.moderation.course import Course as CourseState
from services.moderation.state_document import state_document
from services.runtime.errors import POSTGRES_ERRORS
from tests.fixtures.process_runner import wait_until
from tests.integration.eventlog.test_erasure import ASSIGNMENT, BEN, CACHE_BYTES, TA, Course
from tests.integration.eventlog.test_event_pages import fold_all
from tests.integration.eventlog.test_timelines import pair

__all__ = ["pair"]


async def open_course(url: str, next_offset: int = 0) -> Course:
    log = EventStore(await connect(url, "handler", WRITER))
    source = await log.current_incarnation("commands")
    course = Course(log.connection, CommandProcessor(log, source, DEFAULT_SHARD_COUNT))
    course.next_offset = next_offset
    return course


async def comment(course: Course, text: str, count: int) -> None:
    """Record comments, one event each."""
    data = {"student_id": BEN, "author_id": TA, "comment": text}
    await course.process(*(course.command("record_submission_comment", data) for _ in range(count)))


async def test_states_folded_from_lost_commits_are_read_again(pair: PostgresPair) -> None:
    url = pair.database_url("log")
    course = await open_course(url)
    await course.seed()
    offset = course.next_offset
    pair.set_synchronous(False)
    pair.standby.kill()
    await comment(course, "lost", 3)
    pool = await create_pool(url, "gateway", READER, connections_max=2, seconds_max=5)
    cache, documents = StateCache(StreamReader(pool), CACHE_BYTES), StateDocumentCache()

    async def read() -> tuple[CourseState, Assignment] | None:
        try:
            return await cache.get_assignment(1, ASSIGNMENT)
        except POSTGRES_ERRORS:
            return None

    before = await read()
    assert before is not None
    assert b"lost" in orjson.dumps(documents.get_document(*before))

    pair.primary.kill()
    pair.standby.start()
    pair.standby.promote()
    course = await open_course(url, offset)
    await comment(course, "decided again", 5)
    await wait_until(read, "the gateway answers")
    after = await read()

    assert after is not None
    assert state_document(*after) == await fold_all(course)
    document = documents.get_document(*after)
    assert orjson.loads(orjson.dumps(document)) == orjson.loads(orjson.dumps(state_document(*after)))
    assert await cache.get_course(1, after[0].course_id) is after[0]
    await course.connection.close()
    pool.terminate()
