"""Commands built from the parameters of a grading request."""

from typing import Any

import pytest

from services.gateway.command_client import CommandRequest
from services.gateway.grading_parameters import to_command_request
from services.gateway.responses import ApiError

Json = dict[str, Any]
ASSIGNMENT_KEY, ANN = (1001, 2001), 31


def build_command(**params: Any) -> CommandRequest | None:
    return to_command_request(ASSIGNMENT_KEY, ANN, params)


def build_grade_data(**params: Any) -> Json:
    command = build_command(**params)
    assert command is not None
    assert (command.type, command.data.pop("student_id")) == ("record_provisional_grade", ANN)
    return command.data


@pytest.mark.parametrize(
    ("submission", "data"),
    [
        ({"posted_grade": "7.5"}, {"posted_grade": "7.5"}),
        ({"posted_grade": 7.5}, {"posted_grade": "7.5"}),
        ({"posted_grade": 1e-05}, {"posted_grade": "0.00001"}),
        ({"posted_grade": ""}, {"posted_grade": ""}),
        ({"grade": "8"}, {"posted_grade": "8"}),
        ({"grade": "8", "posted_grade": "9"}, {"posted_grade": "9"}),
        ({"grade": "8", "posted_grade": None}, {"posted_grade": "8"}),
        ({"score": "6"}, {"score": 6.0}),
        ({"score": 3.3333333333333335}, {"score": 3.3333333333333335}),
        ({"score": "0.30000000000000004"}, {"score": 0.30000000000000004}),
        ({"excuse": "true"}, {"excuse": True}),
        ({"excuse": "0", "grade": "8"}, {"excuse": False, "posted_grade": "8"}),
        ({"posted_grade": "7", "final": "1", "graded_anonymously": "on"},
         {"posted_grade": "7", "final": True, "graded_anonymously": True}),
    ],
)  # fmt: skip
def test_grade_is_read_from_every_parameter_form(submission: Json, data: Json) -> None:
    assert build_grade_data(submission=submission) == data


def test_prefer_points_over_scheme_is_passed_to_the_command() -> None:
    said = {"posted_grade": "5", "prefer_points_over_scheme": True}
    assert build_grade_data(submission={"posted_grade": "5"}, prefer_points_over_scheme="true") == said
    assert build_grade_data(submission={"posted_grade": "5"}, prefer_points_over_scheme="false") == {
        "posted_grade": "5"
    }
    assert build_grade_data(submission={"score": "5"}, prefer_points_over_scheme="true") == {"score": 5.0}


def test_comment_without_a_grade_becomes_a_comment_command() -> None:
    alone = build_command(submission={"provisional": True, "final": True}, comment={"text_comment": "well"})
    data = {"student_id": ANN, "final": True, "comment": "well"}
    assert alone == CommandRequest("record_provisional_comment", *ASSIGNMENT_KEY, data)
    both = build_grade_data(submission={"posted_grade": "7"}, comment={"text_comment": "well"})
    assert both == {"posted_grade": "7", "comment": "well"}
    rated = build_grade_data(rubric_assessment={"_1": {"points": "3"}}, comment={"text_comment": "well"})
    assert rated == {"comment": "well", "rubric_assessment": {"_1": {"points": "3"}}}


@pytest.mark.parametrize("comment", [{}, {"text_comment": ""}, {"text_comment": " \n"}, {"text_comment": None}])
def test_request_without_grade_or_comment_sends_no_command(comment: Json) -> None:
    assert build_command(submission={"provisional": "true", "posted_grade": None}, comment=comment) is None


@pytest.mark.parametrize("grade", [True, ["7"], {"points": 7}])
def test_non_text_grade_is_rejected(grade: Any) -> None:
    for name in ("posted_grade", "grade"):
        with pytest.raises(ApiError):
            build_command(submission={name: grade})
