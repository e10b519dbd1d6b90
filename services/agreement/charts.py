"""Two small plots as inline SVG: distances between two marks of one work, and each grader's mean difference.

They use presentation attributes and ``currentColor`` only, so that they need no style under a strict content security
policy and follow the page's dark mode. Each has a title and a description of everything that it shows.
"""

from collections.abc import Mapping, Sequence
from html import escape

from services.agreement.coefficients import REASON_TEXTS
from services.agreement.figures import Agreement, DistanceBin, GraderAgreement
from services.moderation.grade_conversion import format_number

WIDTH = 360
_ROW_HEIGHT = 22
_LABEL_WIDTH = 96
_NUMBER_WIDTH = 44


def distance_chart(agreement: Agreement, element_id: str = "distances") -> str:
    """Draw a bar for each distance: how many pairs of marks are equal, within the tolerance, farther apart.

    ``element_id``: unique on the page.
    """
    bars = agreement.distances
    if not bars:
        return _svg(
            element_id,
            "Distance between two marks of one work",
            _empty_message(agreement.exact_rate.reason),
            _ROW_HEIGHT,
            [],
        )
    max_count = max(bar.pair_count for bar in bars)
    labels = _bin_labels(bars)
    plot_width = WIDTH - _LABEL_WIDTH - _NUMBER_WIDTH
    parts = []
    for index, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        length = round(plot_width * bar.pair_count / max_count, 1)
        top = index * _ROW_HEIGHT
        is_within_tolerance = (
            bar.up_to is not None and agreement.tolerance is not None and bar.up_to <= agreement.tolerance
        )
        parts += [
            _text(_LABEL_WIDTH - 8, top, label, "end"),
            f'<rect x="{_LABEL_WIDTH}" y="{top + 4}" width="{length}" height="{_ROW_HEIGHT - 8}" fill="currentColor" '
            f'fill-opacity="{0.85 if is_within_tolerance else 0.5}"/>',
            _text(_LABEL_WIDTH + length + 6, top, str(bar.pair_count), "start"),
        ]
    bin_descriptions = "; ".join(f"{label}: {bar.pair_count}" for bar, label in zip(bars, labels, strict=True))
    tolerance_description = (
        ""
        if agreement.tolerance is None
        else f" Bars within the tolerance of {format_number(agreement.tolerance)} are darker."
    )
    description = f"Pairs of marks by their distance in points. {bin_descriptions}.{tolerance_description}"
    return _svg(element_id, "Distance between two marks of one work", description, _ROW_HEIGHT * len(bars), parts)


def bias_chart(agreement: Agreement, grader_names: Mapping[int, str], element_id: str = "bias") -> str:
    """Draw a dot per grader: the mean difference from the other graders, with one standard deviation to both sides.

    ``grader_names``: the display name of each grader, by user id.
    """
    title = "Mean difference of each grader from the others"
    biases = [
        (grader_names[grader.user_id], *_mean_and_deviation(grader))
        for grader in agreement.graders
        if _has_bias(grader)
    ]
    if not biases:
        return _svg(element_id, title, _empty_message("no_shared_works"), _ROW_HEIGHT, [])
    max_extent = max(max(abs(mean) + deviation for _, mean, deviation in biases), 1e-9)
    plot_width = WIDTH - _LABEL_WIDTH - _NUMBER_WIDTH
    middle = _LABEL_WIDTH + plot_width / 2
    parts = [_line(middle, 0, middle, _ROW_HEIGHT * len(biases), 0.5)]
    for index, (grader, mean, deviation) in enumerate(biases):
        top = index * _ROW_HEIGHT
        mean_offset, deviation_width = [
            round(distance / max_extent * plot_width / 2, 1) for distance in (mean, deviation)
        ]
        parts += [
            _text(_LABEL_WIDTH - 8, top, _truncate(grader), "end"),
            _line(
                middle + mean_offset - deviation_width,
                top + _ROW_HEIGHT / 2,
                middle + mean_offset + deviation_width,
                top + _ROW_HEIGHT / 2,
                0.6,
            ),
            f'<circle cx="{middle + mean_offset:g}" cy="{top + _ROW_HEIGHT / 2:g}" r="4" fill="currentColor"/>',
            _text(WIDTH, top, f"{mean:+.2f}", "end"),
        ]
    bias_descriptions = "; ".join(
        f"{grader}: {mean:+.2f}, standard deviation {deviation:.2f}" for grader, mean, deviation in biases
    )
    description = f"In points; above zero is more generous than the others. {bias_descriptions}."
    return _svg(element_id, title, description, _ROW_HEIGHT * len(biases), parts)


def _has_bias(grader: GraderAgreement) -> bool:
    return grader.difference_from_others.mean.value is not None


def _mean_and_deviation(grader: GraderAgreement) -> tuple[float, float]:
    return (
        grader.difference_from_others.mean.value or 0.0,
        grader.difference_from_others.standard_deviation.value or 0.0,
    )


def _bin_labels(bars: Sequence[DistanceBin]) -> list[str]:
    edges = [bar.up_to for bar in bars if bar.up_to is not None]
    return ["equal", *(f"up to {format_number(edge)}" for edge in edges[1:]), f"over {format_number(edges[-1])}"]


def _empty_message(reason: str | None) -> str:
    return (
        "Nothing to show: "
        + next((reason_text for code, reason_text in REASON_TEXTS.items() if code == reason), "no marks")
        + "."
    )


def _truncate(text: str) -> str:
    return text if len(text) <= 13 else text[:12] + "…"


def _text(x: float, top: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:g}" y="{top + _ROW_HEIGHT / 2 + 4:g}" text-anchor="{anchor}" font-size="12" fill="currentColor">'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" stroke-width="2" '
        f'stroke-opacity="{opacity}"/>'
    )


def _svg(element_id: str, title: str, description: str, height: float, parts: Sequence[str]) -> str:
    content = parts or [_text(0, 0, description, "start")]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" aria-labelledby="{element_id}-title {element_id}-desc">'
        f'<title id="{element_id}-title">{escape(title)}</title><desc '
        f'id="{element_id}-desc">{escape(description)}</desc>'
        f"{''.join(content)}</svg>"
    )
