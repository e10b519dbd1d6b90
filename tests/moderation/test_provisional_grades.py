"""Making and changing provisional grades: who may, in which order it is refused, what it leaves behind."""

from decimal import Decimal

import pytest

from services.moderation import commands as asked
from services.moderation.assignment import IDS_PER_ASSIGNMENT
from services.moderation.decision import Rejected
from services.moderation.events import ProvisionalGradeUpdated
from services.moderation.payload import to_payload
from tests.moderation.memory import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    STRANGER,
    TA1,
    TA2,
    TA3,
    TEACHER,
    Memory,
    admin,
    names,
    office,
)

Grade = asked.RecordProvisionalGrade
Comment = asked.RecordProvisionalComment
FIVE = Decimal(5)


def full() -> Memory:
    """Both slots are taken; Ann's grade by TA1 is selected."""
    memory = office()
    memory.select(memory.grade(TA1, ANN, 5))
    memory.grade(TA2, ANN, 6)
    return memory


@pytest.mark.parametrize(
    ("actor", "grade", "reason"),
    [
        (None, Grade(student_id=STRANGER, score=FIVE, excuse=True), "unauthenticated"),
        (BEN, Grade(student_id=STRANGER, score=FIVE, excuse=True), "unauthorized"),
        (STRANGER, Grade(student_id=ANN, score=FIVE), "unauthorized"),
        (TA3, Grade(student_id=STRANGER, score=FIVE, excuse=True), "student_not_enrolled"),
        (TA3, Grade(student_id=ANN, score=FIVE, excuse=True), "grade_and_excuse"),
        (TA3, Grade(student_id=ANN, posted_grade="?", excuse=True), "grade_and_excuse"),
        (TA3, Grade(student_id=ANN, posted_grade="", excuse=True), "grade_and_excuse"),
        (TA3, Grade(student_id=ANN, posted_grade="?"), "max_graders_reached"),
        (TA1, Grade(student_id=ANN, posted_grade="?"), "invalid_score"),
        (TA1, Grade(student_id=ANN), "invalid_score"),
        (TA1, Grade(student_id=ANN, score=FIVE), "modify_selected"),
        (TA1, Grade(student_id=ANN, posted_grade=""), "modify_selected"),
        (FINAL_GRADER, Grade(student_id=BEN, score=FIVE, final=True), "final_without_provisional"),
        (TA3, Comment(student_id=STRANGER, comment="x"), "student_not_enrolled"),
        (TA3, Comment(student_id=ANN, comment="x"), "max_graders_reached"),
        (BEN, Comment(student_id=STRANGER, comment="x"), "unauthorized"),
        (FINAL_GRADER, Comment(student_id=BEN, comment="x", final=True), "final_without_provisional"),
    ],
)
def test_a_refusal_names_the_first_rule_that_is_broken(
    actor: int | None, grade: asked.RecordProvisionalGrade | asked.RecordProvisionalComment, reason: str
) -> None:
    assert full().refuse(grade, actor) == reason


def test_what_cannot_be_found_is_not_found_whoever_asks() -> None:
    memory = office()
    grade = Grade(student_id=ANN, score=FIVE)
    assert memory.refuse(grade, STRANGER, assignment=2999) == "not_found"
    elsewhere = memory.ask(grade, TA1, course=1999)
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason == "not_found"
    assert memory.refuse(grade, None, assignment=2999) == "unauthenticated"
    memory.configure(deleted=True)
    assert memory.refuse(grade, TA1) == "not_found"


def test_an_assignment_is_not_found_through_another_course() -> None:
    memory = office()
    memory.ask(asked.UpsertCourse(stated={"name": "Other"}), course=1002)
    through_other = memory.ask(Grade(student_id=ANN, score=FIVE), TA1, course=1002)
    assert isinstance(through_other, Rejected)
    assert through_other.reason == "not_found"


