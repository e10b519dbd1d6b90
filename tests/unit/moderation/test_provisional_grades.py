"""Creating and changing provisional grades: effects, locks and the result."""

from decimal import Decimal

from services.moderation import commands
from services.moderation.decisions import Rejected
from services.moderation.events import ProvisionalGradeUpdated
from services.moderation.ids import IDS_PER_ASSIGNMENT
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    add_admin,
    course_with_taken_slots,
    event_names,
    moderated_course,
)

Grade = commands.RecordProvisionalGrade
Comment = commands.RecordProvisionalComment
FIVE = Decimal(5)


def test_each_grader_has_one_provisional_grade_per_student() -> None:
    memory = moderated_course()
    first, second = memory.grade(TA1, ANN, 5), memory.grade(TA1, BEN, 6)
    assert (first, second) == (IDS_PER_ASSIGNMENT + 1, IDS_PER_ASSIGNMENT + 2)
    assert memory.grade(TA1, ANN, 7) == first
    assert memory.grade(TA2, ANN, 8) == second + 1


def test_repeated_grade_changes_only_its_timestamp() -> None:
    memory = moderated_course()
    number = memory.grade(TA1, ANN, 5)
    again = memory.expect_accepted(Grade(student_id=ANN, score=Decimal("5.0")), TA1)
    (event,) = again.events
    assert isinstance(event, ProvisionalGradeUpdated)
    assert set(event.changes) == {"graded_at"}
    assert memory.get_provisional_grade(number)["score"] == 5


def test_final_flag_without_permission_is_ignored_with_a_grade_and_refused_without() -> None:
    memory = moderated_course()
    number = memory.grade(TA1, ANN, 5, final=True, comment="fine")
    assert memory.get_provisional_grade(number)["final"] is False
    for data in (Comment(student_id=ANN, comment="x", final=True), Grade(student_id=ANN, comment="x", final=True)):
        refused = memory.submit(data, TA1)
        assert isinstance(refused, Rejected)
        assert (refused.reason, refused.message) == (
            "final_not_permitted",
            "User not authorized to give final provisional grades",
        )
    assert memory.expect_rejection(Comment(student_id=BEN, comment="x", final=True), TA2) == "final_not_permitted"
    assert [grader["user_id"] for grader in memory.document()["moderation_graders"]] == [TA1]


def test_moderators_share_one_final_grade_scored_by_the_last_writer() -> None:
    memory = moderated_course(grader_count=3)
    add_admin(memory, "select_final_grade")
    memory.grade(TA1, ANN, 5)
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True)
    assert memory.grade(ADMIN, ANN, 8, final=True) == final
    assert memory.get_provisional_grade(final)["scorer_id"] == ADMIN
    assert memory.comment(FINAL_GRADER, ANN, final=True) == final
    assert memory.get_provisional_grade(final)["scorer_id"] == FINAL_GRADER
    assert memory.get_provisional_grade(final)["score"] == 8
    assert memory.grade(FINAL_GRADER, ANN, 9) != final


def test_cleared_grade_keeps_its_graded_at() -> None:
    memory = moderated_course()
    number = memory.grade(TA1, ANN, 5)
    memory.grade(TA1, ANN, posted_grade="")
    cleared = memory.get_provisional_grade(number)
    assert (cleared["score"], cleared["grade"]) == (None, None)
    assert cleared["graded_at"] is not None


def test_posted_grade_overrides_score_unless_empty() -> None:
    memory = moderated_course()
    assert memory.get_provisional_grade(memory.grade(TA1, ANN, 5, posted_grade="7"))["score"] == 7
    assert memory.get_provisional_grade(memory.grade(TA1, BEN, 5, posted_grade=""))["score"] == 5
    assert memory.expect_rejection(Grade(student_id=CAT, score=FIVE, posted_grade="?"), TA1) == "invalid_score"


def test_prefer_points_over_scheme_reads_a_number_as_points() -> None:
    memory = moderated_course(grading_type="gpa_scale", grading_scheme=(("4", Decimal("0.9")), ("0", Decimal(0))))
    assert memory.get_provisional_grade(memory.grade(TA1, ANN, posted_grade="0"))["score"] == 8.9
    memory.grade(TA1, ANN, posted_grade="0", prefer_points_over_scheme=True)
    assert [grade["score"] for grade in memory.document()["provisional_grades"]] == [0]


def test_assignment_grading_scheme_overrides_the_course_scheme() -> None:
    memory = moderated_course(grading_type="letter_grade")
    top = Grade(student_id=ANN, score=Decimal(10))
    assert memory.expect_accepted(top, TA1).result["grade"] == "A"
    memory.expect_accepted(
        commands.UpsertCourse(fields={"grading_scheme": (("Very good", Decimal("0.9")), ("Poor", Decimal(0)))})
    )
    assert memory.expect_accepted(top, TA1).result["grade"] == "Very good"
    memory.configure(grading_scheme=(("Distinction", Decimal("0.7")), ("Pass", Decimal(0))))
    assert memory.expect_accepted(top, TA1).result["grade"] == "Distinction"
    memory.configure(grading_scheme=None)
    assert memory.expect_accepted(top, TA1).result["grade"] == "Very good"


