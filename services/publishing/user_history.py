"""SIS ids and logins as they stood when a grade was published. They stand in users_updated only, so that erasing a
person there touches nothing else."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from services.eventlog.feeds import EventRow, Tail

COURSES_MAX = 256
FIELDS = ("sis_user_id", "login_id")
# Of a user, in the order of time: (position, sis_user_id, login_id) as they were from there on.
Histories = dict[int, list[tuple[int, str | None, str | None]]]


class Person(NamedTuple):
    """What the LMS had stated of a user."""

    sis_id: str | None = None
    login: str | None = None


class Named(NamedTuple):
    """Whom a live event names: the student, and the user whose HTTP request it came by (nobody for a job's)."""

    student: Person
    actor: Person


NOBODY = Person()


class People:
    """Histories by course, read when first needed and kept up to date."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._courses: OrderedDict[tuple[int, int], tuple[int, Histories]] = OrderedDict()
        self._in_hand: dict[int, int] = {}

    def expect(self, rows: Sequence[EventRow]) -> None:
        """Say which rows, in the order of the log, are asked about next: one look at a course then serves them all."""
        self._in_hand = {row.shard: row.position for row in rows}

    async def named(self, row: EventRow, metadata: dict[str, Any]) -> Named:
        """Whom the live event of a stored event names, as they were just before its position."""
        student = await self._before(row, metadata["student_id"])
        actor = orjson.loads(row.data)["user_id"] if "request" in metadata else None
        return Named(student, NOBODY if actor is None else await self._before(row, int(actor)))

    async def _before(self, row: EventRow, user: int) -> Person:
        key = (row.root_account, row.course)
        known, histories = self._courses.pop(key, (0, {}))
        if known < row.position:
            until = max(row.position, self._in_hand.get(row.shard, 0))
            for position, data in await self._tail.users_updated(*key, max(known - 1, 0), until):
                for stated in orjson.loads(data)["payload"]["users"]:
                    _remember(histories.setdefault(int(stated["user_id"]), []), position, stated)
            known = until
        self._courses[key] = (known, histories)
        if len(self._courses) > COURSES_MAX:
            self._courses.popitem(last=False)
        history = histories.get(user, [])
        before = bisect_left(history, row.position, key=lambda entry: entry[0])
        return Person(*history[before - 1][1:]) if before else NOBODY


def _remember(history: list[tuple[int, str | None, str | None]], position: int, stated: dict[str, Any]) -> None:
    """Add what an update states; what it leaves out stays as it was."""
    if any(name in stated for name in FIELDS):
        before = history[-1][1:] if history else NOBODY
        sis_id, login = (stated.get(name, held) for name, held in zip(FIELDS, before, strict=True))
        history.append((position, sis_id, login))
