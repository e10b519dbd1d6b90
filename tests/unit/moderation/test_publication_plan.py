"""The plan equals the later publication, and its digest changes with it, or with the ids of hidden students."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands, ids
from services.moderation.decide import decide
from services.moderation.decisions import Accepted, Rejected
from services.moderation.events import GradePublished
from services.moderation.grade_changes import describe_grade_change
from services.moderation.publication_plan import plan_document
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    START,
    STRANGER,
    TA1,
    TA2,
    InMemoryCourse,
    add_admin,
    moderated_course,
)
from tests.unit.moderation.random_histories import random_history, with_grade_ids

Json = dict[str, Any]
PLAN = commands.PlanPublication()
EMPTY_DIGEST = "sha256:" + hashlib.sha256(b'{"assignment_id":"2001","students":[]}').hexdigest()


def plan(memory: InMemoryCourse, user: int = FINAL_GRADER) -> Json:
    decision = memory.expect_accepted(PLAN, user)
    assert decision.events == ()
    assert decision.result == plan_document(memory.courses[COURSE], memory.assignments[ESSAY], user)
    result: Json = decision.result
    return result


def publish(memory: InMemoryCourse, digest: str | None) -> Accepted | Rejected:
    return memory.submit(commands.PublishProvisionalGrades(plan_digest=digest), FINAL_GRADER)


def test_plan_names_each_grade_with_its_scorer_and_why_it_was_chosen() -> None:
    memory = moderated_course()
    selected = memory.grade(TA1, ANN, 5)
    memory.grade(TA2, ANN, 6)
    memory.select(selected)
    only = memory.grade(TA1, BEN, "7.50")
    memory.comment(TA2, BEN)
    remark = memory.comment(TA2, CAT)
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"score": Decimal(4), "grade": "4"}))

    result = plan(memory)

    assert result["students"] == [
        {"student_id": ANN, "provisional_grade_id": selected, "scorer_id": TA1, "chosen_by": "selection",
         "score": [4, 5], "grade": ["4", "5"]},
        {"student_id": BEN, "provisional_grade_id": only, "scorer_id": TA1, "chosen_by": "only_grade",
         "score": [None, 7.5], "grade": [None, "7.5"]},
        {"student_id": CAT, "provisional_grade_id": remark, "scorer_id": TA2, "chosen_by": "first_of_comments",
         "score": [None, None], "grade": [None, None]},
    ]  # fmt: skip
    assert (result["publishable"], result["reason"], result["blocked"]) == (True, None, [])
    assert result["counts"] == {"published": 3, "changed": 2, "unchanged": 1, "blocked": 0, "without_grade": 0}


def test_plan_names_blocked_students_and_counts_those_without_a_grade() -> None:
    memory = moderated_course()
    grades = [memory.grade(grader, ANN, score) for grader, score in ((TA1, 5), (TA2, 6))]
    memory.grade(TA1, BEN, 7)

    result = plan(memory)

    assert (result["publishable"], result["reason"]) == (False, "selection_required")
    assert result["blocked"] == [{"student_id": ANN, "reason": "selection_required", "provisional_grade_ids": grades}]
    assert [row["student_id"] for row in result["students"]] == [BEN]
    assert result["counts"] == {"published": 1, "changed": 1, "unchanged": 0, "blocked": 1, "without_grade": 1}


def test_digest_is_sha256_of_the_rows_in_canonical_json() -> None:
    memory = moderated_course(grading_type="letter_grade", grading_scheme=(("Ä\n", Decimal("0.5")), ("F", Decimal(0))))
    first, second = memory.grade(TA1, BEN, "7.50"), memory.grade(TA1, ANN, 2)
    canonical = (
        f'{{"assignment_id":"{ESSAY}","students":[["{ANN}","{second}",null,"2",null,"F"],'
        f'["{BEN}","{first}",null,"7.5",null,"Ä\\n"]]}}'
    )
    assert plan(memory)["digest"] == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def test_plan_and_digest_name_hidden_students_by_anonymous_id() -> None:
    memory = moderated_course(anonymous_grading=True, grader_names_visible_to_final_grader=False)
    for student in (ANN, BEN, CAT):
        memory.grade(TA1, student, 5)
    course, assignment = memory.courses[COURSE], memory.assignments[ESSAY]
    anonymous_ids = sorted(ids.anonymous_id(course, assignment, student) for student in (ANN, BEN, CAT))

    result = plan(memory)

    assert [row["anonymous_id"] for row in result["students"]] == anonymous_ids
    assert not any({"student_id", "scorer_id"} & row.keys() for row in result["students"])
    assert {row["anonymous_grader_id"] for row in result["students"]} == {assignment.grader_slots[TA1]}
    rows = [[row["anonymous_id"], str(row["provisional_grade_id"]), None, "5", None, "5"] for row in result["students"]]
    text = json.dumps({"assignment_id": str(ESSAY), "students": rows}, separators=(",", ":"))
    assert result["digest"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_plan_of_a_user_who_may_not_publish_names_students_to_auditors_only() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, BEN, 5)
    add_admin(memory, "view_audit_trail")
    memory.enroll(FINAL_GRADER, "Teacher", section=2, limited_to_section=True)
    memory.enroll(FINAL_GRADER, "Teacher", state="deleted")

    for user in (TA1, STRANGER):
        result = plan(memory, user)
        assert (result["publishable"], result["reason"]) == (False, "unauthorized")
        assert (result["students"], result["counts"]["published"], result["digest"]) == ([], 0, EMPTY_DIGEST)
    audited = plan(memory, ADMIN)
    assert audited["reason"] == "unauthorized"
    assert [row["student_id"] for row in audited["students"]] == [ANN, BEN]
    assert (plan(memory)["reason"], plan(memory)["students"]) == (None, [])


def test_plan_after_publication_is_empty_and_says_why() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.publish()
    result = plan(memory)
    assert (result["publishable"], result["reason"], result["students"]) == (False, "already_published", [])


def test_digest_changes_with_the_anonymous_ids_of_hidden_students_and_with_anonymity() -> None:
    memory = moderated_course(anonymous_grading=True)
    memory.grade(TA1, ANN, 5)
    digests = [plan(memory)["digest"]]
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"anonymous_id": "aBcDe"}))
    digests.append(plan(memory)["digest"])
    memory.configure(anonymous_grading=False)
    digests.append(plan(memory)["digest"])
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"anonymous_id": "bCdEf"}))
    assert len(set(digests)) == 3
    assert plan(memory)["digest"] == digests[2]


def test_publication_with_the_digest_of_the_plan_is_accepted() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    decision = publish(memory, plan(memory)["digest"])
    assert isinstance(decision, Accepted)
    assert memory.get_submission(ANN)["score"] == 5


CHANGES: dict[str, Callable[[InMemoryCourse], object]] = {
    "a mark": lambda memory: memory.grade(TA1, BEN, 6),
    "a choice": lambda memory: memory.select(memory.grade(TA2, BEN, 5)),
    "a text": lambda memory: memory.configure(grading_type="percent"),
    "the gradebook": lambda memory: memory.expect_accepted(
        commands.RecordSubmission(student_id=BEN, fields={"score": Decimal(1)})
    ),
    "a student": lambda memory: memory.enroll(CAT, "Student", state="completed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_publication_with_an_outdated_digest_is_refused_and_the_refusal_names_the_new_digest(name: str) -> None:
    memory = moderated_course()
    for student in (ANN, BEN, CAT):
        memory.grade(TA1, student, 5)
    before = plan(memory)["digest"]

    CHANGES[name](memory)

    refused = publish(memory, before)
    assert isinstance(refused, Rejected)
    assert refused.reason == "plan_outdated"
    assert plan(memory)["digest"] in refused.message
    assert memory.document()["grades_published_at"] is None


def test_outdated_digest_is_checked_last() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA2, ANN, 6)
    wrong = commands.PublishProvisionalGrades(plan_digest=EMPTY_DIGEST)
    assert memory.expect_rejection(wrong, TA1) == "unauthorized"
    assert memory.expect_rejection(wrong, FINAL_GRADER) == "selection_required"


def test_changes_without_effect_on_the_publication_keep_the_digest() -> None:
    memory = moderated_course()
    grade = memory.grade(TA1, ANN, 5)
    before = plan(memory)["digest"]
    memory.comment(TA1, ANN)
    memory.select(grade)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.configure(name="Another name")
    assert plan(memory)["digest"] == before


def decide_publication(memory: InMemoryCourse, user: int, digest: str | None) -> Accepted | Rejected:
    """Decide a publication without applying its events."""
    command = commands.Command(
        command_id="", type="", root_account_id=1, course_id=COURSE, assignment_id=ESSAY, actor_id=user,
        data=commands.PublishProvisionalGrades(plan_digest=digest),
    )  # fmt: skip
    at = START + timedelta(seconds=memory.command_count)
    return decide(command, memory.courses[COURSE], memory.assignments[ESSAY], at=at)


def test_plan_equals_the_publication_and_its_digest_changes_only_with_it() -> None:
    digest_count = 0
    for seed in range(25):
        memory = moderated_course()
        add_admin(memory, "select_final_grade")
        rows_by_digest: dict[str, Any] = {}
        digests_by_rows: dict[Any, str] = {}
        for step in random_history(seed):
            if isinstance(step.data, commands.PublishProvisionalGrades):
                continue
            memory.submit(with_grade_ids(step.data), step.actor)
            course, assignment = memory.courses[COURSE], memory.assignments[ESSAY]
            if assignment.deleted:
                continue
            foretold = plan_document(course, assignment, ADMIN)
            decision = decide_publication(memory, ADMIN, foretold["digest"])
            if isinstance(decision, Rejected):
                assert (foretold["publishable"], foretold["reason"]) == (False, decision.reason)
                continue
            assert foretold["publishable"]
            published = [event for event in decision.events if isinstance(event, GradePublished)]
            rows = tuple((e.student_id, e.provisional_grade_id, e.score, e.grade) for e in published)
            assert [(row["provisional_grade_id"], row["scorer_id"]) for row in foretold["students"]] == [
                (event.provisional_grade_id, event.scorer_id) for event in published
            ]
            told = [describe_grade_change(event, course, assignment) for event in published]
            assert foretold["counts"]["changed"] == len([change for change in told if change is not None])
            assert rows_by_digest.setdefault(foretold["digest"], rows) == rows
            assert digests_by_rows.setdefault(rows, foretold["digest"]) == foretold["digest"]
        digest_count += len(rows_by_digest)
    assert digest_count > 100
