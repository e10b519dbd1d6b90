"""Two readings of Canvas's rules come to the same, whatever is said by whom in whatever order."""

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from services.moderation.ids import IDS_PER_ASSIGNMENT
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    FINAL_GRADER,
    START,
    STRANGER,
    TA1,
    TA2,
    TA3,
    TEACHER,
    InMemoryCourse,
    add_admin,
    moderated_course,
)
from tests.unit.moderation.reference_model import TEXTS, Person, ReferenceModel

TYPES = {
    **dict.fromkeys((FINAL_GRADER, TEACHER), "TeacherEnrollment"),
    **dict.fromkeys((TA1, TA2, TA3), "TaEnrollment"),
    **dict.fromkeys((ANN, BEN, CAT), "StudentEnrollment"),
}
# Those who can do much are asked more often than the others.
ACTORS = [FINAL_GRADER, TA1, TA2, ADMIN] * 3 + [TEACHER, TA3, ANN, STRANGER]
STUDENTS = [ANN, BEN, CAT] * 6 + [TA1, STRANGER]
STATES = ["active", "active", "inactive", "invited", "completed", "deleted"]
ASSIGNED = [None, (ANN, BEN), (BEN, CAT), (CAT,), (ANN, BEN, CAT)]
FINAL_GRADERS = [FINAL_GRADER, FINAL_GRADER, TEACHER, TA2, None]


def random_grade(draw: Random) -> commands.CommandData:
    student, final = draw.choice(STUDENTS), draw.random() < 0.3
    if draw.random() < 0.6:
        return commands.RecordProvisionalGrade(student_id=student, score=Decimal(draw.randint(0, 12)), final=final)
    text = draw.choice([None, None, *TEXTS])
    score = draw.choice([None, None, Decimal(5)])
    excuse = draw.choice([None, True, True, False])
    return commands.RecordProvisionalGrade(
        student_id=student, posted_grade=text, score=score, excuse=excuse, final=final
    )


def random_comment(draw: Random) -> commands.CommandData:
    student, final = draw.choice(STUDENTS), draw.random() < 0.3
    return commands.RecordProvisionalComment(student_id=student, comment="well", final=final)


def random_selection(draw: Random) -> commands.CommandData:
    numbers = tuple(draw.randint(1, 12) for _ in range(draw.randint(0, 4)))
    if draw.random() < 0.3:
        return commands.BulkSelectProvisionalGrades(provisional_grade_ids=numbers)
    return commands.SelectProvisionalGrade(provisional_grade_id=draw.randint(1, 9))


def random_addition(draw: Random) -> commands.CommandData:
    return commands.SelectStudentsForModeration(student_ids=tuple(draw.choices(STUDENTS, k=draw.randint(0, 2))))


def random_publication(draw: Random) -> commands.CommandData:
    return commands.PublishProvisionalGrades()


def random_enrollment(draw: Random) -> commands.CommandData:
    user = draw.choice(sorted(TYPES))
    stated = {"state": draw.choice(STATES), "limited_to_section": draw.random() < 0.2}
    row = commands.EnrollmentUpsert(user_id=user, type=TYPES[user], section_id=None, fields=stated)
    return commands.UpsertEnrollments(enrollments=(row,))


def random_settings(draw: Random) -> commands.CommandData:
    settings = {
        "grader_count": draw.randint(0, 3),
        "final_grader_id": draw.choice(FINAL_GRADERS),
        "assigned_to": draw.choice(ASSIGNED),
    }
    name = draw.choice(sorted(settings))
    return commands.ConfigureAssignment(fields={name: settings[name]})


def random_late_policy(draw: Random) -> commands.CommandData:
    policy = {
        "late_submission_deduction_enabled": draw.random() < 0.8,
        "late_submission_deduction": Decimal(draw.choice([0, 5, 10, 35, 100])),
        "late_submission_interval": draw.choice(["hour", "day"]),
        "late_submission_minimum_percent_enabled": draw.random() < 0.5,
        "late_submission_minimum_percent": Decimal(draw.choice([0, 40, 75, 100])),
    }
    return commands.UpsertCourse(fields={"late_policy": policy if draw.random() < 0.9 else None})


