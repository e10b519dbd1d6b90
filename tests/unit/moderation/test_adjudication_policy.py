"""A policy that contradicts itself or the grading type is refused, with what to send instead."""

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import FINAL_GRADER, TA1, moderated_course

MEAN = AdjudicationPolicy(result="mean")


def test_policy_is_checked_against_itself_and_the_grading_type() -> None:
    memory = moderated_course(grading_type="pass_fail")
    wrong = [
        MEAN,
        AdjudicationPolicy(result="first", otherwise="third_mark"),
        AdjudicationPolicy(result="first", third="third_stands"),
        AdjudicationPolicy(result="first", marks=3, otherwise="third_mark", third="third_stands"),
    ]
    for policy in wrong:
        assert memory.expect_rejection(commands.SetAdjudicationPolicy(adjudication=policy), FINAL_GRADER) == (
            "invalid_adjudication"
        )
        assert memory.expect_rejection(commands.ConfigureAssignment(fields={"adjudication": policy})) == (
            "invalid_adjudication"
        )
    assert memory.expect_rejection(commands.AdjudicateProvisionalGrades(), FINAL_GRADER) == "invalid_adjudication"
    first = commands.SetAdjudicationPolicy(adjudication=AdjudicationPolicy(result="first"))
    memory.expect_accepted(first, FINAL_GRADER)
    assert memory.expect_accepted(first, FINAL_GRADER).events == ()
    memory.configure(moderated_grading=False)
    assert memory.document()["settings"]["adjudication"] is None
    memory.configure(moderated_grading=True, final_grader_id=FINAL_GRADER, grader_count=2)
    memory.publish()
    for data in (commands.AdjudicateProvisionalGrades(), commands.SetAdjudicationPolicy(adjudication=None)):
        assert memory.expect_rejection(data, FINAL_GRADER) == "already_published"
        assert memory.expect_rejection(data, TA1) == "unauthorized"


def test_refused_policy_names_what_the_grading_type_takes() -> None:
    ungraded = moderated_course(grading_type="not_graded")
    refused = ungraded.submit(commands.SetAdjudicationPolicy(adjudication=MEAN), FINAL_GRADER)
    assert isinstance(refused, Rejected)
    assert refused.message == (
        "an assignment of grading type not_graded takes no policy: send null; nothing was changed"
    )
    words = moderated_course(grading_type="pass_fail")
    for policy in (MEAN, AdjudicationPolicy(result="first", otherwise="third_mark", third="median")):
        refused = words.submit(commands.SetAdjudicationPolicy(adjudication=policy), FINAL_GRADER)
        assert isinstance(refused, Rejected)
        assert refused.message == (
            "an assignment of grading type pass_fail takes as result only first, highest or lowest, and as third only "
            "nearest_of_first_two or third_stands; nothing was changed"
        )
