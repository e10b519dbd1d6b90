"""The small plots: all they show is also said in words, and they bring neither style nor script."""

import xml.etree.ElementTree as ElementTree
from decimal import Decimal

from services.agreement.charts import bias_chart, distance_chart
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import Agreement, compute_agreement
from tests.moderation.memory import ANN, BEN, CAT, COURSE, ESSAY, TA1, TA2, Memory, office

HOSTILE = '"><script>alert(1)</script>'
SVG = "{http://www.w3.org/2000/svg}"
MAY_STAND = {"svg", "title", "desc", "text", "rect", "line", "circle"}


def of(memory: Memory) -> Agreement:
    return compute_agreement(collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY]), Decimal(1))


def marked() -> Agreement:
    """Ten points; TA2 gives 0, 1 and 5 more than TA1."""
    memory = office()
    for student, more in ((ANN, 0), (BEN, 1), (CAT, 5)):
        memory.grade(TA1, student, 4)
        memory.grade(TA2, student, 4 + more)
    return of(memory)


def read(drawing: str) -> tuple[str, str, list[str]]:
    """Title, description and labels of a drawing; raises where it is not well formed or holds what it may not."""
    root = ElementTree.fromstring(drawing)
    assert {part.tag.removeprefix(SVG) for part in root.iter()} <= MAY_STAND
    assert not any(name == "style" or name.startswith("on") for part in root.iter() for name in part.attrib)
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    return title.text or "", description.text or "", [part.text or "" for part in root.iter(f"{SVG}text")]


def test_the_distances_are_bars_and_words() -> None:
    title, description, labels = read(distance_chart(marked()))

    assert title == "Distance between two marks of one work"
    assert "equal: 1; up to 1: 1; up to 2: 0; up to 3: 0; up to 4: 0; over 4: 1" in description
    assert "tolerance of 1 " in description
    assert labels[:4] == ["equal", "1", "up to 1", "1"]


def test_the_bias_of_each_grader_is_a_dot_and_words() -> None:
    _, description, labels = read(bias_chart(marked(), {TA1: "Grader 1", TA2: "Grader 2"}))

    assert "Grader 1: -2.00, standard deviation 2.65; Grader 2: +2.00, standard deviation 2.65" in description
    assert labels == ["Grader 1", "-2.00", "Grader 2", "+2.00"]


def test_a_hostile_name_is_a_text() -> None:
    _, description, labels = read(bias_chart(marked(), {TA1: HOSTILE, TA2: HOSTILE}, "of-7"))

    assert HOSTILE in description
    assert labels[0] == HOSTILE[:12] + "…"


def test_where_there_is_nothing_to_show_the_reason_is_told() -> None:
    empty = of(office())

    for drawing in (distance_chart(empty), bias_chart(empty, {})):
        _, description, labels = read(drawing)
        assert description == "Nothing to show: no work was marked by two graders."
        assert labels == [description]
