"""Random histories of facts and commands, generated from a seed, compared with the reference model, and shrunk."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
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
)

TEST_STUDENT = 34
TYPES = {
    **dict.fromkeys((FINAL_GRADER, TEACHER), "TeacherEnrollment"),
    **dict.fromkeys((TA1, TA2, TA3), "TaEnrollment"),
    **dict.fromkeys((ANN, BEN, CAT), "StudentEnrollment"),
    TEST_STUDENT: "StudentViewEnrollment",
}
# Users with many permissions act more often than the others.
ACTORS = [FINAL_GRADER, TA1, TA2, ADMIN] * 3 + [TEACHER, TA3, ANN, STRANGER]
MODERATORS = [FINAL_GRADER, ADMIN] * 6 + ACTORS
STUDENTS = [ANN, BEN, CAT] * 6 + [TEST_STUDENT] * 2 + [TA1, STRANGER]
STATES = ["active", "active", "active", "inactive", "invited", "creation_pending", "completed", "deleted"]
PERMISSIONS = ["manage_grades", "view_all_grades", "select_final_grade"]
# Band names that are words, numbers, numbers of points, and words of another grading type.
SCHEMES = [
    None,
    (("4.0", Decimal("0.9")), ("3.0", Decimal("0.795")), ("0", Decimal(0))),
    (("Merit", Decimal("0.75")), ("Pass", Decimal("0.5")), ("complete", Decimal(0))),
    (("Excellent", Decimal("1.5")), ("B", Decimal("0.8")), ("b-", Decimal("0.7991")), ("F", Decimal(0))),
]
TEXTS = ["", "?", "7", "-1", "50%", "112.5%", "B", "a-", "3", "4.0", "merit", "pass", "complete", "fail", "incomplete"]
SCORES = [Decimal(text) for text in ("0", "5", "7.25", "8", "9.995", "10", "12", "85.5", "-2")]
TIMES = [None, START - timedelta(days=1), START + timedelta(seconds=20), START + timedelta(days=1)]
SETTINGS: dict[str, list[Any]] = {
    "points_possible": [None, *map(Decimal, ("0", "8", "10", "10", "15", "20", "100"))],
    "grading_type": ["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "pass_fail", "not_graded"],
    "grading_scheme": SCHEMES,
    "grader_count": [0, 1, 2, 3, 4],
    "final_grader_id": [FINAL_GRADER] * 5 + [TEACHER, TA2, ANN, STRANGER, None],
    "assigned_to": [None, None, None, None, (ANN, BEN), (BEN, CAT), (CAT, TEST_STUDENT), (ANN, BEN, CAT)],
    "moderation_set": ["assigned", "selected"],
    "moderated_grading": [True, True, True, False],
    "deleted": [False, False, False, True],
}
SUBMISSION_FIELDS: dict[str, list[Any]] = {
    "score": [None, *SCORES],
    "grade": [None, "8", "complete", "incomplete", "B", "80%"],
    "grader_id": [None, TEACHER],
    "graded_at": TIMES,
    "excused": [None, False, True],
    "posted_at": TIMES,
    "seconds_late": [None, 0, 1, 3_600, 90_000],
    "late_policy_status": [None, None, "late", "missing", "extended", "none"],
    "submitted_at": TIMES,
    "attempt": [None, 0, 1, 2],
}
POLICY_FIELDS: dict[str, list[Any]] = {
    "late_submission_deduction_enabled": [True, True, True, False],
    "late_submission_deduction": [Decimal(text) for text in ("0", "5", "10", "12.5", "33.33", "100")],
    "late_submission_interval": ["day", "hour"],
    "late_submission_minimum_percent_enabled": [True, False],
    "late_submission_minimum_percent": [Decimal(text) for text in ("0", "30.5", "60")],
}


# Stands for the digest of the plan at that step.
TODAYS_DIGEST = "today's"
# Stand for the ids of the last command that scheduled a publication, and of the one before it.
NEWEST_SCHEDULE, EARLIER_SCHEDULE = "newest", "earlier"
SECONDS = timedelta(seconds=1)
# Decisions are made one second after the other: some times are past, now, ahead, or too far ahead.
SCHEDULE_TIMES = [
    *(START + seconds * SECONDS for seconds in (15, 30, 45, 60, 3_600, 3_600, 3_600, 7_200)),
    *(START + timedelta(days=400, seconds=seconds) for seconds in (20, 40)),
]
ADJUDICATION_FIELDS: dict[str, list[Any]] = {
    "marks": [2, 2, 2, 3],
    "within_points": [None, None, Decimal(0), Decimal(1), Decimal(3)],
    "within_percent": [None, None, None, Decimal(10), Decimal("33.3")],
    "boundaries": [None, None, (Decimal(40), Decimal("79.5")), (Decimal(50),), "grading_scheme"],
    "result": ["mean", "mean", "median", "highest", "lowest", "first"],
    "rounding_step": [Decimal("0.01"), Decimal("0.5"), Decimal(1), Decimal("0.0003")],
    "rounding_mode": ["half_up", "half_even", "up", "down"],
    "otherwise": ["moderator", "third_mark"],
    "third": [None, "mean_of_nearest_two", "nearest_of_first_two", "median", "third_stands"],
}


@dataclass(frozen=True)
class Step:
    """A command; it refers to provisional grades by numbers from 1 instead of ids."""

    actor: int
    data: commands.CommandData


def with_grade_ids(data: commands.CommandData) -> commands.CommandData:
    """Return the command with the numbers of grades replaced by their ids in the course's first assignment."""
    match data:
        case commands.SelectProvisionalGrade(provisional_grade_id=number):
            return commands.SelectProvisionalGrade(provisional_grade_id=IDS_PER_ASSIGNMENT + number)
        case commands.BulkSelectProvisionalGrades(provisional_grade_ids=numbers):
            ids = tuple(IDS_PER_ASSIGNMENT + number for number in numbers)
            return commands.BulkSelectProvisionalGrades(provisional_grade_ids=ids)
    return data


