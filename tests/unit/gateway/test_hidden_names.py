"""Who is hidden now stays hidden in every answer about the past: earlier states, verdicts, repeated requests."""

from typing import Any

import pytest

from services.moderation import commands, ids
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.decisions import ADJUDICATION_STALE
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    InMemoryCourse,
    add_admin,
    moderated_course,
)
from tests.fixtures.in_memory_gateway import CANVAS_PATH, OWN_PATH, InMemoryGateway

Json = dict[str, Any]
STUDENTS = (ANN, BEN, CAT)
KEY = {"idempotency-key": "a key"}
HIDE_GRADERS = {"final_grader_id": FINAL_GRADER, "grader_names_visible_to_final_grader": False}
HIDE_STUDENTS = {"anonymous_grading": True}
ALLOCATION: Json = {"allocations": [{"grader_id": TA1, "student_ids": list(STUDENTS)}]}


def version_of(memory: InMemoryCourse) -> int:
    return memory.assignments[ESSAY].version


def anonymous_ids_of(memory: InMemoryCourse, *students: int) -> list[str]:
    return [ids.anonymous_id(memory.courses[COURSE], memory.assignments[ESSAY], student) for student in students]


def grader_fields(document: Any) -> set[str]:
    """Collect the names of all fields that hold a grader's user id."""
    if isinstance(document, list):
        return {name for part in document for name in grader_fields(part)}
    if not isinstance(document, dict):
        return set()
    names = {name for name in ("grader_id", "grader_ids", "scorer_id", "graders") if document.get(name)}
    return names.union(*(grader_fields(part) for part in document.values()))


async def find_last_command(gateway: InMemoryGateway, user: int, status: str = "accepted") -> Json:
    """Ask for the command that was sent last."""
    command_id = list(gateway.first_verdicts)[-1]
    answer = await gateway.request("GET", f"/api/moderation/v1/commands/{command_id}", user)
    verdict: Json = answer.json()
    assert verdict["status"] == status
    return verdict


@pytest.mark.parametrize("final_grader", [None, TEACHER])
async def test_earlier_allocation_names_no_graders_to_a_final_grader_who_may_not_know_them(
    final_grader: int | None,
) -> None:
    memory = moderated_course(final_grader_id=final_grader, anonymous_grading=True)
    gateway = InMemoryGateway(memory)
    add_admin(memory, "select_final_grade", "view_audit_trail")
    allocation = {"allocations": [{"grader_id": TA1, "student_ids": anonymous_ids_of(memory, ANN, BEN)}]}
    sent = await gateway.request("POST", f"{OWN_PATH}/allocate_submissions", final_grader or ADMIN, json=allocation)
    assert sent.status_code == 200, sent.text
    version = version_of(memory)
    memory.configure(**HIDE_GRADERS)

    for query in ("", f"?version={version}"):
        answer = await gateway.request("GET", f"{OWN_PATH}/allocation{query}", FINAL_GRADER)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["students"]) == 2
        assert grader_fields(answer.json()) == set(), query
        audited = await gateway.request("GET", f"{OWN_PATH}/allocation{query}", ADMIN)
        assert grader_fields(audited.json()) == {"grader_id", "grader_ids", "graders"}, query


async def test_graders_hidden_then_stay_hidden_in_that_state_although_they_are_named_now() -> None:
    memory = moderated_course(grader_names_visible_to_final_grader=False)
    gateway = InMemoryGateway(memory)
    await gateway.request("POST", f"{OWN_PATH}/allocate_submissions", FINAL_GRADER, json=ALLOCATION)
    version = version_of(memory)
    memory.configure(grader_names_visible_to_final_grader=True)

    now = await gateway.request("GET", f"{OWN_PATH}/allocation", FINAL_GRADER)
    then = await gateway.request("GET", f"{OWN_PATH}/allocation?version={version}", FINAL_GRADER)

    assert grader_fields(now.json()) == {"grader_id", "grader_ids", "graders"}
    assert grader_fields(then.json()) == set()


