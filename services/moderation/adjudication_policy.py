"""The policy by which independent marks become one: how far apart they may be, and which result they give."""

from decimal import Decimal
from typing import Any

from services.moderation.grade_conversion import format_number
from services.moderation.value_object import value_object

GRADING_SCHEME = "grading_scheme"
THIRD_MARK = "third_mark"
# Words have no mean: for pass_fail, only results that pick one of the marks make sense.
PASS_FAIL_RESULTS = ("first", "highest", "lowest")
PASS_FAIL_THIRD_RESULTS = ("nearest_of_first_two", "third_stands")


@value_object(kw_only=True)
class AdjudicationPolicy:
    """``marks``: how many marks are needed; ``boundaries``: ascending percentages, or the grading scheme's.

    ``result``: how marks that agree become one; ``third``: how three marks do where the first two disagree.
    """

    marks: int = 2
    within_points: Decimal | None = None
    within_percent: Decimal | None = None
    boundaries: tuple[Decimal, ...] | str | None = None
    result: str
    rounding_step: Decimal = Decimal("0.01")
    rounding_mode: str = "half_up"
    otherwise: str = "moderator"
    third: str | None = None

    @property
    def needs_scheme(self) -> bool:
        """Whether the grading scheme gives the boundaries."""
        return self.boundaries == GRADING_SCHEME

    def suits(self, grading_type: str) -> bool:
        """Return whether the policy's results are possible for a grading type."""
        if grading_type == "not_graded":
            return False
        if grading_type != "pass_fail":
            return True
        return self.result in PASS_FAIL_RESULTS and (self.third is None or self.third in PASS_FAIL_THIRD_RESULTS)


def policy_to_json(policy: AdjudicationPolicy) -> dict[str, Any]:
    """Return all fields; numbers are decimal strings."""
    boundaries = policy.boundaries
    return {
        "marks": policy.marks,
        "within_points": _format(policy.within_points),
        "within_percent": _format(policy.within_percent),
        "boundaries": [format_number(bound) for bound in boundaries] if isinstance(boundaries, tuple) else boundaries,
        "result": policy.result,
        "rounding": {"step": format_number(policy.rounding_step), "mode": policy.rounding_mode},
        "otherwise": policy.otherwise,
        "third": policy.third,
    }


def policy_from_json(document: dict[str, Any]) -> AdjudicationPolicy:
    """Do the reverse of :func:`policy_to_json`."""
    boundaries = document["boundaries"]
    return AdjudicationPolicy(
        marks=document["marks"],
        within_points=_parse(document["within_points"]),
        within_percent=_parse(document["within_percent"]),
        boundaries=tuple(map(Decimal, boundaries)) if isinstance(boundaries, list) else boundaries,
        result=document["result"],
        rounding_step=Decimal(document["rounding"]["step"]),
        rounding_mode=document["rounding"]["mode"],
        otherwise=document["otherwise"],
        third=document["third"],
    )


def _format(number: Decimal | None) -> str | None:
    return None if number is None else format_number(number)


def _parse(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
