"""How many scores fall into each part of the range, now and after an adjudication."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from services.moderation.grade_conversion import format_number

BINS = 10
BAR_WIDTH = 100


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Counts of scores, with bar lengths relative to the largest count, whose bar is BAR_WIDTH long."""

    label: str
    now: int
    then: int
    now_bar: float
    then_bar: float


def build_distribution(
    pairs: Iterable[tuple[Decimal | None, Decimal | None]], points_possible: Decimal | None
) -> list[ScoreBin]:
    """Count (now, then) scores in ten equal parts of the points, higher and lower ones in rows of their own.

    The last row counts the students who have none, without a bar. Without points the range is that of the scores.
    """
    pairs = list(pairs)
    scores = [score for pair in pairs for score in pair if score is not None]
    top = points_possible or max(scores, default=Decimal(0))
    if top <= 0:
        top = Decimal(1)
    width = top / BINS
    counts: dict[int | None, list[int]] = {index: [0, 0] for index in range(BINS)}
    for pair in pairs:
        for side, score in enumerate(pair):
            counts.setdefault(_find_bin(score, width, top), [0, 0])[side] += 1
    order = sorted(index for index in counts if index is not None)
    largest = max(count for index in order for count in counts[index]) or 1
    bins = []
    for index in order:
        now, then = counts[index]
        bins.append(ScoreBin(_label(index, width), now, then, BAR_WIDTH * now / largest, BAR_WIDTH * then / largest))
    if None in counts:
        now, then = counts[None]
        bins.append(ScoreBin("no score", now, then, 0, 0))
    return bins


def _find_bin(score: Decimal | None, width: Decimal, top: Decimal) -> int | None:
    """Return the number of a score's part: -1 below zero, BINS above the top, which is in the last part."""
    if score is None:
        return None
    if score < 0:
        return -1
    if score > top:
        return BINS
    return min(int((score / width).to_integral_value(ROUND_FLOOR)), BINS - 1)


def _label(index: int, width: Decimal) -> str:
    if index < 0:
        return "below 0"
    if index == BINS:
        return f"above {format_number(width * BINS)}"
    return f"{format_number(width * index)} to {format_number(width * (index + 1))}"
