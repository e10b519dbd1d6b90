"""Looks up users' SIS ids and logins as of a published grade.

Only users_updated events store them, so that erasing a person affects nothing else.
"""

import contextlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from services.eventlog.feeds import EventRow, FeedReader

PERSON_ERASED = "person_erased"
USERS_MAX = 100_000
TRACKED_FIELDS = ("sis_user_id", "login_id")
# By user id, in order: (position, sis_user_id, login_id) valid from that position on.
UserHistories = dict[int, list[tuple[int, str | None, str | None]]]


class UserIdentifiers(NamedTuple):
    """A user's identifiers in the LMS, None if it has stated none."""

    sis_id: str | None = None
    login: str | None = None


class EventUsers(NamedTuple):
    """The users in a live event: the student, and the user of the HTTP request (NO_USER for a job)."""

    student: UserIdentifiers
    actor: UserIdentifiers


NO_USER = UserIdentifiers()


class UserHistory:
    """Caches the histories of recent courses; each is read when first needed, then extended.

    It holds at most ``users_max`` entries (``user_count``), one per user, course and change, but any last course.
    """

    def __init__(self, feed_reader: FeedReader, users_max: int = USERS_MAX) -> None:
        self._feed_reader = feed_reader
        self._users_max = users_max
        self.user_count = 0
        self._histories_by_course: OrderedDict[tuple[int, int], tuple[int, UserHistories]] = OrderedDict()
        self._upcoming_positions: dict[int, int] = {}

    def hint_upcoming(self, rows: Sequence[EventRow]) -> None:
        """Announce the rows that are looked up next, in the order of the log, so that a course needs only one read.

        The cached history of a course is dropped if the rows erase one of its people.
        """
        self._upcoming_positions = {}
        for row in rows:
            if row.type == PERSON_ERASED:
                self._drop((row.root_account, row.course))
            # While an output is refilled, its rows follow those of others, from earlier in the log.
            last = self._upcoming_positions.get(row.shard, 0)
            self._upcoming_positions[row.shard] = max(last, row.position)

    async def find_event_users(self, row: EventRow, metadata: dict[str, Any]) -> EventUsers:
        """Return the users of a stored event's live event, as of just before its position."""
        student = await self._find_before(row, metadata["student_id"])
        actor = orjson.loads(row.data)["user_id"] if "request" in metadata else None
        return EventUsers(student, NO_USER if actor is None else await self._find_before(row, int(actor)))

    def _drop(self, key: tuple[int, int]) -> None:
        _, dropped = self._histories_by_course.pop(key, (0, {}))
        self.user_count -= sum(map(len, dropped.values()))

    async def _find_before(self, row: EventRow, user_id: int) -> UserIdentifiers:
        key = (row.root_account, row.course)
        cached_until, histories = self._histories_by_course.pop(key, (0, {}))
        if cached_until < row.position:
            until = max(row.position, self._upcoming_positions.get(row.shard, 0))
            await self._extend(key, histories, max(cached_until - 1, 0), until)
            cached_until = until
        self._histories_by_course[key] = (cached_until, histories)
        while self.user_count > self._users_max and len(self._histories_by_course) > 1:
            _, (_, evicted) = self._histories_by_course.popitem(last=False)
            self.user_count -= sum(map(len, evicted.values()))
        history = histories.get(user_id, [])
        index = bisect_left(history, row.position, key=lambda entry: entry[0])
        return UserIdentifiers(*history[index - 1][1:]) if index else NO_USER

    async def _extend(self, key: tuple[int, int], histories: UserHistories, after: int, until: int) -> None:
        """Fold a course's updates between two positions into its histories.

        All are read again if a person was erased after a part of them was read: rows that are published ahead of
        ``events`` do not pass the erasure itself.
        """
        erased_at = 0
        is_complete = False
        while not is_complete:
            is_complete = True
            async with contextlib.aclosing(self._feed_reader.users_updated_events(*key, after, until)) as chunks:
                async for updates in chunks:
                    last_erased_at = max((position for position, data in updates if data is None), default=0)
                    if histories and last_erased_at > erased_at:
                        self.user_count -= sum(map(len, histories.values()))
                        histories.clear()
                        erased_at, after, is_complete = last_erased_at, 0, False
                        break
                    self._fold(histories, updates)

    def _fold(self, histories: UserHistories, updates: Sequence[tuple[int, str | None]]) -> None:
        for position, data in updates:
            for user_fields in [] if data is None else orjson.loads(data)["payload"]["users"]:
                history = histories.setdefault(int(user_fields["user_id"]), [])
                self.user_count += _append_update(history, position, user_fields)


def _append_update(
    history: list[tuple[int, str | None, str | None]], position: int, user_fields: dict[str, Any]
) -> bool:
    """Append an update's identifiers; those it does not mention keep their values. False if it mentions none."""
    if is_tracked := any(name in user_fields for name in TRACKED_FIELDS):
        previous = history[-1][1:] if history else NO_USER
        sis_id, login = (
            user_fields.get(name, previous_value) for name, previous_value in zip(TRACKED_FIELDS, previous, strict=True)
        )
        history.append((position, sis_id, login))
    return is_tracked
