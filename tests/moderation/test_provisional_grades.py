"""Making and changing provisional grades: what they leave behind, for whom they are closed, how they are shown."""

from decimal import Decimal

from services.moderation import commands
from services.moderation.assignment import IDS_PER_ASSIGNMENT
from services.moderation.events import ProvisionalGradeUpdated
from tests.moderation.memory import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    admin,
    full,
    names,
    office,
)

Grade = commands.RecordProvisionalGrade
Comment = commands.RecordProvisionalComment
FIVE = Decimal(5)


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
    memory.accept(
        commands.UpsertCourse(fields={"grading_scheme": (("Very good", Decimal("0.9")), ("Poor", Decimal(0)))})
    )
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
    memory.accept(commands.RecordSubmission(student_id=ANN, fields={"submitted_at": later, "attempt": 2}))
    answer = memory.accept(Comment(student_id=ANN, comment="old"), TA1).result
    assert answer["grade_matches_current_submission"] is False


def test_a_rubric_is_kept_with_its_grade() -> None:
    memory = office()
    rubric = {"criterion_1": {"points": 3}}
    memory.grade(TA1, ANN, 5, rubric_assessment=rubric)
    kept = memory.assignments[ESSAY].find_provisional_grade(ANN, TA1, final=False)
    assert kept is not None
    assert kept.rubric_assessment == rubric
    changed = memory.accept(Grade(student_id=ANN, rubric_assessment={"criterion_1": {"points": 4}}), TA1)
    assert names(changed) == ["provisional_grade_updated"]
    assert kept.rubric_assessment == {"criterion_1": {"points": 4}}
    memory.grade(TA1, ANN, 6, rubric_assessment=rubric)
    memory.grade(TA1, ANN, 7)
    assert kept.rubric_assessment == rubric
    assert memory.read_again().assignments[ESSAY] == memory.assignments[ESSAY]