@pytest.mark.parametrize(
    ("operation", "body", "named"),
    [
        ("allocate_submissions", ALLOCATION, {"grader_id", "grader_ids", "graders"}),
        ("plan_publication", {}, {"scorer_id"}),
    ],
)
async def test_verdict_of_an_own_command_and_its_repetition_hide_graders_who_are_hidden_now(
    operation: str, body: Json, named: set[str]
) -> None:
    memory = moderated_course()
    gateway = InMemoryGateway(memory)
    memory.grade(TA1, ANN, 5)

    async def repeat() -> Any:
        answer = await gateway.request("POST", f"{OWN_PATH}/{operation}", FINAL_GRADER, KEY, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    first = await repeat()
    assert grader_fields(first) == named
    assert await repeat() == first == (await find_last_command(gateway, FINAL_GRADER))["result"]

    memory.configure(**HIDE_GRADERS)

    again, verdict = await repeat(), await find_last_command(gateway, FINAL_GRADER)
    for result in (again, verdict["result"]):
        assert grader_fields(result) == set()
        assert [row["student_id"] for row in result["students"]] == [row["student_id"] for row in first["students"]]
    if operation == "plan_publication":
        assert again["students"][0]["anonymous_grader_id"] == memory.assignments[ESSAY].grader_slots[TA1]


@pytest.mark.parametrize("operation", ["allocate_submissions", "plan_publication"])
async def test_verdict_of_an_own_command_and_its_repetition_hide_students_who_are_hidden_now(operation: str) -> None:
    memory = moderated_course()
    gateway = InMemoryGateway(memory)
    for student in STUDENTS:
        memory.grade(TA1, student, 5)
    body = ALLOCATION if operation == "allocate_submissions" else {}
    path = f"{OWN_PATH}/{operation}"
    await gateway.request("POST", path, FINAL_GRADER, KEY, json=body)
    memory.configure(**HIDE_STUDENTS)
    anonymous_ids = anonymous_ids_of(memory, *STUDENTS)
    if operation == "allocate_submissions":
        body = {"allocations": [{"grader_id": TA1, "student_ids": anonymous_ids}]}

    again = await gateway.request("POST", path, FINAL_GRADER, KEY, json=body)

    verdict = await find_last_command(gateway, FINAL_GRADER)
    assert len(gateway.first_verdicts) == 1
    for result in (again.json(), verdict["result"]):
        assert [row.get("anonymous_id") for row in result["students"]] == sorted(anonymous_ids)
        assert not any("student_id" in row for row in result["students"])


async def repeat_grade(gateway: InMemoryGateway, user: int, score: int) -> Json:
    """Grade Ann, each time with the same key; return the answer."""
    grade = {"submission": {"score": score, "provisional": True}}
    answer = await gateway.request("PUT", f"{CANVAS_PATH}/submissions/{ANN}", user, KEY, json=grade)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def test_repeated_grade_is_answered_as_first_without_the_graders_who_are_hidden_now() -> None:
    memory = moderated_course()
    gateway = InMemoryGateway(memory)
    memory.grade(TA1, ANN, 5)
    first = await repeat_grade(gateway, FINAL_GRADER, 7)
    assert [(row["scorer_id"], row["score"]) for row in first["provisional_grades"]] == [(TA1, 5), (FINAL_GRADER, 7)]
    memory.grade(TA2, ANN, 6)
    memory.grade(FINAL_GRADER, ANN, 9)
    assert await repeat_grade(gateway, FINAL_GRADER, 7) == first

    memory.configure(**HIDE_GRADERS)

    again = (await repeat_grade(gateway, FINAL_GRADER, 7))["provisional_grades"]
    slots = memory.assignments[ESSAY].grader_slots
    named = [(slots[TA1], 5), (slots[FINAL_GRADER], 7)]
    assert [(row["anonymous_grader_id"], row["score"]) for row in again] == named
    assert not any("scorer_id" in row for row in again)


async def test_author_of_an_earlier_comment_is_anonymous_in_a_repeated_answer_once_a_hidden_grader() -> None:
    memory = moderated_course()
    gateway = InMemoryGateway(memory)
    memory.expect_accepted(
        commands.RecordSubmissionComment(student_id=ANN, author_id=TA2, comment="seen", created_at=None)
    )

    async def repeat() -> list[Json]:
        answer = await repeat_grade(gateway, FINAL_GRADER, 7)
        return [*answer["submission_comments"], *answer["provisional_grades"][0]["submission_comments"]]

    assert [comment["author_id"] for comment in await repeat()] == [TA2, TA2]
    memory.grade(TA2, ANN, 6)
    memory.configure(**HIDE_GRADERS)

    ordinary, provisional = await repeat()

    assert (ordinary["author_id"], ordinary["author_name"]) == (None, "Anonymous User")
    assert provisional["anonymous_id"] == memory.assignments[ESSAY].grader_slots[TA2]
    assert "author_id" not in provisional


async def test_repeated_grade_is_refused_once_the_gradebook_is_closed_to_the_caller() -> None:
    memory = moderated_course()
    gateway = InMemoryGateway(memory)
    await repeat_grade(gateway, TA1, 7)
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False, "view_all_grades": False})

    grade = {"submission": {"score": 7, "provisional": True}}
    answer = await gateway.request("PUT", f"{CANVAS_PATH}/submissions/{ANN}", TA1, KEY, json=grade)

    assert answer.status_code == 403
    assert len(gateway.first_verdicts) == 1


