"""SIS ids of students as they stood when a grade was published. They stand in users_updated only, so that erasing a
person there touches nothing else."""

from bisect import bisect_left
from collections import OrderedDict

import orjson

from services.eventlog.tail import Tail

COURSES_MAX = 256


class SisIds:
    """Histories of SIS ids by course, read when first needed and kept up to date."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._courses: OrderedDict[tuple[int, int], tuple[int, dict[int, list[tuple[int, str | None]]]]] = OrderedDict()

    async def at(self, root_account: int, course: int, student: int, position: int) -> str | None:
        """The student's SIS id just before a position of the course's shard."""
        key = (root_account, course)
        known, histories = self._courses.pop(key, (0, {}))
        if known < position:
            for updated_at, data in await self._tail.users_updated(root_account, course, max(known - 1, 0), position):
                for row in orjson.loads(data)["payload"]["users"]:
                    if "sis_user_id" in row:
                        histories.setdefault(int(row["user_id"]), []).append((updated_at, row["sis_user_id"]))
            known = position
        self._courses[key] = (known, histories)
        if len(self._courses) > COURSES_MAX:
            self._courses.popitem(last=False)
        history = histories.get(student, [])
        before = bisect_left(history, (position, ""))
        return history[before - 1][1] if before else None
