"""The figures as JSON, as a table and as Prometheus metrics; no student is named in any of them."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.agreement.coefficients import Figure
from services.agreement.intraclass import Intraclass
from services.agreement.statistics import Agreement, Difference
from services.moderation.assignment import Assignment
from services.moderation.event_payloads import decimal_to_json

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """Which assignment it is, and at which version of its stream."""

    assignment_id: int
    course_id: int
    version: int


def about_of(assignment: Assignment) -> About:
    """Taken from the state, which moves on."""
    return About(assignment.assignment_id, assignment.course_id, assignment.version)


DIGITS = 6
# Bland and Altman 1986: 95 % of the differences lie within them, if they are normally distributed.
LIMITS = 1.96


def agreement_document(about: About, found: Agreement) -> Json:
    """The whole of it; a figure is ``{value, count, reason}``, its value null with the reason why."""
    return {
        "assignment_id": about.assignment_id,
        "course_id": about.course_id,
        "version": about.version,
        "grading_type": found.scale.grading_type,
        "points_possible": decimal_to_json(found.scale.points),
        "tolerance": decimal_to_json(found.tolerance),
        "categories": list(found.scale.categories),
        "level_of_measurement": found.scale.level,
        "marks": found.marks,
        "works": found.works,
        "works_shared": found.works_shared,
        "exact_rate": _figure(found.exact),
        "within_tolerance_rate": _figure(found.within_tolerance),
        "quadratic_weighted_kappa": _figure(found.kappa),
        "krippendorff_alpha": _figure(found.alpha),
        "intraclass_correlation": _intraclass(found.intraclass),
        "graders": [
            {
                "user_id": grader.user_id,
                "marks": grader.marks,
                "selected": grader.selected,
                "difference_from_others": _difference(grader.from_others),
                "difference_from_decided": _difference(grader.from_decided),
            }
            for grader in found.graders
        ],
        "pairs": [
            {
                "user_ids": [pair.first, pair.second],
                "works": pair.works,
                "exact_rate": _figure(pair.exact),
                "within_tolerance_rate": _figure(pair.within_tolerance),
                "difference": _difference(pair.difference),
                "limits_of_agreement": _limits(pair.difference),
                "quadratic_weighted_kappa": _figure(pair.kappa),
                "intraclass_correlation": _intraclass(pair.intraclass),
            }
            for pair in found.pairs
        ],
        "distances": [{"up_to": decimal_to_json(bar.up_to), "pairs": bar.pairs} for bar in found.distances],
    }


def _figure(figure: Figure) -> Json:
    value = None if figure.value is None else round(figure.value, DIGITS)
    return {"value": value, "count": figure.count, "reason": figure.reason}


def _difference(difference: Difference) -> Json:
    return {"mean": _figure(difference.mean), "standard_deviation": _figure(difference.deviation)}


def _intraclass(found: Intraclass) -> Json:
    interval = None if found.interval is None else [round(limit, DIGITS) for limit in found.interval]
    return {**_figure(found.figure), "interval": interval}


def _limits(difference: Difference) -> list[float] | None:
    mean, deviation = difference.mean.value, difference.deviation.value
    if mean is None or deviation is None:
        return None
    return [round(mean - LIMITS * deviation, DIGITS), round(mean + LIMITS * deviation, DIGITS)]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the table; ``grader``: whose it is, ``other``: and compared with whom, None for all together."""

    name: str
    figure: Figure
    grader: int | None = None
    other: int | None = None


def rows(found: Agreement) -> Iterator[Row]:
    """Every figure in one table: of the assignment, of each grader, of each pair of graders."""
    yield Row("exact_rate", found.exact)
    yield Row("within_tolerance_rate", found.within_tolerance)
    yield Row("quadratic_weighted_kappa", found.kappa)
    yield Row("krippendorff_alpha", found.alpha)
    yield from _with_interval(found.intraclass)
    for grader in found.graders:
        yield from _signed("difference_from_others", grader.from_others, grader.user_id)
        yield from _signed("difference_from_decided", grader.from_decided, grader.user_id)
    for pair in found.pairs:
        yield Row("exact_rate", pair.exact, pair.first, pair.second)
        yield Row("within_tolerance_rate", pair.within_tolerance, pair.first, pair.second)
        yield from _signed("difference", pair.difference, pair.first, pair.second)
        yield Row("quadratic_weighted_kappa", pair.kappa, pair.first, pair.second)
        yield from _with_interval(pair.intraclass, pair.first, pair.second)


def _signed(name: str, difference: Difference, grader: int, other: int | None = None) -> Iterator[Row]:
    yield Row(f"{name}_mean", difference.mean, grader, other)
    yield Row(f"{name}_standard_deviation", difference.deviation, grader, other)


def _with_interval(found: Intraclass, grader: int | None = None, other: int | None = None) -> Iterator[Row]:
    yield Row("intraclass_correlation", found.figure, grader, other)
    for name, limit in zip(("low", "high"), found.interval or (), strict=False):
        yield Row(f"intraclass_correlation_{name}", Figure(limit, found.figure.count), grader, other)


def agreement_csv(about: About, found: Agreement) -> str:
    """The table as CSV (RFC 4180) with a header line; an empty value has a reason."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(["assignment_id", "version", "figure", "grader_id", "other_grader_id", "value", "count", "reason"])
    for row in rows(found):
        shown = _figure(row.figure)
        lines.writerow(
            [
                about.assignment_id,
                about.version,
                row.name,
                row.grader,
                row.other,
                shown["value"],
                shown["count"],
                shown["reason"],
            ]
        )
    return text.getvalue()


class _Table(Collector):
    """The figures that there are; one without a value is left out, as Prometheus has it."""

    def __init__(self, about: About, found: Agreement) -> None:
        self.about = about
        self.found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        assignment = str(self.about.assignment_id)
        value = GaugeMetricFamily(
            "moderation_agreement", "Agreement between the graders of an assignment", labels=_LABELS
        )
        count = GaugeMetricFamily(
            "moderation_agreement_compared",
            "Pairs of marks or works that an agreement figure was taken over",
            labels=_LABELS,
        )
        for row in rows(self.found):
            labels = [assignment, row.name, str(row.grader or ""), str(row.other or "")]
            if row.figure.value is not None:
                value.add_metric(labels, row.figure.value)
            count.add_metric(labels, row.figure.count)
        yield value
        yield count


_LABELS = ("assignment", "figure", "grader", "other_grader")


def agreement_metrics(about: About, found: Agreement) -> bytes:
    """The table in Prometheus's text format: a gauge for the values, one for what they were taken over."""
    registry = CollectorRegistry()
    registry.register(_Table(about, found))
    return generate_latest(registry)
