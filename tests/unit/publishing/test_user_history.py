"""SIS ids and logins as of a grade: the cache is bounded, but keeps the users that are in use."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

import orjson

from services.eventlog.feeds import EventRow, FeedReader
from services.publishing.user_history import UserHistory, UserIdentifiers

USERS_PER_COURSE = 10
UPDATED_AT = 5


class UpdatedUsers(FeedReader):
    """A log in which each course has stated its users once; counts how often it is read.

    ``erased_at``: the position from which on a person of each course is erased; the erasure has a page of its own if
    ``is_paged``. ``after_first_page`` is called when the first page was read.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.erased_at: int | None = None
        self.is_paged = False
        self.after_first_page: Callable[[], None] = lambda: None

    async def users_updated_events(
        self, root_account: int, course: int, after_position: int, before_position: int
    ) -> AsyncGenerator[list[tuple[int, str | None]], None]:
        self.reads += 1
        sis_id = None if self.erased_at is not None else "{course}-{n}"
        users = [
            {"user_id": str(n), "sis_user_id": sis_id and sis_id.format(course=course, n=n)}
            for n in range(USERS_PER_COURSE)
        ]
        rows: list[tuple[int, str | None]] = [(UPDATED_AT, orjson.dumps({"payload": {"users": users}}).decode())]
        if self.is_paged:
            yield rows
            self.after_first_page()
            rows = []
        if self.erased_at is not None:
            rows.append((self.erased_at, None))
        if found := [row for row in rows if after_position < row[0] < before_position]:
            yield found


def published(course: int, position: int = 9) -> EventRow:
    return EventRow(0, position, 1, 1, course, 1, "grade_published", '{"user_id": null}', "{}", datetime.now(UTC), 1)


async def find_student(history: UserHistory, course: int, position: int = 9) -> UserIdentifiers:
    return (await history.find_event_users(published(course, position), {"student_id": 3})).student


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


async def test_grade_after_an_erasure_has_no_identifiers_though_the_erasure_is_published_later() -> None:
    log = UpdatedUsers()
    history = UserHistory(log)
    assert await find_student(history, 1) == UserIdentifiers("1-3", None)

    log.erased_at = 15

    assert await find_student(history, 1, position=20) == UserIdentifiers(None, None)
    assert history.user_count == USERS_PER_COURSE


async def test_erasure_between_two_pages_leaves_nothing_of_the_page_before() -> None:
    log = UpdatedUsers()
    history = UserHistory(log)
    log.is_paged = True
    log.after_first_page = lambda: setattr(log, "erased_at", 15)

    assert await find_student(history, 1, position=20) == UserIdentifiers(None, None)
    assert history.user_count == USERS_PER_COURSE
    assert log.reads == 2, "the erasure that is known by then begins nothing anew"


async def test_rows_of_a_refill_do_not_make_later_grades_of_a_course_read_it_again() -> None:
    log = UpdatedUsers()
    history = UserHistory(log)
    history.hint_upcoming([published(1, 100), published(1, 101), published(1, 102), published(1, 7)])

    for position in (100, 101, 102):
        await find_student(history, 1, position)

    assert log.reads == 1
