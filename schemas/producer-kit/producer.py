"""Plays one assignment: five facts, two marks, a choice, a publication. Prints each verdict. Needs aiokafka.

KAFKA_BOOTSTRAP=localhost:9092 python producer.py [--prefix moderation] [--course 1001]
"""

import argparse
import os
import sys
import time
from typing import Any

try:
    from kafka_options import run_program
    from moderation import ModerationClient, NoVerdict, Rejected, new_command
except ModuleNotFoundError as error:
    sys.exit(f"producer.py: {error}; nothing was sent: pip install aiokafka")

TEACHER, TUTOR, STUDENT = 11, 21, 31
ENROLLMENTS = {TEACHER: "TeacherEnrollment", TUTOR: "TaEnrollment", STUDENT: "StudentEnrollment"}
USERS = [
    {"user_id": TEACHER, "name": "Finn Okafor"},
    {"user_id": TUTOR, "name": "Mia Lind"},
    {"user_id": STUDENT, "name": "Ada Moreau", "sis_user_id": "S-0031"},
]


async def main(prefix: str, course: int) -> None:
    """Send the commands in the order in which the service needs them."""
    assignment = course + 1
    async with ModerationClient(prefix) as client:

        async def send(kind: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
            verdict = await client.send(new_command(kind, course, data, **fields))
            events = verdict["events"]
            changes = "nothing changed" if events == 0 else f"{events} event{'s' if events > 1 else ''}"
            print(f"{kind}: {verdict['status']}, {changes}")
            return verdict

        async def act(kind: str, data: dict[str, Any], user: int) -> dict[str, Any]:
            return await send(kind, data, assignment_id=assignment, actor={"user_id": user})

        # Facts from the learning management system. They must be sent before anything is graded.
        enrollments = [{"user_id": user, "type": kind, "state": "active"} for user, kind in ENROLLMENTS.items()]
        await send("upsert_course", {"name": "Modern History"})
        await send("upsert_users", {"users": USERS})
        await send("upsert_enrollments", {"enrollments": enrollments})
        settings = {"points_possible": 20, "grading_type": "points", "moderated_grading": True, "grader_count": 2}
        await send(
            "configure_assignment",
            {"name": "Essay", **settings, "final_grader_id": TEACHER},
            assignment_id=assignment,
        )
        await send(
            "record_submission",
            {"student_id": STUDENT, "attempt": 1, "submitted_at": "2026-02-01T22:10:00Z"},
            assignment_id=assignment,
        )

        # Two marks for the same work. The moderator selects one; publication puts it into the gradebook.
        await act("record_provisional_grade", {"student_id": STUDENT, "score": 12}, TEACHER)
        mark = await act("record_provisional_grade", {"student_id": STUDENT, "score": 17}, TUTOR)
        provisional_grade = mark["result"]["provisional_grade_id"]
        await act("select_provisional_grade", {"provisional_grade_id": provisional_grade}, TEACHER)
        await act("publish_provisional_grades", {}, TEACHER)

        # A rejection has a reason, and the remedy is in ../reasons.md.
        try:
            await act("publish_provisional_grades", {}, TEACHER)
        except Rejected as rejection:
            print(f"publish_provisional_grades again: rejected, {rejection.verdict['reason']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Plays one assignment. KAFKA_BOOTSTRAP names the brokers.")
    parser.add_argument("--prefix", default="moderation", help="the prefix of the service's topics")
    parser.add_argument("--course", type=int, default=int(time.time()) * 100, help="a course that does not exist yet")
    arguments = parser.parse_args()
    if not os.environ.get("KAFKA_BOOTSTRAP"):
        parser.error("KAFKA_BOOTSTRAP is not set or not exported; nothing was sent: export KAFKA_BOOTSTRAP=HOST:PORT")
    try:
        run_program(main(arguments.prefix, arguments.course), "nothing was sent")
    except (NoVerdict, Rejected) as error:
        sys.exit(f"producer.py: {error}")
