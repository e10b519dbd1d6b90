"""Unknown parameters of a write are refused by name."""

from typing import Any

import pytest

from services.gateway.canvas_moderation import NO_PARAMETERS
from services.gateway.grading_parameters import GRADE_PARAMETERS
from services.gateway.parameter_checks import is_blank, reject_acting_as, reject_unknown_parameters
from services.gateway.responses import ApiError

Json = dict[str, Any]


def refusal(params: Json, taken: Any = GRADE_PARAMETERS) -> str:
    with pytest.raises(ApiError) as refused:
        reject_unknown_parameters(params, taken)
    assert refused.value.status == 400
    message: str = refused.value.body["message"]
    return message


@pytest.mark.parametrize(
    ("params", "name", "remedy"),
    [
        ({"posted_grade": "90", "provisional": True}, "posted_grade", "submission[posted_grade]"),
        ({"submission.posted_grade": "90"}, "submission.posted_grade", "submission[posted_grade]"),
        ({"text_comment": "well"}, "text_comment", "comment[text_comment]"),
        ({"comment": {"comment": "well"}}, "comment[comment]", "comment[text_comment]"),
        ({"submission": {"late_policy_status": "late"}}, "submission[late_policy_status]", "submission[posted_grade]"),
        ({"submission": {"sticker": None}}, "submission[sticker]", "rubric_assessment[…]"),
        ({'{"submission":{"posted_grade":"90"}}': ""}, "JSON", "Content-Type: application/json"),
    ],
)
def test_refusal_names_the_unknown_parameter_and_the_accepted_form(params: Json, name: str, remedy: str) -> None:
    message = refusal(params)
    assert name in message
    assert remedy in message


def test_known_parameters_and_those_that_clients_add_are_accepted() -> None:
    grade = {"posted_grade": "9", "provisional": True}
    params: Json = {"submission": grade, "comment": {"text_comment": "x"}, "rubric_assessment": {"_1": {"points": 3}}}
    params |= {
        "prefer_points_over_scheme": "1",
        "include": ["visibility"],
        "utf8": "✓",
        "access_token": "x",
        "per_page": 100,
    }
    reject_unknown_parameters(params, GRADE_PARAMETERS)
    reject_unknown_parameters({}, NO_PARAMETERS)
    assert "student_id" in refusal({"student_id": 1}, {"student_ids": None})
    assert refusal({"x": 1}, NO_PARAMETERS).endswith("Send no parameters")


def test_refusal_names_few_parameters_and_shortens_them() -> None:
    message = refusal({"x" * 1_000 + str(number): "" for number in range(100)})
    assert len(message) < 1_000


def test_acting_as_another_user_is_rejected() -> None:
    reject_acting_as(None)
    with pytest.raises(ApiError):
        reject_acting_as("7")


@pytest.mark.parametrize(("value", "blank"), [(None, True), ("", True), ([], True), ("0", True), (False, True),
                                              ([5], False), ("m-1", False), (1, False), ("true", False)])  # fmt: skip
def test_optional_parameter_without_an_effect_counts_as_blank(value: Any, blank: bool) -> None:
    assert is_blank(value) is blank