def some_of(draw: Random, fields: dict[str, list[Any]], count: int) -> dict[str, Any]:
    return {name: draw.choice(fields[name]) for name in draw.sample(sorted(fields), count)}


def random_grade(draw: Random) -> commands.CommandData:
    student, final = draw.choice(STUDENTS), draw.random() < 0.3
    if draw.random() < 0.45:
        return commands.RecordProvisionalGrade(student_id=student, score=draw.choice(SCORES), final=final)
    return commands.RecordProvisionalGrade(
        student_id=student,
        posted_grade=draw.choice([None, *TEXTS]),
        prefer_points_over_scheme=draw.random() < 0.2,
        score=draw.choice([None, None, None, Decimal(5)]),
        excuse=draw.choice([None, None, None, None, None, None, True, False]),
        final=final,
    )


def random_excusal(draw: Random) -> commands.CommandData:
    return commands.RecordProvisionalGrade(student_id=draw.choice(STUDENTS), excuse=draw.random() < 0.8)


def random_comment(draw: Random) -> commands.CommandData:
    student, final = draw.choice(STUDENTS), draw.random() < 0.3
    return commands.RecordProvisionalComment(student_id=student, comment="well", final=final)


def random_selection(draw: Random) -> commands.CommandData:
    numbers = tuple(draw.randint(1, 12) for _ in range(draw.randint(0, 4)))
    if draw.random() < 0.4:
        return commands.BulkSelectProvisionalGrades(provisional_grade_ids=numbers)
    return commands.SelectProvisionalGrade(provisional_grade_id=draw.randint(1, 9))


def random_addition(draw: Random) -> commands.CommandData:
    return commands.SelectStudentsForModeration(student_ids=tuple(draw.choices(STUDENTS, k=draw.randint(0, 2))))


def random_publication(draw: Random) -> commands.CommandData:
    return commands.PublishProvisionalGrades()


def random_schedule(draw: Random) -> commands.CommandData:
    digest = draw.choice([None, None, None, TODAYS_DIGEST, f"sha256:{'0' * 64}"])
    return commands.SchedulePublication(publish_at=draw.choice(SCHEDULE_TIMES), plan_digest=digest)


def random_cancellation(draw: Random) -> commands.CommandData:
    return commands.CancelScheduledPublication()


def random_due_publication(draw: Random) -> commands.CommandData:
    """Draw a publication that names a schedule: in force, replaced, cancelled, or published already."""
    return commands.PublishProvisionalGrades(
        schedule_id=draw.choice([NEWEST_SCHEDULE, NEWEST_SCHEDULE, EARLIER_SCHEDULE]),
        plan_digest=draw.choice([None, None, TODAYS_DIGEST, f"sha256:{'0' * 64}"]),
    )


