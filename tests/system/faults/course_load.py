"""The courses of a load: their people, and the assignments that are graded, moderated and published one by one."""

import itertools
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
STUDENTS = 8
ISSUED_AT = "2026-01-31T12:00:00Z"
TEACHER, FIRST_TA, SECOND_TA, AUDITOR, FIRST_STUDENT = 11, 21, 22, 41, 100
SCHEDULED = 0.5
"""Share of the publications that are scheduled, where schedulers run."""
AHEAD_SECONDS = 1, 10


def tenant_canary(root_account: int) -> str:
    """Return a text that only records of this root account may contain."""
    return f"tenant-{root_account}-canary"


SECRET = "comment-for-no-log"  # noqa: S105 A canary: it stands in comments and names, and may be in no log.


class CourseLoad:
    """One course: its ids, and what is sent for it; ``schedules``: some publications are scheduled."""

    def __init__(
        self, number: int, chance: random.Random, verdicts: dict[str, Json], *, schedules: bool = False
    ) -> None:
        self.root_account = 1 + number % 2
        self.base = (number + 1) * 1_000_000
        self.course = self.base + 1
        self.chance = chance
        self.verdicts = verdicts
        self.schedules = schedules
        self.assignments: list[int] = []

    def command(self, type_: str, data: Json, assignment: int | None = None, actor: int | None = None) -> Json:
        command = {
            "command_id": str(uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            "type": type_,
            "issued_at": ISSUED_AT,
            "root_account_id": str(self.root_account),
            "course_id": str(self.course),
            "data": data,
        }
        if assignment is not None:
            command["assignment_id"] = str(assignment)
        if actor is not None:
            command["actor"] = {"user_id": str(self.base + actor)}
        return command

    def commands(self) -> Iterator[Json | None]:
        """Yield the commands after the facts, endlessly; None: nothing can be sent until verdicts arrive."""
        for number in itertools.count(1):
            yield from self._play_assignment(self.base + 10_000 + number)

    def facts(self) -> list[Json]:
        """Return the facts of the course, its people, and an auditor."""
        canary = tenant_canary(self.root_account)
        students = range(FIRST_STUDENT, FIRST_STUDENT + STUDENTS)
        users = [{"user_id": str(self.base + n), "name": f"{SECRET} {canary} {n}"} for n in students]
        kinds = {TEACHER: "Teacher", FIRST_TA: "Ta", SECOND_TA: "Ta", **dict.fromkeys(students, "Student")}
        rows = [
            {"user_id": str(self.base + user), "type": f"{kind}Enrollment", "state": "active"}
            for user, kind in kinds.items()
        ]
        admin = {"user_id": str(self.base + AUDITOR), "permissions": ["view_audit_trail"]}
        return [
            self.command("upsert_course", {"name": canary}),
            self.command("upsert_users", {"users": users}),
            self.command("upsert_enrollments", {"enrollments": rows}),
            self.command("upsert_admins", {"admins": [admin]}),
        ]

    def configure(self, assignment: int) -> Json:
        settings = {
            "name": f"Essay {tenant_canary(self.root_account)}",
            "points_possible": 20,
            "grading_type": "points",
            "moderated_grading": True,
            "grader_count": 3,
            "final_grader_id": str(self.base + TEACHER),
        }
        self.assignments.append(assignment)
        return self.command("configure_assignment", settings, assignment)

    def grade(self, assignment: int, student: int, grader: int = FIRST_TA) -> Json:
        data = {
            "student_id": str(self.base + student),
            "score": self.chance.randrange(21),
            "comment": f"{SECRET} {tenant_canary(self.root_account)}",
        }
        return self.command("record_provisional_grade", data, assignment, grader)

    def _play_assignment(self, assignment: int) -> Iterator[Json | None]:
        yield self.configure(assignment)
        both: list[Json] = []
        for student in range(FIRST_STUDENT, FIRST_STUDENT + STUDENTS):
            yield self.grade(assignment, student)
            if self.chance.random() < 0.3:
                both.append(self.grade(assignment, student, SECOND_TA))
                yield both[-1]
        for graded in both:
            while (verdict := self.verdicts.get(graded["command_id"])) is None:
                yield None
            if verdict["status"] == "rejected":
                continue  # An earlier load of this installation has published the assignment.
            selected = {"provisional_grade_id": verdict["result"]["provisional_grade_id"]}
            yield self.command("select_provisional_grade", selected, assignment, TEACHER)
        yield from self._publish(assignment)
        for type_ in ("post_grades", "hide_grades"):
            yield self.command(type_, {}, assignment)

    def schedule(self, assignment: int, due: datetime) -> Json:
        data = {"publish_at": due.isoformat(timespec="milliseconds")}
        return self.command("schedule_publication", data, assignment, TEACHER)

    def _publish(self, assignment: int) -> Iterator[Json]:
        """Publish now, or some seconds ahead; some schedules are replaced, cancelled, or overtaken by a publication."""
        publish = self.command("publish_provisional_grades", {}, assignment, TEACHER)
        if not self.schedules or self.chance.random() >= SCHEDULED:
            yield publish
            return
        luck = self.chance.random()
        yield self.schedule(assignment, self._choose_time())
        if luck < 0.2:
            yield self.schedule(assignment, self._choose_time())
        elif luck < 0.3:
            yield publish
        elif luck < 0.5:
            yield self.command("cancel_scheduled_publication", {}, assignment, TEACHER)
            yield self.schedule(assignment, self._choose_time()) if luck < 0.4 else publish

    def _choose_time(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.chance.uniform(*AHEAD_SECONDS))