@pytest.mark.parametrize(
    ("state", "gradable"),
    [("active", True), ("inactive", True), ("invited", False), ("completed", False), ("deleted", False)],
)
def test_active_and_inactive_students_are_graded_and_no_others(state: str, gradable: bool) -> None:
    memory = office()
    memory.enroll(ANN, "Student", state)
    if gradable:
        memory.grade(TA1, ANN, 5)
    else:
        assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "student_not_enrolled"


@pytest.mark.parametrize("state", ["inactive", "invited", "completed", "deleted"])
def test_only_an_active_enrolment_gives_its_permissions(state: str) -> None:
    memory = office()
    memory.enroll(TA1, "Ta", state)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "unauthorized"


def test_who_may_only_view_grades_neither_grades_nor_comments() -> None:
    memory = office()
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "unauthorized"
    assert memory.refuse(Grade(student_id=ANN, comment="x"), TA1) == "unauthorized"
    assert memory.refuse(Comment(student_id=ANN, comment="x"), TA1) == "unauthorized"


def test_the_final_grader_neither_needs_nor_fills_a_slot() -> None:
    memory = office(grader_count=1)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.grade(TA1, ANN, 6)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA2) == "max_graders_reached"
    memory.grade(FINAL_GRADER, BEN, 7)


def test_a_former_final_grader_counts_again_and_keeps_what_they_hold() -> None:
    memory = office(grader_count=1)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.grade(TA1, ANN, 6)
    memory.configure(final_grader_id=TEACHER)
    memory.grade(FINAL_GRADER, BEN, 5)
    memory.grade(TA1, BEN, 6)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA2) == "max_graders_reached"


def test_a_final_grader_removed_from_the_course_is_final_grader_no_longer() -> None:
    memory = office()
    memory.accept(asked.UpsertAdmins(admins=(asked.StatedAdmin(user_id=FINAL_GRADER, permissions=("manage_grades",)),)))
    memory.enroll(FINAL_GRADER, "Teacher", "inactive")
    memory.select(memory.grade(TA1, ANN, 5))
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    assert memory.refuse(asked.PublishProvisionalGrades(), FINAL_GRADER) == "unauthorized"


@pytest.mark.parametrize("kind", ["Student", "Observer", "Designer"])
def test_a_final_grader_who_instructs_no_longer_is_final_grader_no_longer(kind: str) -> None:
    memory = office()
    memory.enroll(FINAL_GRADER, kind)
    number = memory.grade(TA1, ANN, 5)
    memory.enroll(FINAL_GRADER, "Teacher", "completed")
    memory.select(number)
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    assert memory.refuse(asked.SelectProvisionalGrade(provisional_grade_id=number), FINAL_GRADER) == "unauthorized"
    memory.enroll(FINAL_GRADER, "Ta", "inactive")
    memory.select(number)


def test_without_moderation_nobody_needs_a_slot() -> None:
    memory = office(moderated_grading=False, grader_count=0)
    for grader in (TA1, TA2, TA3):
        memory.comment(grader, ANN)
    # Nor is one taken for later.
    memory.configure(moderated_grading=True, grader_count=1)
    memory.grade(TA3, ANN, 5)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "max_graders_reached"


def test_an_admin_needs_a_slot_even_for_a_final_grade() -> None:
    memory = full()
    admin(memory, "select_final_grade")
    assert memory.refuse(Grade(student_id=ANN, score=FIVE, final=True), ADMIN) == "max_graders_reached"


def test_one_record_per_grader_and_student_and_ids_ascend() -> None:
    memory = office()
    first, second = memory.grade(TA1, ANN, 5), memory.grade(TA1, BEN, 6)
    assert (first, second) == (IDS_PER_ASSIGNMENT + 1, IDS_PER_ASSIGNMENT + 2)
    assert memory.grade(TA1, ANN, 7) == first
    assert memory.grade(TA2, ANN, 8) == second + 1


