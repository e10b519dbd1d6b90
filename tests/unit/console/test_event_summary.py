"""Every event has a summary of one line without names and comments."""

import json
from pathlib import Path
from typing import get_args

import pytest

from schemas.domain_events import EventName
from services.console.event_summary import summarize_event

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"
SUMMARIES = {
    "course_updated": "name Modern History, ",
    "provisional_grade_created": "graded 15",
    "provisional_grade_updated": "regraded 16.5, was 15",
    "provisional_grade_selected": "selected grade 1048578",
    "grade_published": "published 16.5, was none",
    "grader_slot_taken": "took a grader's slot",
    "assignment_updated": "name Essay → Essay 2",
    "submission_updated": "excused no → yes",
    "grades_posted": "published the assignment",
}


@pytest.mark.parametrize("name", get_args(EventName))
def test_event_summary_is_one_line_without_names_or_comments(name: str) -> None:
    data = json.loads((EXAMPLES / f"{name}.json").read_text())["payload"]
    summary = summarize_event(name, data)

    assert summary.startswith(SUMMARIES.get(name, ""))
    assert "\n" not in summary
    assert 3 < len(summary) < 200
    people = [row["name"] for row in data["payload"].get("users", ())]
    assert not any(text in summary for text in [*people, data["payload"].get("comment", "\n")])
