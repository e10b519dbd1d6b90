"""LMS facts about students' work: its owner, state, comments and id."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import ANN, BEN, CAT, TA1, event_names, moderated_course
from tests.unit.moderation.lms_fact_builders import DAY1, DAY2, DAY3, comment_fact, submission_fact


def test_submission_ids_are_unique_per_student() -> None:
    memory = moderated_course()
    memory.expect_accepted(submission_fact(ANN, submission_id=777))
    refused = memory.submit(submission_fact(CAT, submission_id=777))
    assert isinstance(refused, Rejected)
    assert refused.errors[0][0] == "data.submission_id"
    memory.expect_accepted(submission_fact(ANN, submission_id=778))
    memory.expect_accepted(submission_fact(CAT, submission_id=777))
    # An id stated by the LMS takes precedence: the student who had generated it gets another one.
    drawn = memory.get_submission(BEN)["submission_id"]
    memory.expect_accepted(submission_fact(ANN, submission_id=drawn))
    ids = {student: memory.get_submission(student)["submission_id"] for student in (ANN, BEN, CAT)}
    assert (ids[ANN], ids[CAT], len({*ids.values()})) == (drawn, 777, 3)
    assert memory.replay().document() == memory.document()


def test_published_submission_id_cannot_be_reassigned() -> None:
    memory = moderated_course()
    memory.grade(TA1, BEN, 5)
    published = memory.get_submission(BEN)["submission_id"]
    memory.publish()
    assert memory.expect_rejection(submission_fact(ANN, submission_id=published)) == "invalid_command"
    assert memory.get_submission(BEN)["submission_id"] == published
    memory.expect_accepted(submission_fact(BEN, submission_id=published))
    memory.expect_accepted(submission_fact(ANN, submission_id=published + 1_000))


def test_comments_are_deduplicated_by_time_and_text() -> None:
    memory = moderated_course()
    for fact in (
        comment_fact(ANN, at=DAY1),
        comment_fact(ANN, at=DAY2),
        comment_fact(ANN, "again", DAY1),
        comment_fact(BEN, at=DAY1),
    ):
        assert event_names(memory.expect_accepted(fact)) == ["submission_comment_recorded"]
    assert memory.expect_accepted(comment_fact(ANN)).events == ()


def test_lms_copies_of_published_comments_are_deduplicated() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5, comment="well")
    memory.publish()
    stated = commands.RecordSubmissionComment(student_id=ANN, author_id=TA1, comment="well", created_at=None)
    assert memory.expect_accepted(stated).events == ()


@pytest.mark.parametrize(
    ("facts", "state", "matches"),
    [
        ([], "unsubmitted", True),
        ([{"attempt": 1, "submitted_at": DAY1}], "submitted", True),
        ([{"score": Decimal(5), "grade": "5"}], "graded", True),
        ([{"submitted_at": DAY2, "score": Decimal(5), "graded_at": DAY3}], "graded", True),
        ([{"submitted_at": DAY3, "score": Decimal(5), "graded_at": DAY2}], "submitted", False),
        ([{"score": Decimal(5)}, {"submitted_at": DAY2, "attempt": 2}], "submitted", False),
        ([{"score": Decimal(5), "graded_at": DAY1}, {"submitted_at": DAY2}], "submitted", False),
        ([{"score": Decimal(5), "graded_at": DAY2}, {"submitted_at": DAY1}], "graded", True),
        ([{"score": Decimal(5), "graded_at": DAY1}, {"submitted_at": DAY2}, {"graded_at": DAY3}], "graded", True),
        ([{"score": Decimal(5), "graded_at": DAY1}, {"submitted_at": DAY2}, {"score": Decimal(6)}], "graded", True),
        ([{"score": Decimal(5), "submitted_at": DAY1}, {"score": None}], "submitted", True),
        ([{"score": Decimal(5)}, {"posted_at": DAY1}], "graded", True),
        ([{"excused": True}], "graded", True),
        ([{"excused": True}, {"submitted_at": DAY1, "attempt": 1}], "graded", True),
        ([{"excused": True}, {"excused": False}], "unsubmitted", True),
        ([{"submitted_at": DAY1, "excused": True}, {"excused": None}], "submitted", True),
        ([{"score": Decimal(5), "excused": True}, {"score": None}], "graded", True),
        ([{"score": Decimal(5)}, {"excused": True}, {"excused": False}], "graded", True),
        ([{"score": Decimal(5)}, {"submitted_at": DAY2}, {"excused": True}], "graded", False),
        ([{"score": Decimal(5)}, {"submitted_at": DAY2}, {"excused": True}, {"excused": False}], "submitted", False),
    ],
)
def test_submission_state_follows_its_attempts_and_grade(
    facts: list[dict[str, Any]], state: str, matches: bool
) -> None:
    memory = moderated_course()
    for stated in facts:
        memory.expect_accepted(submission_fact(ANN, **stated))
    row = memory.get_submission(ANN)
    assert (row["workflow_state"], row["grade_matches_current_submission"]) == (state, matches)


def test_lms_submission_id_applies_until_it_is_cleared() -> None:
    memory = moderated_course()
    drawn = memory.get_submission(ANN)["submission_id"]
    (event,) = memory.expect_accepted(submission_fact(ANN, submission_id=777)).events
    assert getattr(event, "submission_id", None) == 777
    assert memory.get_submission(ANN)["submission_id"] == 777
    memory.expect_accepted(submission_fact(ANN, submission_id=None))
    assert memory.get_submission(ANN)["submission_id"] == drawn
