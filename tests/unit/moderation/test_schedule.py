"""A schedule is in force until it is replaced, cancelled or published, and publishes once."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.moderation import commands
from services.moderation.decisions import Accepted, Rejected
from services.moderation.publication_plan import plan_document
from services.moderation.schedule import publication_command_id
from services.moderation.state_document import state_document
from tests.fixtures.in_memory_course import (
    ANN,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    START,
    TA1,
    TA2,
    TEACHER,
    InMemoryCourse,
    event_names,
    moderated_course,
)

CANCEL = commands.CancelScheduledPublication()
HOUR = timedelta(hours=1)
OLD_DIGEST = "sha256:" + "0" * 64


def schedule(
    memory: InMemoryCourse, publish_at: datetime = START + HOUR, digest: str | None = None, actor: int = FINAL_GRADER
) -> Accepted:
    return memory.expect_accepted(commands.SchedulePublication(publish_at=publish_at, plan_digest=digest), actor)


def refuse(memory: InMemoryCourse, publish_at: datetime, digest: str | None = None, actor: int = FINAL_GRADER) -> str:
    return memory.expect_rejection(commands.SchedulePublication(publish_at=publish_at, plan_digest=digest), actor)


def publish(memory: InMemoryCourse, schedule_id: str | None, digest: str | None = None) -> Accepted | Rejected:
    data = commands.PublishProvisionalGrades(schedule_id=schedule_id, plan_digest=digest)
    return memory.submit(data, FINAL_GRADER)


def digest_of_today(memory: InMemoryCourse) -> str:
    digest: str = plan_document(memory.courses[COURSE], memory.assignments[ESSAY], FINAL_GRADER)["digest"]
    return digest


def test_schedule_is_shown_until_its_publication() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)

    decision = schedule(memory)

    assert event_names(decision) == ["publication_scheduled"]
    assert memory.document()["scheduled_publication"] == {
        "publish_at": "2026-01-01T01:00:00.000Z", "user_id": FINAL_GRADER, "plan_digest": None,
        "would_publish": True, "reason": None, "refused_with": None,
    }  # fmt: skip
    published = publish(memory, decision.result["schedule_id"])
    assert isinstance(published, Accepted)
    assert memory.document()["scheduled_publication"] is None
    assert memory.replay().snapshot() == memory.snapshot()


def test_same_schedule_again_changes_nothing_and_another_replaces_it() -> None:
    memory = moderated_course()
    first = schedule(memory)
    again = schedule(memory)
    assert (again.events, again.result) == ((), first.result)

    later = schedule(memory, START + 2 * HOUR)

    assert publish(memory, first.result["schedule_id"]).__class__ is Rejected
    assert memory.document()["scheduled_publication"]["publish_at"] == "2026-01-01T02:00:00.000Z"
    assert isinstance(publish(memory, later.result["schedule_id"]), Accepted)


def test_cancelled_schedule_publishes_nothing() -> None:
    memory = moderated_course()
    assert memory.expect_rejection(CANCEL, FINAL_GRADER) == "not_scheduled"
    scheduled = schedule(memory)

    cancelled = memory.expect_accepted(CANCEL, FINAL_GRADER)

    assert event_names(cancelled) == ["publication_schedule_cancelled"]
    assert cancelled.result == scheduled.result
    refused = publish(memory, scheduled.result["schedule_id"], OLD_DIGEST)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_scheduled"
    assert memory.expect_rejection(CANCEL, FINAL_GRADER) == "not_scheduled"
    assert memory.replay().snapshot() == memory.snapshot()


def test_any_publication_ends_the_schedule_and_its_own_is_refused_before_all_else() -> None:
    memory = moderated_course()
    scheduled = schedule(memory)
    memory.expect_accepted(commands.PublishProvisionalGrades(), FINAL_GRADER)

    refused = publish(memory, scheduled.result["schedule_id"])

    assert isinstance(refused, Rejected)
    assert refused.reason == "not_scheduled"
    assert memory.expect_rejection(CANCEL, FINAL_GRADER) == "already_published"


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [(timedelta(0), "invalid_schedule"), (timedelta(days=400, milliseconds=1), "invalid_schedule")],
)
def test_time_must_lie_ahead_and_within_400_days(ahead: timedelta, reason: str) -> None:
    memory = moderated_course()
    now = START + timedelta(seconds=memory.command_count)
    assert refuse(memory, now + ahead) == reason
    schedule(memory, now + timedelta(seconds=1, days=400))


def test_only_who_moderates_schedules_a_moderated_unpublished_assignment() -> None:
    memory = moderated_course()
    assert refuse(memory, START, actor=TEACHER) == "unauthorized"
    assert memory.expect_rejection(CANCEL, TA1) == "unauthorized"
    memory.expect_accepted(commands.PublishProvisionalGrades(), FINAL_GRADER)
    assert refuse(memory, START) == "already_published"


def test_missing_selection_does_not_refuse_a_schedule_but_a_plan_that_cannot_be_published_does() -> None:
    memory = moderated_course()
    first = memory.grade(TA1, ANN, 5)
    memory.grade(TA2, ANN, 6)
    assert refuse(memory, START + HOUR, digest_of_today(memory)) == "plan_outdated"

    schedule(memory)

    shown = memory.document()["scheduled_publication"]
    assert (shown["would_publish"], shown["reason"]) == (False, "selection_required")
    memory.select(first)
    assert memory.document()["scheduled_publication"]["would_publish"]
    assert refuse(memory, START + 2 * HOUR, OLD_DIGEST) == "plan_outdated"


def test_plan_that_moved_would_be_refused_and_says_so_before() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    digest = digest_of_today(memory)
    scheduled = schedule(memory, digest=digest)
    assert memory.document()["scheduled_publication"]["would_publish"]

    memory.grade(TA1, ANN, 6)

    assert memory.document()["scheduled_publication"]["reason"] == "plan_outdated"
    refused = publish(memory, scheduled.result["schedule_id"], digest)
    assert isinstance(refused, Rejected)
    assert refused.reason == "plan_outdated"


def test_schedule_of_a_deleted_assignment_would_be_refused_until_it_is_restored() -> None:
    memory = moderated_course()
    schedule_id = schedule(memory).result["schedule_id"]

    memory.configure(deleted=True)

    shown = memory.document()["scheduled_publication"]
    assert (shown["would_publish"], shown["reason"]) == (False, "not_found")
    refused = publish(memory, schedule_id)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_found"
    memory.configure(deleted=False)
    assert memory.document()["scheduled_publication"]["would_publish"]


def test_refused_schedule_is_shown_with_its_refusal_and_can_be_cancelled() -> None:
    memory = moderated_course()
    schedule(memory)
    course, assignment = memory.courses[COURSE], memory.assignments[ESSAY]

    shown = state_document(course, assignment, refused_with="unauthorized")["scheduled_publication"]

    assert (shown["would_publish"], shown["reason"], shown["refused_with"]) == (False, "unauthorized", "unauthorized")
    memory.expect_accepted(CANCEL, FINAL_GRADER)


def test_command_id_of_a_publication_follows_from_secret_and_schedule_alone() -> None:
    memory = moderated_course()
    first, second = schedule(memory).result, schedule(memory, START + 2 * HOUR).result
    secret = memory.assignments[ESSAY].secret

    drawn = publication_command_id(secret, first["schedule_id"])

    assert UUID(drawn).version == 8
    assert drawn == publication_command_id(secret, first["schedule_id"])
    assert len({drawn, publication_command_id(secret, second["schedule_id"])}) == 2
    assert drawn != publication_command_id(b"another", first["schedule_id"])


ACTIONS = st.lists(st.sampled_from(["schedule", "replace", "cancel", "fire", "publish", "grade"]), max_size=12)


@settings(max_examples=60)
@given(ACTIONS)
def test_each_schedule_fires_at_most_once_and_only_while_it_is_in_force(actions: list[str]) -> None:
    memory = moderated_course()
    sent: list[str] = []
    in_force: str | None = None
    published = False
    for number, action in enumerate(actions, 1):
        if action in ("schedule", "replace"):
            data = commands.SchedulePublication(publish_at=START + number * HOUR)
            decision = memory.submit(data, FINAL_GRADER)
            assert isinstance(decision, Accepted) == (not published)
            if isinstance(decision, Accepted):
                in_force = decision.result["schedule_id"]
                sent.append(in_force)
        elif action == "cancel":
            assert isinstance(memory.submit(CANCEL, FINAL_GRADER), Accepted) == (in_force is not None)
            in_force = None
        elif action == "fire":
            # However late and however often: all schedules that there ever were.
            fired = [schedule_id for schedule_id in sent if isinstance(publish(memory, schedule_id), Accepted)]
            assert fired == ([] if in_force is None else [in_force])
            published |= bool(fired)
            in_force = None
        elif action == "publish":
            published |= isinstance(publish(memory, None), Accepted)
            in_force = None
        else:
            memory.submit(commands.RecordProvisionalGrade(student_id=ANN, posted_grade="5"), TA1)
    shown = memory.assignments[ESSAY].scheduled_publication
    assert (None if shown is None else shown.schedule_id) == in_force
