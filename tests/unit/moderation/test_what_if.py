"""What another adjudication would answer is compared with what each student has now."""

from decimal import Decimal
from typing import Any

from services.moderation import commands
from services.moderation.adjudication_documents import what_if_document
from services.moderation.adjudication_policy import AdjudicationPolicy
from tests.fixtures.in_memory_course import (
    ANN,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    InMemoryCourse,
    moderated_course,
)
from tests.unit.moderation.lms_fact_builders import DAY1, submission_fact

Json = dict[str, Any]
MEAN = AdjudicationPolicy(result="mean")


def foretell(memory: InMemoryCourse, policy: AdjudicationPolicy) -> Json:
    """Return Ann's row of what another adjudication would answer."""
    document = what_if_document(policy, None, memory.courses[COURSE], memory.assignments[ESSAY])
    found: Json = next(r for r in document["students"] if r["student_id"] == ANN)
    return found


def test_what_if_after_the_publication_of_late_work_compares_scores_before_the_deduction() -> None:
    memory = moderated_course(adjudication=MEAN)
    policy = {"late_submission_deduction_enabled": True, "late_submission_deduction": Decimal(10)}
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": policy}))
    memory.expect_accepted(submission_fact(ANN, submitted_at=DAY1, attempt=1, seconds_late=3_600))
    memory.grade(TA1, ANN, 6)
    memory.grade(TA2, ANN, 7)
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.publish()
    assert memory.get_submission(ANN)["score"] == 5.5
    foretold = foretell(memory, MEAN)
    assert (foretold["score"], foretold["current_score"], foretold["differs"]) == ("6.5", "6.5", False)
    other = foretell(memory, AdjudicationPolicy(result="highest"))
    assert (other["score"], other["current_score"], other["differs"]) == ("7", "6.5", True)


def test_what_if_after_the_publication_reads_scores_that_follow_changed_points() -> None:
    policy = AdjudicationPolicy(result="first")
    memory = moderated_course(adjudication=policy, grading_type="pass_fail")
    for grader in (TA1, TA2):
        memory.grade(grader, ANN, posted_grade="complete")
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.publish()
    memory.configure(points_possible=Decimal(20))
    foretold = foretell(memory, policy)
    assert (foretold["score"], foretold["current_score"], foretold["differs"]) == ("20", "20", False)
