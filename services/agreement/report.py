"""The statistics as JSON, as a table and as Prometheus metrics; none of them names a student."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.agreement.coefficients import Statistic
from services.agreement.figures import Agreement, Difference
from services.agreement.intraclass import IntraclassCorrelation
from services.moderation.assignment import Assignment
from services.moderation.json_values import decimal_to_json

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AssignmentRef:
    """An assignment's ids and the version of its stream."""

    assignment_id: int
    course_id: int
    version: int


def get_assignment_ref(assignment: Assignment) -> AssignmentRef:
    """Copy the ids and version from the state, which changes later."""
    return AssignmentRef(assignment.assignment_id, assignment.course_id, assignment.version)


DECIMAL_PLACES = 6
# Bland and Altman 1986: 95 % of the differences lie within them, if they are normally distributed.
LIMITS_OF_AGREEMENT_Z = 1.96


def agreement_document(assignment_ref: AssignmentRef, agreement: Agreement) -> Json:
    """Build the report; a statistic is ``{value, count, reason}``: the value is null if there is a reason."""
    return {
        "assignment_id": assignment_ref.assignment_id,
        "course_id": assignment_ref.course_id,
        "version": assignment_ref.version,
        "grading_type": agreement.scale.grading_type,
        "points_possible": decimal_to_json(agreement.scale.points_possible),
        "tolerance": decimal_to_json(agreement.tolerance),
        "categories": list(agreement.scale.categories),
        "level_of_measurement": agreement.scale.measurement_level,
        "marks": agreement.rating_count,
        "works": agreement.submission_count,
        "works_shared": agreement.shared_submission_count,
        "exact_rate": _statistic_json(agreement.exact_rate),
        "within_tolerance_rate": _statistic_json(agreement.within_tolerance_rate),
        "quadratic_weighted_kappa": _statistic_json(agreement.weighted_kappa),
        "krippendorff_alpha": _statistic_json(agreement.krippendorff_alpha),
        "intraclass_correlation": _icc_json(agreement.intraclass_correlation),
        "graders": [
            {
                "user_id": grader.user_id,
                "marks": grader.rating_count,
                "selected": grader.selected_count,
                "difference_from_others": _difference_json(grader.difference_from_others),
                "difference_from_decided": _difference_json(grader.difference_from_decided),
            }
            for grader in agreement.graders
        ],
        "pairs": [
            {
                "user_ids": [pair.first, pair.second],
                "works": pair.submission_count,
                "exact_rate": _statistic_json(pair.exact_rate),
                "within_tolerance_rate": _statistic_json(pair.within_tolerance_rate),
                "difference": _difference_json(pair.difference),
                "limits_of_agreement": _limits_of_agreement(pair.difference),
                "quadratic_weighted_kappa": _statistic_json(pair.weighted_kappa),
                "intraclass_correlation": _icc_json(pair.intraclass_correlation),
            }
            for pair in agreement.pairs
        ],
        "distances": [{"up_to": decimal_to_json(bar.up_to), "pairs": bar.pair_count} for bar in agreement.distances],
    }


def _statistic_json(statistic: Statistic) -> Json:
    value = None if statistic.value is None else round(statistic.value, DECIMAL_PLACES)
    return {"value": value, "count": statistic.count, "reason": statistic.reason}


def _difference_json(difference: Difference) -> Json:
    return {
        "mean": _statistic_json(difference.mean),
        "standard_deviation": _statistic_json(difference.standard_deviation),
    }


def _icc_json(correlation: IntraclassCorrelation) -> Json:
    interval = (
        None if correlation.interval is None else [round(limit, DECIMAL_PLACES) for limit in correlation.interval]
    )
    return {**_statistic_json(correlation.statistic), "interval": interval}


def _limits_of_agreement(difference: Difference) -> list[float] | None:
    mean, deviation = difference.mean.value, difference.standard_deviation.value
    if mean is None or deviation is None:
        return None
    return [
        round(mean - LIMITS_OF_AGREEMENT_Z * deviation, DECIMAL_PLACES),
        round(mean + LIMITS_OF_AGREEMENT_Z * deviation, DECIMAL_PLACES),
    ]


@dataclass(frozen=True, slots=True)
class StatisticRow:
    """A row of the table: a statistic of a grader compared with another one, or with all if that id is None."""

    name: str
    statistic: Statistic
    grader_id: int | None = None
    other_grader_id: int | None = None


