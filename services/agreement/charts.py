"""Two small plots as inline SVG: how far apart two marks of one work are, and each grader's mean difference.

Drawn with presentation attributes and ``currentColor`` alone, so that they need no style of their own under a strict
content security policy and follow the page into the dark. Each has a title and a description that says all it shows.
"""

from collections.abc import Mapping, Sequence
from html import escape

from services.agreement.coefficients import REASONS
from services.agreement.statistics import Agreement, Distance, Grader
from services.moderation.grade_conversion import format_number

WIDTH = 360
_ROW = 22
_LABEL = 96
_NUMBER = 44


def distance_plot(found: Agreement, name: str = "distances") -> str:
    """Bars: how many pairs of marks are equal, within the tolerance, farther apart. ``name``: unique on the page."""
    bars = found.distances
    if not bars:
        return _drawing(name, "Distance between two marks of one work", _nothing(found.exact.reason), _ROW, [])
    longest = max(bar.pairs for bar in bars)
    labels = _labels(bars)
    room = WIDTH - _LABEL - _NUMBER
    parts = []
    for place, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        length = round(room * bar.pairs / longest, 1)
        top = place * _ROW
        inside = bar.up_to is not None and found.tolerance is not None and bar.up_to <= found.tolerance
        parts += [
            _text(_LABEL - 8, top, label, "end"),
            f'<rect x="{_LABEL}" y="{top + 4}" width="{length}" height="{_ROW - 8}" fill="currentColor" '
            f'fill-opacity="{0.85 if inside else 0.5}"/>',
            _text(_LABEL + length + 6, top, str(bar.pairs), "start"),
        ]
    said = "; ".join(f"{label}: {bar.pairs}" for bar, label in zip(bars, labels, strict=True))
    within = (
        "" if found.tolerance is None else f" Within the tolerance of {format_number(found.tolerance)} drawn darker."
    )
    description = f"Pairs of marks by their distance in points. {said}.{within}"
    return _drawing(name, "Distance between two marks of one work", description, _ROW * len(bars), parts)


def bias_plot(found: Agreement, names: Mapping[int, str], name: str = "bias") -> str:
    """A dot a grader: their mean difference from the other graders, its line one standard deviation to both sides.

    ``names``: what a grader is called, by user id.
    """
    title = "Mean difference of each grader from the others"
    known = [(names[grader.user_id], *_spread(grader)) for grader in found.graders if _has_bias(grader)]
    if not known:
        return _drawing(name, title, _nothing("no_shared_works"), _ROW, [])
    reach = max(max(abs(mean) + deviation for _, mean, deviation in known), 1e-9)
    room = WIDTH - _LABEL - _NUMBER
    middle = _LABEL + room / 2
    parts = [_line(middle, 0, middle, _ROW * len(known), 0.5)]
    for place, (grader, mean, deviation) in enumerate(known):
        top = place * _ROW
        at, half = [round(distance / reach * room / 2, 1) for distance in (mean, deviation)]
        parts += [
            _text(_LABEL - 8, top, _short(grader), "end"),
            _line(middle + at - half, top + _ROW / 2, middle + at + half, top + _ROW / 2, 0.6),
            f'<circle cx="{middle + at:g}" cy="{top + _ROW / 2:g}" r="4" fill="currentColor"/>',
            _text(WIDTH, top, f"{mean:+.2f}", "end"),
        ]
    said = "; ".join(f"{grader}: {mean:+.2f}, standard deviation {deviation:.2f}" for grader, mean, deviation in known)
    description = f"In points; above zero is more generous than the others. {said}."
    return _drawing(name, title, description, _ROW * len(known), parts)


def _has_bias(grader: Grader) -> bool:
    return grader.from_others.mean.value is not None


def _spread(grader: Grader) -> tuple[float, float]:
    return grader.from_others.mean.value or 0.0, grader.from_others.deviation.value or 0.0


def _labels(bars: Sequence[Distance]) -> list[str]:
    edges = [bar.up_to for bar in bars if bar.up_to is not None]
    return ["equal", *(f"up to {format_number(edge)}" for edge in edges[1:]), f"over {format_number(edges[-1])}"]


def _nothing(reason: str | None) -> str:
    return "Nothing to show: " + next((said for slug, said in REASONS.items() if slug == reason), "no marks") + "."


def _short(text: str) -> str:
    return text if len(text) <= 13 else text[:12] + "…"


def _text(x: float, top: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:g}" y="{top + _ROW / 2 + 4:g}" text-anchor="{anchor}" font-size="12" fill="currentColor">'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" stroke-width="2" '
        f'stroke-opacity="{opacity}"/>'
    )


def _drawing(name: str, title: str, description: str, height: float, parts: Sequence[str]) -> str:
    shown = parts or [_text(0, 0, description, "start")]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        f"{''.join(shown)}</svg>"
    )
