"""Generated identifiers of root accounts: the same for all courses of the account, at any time."""

import re

from services.commands.event_metadata import complete_grade_change
from services.moderation import commands
from services.moderation.root_accounts import draw_lti_guid, draw_uuid
from tests.fixtures.in_memory_course import COURSE, ESSAY, InMemoryCourse, moderated_course


def identities(memory: InMemoryCourse) -> tuple[str, str]:
    snapshot = complete_grade_change({}, memory.courses[COURSE], memory.assignments[ESSAY])
    return snapshot["root_account_uuid"], snapshot["root_account_lti_guid"]


def test_generated_identifiers_never_change_and_fit_canvas_columns() -> None:
    assert draw_uuid(1) == "EIQ6VDT7x7JHgAs4FMyKDydoFFtXAxPLhLjI9k17"
    assert draw_lti_guid(1) == "9f296c521ee1e1823f225066f297960f92df3e23:canvas-lms"
    for root_account_id in (1, 2, 2**63 - 1):
        assert re.fullmatch("[0-9A-Za-z]{40}", draw_uuid(root_account_id))
        assert len(draw_lti_guid(root_account_id)) <= 100
    assert len({draw_uuid(number) for number in range(1, 1_000)}) == 999


def test_live_events_carry_the_stated_identifiers_or_else_the_generated_ones() -> None:
    memory = moderated_course()
    drawn = (draw_uuid(1), draw_lti_guid(1))
    assert identities(memory) == drawn
    stated = {"root_account_uuid": "u" * 40, "root_account_lti_guid": "guid.example"}
    memory.expect_accepted(commands.UpsertCourse(fields=stated))
    assert identities(memory) == ("u" * 40, "guid.example")
    memory.expect_accepted(commands.UpsertCourse(fields={"root_account_uuid": None, "root_account_lti_guid": ""}))
    assert identities(memory) == drawn
