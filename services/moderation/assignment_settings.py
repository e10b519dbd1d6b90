"""An assignment's settings with their defaults, and which of them Canvas audits and resets."""

from collections.abc import Mapping
from typing import Any

DEFAULT_SETTINGS: Mapping[str, Any] = {
    "name": None,
    "points_possible": None,
    "grading_type": None,
    "grading_scheme": None,
    "moderated_grading": None,
    "grader_count": 0,
    "final_grader_id": None,
    "anonymous_grading": False,
    "graders_anonymous_to_graders": False,
    "grader_names_visible_to_final_grader": True,
    "grader_comments_visible_to_graders": True,
    "moderation_set": "assigned",
    "assigned_to": None,
    "deleted": False,
    "adjudication": None,
}
# The settings that Canvas audits (app/models/abstract_assignment.rb, AUDITABLE_ATTRIBUTES).
AUDITED_SETTINGS = (
    "points_possible",
    "anonymous_grading",
    "moderated_grading",
    "final_grader_id",
    "grader_count",
    "grader_names_visible_to_final_grader",
    "grader_comments_visible_to_graders",
    "graders_anonymous_to_graders",
)
MODERATION_SETTINGS = (*AUDITED_SETTINGS[3:], "adjudication")
"""Settings that are reset to their defaults without moderation (Canvas: clear_moderated_grading_attributes)."""
REQUIRED_SETTINGS = ("name", "points_possible", "grading_type", "moderated_grading")