async def test_repeated_selection_of_students_is_answered_by_anonymous_id_once_they_are_hidden() -> None:
    memory = moderated_course(moderation_set="selected")
    gateway = InMemoryGateway(memory)
    path = f"{CANVAS_PATH}/moderated_students"
    named = await gateway.request("POST", path, FINAL_GRADER, KEY, json={"student_ids": list(STUDENTS)})
    assert [row["id"] for row in named.json()] == list(STUDENTS)
    memory.configure(**HIDE_STUDENTS)
    anonymous_ids = anonymous_ids_of(memory, *STUDENTS)

    again = await gateway.request("POST", path, FINAL_GRADER, KEY, json={"student_ids": anonymous_ids})

    assert [row["anonymous_id"] for row in again.json()] == sorted(anonymous_ids)
    assert not any("id" in row for row in again.json())
    verdict = await find_last_command(gateway, FINAL_GRADER)
    assert verdict["result"] == [{"anonymous_id": anonymous_id} for anonymous_id in sorted(anonymous_ids)]
    assert len(gateway.first_verdicts) == 1


async def test_repeated_selections_are_answered_by_anonymous_id_once_students_are_hidden() -> None:
    memory = moderated_course()
    gateway = InMemoryGateway(memory)
    grades = [memory.grade(TA1, student, 5) for student in STUDENTS]
    path = f"{CANVAS_PATH}/provisional_grades/bulk_select"
    body = {"provisional_grade_ids": grades}
    named = await gateway.request("PUT", path, FINAL_GRADER, KEY, json=body)
    assert [row["student_id"] for row in named.json()] == list(STUDENTS)
    memory.configure(**HIDE_STUDENTS)

    again = await gateway.request("PUT", path, FINAL_GRADER, KEY, json=body)

    assert sorted(row["anonymous_id"] for row in again.json()) == sorted(anonymous_ids_of(memory, *STUDENTS))
    assert not any("student_id" in row for row in again.json())


@pytest.mark.parametrize("hidden_then", [False, True])
async def test_repeated_refusal_and_its_verdict_name_no_students_who_are_hidden_now(hidden_then: bool) -> None:
    memory = moderated_course(adjudication=AdjudicationPolicy(result="mean"), anonymous_grading=hidden_then)
    gateway = InMemoryGateway(memory)
    for grader, score in ((TA1, 6), (TA2, 7)):
        memory.grade(grader, ANN, score)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.grade(TA2, ANN, 8)

    async def repeat() -> str:
        path = f"{CANVAS_PATH}/provisional_grades/publish"
        answer = await gateway.request("POST", path, FINAL_GRADER, KEY, json={})
        assert answer.status_code == 409, answer.text
        message: str = answer.json()["message"]
        assert (await find_last_command(gateway, FINAL_GRADER, "rejected"))["message"] == message
        return message

    first = await repeat()
    named = anonymous_ids_of(memory, ANN)[0] if hidden_then else str(ANN)
    assert first == await repeat() == f"{ADJUDICATION_STALE.message}: {named}"

    memory.configure(**HIDE_STUDENTS)

    assert await repeat() == (first if hidden_then else ADJUDICATION_STALE.message)
    assert len(gateway.first_verdicts) == 1


@pytest.mark.parametrize(("then", "now"), [("selected", "assigned"), ("assigned", "selected")])
async def test_verdict_of_a_selection_has_hidden_students_in_the_form_in_which_they_were_sent(
    then: str, now: str
) -> None:
    memory = moderated_course(moderation_set=then, **HIDE_STUDENTS)
    gateway = InMemoryGateway(memory)
    anonymous_ids = sorted(anonymous_ids_of(memory, ANN, BEN))
    sent: list[Any] = anonymous_ids if then == "selected" else [ANN, BEN]
    path = f"{CANVAS_PATH}/moderated_students"
    answer = await gateway.request("POST", path, FINAL_GRADER, json={"student_ids": sent})
    assert answer.status_code == 200, answer.text

    memory.configure(moderation_set=now)

    field = "anonymous_id" if then == "selected" else "id"
    assert (await find_last_command(gateway, FINAL_GRADER))["result"] == [{field: student} for student in sent]
