"""A server on a lower timeline than one that was seen of the same database system is refused."""

import contextlib

import pytest

from services.config.database import FormerPrimary
from services.eventlog.timelines import SeenTimelines
from services.runtime.errors import POSTGRES_ERRORS, describe_error


def test_former_primary_is_refused_as_an_outage_that_says_what_to_do() -> None:
    timelines = SeenTimelines()
    timelines.note(7, 1)
    timelines.note(7, 2)

    for _ in range(2):
        with pytest.raises(POSTGRES_ERRORS) as refused:
            timelines.note(7, 1)
        assert isinstance(refused.value, FormerPrimary)
    description = describe_error(refused.value)
    assert "(timeline 1; this process has seen 2)" in description
    assert "Stop it for good" in description
    timelines.note(7, 2)


def test_promotions_restores_and_other_systems_are_accepted() -> None:
    timelines = SeenTimelines()
    for timeline in (3, 3, 4, 9):
        timelines.note(7, timeline)
    # After pg_upgrade, or in a database that was loaded from a dump, timelines start again.
    timelines.note(8, 1)
    # A process that starts anew has seen nothing: it takes the server that an administrator went back to.
    SeenTimelines().note(7, 1)


def test_changes_of_the_log_are_counted_without_refused_servers() -> None:
    timelines, seen = SeenTimelines(), []
    for system, timeline in ((7, 1), (7, 1), (7, 2), (7, 1), (7, 2), (8, 1)):
        with contextlib.suppress(FormerPrimary):
            timelines.note(system, timeline)
        seen.append(timelines.changes)

    assert seen == [0, 0, 1, 1, 1, 2]
