"""Adjudication policies and comparisons as sentences; they state what a policy holds, and compute nothing."""

from collections.abc import Mapping
from typing import Any

RESULTS = {
    "mean": "their mean",
    "median": "their median",
    "highest": "the highest",
    "lowest": "the lowest",
    "first": "the first",
}
THIRD_RESULTS = {
    "mean_of_nearest_two": "the mean of the two nearest",
    "nearest_of_first_two": "the one of the first two that is nearer to the third",
    "median": "the median of the three",
    "third_stands": "the third mark",
}
OUTCOMES = {
    "kept": "kept: a moderator chose it, or the student is excused",
    "waiting": "waiting for marks",
    "agreed": "agreed",
    "needs_third_mark": "needs a third mark",
    "needs_moderator": "needs a moderator",
}
RULES = {"within_points": "points apart", "within_percent": "percent apart", "boundaries": "a class boundary"}


def describe_policy(policy: Mapping[str, Any]) -> str:
    """Describe a policy in one sentence without a full stop."""
    conditions = []
    if policy["within_points"] is not None:
        conditions.append(f"at most {policy['within_points']} points apart")
    if policy["within_percent"] is not None:
        conditions.append(f"at most {policy['within_percent']} % of the points possible apart")
    if policy["boundaries"] == "grading_scheme":
        conditions.append("in one class of the grading scheme")
    elif policy["boundaries"] is not None:
        conditions.append(f"in one class of the boundaries {', '.join(policy['boundaries'])} %")
    rounding = f"rounded to {policy['rounding']['step']} ({policy['rounding']['mode'].replace('_', ' ')})"
    if not conditions:
        return f"{policy['marks']} marks: {RESULTS[policy['result']]} counts, {rounding}"
    agree = " and ".join(conditions)
    otherwise = "a moderator decides"
    if policy["third"] is not None:
        otherwise = f"a third mark is needed, and {THIRD_RESULTS[policy['third']]} counts"
    return f"{policy['marks']} marks, {agree}: {RESULTS[policy['result']]} counts, {rounding}; otherwise {otherwise}"


def describe_comparison(comparison: Mapping[str, Any]) -> str:
    """Describe one comparison of an adjudication with its figures."""
    if comparison["rule"] == "boundaries":
        bands = ", ".join(str(band) for band in comparison["bands"])
        return f"classes {bands}: {'the same' if comparison['passed'] else 'not the same'}"
    verb = "within" if comparison["passed"] else "beyond"
    return f"{comparison['distance']} points apart, {verb} the limit of {comparison['limit']}"
