"""The small plots describe everything they show in text, and contain neither style nor script."""

import xml.etree.ElementTree as ElementTree
from decimal import Decimal

from services.agreement.charts import bias_chart, distance_chart
from services.agreement.figures import Agreement
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from tests.fixtures.in_memory_course import ANN, BEN, CAT, COURSE, ESSAY, TA1, TA2, InMemoryCourse, moderated_course

HOSTILE = '"><script>alert(1)</script>'
SVG = "{http://www.w3.org/2000/svg}"
ALLOWED_TAGS = {"svg", "title", "desc", "text", "rect", "line", "circle"}


def compute(memory: InMemoryCourse) -> Agreement:
    return compute_agreement(collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY]), Decimal(1))


def rated_by_two() -> Agreement:
    """Build a course with marks out of ten; TA2 gives 0, 1 and 5 more than TA1."""
    memory = moderated_course()
    for student, more in ((ANN, 0), (BEN, 1), (CAT, 5)):
        memory.grade(TA1, student, 4)
        memory.grade(TA2, student, 4 + more)
    return compute(memory)


def parse_chart(drawing: str) -> tuple[str, str, list[str]]:
    """Return title, description and labels of a drawing; raise if it is malformed or has forbidden content."""
    root = ElementTree.fromstring(drawing)
    assert {part.tag.removeprefix(SVG) for part in root.iter()} <= ALLOWED_TAGS
    assert not any(name == "style" or name.startswith("on") for part in root.iter() for name in part.attrib)
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    return title.text or "", description.text or "", [part.text or "" for part in root.iter(f"{SVG}text")]


def test_distance_chart_has_bars_and_a_text_description() -> None:
    title, description, labels = parse_chart(distance_chart(rated_by_two()))

    assert title == "Distance between two marks of one work"
    assert "equal: 1; up to 1: 1; up to 2: 0; up to 3: 0; up to 4: 0; over 4: 1" in description
    assert "tolerance of 1 " in description
    assert labels[:4] == ["equal", "1", "up to 1", "1"]


def test_bias_chart_has_dots_and_a_text_description() -> None:
    _, description, labels = parse_chart(bias_chart(rated_by_two(), {TA1: "Grader 1", TA2: "Grader 2"}))

    assert "Grader 1: -2.00, standard deviation 2.65; Grader 2: +2.00, standard deviation 2.65" in description
    assert labels == ["Grader 1", "-2.00", "Grader 2", "+2.00"]


def test_hostile_grader_name_is_escaped() -> None:
    _, description, labels = parse_chart(bias_chart(rated_by_two(), {TA1: HOSTILE, TA2: HOSTILE}, "of-7"))

    assert HOSTILE in description
    assert labels[0] == HOSTILE[:12] + "…"


def test_empty_chart_explains_the_missing_data() -> None:
    empty = compute(moderated_course())

    for drawing in (distance_chart(empty), bias_chart(empty, {})):
        _, description, labels = parse_chart(drawing)
        assert description == "Nothing to show: no work was marked by two graders."
        assert labels == [description]