def test_grading_the_same_again_is_told_by_its_time_alone() -> None:
    memory = office()
    number = memory.grade(TA1, ANN, 5)
    again = memory.accept(Grade(student_id=ANN, score=Decimal("5.0")), TA1)
    (event,) = again.events
    assert isinstance(event, ProvisionalGradeUpdated)
    assert set(event.changes) == {"graded_at"}
    assert memory.provisional(number)["score"] == 5


def test_final_without_the_right_to_it_is_an_ordinary_grade() -> None:
    memory = office()
    number = memory.grade(TA1, ANN, 5, final=True)
    assert memory.provisional(number)["final"] is False
    assert memory.comment(TA1, ANN, final=True) == number


def test_the_final_grade_is_one_whoever_writes_it_and_the_last_writer_is_its_scorer() -> None:
    memory = office(grader_count=3)
    admin(memory, "select_final_grade")
    memory.grade(TA1, ANN, 5)
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True)
    assert memory.grade(ADMIN, ANN, 8, final=True) == final
    assert memory.provisional(final)["scorer_id"] == ADMIN
    assert memory.comment(FINAL_GRADER, ANN, final=True) == final
    assert memory.provisional(final)["scorer_id"] == FINAL_GRADER
    assert memory.provisional(final)["score"] == 8
    assert memory.grade(FINAL_GRADER, ANN, 9) != final


def test_the_comment_sent_with_a_final_grade_belongs_to_the_final_grade() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True, comment="decided")
    assert [c["comment"] for c in memory.provisional(final)["submission_comments"]] == ["decided"]
    assert len(memory.document()["provisional_grades"]) == 2
    # What a moderator says without calling it final is an ordinary comment.
    assert memory.comment(FINAL_GRADER, ANN) not in (final, memory.comment(FINAL_GRADER, BEN))


def test_a_comment_alone_takes_a_slot_and_enters_no_grade() -> None:
    memory = office(grader_count=1)
    said = memory.accept(Comment(student_id=ANN, comment="hm"), TA1)
    assert names(said) == ["grader_slot_taken", "provisional_grade_created", "provisional_comment_created"]
    assert said.result["graded_at"] is None
    assert memory.refuse(Comment(student_id=BEN, comment="hm"), TA2) == "max_graders_reached"
    graded = memory.grade(TA1, ANN, 5)
    assert graded == said.result["provisional_grade_id"]
    again = memory.accept(Grade(student_id=ANN, comment="more"), TA1)
    assert names(again) == ["provisional_comment_created"]
    assert again.result["score"] == 5


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_comment_is_none(blank: str) -> None:
    memory = office()
    assert memory.refuse(Comment(student_id=ANN, comment=blank), TA1) == "invalid_command"
    assert memory.refuse(Grade(student_id=ANN, comment=blank), TA1) == "invalid_score"
    number = memory.grade(TA1, ANN, 5, comment=blank)
    assert memory.provisional(number)["submission_comments"] == []
    memory.comment(TA1, ANN, f"{blank}well done \n")
    assert [c["comment"] for c in memory.provisional(number)["submission_comments"]] == ["well done"]


def test_a_comment_is_audited_as_in_canvas_and_its_id_is_its_own() -> None:
    memory = office()
    number = memory.grade(TA1, ANN, 5, comment="one")
    (_, event) = memory.accept(Grade(student_id=ANN, score=Decimal(6), comment="two"), TA1).events
    written = to_payload(event)
    assert written == {
        "id": written["id"],
        "comment": "two",
        "author_id": str(TA1),
        "provisional_grade_id": str(number),
    }
    ids = [comment.comment_id for comment in memory.assignments[ESSAY].provisional_grades[number].comments]
    assert int(written["id"]) == ids[1] > ids[0]
    memory.publish()
    public = [comment.comment_id for comment in memory.assignments[ESSAY].submissions[ANN].comments]
    assert len({*ids, *public}) == 4
    again = memory.read_again().assignments[ESSAY].submissions[ANN]
    assert [comment.comment_id for comment in again.comments] == public