def test_provisional_grader_cannot_change_an_excusal() -> None:
    memory = moderated_course()
    assert memory.expect_rejection(Grade(student_id=ANN, excuse=True), TA1) == "invalid_score"
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    blank = memory.get_provisional_grade(memory.grade(TA1, ANN, excuse=True))
    assert (blank["score"], blank["grade"]) == (None, None)
    assert blank["graded_at"] is not None
    memory.grade(TA1, ANN, 5)
    assert memory.get_submission(ANN)["excused"] is True


def test_selected_grade_accepts_only_comments() -> None:
    memory = course_with_taken_slots()
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    for data in (Grade(student_id=ANN, score=FIVE), Grade(student_id=ANN, excuse=True, comment="why")):
        assert memory.expect_rejection(data, TA1) == "modify_selected"
    assert event_names(memory.expect_accepted(Grade(student_id=ANN, comment="why"), TA1)) == [
        "provisional_comment_created"
    ]


def test_selected_grade_rejects_a_rubric_change() -> None:
    memory = moderated_course()
    rubric, other = {"criterion_1": {"points": 3}}, {"criterion_1": {"points": 4}}
    memory.select(memory.grade(TA1, ANN, 5, rubric_assessment=rubric))
    memory.grade(TA2, ANN, 6, rubric_assessment=rubric)
    for comment in (None, "why"):
        changed = Grade(student_id=ANN, rubric_assessment=other, comment=comment)
        assert memory.expect_rejection(changed, TA1) == "modify_selected"
    assert event_names(memory.expect_accepted(Grade(student_id=ANN, rubric_assessment=other), TA2)) == [
        "provisional_grade_updated"
    ]
    again = Grade(student_id=ANN, rubric_assessment=rubric, comment="as before")
    assert event_names(memory.expect_accepted(again, TA1)) == ["provisional_comment_created"]


def test_empty_grade_of_an_excused_student_is_rejected() -> None:
    memory = moderated_course()
    number = memory.grade(TA1, ANN, 5)
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    for nothing in (Grade(student_id=ANN), Grade(student_id=ANN, graded_anonymously=True, comment=" ")):
        assert memory.expect_rejection(nothing, TA1) == "invalid_score"
    assert memory.get_provisional_grade(number)["score"] == 5
    memory.grade(TA1, ANN, posted_grade="")
    assert memory.get_provisional_grade(number)["score"] is None


def test_final_grader_can_change_only_their_own_selected_grade() -> None:
    memory = course_with_taken_slots()
    add_admin(memory, "select_final_grade")
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True)
    memory.select(final)
    memory.grade(FINAL_GRADER, ANN, 8, final=True)
    memory.configure(final_grader_id=TEACHER, grader_count=3)
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE, final=True), TEACHER) == "modify_selected"


def test_result_has_the_canvas_provisional_grade_shape() -> None:
    memory = moderated_course()
    answer = memory.expect_accepted(Grade(student_id=ANN, posted_grade="7.50", graded_anonymously=True), TA1).result
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
    assert memory.expect_accepted(Grade(student_id=ANN, score=FIVE), TA1).result["graded_anonymously"] is True


def test_grade_older_than_the_submission_does_not_match_it() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    later = memory.log[-1][2].replace(year=2027)
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"submitted_at": later, "attempt": 2}))
    answer = memory.expect_accepted(Comment(student_id=ANN, comment="old"), TA1).result
    assert answer["grade_matches_current_submission"] is False


def test_rubric_is_stored_with_its_grade() -> None:
    memory = moderated_course()
    rubric = {"criterion_1": {"points": 3}}
    memory.grade(TA1, ANN, 5, rubric_assessment=rubric)
    kept = memory.assignments[ESSAY].find_provisional_grade(ANN, TA1, final=False)
    assert kept is not None
    assert kept.rubric_assessment == rubric
    changed = memory.expect_accepted(Grade(student_id=ANN, rubric_assessment={"criterion_1": {"points": 4}}), TA1)
    assert event_names(changed) == ["provisional_grade_updated"]
    assert kept.rubric_assessment == {"criterion_1": {"points": 4}}
    memory.grade(TA1, ANN, 6, rubric_assessment=rubric)
    memory.grade(TA1, ANN, 7)
    assert kept.rubric_assessment == rubric
    assert memory.replay().assignments[ESSAY] == memory.assignments[ESSAY]
