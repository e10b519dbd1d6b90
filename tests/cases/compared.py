"""What two replays of a case left behind, made comparable: ids as the case's names, times as one word."""

import re
from typing import Any

from services.moderation.assignment import IDS_PER_ASSIGNMENT
from tests.cases.adapter import World

Json = dict[str, Any]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
# Two replays never share these.
IGNORED_FIELDS = {"recorded_at", "course_id", "root_account_id"}


class IdNormalizer:
    """The names of one world for the ids of its documents, events and published grades."""

    def __init__(self, world: World, documents: dict[str, Json]) -> None:
        self.users = {number: name for name, number in world.users.items()}
        self.assignments = {number: name for name, number in world.assignments.items()}
        self.anonymous: dict[str, str] = {}
        for assignment, document in documents.items():
            for row in document["submissions"]:
                self.anonymous[row["anonymous_id"]] = f"student {self.users[row['student_id']]} of {assignment}"
            for row in document["moderation_graders"]:
                self.anonymous[row["anonymous_id"]] = f"grader {self.users[row['user_id']]} of {assignment}"

    def normalize(self, value: Any, name: str = "") -> Any:
        """A value with the names for its ids."""
        if isinstance(value, dict):
            return {key: self.normalize(part, key) for key, part in value.items() if key not in IGNORED_FIELDS}
        if isinstance(value, list):
            return [self.normalize(part, name) for part in value]
        if isinstance(value, str) and TIME.fullmatch(value):
            return "a time"
        if name == "anonymous_id":
            return self.anonymous.get(value, value)
        if value is not None and (name == "id" or name.endswith(("_id", "_ids"))):
            return self._normalize_id(int(value))
        return value

    def _normalize_id(self, number: int) -> Any:
        # What the service draws is the assignment's number and a count.
        return self.users.get(number) or self.assignments.get(number) or number % IDS_PER_ASSIGNMENT
