"""What the LMS states of students' work: whose it is, what becomes of its state, its comments and its id."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from tests.moderation.memory import ANN, BEN, CAT, TA1, names, office
from tests.moderation.stating import DAY1, DAY2, DAY3, comment, submission


def test_two_students_never_have_one_submission_id() -> None:
    memory = office()
    memory.accept(submission(ANN, submission_id=777))
    refused = memory.ask(submission(CAT, submission_id=777))
    assert isinstance(refused, Rejected)
    assert refused.errors[0][0] == "data.submission_id"
    memory.accept(submission(ANN, submission_id=778))
    memory.accept(submission(CAT, submission_id=777))
    # What the LMS says comes before what was drawn: whose id that was draws another one.
    drawn = memory.gradebook(BEN)["submission_id"]
    memory.accept(submission(ANN, submission_id=drawn))
    ids = {student: memory.gradebook(student)["submission_id"] for student in (ANN, BEN, CAT)}
    assert (ids[ANN], ids[CAT], len({*ids.values()})) == (drawn, 777, 3)
    assert memory.read_again().document() == memory.document()


def test_a_submission_id_that_grades_were_published_under_stays_its_students() -> None:
    memory = office()
    memory.grade(TA1, BEN, 5)
    published = memory.gradebook(BEN)["submission_id"]
    memory.publish()
    assert memory.refuse(submission(ANN, submission_id=published)) == "invalid_command"
    assert memory.gradebook(BEN)["submission_id"] == published
    memory.accept(submission(BEN, submission_id=published))
    memory.accept(submission(ANN, submission_id=published + 1_000))


def test_a_comment_of_another_time_or_text_is_another_comment() -> None:
    memory = office()
    for fact in (comment(ANN, at=DAY1), comment(ANN, at=DAY2), comment(ANN, "again", DAY1), comment(BEN, at=DAY1)):
        assert names(memory.accept(fact)) == ["submission_comment_recorded"]
    assert memory.accept(comment(ANN)).events == ()


def test_the_copies_that_publication_made_are_known_when_the_lms_states_them() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5, comment="well")
    memory.publish()
    stated = commands.RecordSubmissionComment(student_id=ANN, author_id=TA1, comment="well", created_at=None)
    assert memory.accept(stated).events == ()


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
    ],
)
def test_the_state_of_a_submission_follows_its_work_and_its_grade(
    facts: list[dict[str, Any]], state: str, matches: bool
) -> None:
    memory = office()
    for stated in facts:
        memory.accept(submission(ANN, **stated))
    row = memory.gradebook(ANN)
    assert (row["workflow_state"], row["grade_matches_current_submission"]) == (state, matches)


def test_a_stated_submission_id_stands_until_it_is_cleared() -> None:
    memory = office()
    drawn = memory.gradebook(ANN)["submission_id"]
    (event,) = memory.accept(submission(ANN, submission_id=777)).events
    assert getattr(event, "submission_id", None) == 777
    assert memory.gradebook(ANN)["submission_id"] == 777
    memory.accept(submission(ANN, submission_id=None))
    assert memory.gradebook(ANN)["submission_id"] == drawn
