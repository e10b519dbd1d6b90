"""Rubric assessments in the Canvas API's form; they are stored as they were sent, by criterion.

Canvas: app/models/rubric_association.rb (assess), lib/api/v1/rubric_assessment.rb (indexed_rubric_assessment_json).
"""

import math
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def rubric_assessment_json(rubric_assessment: Mapping[str, Any]) -> Json:
    """Build ``data``, a rating per criterion under Canvas's names, and ``score``, the sum of their points or null."""
    ratings = [_rating_json(criterion, rating) for criterion, rating in rubric_assessment.items()]
    points = [rating["points"] for rating in ratings if isinstance(rating.get("points"), int | float)]
    return {"score": sum(points) if points else None, "data": ratings}


def _rating_json(criterion: str, rating: Any) -> Json:
    fields = _with_numeric_points(rating)
    rating_id = {"id": fields.pop("rating_id")} if "rating_id" in fields else {}
    return {"criterion_id": criterion, **rating_id, **fields}


def indexed_rubric_json(rubric_assessment: Mapping[str, Any]) -> Json:
    """Describe a submission's own assessment: the ratings by criterion."""
    return {criterion: _with_numeric_points(rating) for criterion, rating in rubric_assessment.items()}


def _with_numeric_points(rating: Any) -> Json:
    """Return a rating's fields; points that a form sent as text become a number, as in Canvas."""
    if not isinstance(rating, Mapping):
        return {"points": rating}
    fields = dict(rating)
    if isinstance(fields.get("points"), str):
        fields["points"] = _parse_points(fields["points"])
    return fields


def _parse_points(text: str) -> float | str | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
