"""The form of an adjudication policy: what it means, and that a policy survives it."""

import pytest

from services.console.web.policy_form import FIELDS, read_form
from services.console.web.policy_text import describe_policy
from services.moderation.adjudication_policy import policy_from_json, policy_to_json

POLICIES = [
    {"marks": 3, "result": "median", "within_points": "2.5", "boundaries": ["40", "55.5"]},
    {"marks": 2, "result": "first", "boundaries": "grading_scheme", "within_percent": "10"},
    {"marks": 2, "result": "mean", "otherwise": "third_mark", "third": "mean_of_nearest_two"},
]
NOTHING = {"within_points": None, "within_percent": None, "boundaries": None, "otherwise": "moderator", "third": None}
ROUNDING = {"step": "0.5", "mode": "half_even"}
FORM = {"marks": "2", "result": "mean", "step": "0.01", "mode": "half_up", "otherwise": "moderator"}


@pytest.mark.parametrize("document", POLICIES)
def test_form_filled_with_a_policy_means_the_same_policy(document: dict[str, object]) -> None:
    policy = policy_from_json({**NOTHING, "rounding": ROUNDING, **document})
    shown = read_form({}, policy, "points")
    assert shown.policy == policy
    assert read_form(shown.fields, None, "points").policy == policy
    assert set(shown.fields) <= set(FIELDS)
    assert str(document["marks"]) in describe_policy(policy_to_json(policy))


def test_without_a_policy_the_form_proposes_one() -> None:
    proposal = read_form({}, None, "points")
    assert proposal.policy is not None
    assert (proposal.policy.marks, proposal.policy.result) == (2, "mean")


@pytest.mark.parametrize(
    ("change", "grading_type", "problem"),
    [
        ({"marks": "1"}, "points", "marks"),
        ({"marks": "two"}, "points", "marks"),
        ({"within_points": "1,5"}, "points", "within_points"),
        ({"boundaries": "60 40"}, "points", "boundaries"),
        ({"result": "best"}, "points", "result"),
        ({"step": "0"}, "points", "rounding"),
        ({"marks": "3", "otherwise": "median"}, "points", "third_mark"),
        ({}, "pass_fail", "pass_fail"),
    ],
)
def test_a_form_that_is_no_policy_keeps_its_fields_and_names_the_problem(
    change: dict[str, str], grading_type: str, problem: str
) -> None:
    form = read_form({**FORM, **change}, None, grading_type)
    assert form.policy is None
    assert problem in str(form.problem)
    assert change.items() <= form.fields.items()