def test_a_selected_grade_may_still_be_commented() -> None:
    memory = full()
    assert names(memory.accept(Comment(student_id=ANN, comment="x"), TA1)) == ["provisional_comment_created"]


def test_a_cleared_grade_stays_entered() -> None:
    memory = office()
    number = memory.grade(TA1, ANN, 5)
    memory.grade(TA1, ANN, posted_grade="")
    cleared = memory.provisional(number)
    assert (cleared["score"], cleared["grade"]) == (None, None)
    assert cleared["graded_at"] is not None


def test_a_text_counts_before_a_score_unless_it_is_empty() -> None:
    memory = office()
    assert memory.provisional(memory.grade(TA1, ANN, 5, posted_grade="7"))["score"] == 7
    assert memory.provisional(memory.grade(TA1, BEN, 5, posted_grade=""))["score"] == 5
    assert memory.refuse(Grade(student_id=CAT, score=FIVE, posted_grade="?"), TA1) == "invalid_score"


def test_a_number_is_points_where_the_command_says_so() -> None:
    memory = office(grading_type="gpa_scale", grading_scheme=(("4", Decimal("0.9")), ("0", Decimal(0))))
    assert memory.provisional(memory.grade(TA1, ANN, posted_grade="0"))["score"] == 8.9
    memory.grade(TA1, ANN, posted_grade="0", prefer_points_over_scheme=True)
    assert [grade["score"] for grade in memory.document()["provisional_grades"]] == [0]


def test_the_scheme_of_the_assignment_comes_before_that_of_the_course() -> None:
    memory = office(grading_type="letter_grade")
    top = Grade(student_id=ANN, score=Decimal(10))
    assert memory.accept(top, TA1).result["grade"] == "A"
    memory.accept(asked.UpsertCourse(stated={"grading_scheme": (("Very good", Decimal("0.9")), ("Poor", Decimal(0)))}))
    assert memory.accept(top, TA1).result["grade"] == "Very good"
    memory.configure(grading_scheme=(("Distinction", Decimal("0.7")), ("Pass", Decimal(0))))
    assert memory.accept(top, TA1).result["grade"] == "Distinction"
    memory.configure(grading_scheme=None)
    assert memory.accept(top, TA1).result["grade"] == "Very good"


def test_a_moderator_excuses_at_once_and_a_score_lifts_it() -> None:
    memory = office()
    excused = memory.accept(Grade(student_id=ANN, excuse=True), FINAL_GRADER)
    assert names(excused) == ["grader_slot_taken", "submission_updated", "provisional_grade_created"]
    assert memory.gradebook(ANN)["excused"] is True
    assert names(memory.accept(Grade(student_id=ANN, excuse=True), FINAL_GRADER)) == ["provisional_grade_updated"]
    memory.grade(FINAL_GRADER, ANN, 5)
    assert memory.gradebook(ANN)["excused"] is False
    assert memory.refuse(Grade(student_id=ANN, excuse=False), FINAL_GRADER) == "invalid_score"


def test_a_provisional_grader_never_changes_an_excusal() -> None:
    memory = office()
    assert memory.refuse(Grade(student_id=ANN, excuse=True), TA1) == "invalid_score"
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    blank = memory.provisional(memory.grade(TA1, ANN, excuse=True))
    assert (blank["score"], blank["grade"]) == (None, None)
    assert blank["graded_at"] is not None
    memory.grade(TA1, ANN, 5)
    assert memory.gradebook(ANN)["excused"] is True


def test_a_selected_grade_is_closed_to_all_but_comments() -> None:
    memory = full()
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    for data in (Grade(student_id=ANN, score=FIVE), Grade(student_id=ANN, excuse=True, comment="why")):
        assert memory.refuse(data, TA1) == "modify_selected"
    assert names(memory.accept(Grade(student_id=ANN, comment="why"), TA1)) == ["provisional_comment_created"]


