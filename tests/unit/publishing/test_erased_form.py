"""What verification counts as erased: null or nothing in place of personal data, and everything else the same."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from schemas.http_request import HttpRequest
from services.publishing.caliper import NAMESPACE, build_envelope
from services.publishing.canvas_live_events import build_grade_change
from services.publishing.erased_form import is_erased_form
from services.publishing.user_history import NO_USER, EventUsers, UserIdentifiers
from tests.unit.publishing.test_published_bytes import FORMAT, GRADE_CHANGE, REQUEST, event

Json = dict[str, Any]
NAMED = EventUsers(UserIdentifiers("sis-101"), UserIdentifiers("sis-2", "login-2"))
NAMELESS = EventUsers(NO_USER, NO_USER)
ERASED_REQUEST = dict.fromkeys(HttpRequest.model_fields)
LIVE: Any = GRADE_CHANGE["live"]
WITHDRAWN: Json = {"grade": None, "score": None}


def grade_change(event_users: EventUsers, request: Json, **grade: Any) -> Json:
    row = event({**GRADE_CHANGE, "request": request, "live": {**LIVE, **grade}}, live_number=7)
    return build_grade_change(row, orjson.loads(row.metadata), event_users, FORMAT)


def forms(output: str, **grade: Any) -> tuple[Json, Json]:
    """Return what the log gives after student and publisher were erased, and what was published before."""
    changes = grade_change(NAMELESS, ERASED_REQUEST, **grade), grade_change(NAMED, REQUEST, **grade)
    if output == "live-events":
        return changes
    erased, original = (build_envelope(change, "the-id", "2", FORMAT) for change in changes)
    return erased, original


def is_grade_erased(output: str, erased: Json, original: Json) -> bool:
    return is_erased_form(output, "grade_published", erased, original)


@pytest.mark.parametrize("grade", [{}, WITHDRAWN], ids=["a grade", "no grade"])
@pytest.mark.parametrize("output", ["live-events", "caliper"])
def test_published_grade_whose_people_were_erased_is_erased(output: str, grade: Json) -> None:
    erased, original = forms(output, **grade)
    assert erased != original
    assert is_grade_erased(output, erased, original)
    assert not is_grade_erased(output, original, erased)


def test_grade_on_the_topic_that_the_log_withdrew_is_changed() -> None:
    erased, original = forms("live-events", **WITHDRAWN)
    original["body"] |= {"grade": "A", "score": 100}
    assert not is_grade_erased("live-events", erased, original)


def test_score_on_the_topic_that_the_log_withdrew_is_changed() -> None:
    erased, original = forms("caliper", **WITHDRAWN)
    original["data"][0]["generated"]["scoreGiven"] = 100.0
    assert not is_grade_erased("caliper", erased, original)


def copies_with_another_key(original: Json) -> Iterator[tuple[str, Json]]:
    """Yield the path of each object of a value, and a copy of the value with another key in that object."""

    def visit(value: Any, path: str) -> Iterator[tuple[str, Json]]:
        if isinstance(value, list):
            for item in value:
                yield from visit(item, path)
        elif isinstance(value, dict):
            value["added"] = 1
            changed = copy.deepcopy(original)
            del value["added"]
            yield path, changed
            for name, inner in value.items():
                yield from visit(inner, f"{path}.{name}")

    return visit(original, "")


@pytest.mark.parametrize(
    ("output", "objects", "erased_as_a_whole"),
    [
        ("live-events", 3, set()),
        (
            "caliper",
            30,
            {".data.membership", ".data.membership.member", ".data.membership.organization", ".data.session"},
        ),
    ],
)
def test_key_that_the_log_never_had_is_a_change(output: str, objects: int, erased_as_a_whole: set[str]) -> None:
    erased, original = forms(output)
    verdicts = [(path, is_grade_erased(output, erased, changed)) for path, changed in copies_with_another_key(original)]
    assert len(verdicts) == objects
    assert {path for path, is_erased in verdicts if is_erased} == erased_as_a_whole


def test_number_in_another_form_is_a_change() -> None:
    erased, original = forms("live-events", score=1)
    original["body"]["score"] = True
    assert not is_grade_erased("live-events", erased, original)


def test_grade_in_the_place_of_an_erased_id_is_a_change() -> None:
    erased, original = forms("caliper")
    original["data"][0]["object"]["assignee"]["extensions"][NAMESPACE] = {"grade": "A"}
    assert not is_grade_erased("caliper", erased, original)


def test_event_lacks_only_the_personal_values_of_its_payload() -> None:
    original: Json = {"course_id": "1", "payload": {"users": [{"user_id": "31", "name": "Ann", "created_at": "2026"}]}}

    def erased(**user: Any) -> Json:
        return {**original, "payload": {"users": [{"user_id": "31", "name": None, "created_at": "2026", **user}]}}

    assert is_erased_form("events", "users_updated", erased(), original)
    assert not is_erased_form("events", "users_updated", erased(created_at=None), original)
    assert not is_erased_form("events", "users_updated", {**erased(), "course_id": None}, original)
    # The same key is personal only where the schema says so.
    assert not is_erased_form("events", "course_updated", erased(), original)


def test_old_and_new_rubric_are_erased_and_scores_are_not() -> None:
    rubric = {"criterion": {"comments": "secret"}}
    original: Json = {"payload": {"score": [7.0, 8.0], "rubric_assessment": [None, rubric]}}
    erased = {"payload": {"score": [7.0, 8.0], "rubric_assessment": [None, None]}}
    assert is_erased_form("events", "provisional_grade_updated", erased, original)
    other_score = {"payload": {**original["payload"], "score": [7.0, 10.0]}}
    assert not is_erased_form("events", "provisional_grade_updated", erased, other_score)
