"""What somebody asks who grades or comments over HTTP: the command that the parameters stand for."""

from typing import Any

import pytest

from services.gateway.canvas_writes import to_command_request
from services.gateway.command_client import CommandRequest
from services.gateway.responses import ApiError

Json = dict[str, Any]
PLACE, ANN = (1001, 2001), 31


def asked(**params: Any) -> CommandRequest | None:
    return to_command_request(PLACE, ANN, params)


def told(**params: Any) -> Json:
    found = asked(**params)
    assert found is not None
    assert (found.type, found.data.pop("student_id")) == ("record_provisional_grade", ANN)
    return found.data


@pytest.mark.parametrize(
    ("submission", "data"),
    [
        ({"posted_grade": "7.5"}, {"posted_grade": "7.5"}),
        ({"posted_grade": 7.5}, {"posted_grade": "7.5"}),
        ({"posted_grade": ""}, {"posted_grade": ""}),
        ({"grade": "8"}, {"posted_grade": "8"}),
        ({"grade": "8", "posted_grade": "9"}, {"posted_grade": "9"}),
        ({"grade": "8", "posted_grade": None}, {"posted_grade": "8"}),
        ({"score": "6"}, {"score": 6.0}),
        ({"excuse": "true"}, {"excuse": True}),
        ({"excuse": "0", "grade": "8"}, {"excuse": False, "posted_grade": "8"}),
        ({"posted_grade": "7", "final": "1", "graded_anonymously": "on"},
         {"posted_grade": "7", "final": True, "graded_anonymously": True}),
    ],
)  # fmt: skip
def test_a_grade_is_taken_however_it_is_said(submission: Json, data: Json) -> None:
    assert told(submission=submission) == data


def test_a_number_is_points_for_who_prefers_them() -> None:
    said = {"posted_grade": "5", "prefer_points_over_scheme": True}
    assert told(submission={"posted_grade": "5"}, prefer_points_over_scheme="true") == said
    assert told(submission={"posted_grade": "5"}, prefer_points_over_scheme="false") == {"posted_grade": "5"}
    assert told(submission={"score": "5"}, prefer_points_over_scheme="true") == {"score": 5.0}


def test_a_comment_alone_is_no_grade_and_one_with_a_grade_goes_with_it() -> None:
    alone = asked(submission={"provisional": True, "final": True}, comment={"text_comment": "well"})
    data = {"student_id": ANN, "final": True, "comment": "well"}
    assert alone == CommandRequest("record_provisional_comment", *PLACE, data)
    both = told(submission={"posted_grade": "7"}, comment={"text_comment": "well"})
    assert both == {"posted_grade": "7", "comment": "well"}
    rated = told(rubric_assessment={"_1": {"points": "3"}}, comment={"text_comment": "well"})
    assert rated == {"comment": "well", "rubric_assessment": {"_1": {"points": "3"}}}


@pytest.mark.parametrize("comment", [{}, {"text_comment": ""}, {"text_comment": " \n"}, {"text_comment": None}])
def test_who_says_nothing_asks_for_nothing(comment: Json) -> None:
    assert asked(submission={"provisional": "true", "posted_grade": None}, comment=comment) is None


@pytest.mark.parametrize("grade", [True, ["7"], {"points": 7}])
def test_a_grade_that_is_no_text_is_refused(grade: Any) -> None:
    for name in ("posted_grade", "grade"):
        with pytest.raises(ApiError):
            asked(submission={name: grade})