def test_a_selected_grade_keeps_the_rubric_it_was_selected_with() -> None:
    memory = office()
    rubric, other = {"criterion_1": {"points": 3}}, {"criterion_1": {"points": 4}}
    memory.select(memory.grade(TA1, ANN, 5, rubric_assessment=rubric))
    memory.grade(TA2, ANN, 6, rubric_assessment=rubric)
    for comment in (None, "why"):
        changed = Grade(student_id=ANN, rubric_assessment=other, comment=comment)
        assert memory.refuse(changed, TA1) == "modify_selected"
    assert names(memory.accept(Grade(student_id=ANN, rubric_assessment=other), TA2)) == ["provisional_grade_updated"]
    again = Grade(student_id=ANN, rubric_assessment=rubric, comment="as before")
    assert names(memory.accept(again, TA1)) == ["provisional_comment_created"]


def test_who_asks_for_nothing_clears_no_grade_of_an_excused_student() -> None:
    memory = office()
    number = memory.grade(TA1, ANN, 5)
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    for nothing in (Grade(student_id=ANN), Grade(student_id=ANN, graded_anonymously=True, comment=" ")):
        assert memory.refuse(nothing, TA1) == "invalid_score"
    assert memory.provisional(number)["score"] == 5
    memory.grade(TA1, ANN, posted_grade="")
    assert memory.provisional(number)["score"] is None


def test_a_final_grader_may_change_their_selected_grade_and_nobody_elses() -> None:
    memory = full()
    admin(memory, "select_final_grade")
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True)
    memory.select(final)
    memory.grade(FINAL_GRADER, ANN, 8, final=True)
    memory.configure(final_grader_id=TEACHER, grader_count=3)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE, final=True), TEACHER) == "modify_selected"


def test_the_answer_is_a_provisional_grade_as_canvas_shows_it() -> None:
    memory = office()
    answer = memory.accept(Grade(student_id=ANN, posted_grade="7.50", graded_anonymously=True), TA1).result
    assert answer == {
        "provisional_grade_id": IDS_PER_ASSIGNMENT + 1,
        "score": 7.5,
        "entered_score": 7.5,
        "grade": "7.5",
        "entered_grade": "7.5",
        "graded_at": answer["graded_at"],
        "graded_anonymously": True,
        "final": False,
        "grade_matches_current_submission": True,
        "scorer_id": TA1,
    }
    assert len(answer["graded_at"]) == len("2026-01-01T00:00:00Z")
    assert memory.accept(Grade(student_id=ANN, score=FIVE), TA1).result["graded_anonymously"] is True


def test_a_grade_older_than_the_work_does_not_match_it() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    later = memory.log[-1][2].replace(year=2027)
    memory.accept(asked.RecordSubmission(student_id=ANN, stated={"submitted_at": later, "attempt": 2}))
    answer = memory.accept(Comment(student_id=ANN, comment="old"), TA1).result
    assert answer["grade_matches_current_submission"] is False


def test_a_rubric_is_kept_with_its_grade() -> None:
    memory = office()
    rubric = {"criterion_1": {"points": 3}}
    memory.grade(TA1, ANN, 5, rubric_assessment=rubric)
    kept = memory.assignments[ESSAY].own_grade(ANN, TA1, final=False)
    assert kept is not None
    assert kept.rubric_assessment == rubric
    changed = memory.accept(Grade(student_id=ANN, rubric_assessment={"criterion_1": {"points": 4}}), TA1)
    assert names(changed) == ["provisional_grade_updated"]
    assert kept.rubric_assessment == {"criterion_1": {"points": 4}}
    memory.grade(TA1, ANN, 6, rubric_assessment=rubric)
    memory.grade(TA1, ANN, 7)
    assert kept.rubric_assessment == rubric
    assert memory.read_again().assignments[ESSAY] == memory.assignments[ESSAY]
