"""A grader without an entered grade can release the slot, and gets it back under the same anonymous id."""

from services.moderation import commands
from tests.fixtures.in_memory_course import ANN, FINAL_GRADER, TA1, TA2, TA3, InMemoryCourse, moderated_course


def release(memory: InMemoryCourse, grader: int) -> None:
    memory.expect_accepted(commands.ReleaseGraderSlot(grader_id=grader), FINAL_GRADER)


def refuse(memory: InMemoryCourse, grader: int, actor: int = FINAL_GRADER) -> str:
    return memory.expect_rejection(commands.ReleaseGraderSlot(grader_id=grader), actor)


def test_released_slot_goes_to_another_grader_and_its_grader_keeps_the_anonymous_id() -> None:
    memory = moderated_course(grader_count=1)
    memory.comment(TA1, ANN)
    (before,) = memory.document()["moderation_graders"]
    comment = commands.RecordProvisionalComment(student_id=ANN, comment="well")
    assert memory.expect_rejection(comment, TA2) == "max_graders_reached"

    release(memory, TA1)

    (after,) = memory.document()["moderation_graders"]
    assert after == {**before, "slot_taken": False}
    memory.comment(TA2, ANN)
    assert memory.expect_rejection(comment, TA1) == "max_graders_reached"
    release(memory, TA2)
    memory.grade(TA1, ANN, 5)
    assert memory.document()["moderation_graders"][0] == before
    assert memory.replay().snapshot() == memory.snapshot()


def test_slot_of_a_grader_who_entered_a_grade_cannot_be_released() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, ANN, posted_grade="")
    assert refuse(memory, TA1) == "slot_in_use"


def test_releasing_a_slot_that_the_grader_does_not_hold_is_not_found() -> None:
    memory = moderated_course()
    assert refuse(memory, TA3) == "not_found"
    memory.comment(TA1, ANN)
    assert refuse(memory, TA1, TA2) == "unauthorized"
    release(memory, TA1)
    assert refuse(memory, TA1) == "not_found"
