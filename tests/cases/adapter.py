"""Turns the steps of an acceptance case into commands of the contract, with real ids for its symbolic names."""

import itertools
import uuid
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
ROLES = {
    "teacher": "TeacherEnrollment",
    "ta": "TaEnrollment",
    "student": "StudentEnrollment",
    "designer": "DesignerEnrollment",
}
STATES = {"active": "active", "inactive": "inactive", "concluded": "completed"}
_WORLD_NUMBERS = itertools.count(1)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def small_course_steps() -> list[Json]:
    """Given steps: final grader fg, graders ta1 and ta2, students s1 and s2, a moderated essay a1 of ten points."""
    steps: list[Json] = [{"do": "enroll", "user": "fg", "role": "teacher"}]
    steps += [{"do": "enroll", "user": name, "role": "ta"} for name in ("ta1", "ta2")]
    steps += [{"do": "enroll", "user": name, "role": "student"} for name in ("s1", "s2")]
    return [*steps, {"do": "assignment", "id": "a1", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
                     "points_possible": 10, "grading_type": "points"}]  # fmt: skip


class World:
    """One empty world: a course of its own; names are bound to ids as they appear."""

    def __init__(self) -> None:
        self.base = next(_WORLD_NUMBERS) * 1_000_000
        self.course_id = self.base + 1
        self.users: dict[str, int] = {}
        self.assignments: dict[str, int] = {}
        self.sections: dict[str, int] = {}
        self.grades: dict[str, int] = {}
        self.final_graders: dict[str, str | None] = {}
        self.enrolled: dict[str, list[Json]] = {}
        self.anonymous_ids: dict[tuple[int, str], str] = {}
        self.attempts: dict[tuple[str, str], int] = {}

    def user_id(self, name: str | None) -> str:
        return str(self.users.setdefault(name or "nobody", self.base + 100 + len(self.users)))

    def assignment_id(self, name: str) -> str:
        return str(self.assignments.setdefault(name, self.base + 10_000 + len(self.assignments)))

    def section_id(self, name: str) -> str:
        return str(self.sections.setdefault(name, self.base + 20_000 + len(self.sections)))

    def command(self, type_: str, data: Json, assignment: str | None = None, actor: str | None = None) -> Json:
        command: Json = {
            "command_id": str(uuid.uuid4()),
            "type": type_,
            "issued_at": now(),
            "root_account_id": "1",
            "course_id": str(self.course_id),
            "data": data,
        }
        if assignment is not None:
            command["assignment_id"] = self.assignment_id(assignment)
        if actor is not None:
            command["actor"] = {"user_id": self.user_id(actor)}
        return command

    def given(self, step: Json) -> list[Json]:
        """The commands of one given step."""
        match step["do"]:
            case "enroll":
                return [self._enroll(step)]
            case "account_admin":
                permissions = ["manage_grades", "view_all_grades"]
                permissions += ["select_final_grade"] if step["select_final_grade"] else []
                admin = {"user_id": self.user_id(step["user"]), "permissions": permissions}
                return [self.command("upsert_admins", {"admins": [admin]})]
            case "assignment":
                return [self.command("configure_assignment", {"name": step["id"], **self._settings(step)}, step["id"])]
            case "update_assignment":
                return [
                    self.command("configure_assignment", self._settings({"id": step["id"], **step["set"]}), step["id"])
                ]
            case "submit":
                submission_key = (step["assignment"], step["student"])
                self.attempts[submission_key] = self.attempts.get(submission_key, 0) + 1
                data = {
                    "student_id": self.user_id(step["student"]),
                    "attempt": self.attempts[submission_key],
                    "submitted_at": now(),
                }
                return [self.command("record_submission", data, step["assignment"])]
            case "set_moderation_set":
                return self._moderation_set(step)
            case "enrollment_state":
                rows = [{**row, "state": STATES[step["state"]]} for row in self.enrolled[step["user"]]]
                return [self.command("upsert_enrollments", {"enrollments": rows})]
            case "gradebook_grade":
                data = {
                    "student_id": self.user_id(step["student"]),
                    "score": step["score"],
                    "grade": step["grade"],
                    "grader_id": self.user_id(step["grader"]),
                    "graded_at": now(),
                }
                return [self.command("record_submission", data, step["assignment"])]
            case "plain_comment":
                data = {
                    "student_id": self.user_id(step["student"]),
                    "author_id": self.user_id(step["actor"]),
                    "comment": step["text"],
                }
                return [self.command("record_submission_comment", data, step["assignment"])]
        return [self.operation({**step, "operation": step["do"]})]

    def operation(self, when: Json) -> Json:
        """The command of an operation that writes."""
        match when["operation"]:
            case "grade":
                grade_fields = ("posted_grade", "score", "excuse", "final", "graded_anonymously", "comment")
                data = {name: when[name] for name in grade_fields if name in when}
                type_, data = "record_provisional_grade", {"student_id": self.user_id(when["student"]), **data}
            case "comment":
                final = {"final": when["final"]} if "final" in when else {}
                data = {"student_id": self.user_id(when["student"]), "comment": when["text"], **final}
                type_ = "record_provisional_comment"
            case "select":
                type_, data = (
                    "select_provisional_grade",
                    {"provisional_grade_id": self.provisional_grade_id(when["pg"])},
                )
            case "bulk_select":
                data = {"provisional_grade_ids": [self.provisional_grade_id(name) for name in when["pgs"]]}
                type_ = "bulk_select_provisional_grades"
            case "publish":
                type_, data = "publish_provisional_grades", {}
            case "add_to_moderation_set":
                students = [self.user_id(name) for name in when["students"]] if "students" in when else None
                type_ = "select_students_for_moderation"
                data = {} if students is None else {"student_ids": students}
            case other:
                raise ValueError(f"{other} writes nothing")
        return self.command(type_, data, when["assignment"], when["actor"])

    def provisional_grade_id(self, name: str) -> int:
        return self.grades.get(name, self.base + 30_000)

    def _enroll(self, step: Json) -> Json:
        sections: list[str | None] = [self.section_id(name) for name in step.get("sections", ())] or [None]
        rows = [
            {
                "user_id": self.user_id(step["user"]),
                "type": ROLES[step["role"]],
                "state": STATES[step.get("state", "active")],
                "limited_to_section": step.get("limited_to_own_sections", False),
                "permissions": dict.fromkeys(step.get("deny", ()), False),
                **({} if section is None else {"section_id": section}),
            }
            for section in sections
        ]
        self.enrolled.setdefault(step["user"], []).extend(rows)
        return self.command("upsert_enrollments", {"enrollments": rows})

    def _settings(self, step: Json) -> Json:
        settings = {name: value for name, value in step.items() if name not in ("do", "id", "final_grader")}
        if "final_grader" in step:
            self.final_graders[step["id"]] = step["final_grader"]
            final_grader = step["final_grader"]
            settings["final_grader_id"] = None if final_grader is None else self.user_id(final_grader)
        return settings

    def _moderation_set(self, step: Json) -> list[Json]:
        commands = [self.command("configure_assignment", {"moderation_set": "selected"}, step["assignment"])]
        if step["students"]:
            data = {"student_ids": [self.user_id(name) for name in step["students"]]}
            moderator = self.final_graders[step["assignment"]]
            commands.append(self.command("select_students_for_moderation", data, step["assignment"], moderator))
        return commands