def random_plan(draw: Random) -> commands.CommandData:
    """A plan, or a publication of the plan of the day or of another one."""
    digest = draw.choice([None, TODAYS_DIGEST, TODAYS_DIGEST, f"sha256:{'0' * 64}"])
    return commands.PlanPublication() if digest is None else commands.PublishProvisionalGrades(plan_digest=digest)


def random_adjudication_policy(draw: Random) -> commands.CommandData:
    if draw.random() < 0.1:
        return commands.SetAdjudicationPolicy(adjudication=None)
    fields = {name: draw.choice(values) for name, values in ADJUDICATION_FIELDS.items()}
    if fields["third"] is not None and draw.random() < 0.9:
        fields |= {"otherwise": "third_mark", "marks": 2}
    elif draw.random() < 0.9:
        fields |= {"otherwise": "moderator", "third": None}
    return commands.SetAdjudicationPolicy(adjudication=AdjudicationPolicy(**fields))


def random_adjudication(draw: Random) -> commands.CommandData:
    students = draw.choice([None, None, None, (ANN,), (BEN, CAT, TEST_STUDENT, STRANGER)])
    return commands.AdjudicateProvisionalGrades(student_ids=students)


def random_revision(draw: Random) -> commands.CommandData:
    student = draw.choice(STUDENTS)
    if draw.random() < 0.35:
        return commands.WithdrawPublishedGrade(student_id=student, reason="Mistaken.")
    choices: list[dict[str, Any]] = [
        {"score": draw.choice(SCORES)},
        {"posted_grade": draw.choice(TEXTS)},
        {"excuse": True},
    ]
    return commands.RevisePublishedGrade(student_id=student, reason="Appeal.", **draw.choice(choices))


def random_slot_release(draw: Random) -> commands.CommandData:
    return commands.ReleaseGraderSlot(grader_id=draw.choice([TA1, TA2, TA3, ADMIN, FINAL_GRADER]))


def random_sample(draw: Random) -> commands.CommandData:
    include = draw.choice([(), (), ("failing",), ("borderline",), ("failing", "borderline")])
    return commands.DrawModerationSample(
        percent=draw.choice([None, Decimal(10), Decimal("33.4"), Decimal(100)]),
        at_least=draw.choice([None, 1, 2]),
        square_root=draw.random() < 0.3,
        include=frozenset(include),
        borderline_within=Decimal(5) if "borderline" in include else None,
        strata=draw.choice([1, 2, 3, 5]),
    )


def random_allocation(draw: Random) -> commands.CommandData:
    graders = draw.sample([TA1, TA1, TA2, TA2, TA3, FINAL_GRADER, STRANGER], draw.randint(1, 3))
    enforced = draw.choice([None, True, True, False])
    if draw.random() < 0.5:
        even = commands.EvenAllocation(grader_ids=tuple(graders), marks=draw.choice([1, 1, 2]))
        return commands.AllocateSubmissions(evenly=even, enforced=enforced)
    rows = tuple((grader, tuple(draw.sample([ANN, BEN, CAT], draw.randint(0, 2)))) for grader in graders)
    return commands.AllocateSubmissions(allocations=rows, enforced=enforced)


def random_enrollment(draw: Random) -> commands.CommandData:
    rows = []
    for user in draw.sample(sorted(TYPES), draw.randint(1, 2)):
        stated: dict[str, Any] = {"state": draw.choice(STATES)}
        if draw.random() < 0.3:
            stated["limited_to_section"] = draw.random() < 0.6
        if draw.random() < 0.1:
            stated["permissions"] = {draw.choice(PERMISSIONS): draw.random() < 0.5}
        type_ = draw.choice([TYPES[user]] * 9 + ["ObserverEnrollment", "DesignerEnrollment", "TaEnrollment"])
        section = draw.choice([None, None, 1, 2])
        rows.append(commands.EnrollmentUpsert(user_id=user, type=type_, section_id=section, fields=stated))
    return commands.UpsertEnrollments(enrollments=tuple(rows))


def random_admin(draw: Random) -> commands.CommandData:
    granted = tuple(draw.sample(PERMISSIONS, draw.choice([0, 2, 3, 3])))
    return commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=ADMIN, permissions=granted),))


