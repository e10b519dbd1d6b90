"""SIS ids and logins as they stood when a grade was published. They stand in users_updated only, so that erasing a
person there touches nothing else."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from services.eventlog.feeds import EventRow, FeedReader

COURSES_MAX = 256
TRACKED_FIELDS = ("sis_user_id", "login_id")
# Of a user, in the order of time: (position, sis_user_id, login_id) as they were from there on.
UserHistories = dict[int, list[tuple[int, str | None, str | None]]]


class UserIdentifiers(NamedTuple):
    """What the LMS had stated of a user."""

    sis_id: str | None = None
    login: str | None = None


class EventUsers(NamedTuple):
    """Whom a live event names: the student, and the user whose HTTP request it came by (nobody for a job's)."""

    student: UserIdentifiers
    actor: UserIdentifiers


NO_USER = UserIdentifiers()


class UserHistory:
    """Histories by course, read when first needed and kept up to date."""

    def __init__(self, feed_reader: FeedReader) -> None:
        self._feed_reader = feed_reader
        self._histories_by_course: OrderedDict[tuple[int, int], tuple[int, UserHistories]] = OrderedDict()
        self._upcoming_positions: dict[int, int] = {}

    def hint_upcoming(self, rows: Sequence[EventRow]) -> None:
        """Say which rows, in the order of the log, are asked about next: one look at a course then serves them all."""
        self._upcoming_positions = {row.shard: row.position for row in rows}

    async def find_event_users(self, row: EventRow, metadata: dict[str, Any]) -> EventUsers:
        """Whom the live event of a stored event names, as they were just before its position."""
        student = await self._find_before(row, metadata["student_id"])
        actor = orjson.loads(row.data)["user_id"] if "request" in metadata else None
        return EventUsers(student, NO_USER if actor is None else await self._find_before(row, int(actor)))

    async def _find_before(self, row: EventRow, user_id: int) -> UserIdentifiers:
        key = (row.root_account, row.course)
        cached_until, histories = self._histories_by_course.pop(key, (0, {}))
        if cached_until < row.position:
            until = max(row.position, self._upcoming_positions.get(row.shard, 0))
            for position, data in await self._feed_reader.users_updated_events(*key, max(cached_until - 1, 0), until):
                for user_fields in orjson.loads(data)["payload"]["users"]:
                    _append_update(histories.setdefault(int(user_fields["user_id"]), []), position, user_fields)
            cached_until = until
        self._histories_by_course[key] = (cached_until, histories)
        if len(self._histories_by_course) > COURSES_MAX:
            self._histories_by_course.popitem(last=False)
        history = histories.get(user_id, [])
        index = bisect_left(history, row.position, key=lambda entry: entry[0])
        return UserIdentifiers(*history[index - 1][1:]) if index else NO_USER


def _append_update(
    history: list[tuple[int, str | None, str | None]], position: int, user_fields: dict[str, Any]
) -> None:
    """Add what an update states; what it leaves out stays as it was."""
    if any(name in user_fields for name in TRACKED_FIELDS):
        previous = history[-1][1:] if history else NO_USER
        sis_id, login = (
            user_fields.get(name, previous_value) for name, previous_value in zip(TRACKED_FIELDS, previous, strict=True)
        )
        history.append((position, sis_id, login))
