"""SIS ids and logins as of a grade: the cache is bounded, but keeps the users that are in use."""

from datetime import UTC, datetime

import orjson

from services.eventlog.feeds import EventRow, FeedReader
from services.publishing.user_history import UserHistory, UserIdentifiers

USERS_PER_COURSE = 10
UPDATED_AT = 5


class UpdatedUsers(FeedReader):
    """A log in which each course has stated its users once; counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    async def users_updated_events(
        self, root_account: int, course: int, after_position: int, before_position: int
    ) -> list[tuple[int, str]]:
        self.reads += 1
        if not after_position < UPDATED_AT < before_position:
            return []
        users = [{"user_id": str(n), "sis_user_id": f"{course}-{n}"} for n in range(USERS_PER_COURSE)]
        return [(UPDATED_AT, orjson.dumps({"payload": {"users": users}}).decode())]


def published(course: int) -> EventRow:
    return EventRow(0, 9, 1, 1, course, 1, "grade_published", '{"user_id": null}', "{}", datetime.now(UTC), 1)


async def find_student(history: UserHistory, course: int) -> UserIdentifiers:
    return (await history.find_event_users(published(course), {"student_id": 3})).student


async def test_cache_is_bounded_by_users_and_keeps_those_in_use() -> None:
    history = UserHistory(UpdatedUsers(), users_max=25)
    for course in (1, 2, 3, 1, 3, 2):
        assert await find_student(history, course) == UserIdentifiers(f"{course}-3", None)
        assert history.user_count <= 25


async def test_many_small_courses_are_read_once() -> None:
    log = UpdatedUsers()
    history = UserHistory(log, users_max=1_000 * USERS_PER_COURSE)
    for course in (*range(1_000), *range(1_000)):
        await find_student(history, course)
    assert log.reads == 1_000


async def test_course_larger_than_the_cache_is_kept_while_it_is_published() -> None:
    log = UpdatedUsers()
    history = UserHistory(log, users_max=1)
    for _ in range(3):
        await find_student(history, 1)
    assert log.reads == 1