def random_settings(draw: Random) -> commands.CommandData:
    return commands.ConfigureAssignment(fields=some_of(draw, SETTINGS, draw.choice([1, 1, 1, 2, 3])))


def random_course_fact(draw: Random) -> commands.CommandData:
    if draw.random() < 0.4:
        return commands.UpsertCourse(fields={"grading_scheme": draw.choice(SCHEMES)})
    policy = None if draw.random() < 0.15 else some_of(draw, POLICY_FIELDS, draw.randint(1, len(POLICY_FIELDS)))
    return commands.UpsertCourse(fields={"late_policy": policy})


def random_submission(draw: Random) -> commands.CommandData:
    fields = some_of(draw, SUBMISSION_FIELDS, draw.randint(1, 5))
    return commands.RecordSubmission(student_id=draw.choice(STUDENTS), fields=fields)


def random_lateness(draw: Random) -> commands.CommandData:
    """Return fields of a late submission, unless something else is stated."""
    fields = {"attempt": 1, "submitted_at": TIMES[1], "seconds_late": draw.choice([1, 3_600, 90_000, 200_000])}
    return commands.RecordSubmission(student_id=draw.choice(STUDENTS), fields=fields)


def random_policy(draw: Random) -> commands.CommandData:
    """Return a policy with a deduction, often without a minimum."""
    policy = some_of(draw, POLICY_FIELDS, len(POLICY_FIELDS))
    return commands.UpsertCourse(fields={"late_policy": {**policy, "late_submission_deduction_enabled": True}})


def random_posting(draw: Random) -> commands.CommandData:
    students = draw.choice([None, None, (ANN,), (BEN, CAT, STRANGER)])
    if draw.random() < 0.5:
        return commands.HideGrades(student_ids=students)
    return commands.PostGrades(student_ids=students, posted_at=draw.choice(TIMES))


STEP_WEIGHTS: dict[Callable[[Random], commands.CommandData], int] = {
    random_grade: 36,
    random_excusal: 4,
    random_comment: 6,
    random_selection: 18,
    random_addition: 3,
    random_publication: 5,
    random_enrollment: 6,
    random_admin: 1,
    random_settings: 10,
    random_course_fact: 5,
    random_submission: 12,
    random_lateness: 7,
    random_policy: 3,
    random_posting: 4,
    random_plan: 3,
    random_adjudication_policy: 4,
    random_adjudication: 9,
    random_revision: 4,
    random_slot_release: 2,
    random_sample: 3,
    random_allocation: 3,
    random_schedule: 5,
    random_cancellation: 2,
    random_due_publication: 2,
}
EXAMINING = frozenset(
    {
        random_plan, random_adjudication_policy, random_adjudication, random_revision, random_slot_release,
        random_sample, random_allocation, random_schedule, random_cancellation, random_due_publication,
    }
)  # fmt: skip


def random_history(seed: int, length: int = 60) -> list[Step]:
    """Draw a history; any subset of its steps is a history too.

    Each fourth one publishes late work, and each second one is mostly of what examiners do beyond Canvas; each eighth
    one is mostly of schedules and of what changes between them.
    """
    draw = Random(seed)
    if seed % 2 == 0:
        return random_examination(draw, length)
    if seed % 8 == 5:
        return random_scheduling(draw, length)
    late_publication = random_late_publication(draw) if seed % 4 == 3 else []
    count = length - len(late_publication)
    built = draw.choices(list(STEP_WEIGHTS), list(STEP_WEIGHTS.values()), k=count)
    moderating = EXAMINING | {random_selection, random_addition, random_publication}
    steps = [Step(draw.choice(MODERATORS if build in moderating else ACTORS), build(draw)) for build in built]
    return late_publication + steps


def random_mark(draw: Random) -> commands.CommandData:
    student, score = draw.choice([ANN, BEN, CAT, TEST_STUDENT]), draw.choice(SCORES)
    if draw.random() < 0.2:
        word = draw.choice(["A", "F", "complete", "incomplete"])
        return commands.RecordProvisionalGrade(student_id=student, posted_grade=word)
    return commands.RecordProvisionalGrade(student_id=student, score=score)


def random_final_grade(draw: Random) -> commands.CommandData:
    """Give a final grade by hand, or clear it."""
    student, text = draw.choice([ANN, BEN, CAT]), draw.choice(["", "4", "9"])
    return commands.RecordProvisionalGrade(student_id=student, posted_grade=text, final=True)


