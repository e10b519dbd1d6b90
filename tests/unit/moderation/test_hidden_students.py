"""The moderation set, lists and LMS ids of an assignment that hides its students."""

import pytest

from services.moderation.commands import ConfigureAssignment, RecordSubmission, SelectStudentsForModeration
from tests.fixtures.in_memory_course import ANN, BEN, CAT, ESSAY, FINAL_GRADER, TA1, InMemoryCourse, moderated_course
from tests.unit.moderation.view_helpers import view_anonymous_submission, view_as, view_submission

LMS_IDS = {ANN: 5001, BEN: 5002}


def anonymous_course(**settings: object) -> InMemoryCourse:
    return moderated_course(anonymous_grading=True, **settings)


def test_hand_picked_set_is_shown_by_anonymous_id_while_students_are_hidden() -> None:
    memory = anonymous_course(moderation_set="selected")
    memory.expect_accepted(SelectStudentsForModeration(student_ids=(BEN, ANN)), FINAL_GRADER)
    view = view_as(memory, FINAL_GRADER)
    students = view.list_moderated_students()
    assert isinstance(students, list)
    shown = [view.moderated_student_json(student) for student in students]
    assert [set(row) for row in shown] == [{"anonymous_id", "avatar_image_url", "display_name"}] * 2
    assert [row["anonymous_id"] for row in shown] == sorted(row["anonymous_id"] for row in shown)
    everyone = sorted(memory.get_submission(student)["anonymous_id"] for student in (ANN, BEN, CAT))
    numbers = [f"Student {1 + everyone.index(row['anonymous_id'])}" for row in shown]
    assert [row["display_name"] for row in shown] == numbers
    memory.grade(TA1, ANN, 5)
    memory.publish()
    view = view_as(memory, FINAL_GRADER)
    assert view.list_moderated_students() == [ANN, BEN]
    assert view.moderated_student_json(ANN)["id"] == ANN


def test_set_of_all_assigned_students_is_shown_by_name_as_in_canvas() -> None:
    view = view_as(anonymous_course(), FINAL_GRADER)
    assert view.list_moderated_students() == [ANN, BEN, CAT]
    assert view.moderated_student_json(ANN)["id"] == ANN


def test_both_lists_contain_the_same_hidden_students_in_any_enrolment_state() -> None:
    memory = anonymous_course()
    memory.enroll(CAT, "Student", "inactive")
    view = view_as(memory, TA1)
    listed = view.list_submission_students()
    assert isinstance(listed, list)
    assert (listed, set(listed)) == (view.list_gradeable_students(with_grades=False), {ANN, BEN, CAT})


@pytest.mark.parametrize("student", [ANN, BEN])
def test_lms_submission_id_is_shown_to_graders_only_once_students_are_named(student: int) -> None:
    memory = anonymous_course()
    for known, lms_id in LMS_IDS.items():
        memory.expect_accepted(RecordSubmission(student_id=known, fields={"submission_id": lms_id}))
    anonymous_id = memory.get_submission(student)["anonymous_id"]
    shown = view_anonymous_submission(memory, TA1, anonymous_id)["id"]
    assert shown not in LMS_IDS.values()
    assert shown == view_anonymous_submission(memory, FINAL_GRADER, anonymous_id)["id"]
    assert view_submission(memory, student, student)["id"] == LMS_IDS[student]
    memory.grade(TA1, student, 5)
    memory.publish()
    assert view_submission(memory, TA1, student)["id"] == LMS_IDS[student]


def test_preview_link_names_a_hidden_student_by_anonymous_id() -> None:
    memory = anonymous_course()
    anonymous_id = memory.get_submission(ANN)["anonymous_id"]
    hidden = view_anonymous_submission(memory, TA1, anonymous_id)["preview_url"]
    assert hidden.endswith(f"/assignments/{ESSAY}/anonymous_submissions/{anonymous_id}?preview=1")
    assert view_submission(memory, ANN, ANN)["preview_url"].endswith(f"/submissions/{ANN}?preview=1")


def test_results_of_commands_name_hidden_students_by_anonymous_id() -> None:
    memory = anonymous_course()
    anonymous_id = memory.get_submission(ANN)["anonymous_id"]
    result = {"students": [{"student_id": str(ANN), "score": 5}], "id": 7}
    hidden = view_as(memory, TA1).with_anonymous_ids(result)
    assert hidden == {"students": [{"score": 5, "anonymous_id": anonymous_id}], "id": 7}
    memory.grade(TA1, ANN, 5)
    memory.publish()
    assert view_as(memory, TA1).with_anonymous_ids(result) == result
    assert memory.assignments[ESSAY].grades_published_at is not None


def test_moderation_set_can_be_listed_after_it_becomes_hand_picked() -> None:
    memory = anonymous_course()
    assert view_as(memory, FINAL_GRADER).list_moderated_students() == [ANN, BEN, CAT]
    memory.expect_accepted(ConfigureAssignment(fields={"moderation_set": "selected"}))
    assert view_as(memory, FINAL_GRADER).list_moderated_students() == []
