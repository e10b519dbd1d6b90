"""Canvas's decision tables, row by row."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import grade_conversion
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course, Enrollment
from services.moderation.decisions import Rejected
from services.moderation.event_payloads import to_payload
from services.moderation.publication_plan import choose_grade_to_publish
from tests.fixtures.canvas import CANVAS_CASES
from tests.fixtures.in_memory_course import ANN, TA1, moderated_course

TABLES = json.loads((CANVAS_CASES / "decision_tables.json").read_text())
AT = datetime(2026, 1, 1, tzinfo=UTC)
FINAL_GRADER, TA, ADMIN, OTHERS = 1, 2, 3, {"other": 4, "other2": 5}


def table_rows(table: str) -> list[Any]:
    found = TABLES[table] if isinstance(TABLES[table], list) else TABLES[table]["rows"]
    return [pytest.param(row, id=row["id"]) for row in found]


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", table_rows("grade_conversion"))
def test_grade_conversion_matches_canvas(row: dict[str, Any]) -> None:
    given, when, then = row["given"], row["when"], row["then"]
    scheme = given.get("grading_scheme")
    bands = scheme and tuple((name, Decimal(repr(bound))) for name, bound in scheme)
    points = Decimal(given["points_possible"])
    if "posted_grade" in when:
        grade = grade_conversion.parse_grade(when["posted_grade"], given["grading_type"], points, bands)
    else:
        grade = grade_conversion.grade_from_score(Decimal(repr(when["score"])), given["grading_type"], points, bands)
    if "error_code" in then:
        assert grade is None
    else:
        assert grade == grade_conversion.Grade(Decimal(repr(then["score"])), then["grade"])


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", table_rows("publish_choice_per_student"))
def test_publication_choice_matches_canvas(row: dict[str, Any]) -> None:
    given, then = row["given"], row["then"]
    names = [grade["name"] for grade in given["grades_in_id_order"]]
    grades = [
        ProvisionalGrade(number, 31, 21, grade.get("final", False), graded_at=AT if grade["entered"] else None)
        for number, grade in enumerate(given["grades_in_id_order"], 1)
    ]
    selected = names.index(given["selected"]) + 1 if given["selected"] in names else given["selected"] and 99
    chosen = choose_grade_to_publish(grades, selected)
    if "refused" in then:
        assert isinstance(chosen, Rejected)
        assert chosen.reason == then["refused"]
    elif then["published"] is None:
        assert chosen is None
    else:
        assert isinstance(chosen, ProvisionalGrade)
        assert names[chosen.provisional_grade_id - 1] == then["published"]


def moderated_assignment(final_grader: int | None, grader_count: int = 2) -> tuple[Course, Assignment]:
    course = Course(1, 1001)
    for user in (FINAL_GRADER, TA, *OTHERS.values()):
        course.enrollments[user] = {("TaEnrollment", None): Enrollment(user, "TaEnrollment", None)}
    course.admins[ADMIN] = frozenset({"manage_grades", "view_all_grades", "select_final_grade"})
    assignment = Assignment(1, b"secret", 1, 1001, 2001, moderated_grading=True, grader_count=grader_count)
    assignment.final_grader_id = final_grader
    return course, assignment


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", table_rows("needs_provisional_grade"))
def test_grader_slot_availability_matches_canvas(row: dict[str, Any]) -> None:
    given = row["given"]
    course, assignment = moderated_assignment(FINAL_GRADER if given["final_grader"] else None, given["grader_count"])
    assignment.grader_slots = {OTHERS[name]: name for name in given["slot_holders"]}
    caller = {"ta": TA, "fg": FINAL_GRADER, "admin_with_select_final_grade": ADMIN}[given["caller"]]
    assert assignment.can_be_moderated_grader(course, caller) == row["then"]["needs_provisional_grade"]


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", table_rows("permits_moderation"))
def test_moderation_permission_matches_canvas(row: dict[str, Any]) -> None:
    user = row["given"]["user"]
    course, assignment = moderated_assignment(None if user and "no final grader" in user else FINAL_GRADER)
    caller = None if user is None else ADMIN if user.startswith("account admin") else TA
    assert assignment.permits_moderation(course, caller) == row["then"]["permits_moderation"]


# Canvas's name for an audit event with a different name here, because only provisional comments cause it.
EVENT_NAMES = {"submission_comment_created": "provisional_comment_created"}
# Comments cannot be deleted here.
ABSENT_EVENTS = {"submission_comment_deleted"}


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["type"])
        for row in TABLES["audit_event_payloads"]["rows"]
        if row["type"] not in ABSENT_EVENTS
    ],
)
def test_payloads_have_the_keys_of_canvas_audit_events(row: dict[str, Any]) -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.select(memory.grade(TA1, ANN, 6, comment="better"))
    name = EVENT_NAMES.get(row["type"], row["type"])
    found = [event for _, event, _ in memory.log if event.name == name]
    assert found
    for event in found:
        payload = to_payload(event)
        assert (getattr(event, "student_id", None) is not None) == row["about_submission"]
        required = {*row.get("payload_keys_always", ()), *row.get("payload_required", ())}
        assert required <= set(payload)
        if "payload_keys_possible" in row:
            assert set(payload) <= required | set(row["payload_keys_possible"])
        if name == "provisional_grade_updated":
            changed = [value for key, value in payload.items() if key != "id"]
            assert all(isinstance(value, list) and len(value) == 2 and value[0] != value[1] for value in changed)
        else:
            assert None not in payload.values()