def statistic_rows(agreement: Agreement) -> Iterator[StatisticRow]:
    """Yield every statistic of the assignment, of each grader, and of each pair of graders."""
    yield StatisticRow("exact_rate", agreement.exact_rate)
    yield StatisticRow("within_tolerance_rate", agreement.within_tolerance_rate)
    yield StatisticRow("quadratic_weighted_kappa", agreement.weighted_kappa)
    yield StatisticRow("krippendorff_alpha", agreement.krippendorff_alpha)
    yield from _icc_rows(agreement.intraclass_correlation)
    for grader in agreement.graders:
        yield from _difference_rows("difference_from_others", grader.difference_from_others, grader.user_id)
        yield from _difference_rows("difference_from_decided", grader.difference_from_decided, grader.user_id)
    for pair in agreement.pairs:
        yield StatisticRow("exact_rate", pair.exact_rate, pair.first, pair.second)
        yield StatisticRow("within_tolerance_rate", pair.within_tolerance_rate, pair.first, pair.second)
        yield from _difference_rows("difference", pair.difference, pair.first, pair.second)
        yield StatisticRow("quadratic_weighted_kappa", pair.weighted_kappa, pair.first, pair.second)
        yield from _icc_rows(pair.intraclass_correlation, pair.first, pair.second)


def _difference_rows(
    name: str, difference: Difference, grader_id: int, other_grader_id: int | None = None
) -> Iterator[StatisticRow]:
    yield StatisticRow(f"{name}_mean", difference.mean, grader_id, other_grader_id)
    yield StatisticRow(f"{name}_standard_deviation", difference.standard_deviation, grader_id, other_grader_id)


def _icc_rows(
    correlation: IntraclassCorrelation, grader_id: int | None = None, other_grader_id: int | None = None
) -> Iterator[StatisticRow]:
    yield StatisticRow("intraclass_correlation", correlation.statistic, grader_id, other_grader_id)
    for name, limit in zip(("low", "high"), correlation.interval or (), strict=False):
        yield StatisticRow(
            f"intraclass_correlation_{name}", Statistic(limit, correlation.statistic.count), grader_id, other_grader_id
        )


def agreement_csv(assignment_ref: AssignmentRef, agreement: Agreement) -> str:
    """Write the table as CSV (RFC 4180) with a header line; an empty value has a reason."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["assignment_id", "version", "figure", "grader_id", "other_grader_id", "value", "count", "reason"])
    for row in statistic_rows(agreement):
        statistic = _statistic_json(row.statistic)
        writer.writerow(
            [
                assignment_ref.assignment_id,
                assignment_ref.version,
                row.name,
                row.grader_id,
                row.other_grader_id,
                statistic["value"],
                statistic["count"],
                statistic["reason"],
            ]
        )
    return buffer.getvalue()


class _AgreementCollector(Collector):
    """The statistics that have a value; Prometheus has no form for one without."""

    def __init__(self, assignment_ref: AssignmentRef, agreement: Agreement) -> None:
        self.assignment_ref = assignment_ref
        self.agreement = agreement

    def collect(self) -> Iterator[GaugeMetricFamily]:
        assignment_id = str(self.assignment_ref.assignment_id)
        value = GaugeMetricFamily(
            "moderation_agreement", "Agreement between the graders of an assignment", labels=_LABELS
        )
        count = GaugeMetricFamily(
            "moderation_agreement_compared",
            "Pairs of marks or works that an agreement figure was taken over",
            labels=_LABELS,
        )
        for row in statistic_rows(self.agreement):
            labels = [assignment_id, row.name, str(row.grader_id or ""), str(row.other_grader_id or "")]
            if row.statistic.value is not None:
                value.add_metric(labels, row.statistic.value)
            count.add_metric(labels, row.statistic.count)
        yield value
        yield count


_LABELS = ("assignment", "figure", "grader", "other_grader")


def agreement_metrics(assignment_ref: AssignmentRef, agreement: Agreement) -> bytes:
    """Write the table in Prometheus's text format: a gauge for the values, and one for their sample sizes."""
    registry = CollectorRegistry()
    registry.register(_AgreementCollector(assignment_ref, agreement))
    return generate_latest(registry)