EXAMINATION_WEIGHTS: dict[Callable[[Random], commands.CommandData], int] = {
    random_mark: 50,
    random_adjudication: 24,
    random_adjudication_policy: 8,
    random_sample: 8,
    random_allocation: 6,
    random_selection: 5,
    random_comment: 5,
    random_slot_release: 4,
    random_final_grade: 6,
    random_settings: 4,
    random_grade: 4,
    random_course_fact: 2,
    random_lateness: 2,
    random_excusal: 1,
    random_enrollment: 1,
    random_schedule: 3,
    random_cancellation: 1,
}


def random_examination(draw: Random, length: int) -> list[Step]:
    """Draw marks, adjudications and what is around them, then a publication of the day's plan, and revisions."""
    settings = {"grader_count": 3, "moderation_set": draw.choice(SETTINGS["moderation_set"]), **draw_grading(draw)}
    first = [commands.ConfigureAssignment(fields=settings), random_adjudication_policy(draw)]
    graders, built = (
        [TA1, TA1, TA2, TA2, TA3],
        draw.choices(list(EXAMINATION_WEIGHTS), list(EXAMINATION_WEIGHTS.values()), k=length - 20),
    )
    steps = [Step(FINAL_GRADER, data) for data in first]
    steps += [
        Step(draw.choice(graders if build in (random_mark, random_comment) else [FINAL_GRADER, ADMIN]), build(draw))
        for build in built
    ]
    publication = commands.PublishProvisionalGrades(plan_digest=TODAYS_DIGEST)
    everything = commands.BulkSelectProvisionalGrades(provisional_grade_ids=tuple(range(1, 20)))
    last = [random_adjudication(draw), commands.PlanPublication(), publication, random_schedule(draw), everything]
    last += [draw.choice([publication, random_due_publication(draw)]), publication]
    last += [random_revision(draw) for _ in range(8)]
    last += [random_posting(draw), random_lateness(draw), random_revision(draw)]
    return steps + [Step(draw.choice([FINAL_GRADER, ADMIN]), data) for data in last]


SCHEDULING_WEIGHTS: dict[Callable[[Random], commands.CommandData], int] = {
    random_schedule: 24,
    random_mark: 16,
    random_cancellation: 8,
    random_settings: 8,
    random_selection: 8,
    random_due_publication: 6,
    random_enrollment: 6,
    random_adjudication: 4,
    random_admin: 3,
    random_adjudication_policy: 2,
    random_excusal: 2,
    random_submission: 2,
    random_plan: 1,
}


def random_scheduling(draw: Random, length: int) -> list[Step]:
    """Draw schedules, mostly of who may schedule, and everything that decides what their publication would do."""
    built = draw.choices(list(SCHEDULING_WEIGHTS), list(SCHEDULING_WEIGHTS.values()), k=length)
    actors: dict[Callable[[Random], commands.CommandData], list[int]] = {
        random_mark: [TA1, TA2],
        random_selection: [FINAL_GRADER, ADMIN],
    }
    return [Step(draw.choice(actors.get(build, MODERATORS)), build(draw)) for build in built]


def random_late_publication(draw: Random) -> list[Step]:
    grading = commands.ConfigureAssignment(fields=draw_grading(draw))
    facts = [grading, random_policy(draw), *(random_lateness(draw) for _ in range(5)), random_submission(draw)]
    grades = [
        commands.RecordProvisionalGrade(student_id=student, score=draw.choice(SCORES)) for student in (ANN, BEN, CAT)
    ]
    return [
        *(Step(STRANGER, data) for data in facts),
        *(Step(TA1, data) for data in grades),
        Step(FINAL_GRADER, commands.PublishProvisionalGrades()),
    ]


def draw_grading(draw: Random) -> dict[str, Any]:
    """Return points and grading type of an assignment."""
    return {name: draw.choice(SETTINGS[name]) for name in ("points_possible", "grading_type")}


def shrink(history: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Remove steps from a failing history, many at a time and then one by one, while the rest still fails."""
    size = len(history) // 2
    while size:
        start = 0
        while start < len(history):
            shorter = history[:start] + history[start + size :]
            if fails(shorter):
                history = shorter
            else:
                start += size
        size = len(history) // 2 if size > len(history) else size // 2
    return history