def random_work(draw: Random) -> commands.CommandData:
    stated = {
        "submitted_at": draw.choice([START, START, None]),
        "seconds_late": draw.choice([0, 1, 3600, 3601, 86_400, 200_000]),
        "late_policy_status": draw.choice([None, None, None, "late", "missing", "extended", "none"]),
    }
    return commands.RecordSubmission(student_id=draw.choice(STUDENTS), fields=stated)


COMMAND_WEIGHTS: dict[Callable[[Random], commands.CommandData], int] = {
    random_grade: 40,
    random_comment: 10,
    random_selection: 25,
    random_addition: 4,
    random_publication: 3,
    random_enrollment: 8,
    random_settings: 6,
    random_late_policy: 4,
    random_work: 8,
}


def with_grade_ids(data: commands.CommandData) -> commands.CommandData:
    """The command with the provisional grades' ids for their numbers."""
    match data:
        case commands.SelectProvisionalGrade(provisional_grade_id=number):
            return commands.SelectProvisionalGrade(provisional_grade_id=IDS_PER_ASSIGNMENT + number)
        case commands.BulkSelectProvisionalGrades(provisional_grade_ids=numbers):
            ids = tuple(IDS_PER_ASSIGNMENT + number for number in numbers)
            return commands.BulkSelectProvisionalGrades(provisional_grade_ids=ids)
    return data


def grade_number(provisional_grade_id: int | None) -> int | None:
    return None if provisional_grade_id is None else provisional_grade_id - IDS_PER_ASSIGNMENT


def snapshot(memory: InMemoryCourse) -> dict[str, Any]:
    shown = memory.document()
    return {
        "marks": [
            (grade_number(g["provisional_grade_id"]), g["student_id"], g["final"], g["scorer_id"], g["score"],
             g["graded_at"] is not None)
            for g in shown["provisional_grades"]
        ],
        "set": {student: grade_number(chosen) for student, chosen in memory.selections().items()},
        "slots": {grader["user_id"] for grader in shown["moderation_graders"]},
        "excused": {s["student_id"] for s in shown["submissions"] if s["excused"]},
        "gradebook": {
            s["student_id"]: (s["score"], s["grader_id"]) for s in shown["submissions"] if s["grader_id"] is not None
        },
        "deducted": {
            s["student_id"]: s["points_deducted"] for s in shown["submissions"] if s["points_deducted"] is not None
        },
        "published": shown["grades_published_at"] is not None,
    }  # fmt: skip


def start_both() -> tuple[InMemoryCourse, ReferenceModel]:
    memory = moderated_course()
    add_admin(memory, "select_final_grade")
    people = {user: Person(type_) for user, type_ in TYPES.items()}
    return memory, ReferenceModel(people, frozenset({ADMIN}), grader_count=2, final_grader=FINAL_GRADER)


def assert_agreement(memory: InMemoryCourse, model: ReferenceModel, data: commands.CommandData, actor: int) -> None:
    decision = memory.submit(with_grade_ids(data), actor)
    refused = decision.reason if isinstance(decision, Rejected) else None
    assert refused == model.apply(data, actor), data
    assert snapshot(memory) == model.snapshot()


@pytest.mark.parametrize("seed", range(60))
def test_rules_agree_with_the_reference_model(seed: int) -> None:
    draw = Random(seed)
    memory, model = start_both()
    for build_command in draw.choices(list(COMMAND_WEIGHTS), list(COMMAND_WEIGHTS.values()), k=60):
        assert_agreement(memory, model, build_command(draw), draw.choice(ACTORS))


@pytest.mark.parametrize("seed", range(60))
def test_publications_of_late_work_agree_with_the_reference_model(seed: int) -> None:
    draw = Random(seed)
    memory, model = start_both()
    for build_command in (random_late_policy, *[random_work] * 8, random_late_policy):
        assert_agreement(memory, model, build_command(draw), TA1)
    for student in (ANN, BEN, CAT):
        score = Decimal(draw.randint(0, 12))
        assert_agreement(memory, model, commands.RecordProvisionalGrade(student_id=student, score=score), TA1)
    for build_command in (random_publication, random_late_policy, random_work):
        assert_agreement(memory, model, build_command(draw), FINAL_GRADER)
    assert model.published
